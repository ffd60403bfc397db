"""E-mails that people may do without: why they get one, and how to get no more of them.

Each such mail carries an address that ends them, signed, good for as long as the mail is kept. Mail
programs call it with one press (RFC 8058); in a browser it asks first. It needs no sign-in, and all
it can do is switch one kind of mail off.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.urls import reverse

from accounts import mail
from accounts.models import User

SALT = "accounts.notices"

OFF: Mapping[str, Mapping[str, Any]] = {
    "ended": {"notify_email": False},
    "low": {"low_credits": 0},
    "schedules": {"notify_schedules": False},
}
"""Kinds of mail, and what of the account switches them off."""


def send(kind: str, template: str, to: User, **context: Any) -> mail.Outcome:
    """Send a mail of this kind, and say what became of it."""
    address = settings.SITE_URL.rstrip("/") + reverse(
        "accounts:unsubscribe", args=[token(to, kind)]
    )
    headers = {
        "List-Unsubscribe": f"<{address}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    return mail.send(template, to.email, headers=headers, unsubscribe=address, **context)


def token(user: User, kind: str) -> str:
    """What an address is signed with that switches this kind off for the user."""
    return signing.dumps([str(user.uid), kind], salt=SALT)


def read(token_: str) -> tuple[User, str] | None:
    """Whose mails of which kind it is about; nothing for what we have not signed."""
    try:
        uid, kind = signing.loads(token_, salt=SALT)
        return User.objects.get(uid=UUID(uid), is_active=True), kind
    except (signing.BadSignature, User.DoesNotExist):
        return None


def switch_off(user: User, kind: str) -> None:
    """No more mails of this kind, until the preferences say otherwise."""
    User.objects.filter(pk=user.pk).update(**OFF[kind])
