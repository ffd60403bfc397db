"""Links in mails that prove an address: signed, good for some days, and good once.

A link carries a stamp of the account as it was when the link was made. Using it changes the
account, and so does a new password: after either, the stamp no longer fits.
"""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import User

CONFIRM = "accounts.confirm"
"""The account's own address."""
MOVE = "accounts.move"
"""A new address for the account."""


@dataclass(frozen=True)
class Proof:
    """Whose link it was, and which address it proves."""

    user: User
    address: str


def make(user: User, *, purpose: str, address: str) -> str:
    """The token of a link that is sent to ``address`` and nowhere else."""
    sent = {"user": str(user.uid), "address": address, "stamp": _stamp(user, purpose)}
    return signing.dumps(sent, salt=purpose, compress=True)


def read(token: str, *, purpose: str) -> Proof | None:
    """What the link proves; None when it is forged, too old, or was used before."""
    try:
        sent = signing.loads(token, salt=purpose, max_age=settings.PASSWORD_RESET_TIMEOUT)
        user = User.objects.get(uid=UUID(sent["user"]), is_active=True)
    except (signing.BadSignature, User.DoesNotExist):
        return None
    if not constant_time_compare(sent["stamp"], _stamp(user, purpose)):
        return None
    return Proof(user, sent["address"])


def _stamp(user: User, purpose: str) -> str:
    parts = [user.email, user.password, str(user.email_verified_at)]
    return salted_hmac(purpose, "\n".join(parts), algorithm="sha256").hexdigest()[:32]
