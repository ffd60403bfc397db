"""Secrets at rest: what other services trust us with, unreadable without the site's own keys.

The keys are not Django's `SECRET_KEY`, so that each can be changed without the other. The first
of `CREDENTIALS_KEYS` encrypts; all of them decrypt, until `rotatecredentials` has gone over.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class Unreadable(Exception):
    """None of the site's keys opens it: they were changed, or the database is another site's."""


def seal(secret: str) -> str:
    """The secret as text that the database may hold."""
    return _keys().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """What `seal` was given. Raises `Unreadable`."""
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise Unreadable from None


def sealed_anew(sealed: str) -> str:
    """The same secret under the first key of today. Raises `Unreadable`."""
    try:
        return _keys().rotate(sealed.encode()).decode()
    except InvalidToken:
        raise Unreadable from None


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])
