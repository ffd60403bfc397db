"""Clients of the HTTP API, with the credentials that a test is about."""

from accounts.models import SCOPES, User, create_key
from tests.contract import CheckedClient


def with_key(user: User, *scopes: str, **fields) -> CheckedClient:
    """A client that sends a key of the user, by default with every scope."""
    _key, secret = create_key(user, name="test", scopes=scopes or SCOPES, **fields)
    return with_secret(secret)


def with_secret(secret: str) -> CheckedClient:
    """A client that sends this as its key."""
    client = CheckedClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def with_session(user: User, *, csrf: bool = True) -> CheckedClient:
    """A signed-in browser that, as a real one, is held to the CSRF rules."""
    client = CheckedClient(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client
