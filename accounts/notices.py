"""E-mails that people may do without: why they get one, and how to get no more of them.

Each such mail carries an address that ends them, signed, good for as long as the mail is kept. Mail
programs call it with one press (RFC 8058); in a browser it asks first. It needs no sign-in, and all
it can do is switch one kind of mail off.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import Model, QuerySet
from django.urls import reverse

from accounts import mail
from accounts.models import User

SALT = "accounts.notices"

log = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)

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


def tell_each(
    rows: Iterable[Row],
    send: Callable[[Row], mail.Outcome],
    *,
    of: QuerySet[Row],
    told_at: str,
    now: datetime,
) -> int:
    """Send the mail of each row that nobody has sent yet; returns how many were sent.

    A row of `of` is marked in the column `told_at` before its mail is sent: several of us at once,
    or one that dies half way, send a mail once or not at all, never twice. What the mail server
    could not take is unmarked, for the next round; a server that is away is left alone until then.
    """
    sent = 0
    for row in rows:
        if not of.filter(pk=row.pk, **{told_at: None}).update(**{told_at: now}):
            continue  # somebody else tells it, or it is no news any more
        outcome = send(row)
        sent += bool(outcome)
        if outcome in {mail.Outcome.LATER, mail.Outcome.AWAY}:
            type(row)._default_manager.filter(pk=row.pk, **{told_at: now}).update(**{told_at: None})
            log.error("Nobody was told by e-mail of %s %s", type(row).__name__, row.pk)
        if outcome == mail.Outcome.AWAY:
            break
    return sent


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
