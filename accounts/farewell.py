"""Forgetting somebody, as far as accounts know them. `batches.erasure` calls each of these.

The row of the user stays, under an address that belongs to nobody: the ledger points at it.
Every function may be called again, by whoever goes on where a process died.
"""

import uuid
from datetime import datetime, timedelta

from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet

from accounts.models import ApiKey, Connection, IdempotencyKey, OutputFormat, User

NOBODY = "@erased.invalid"
"""The end of addresses that stand for nobody; `.invalid` is reserved for ever (RFC 2606)."""

ABANDONED_AFTER = timedelta(minutes=1)
"""Whoever began has died, when the address still says who it was."""
LAST_LOOK_AFTER = timedelta(minutes=10)
"""A request that was under way when somebody left has ended by then, whatever it wrote."""


def begin(user: User, *, now: datetime) -> bool:
    """Shut the account, for good; False when it was shut before.

    Sessions and keys open nothing from here on, because the user is not active.
    """
    there = User.objects.filter(pk=user.pk, erasing_at=None)
    return bool(there.update(erasing_at=now, is_active=False, is_staff=False, is_superuser=False))


def due(*, now: datetime) -> QuerySet[User]:
    """Accounts that are not forgotten yet and that nobody is busy with."""
    abandoned = Q(erasing_at__lte=now - ABANDONED_AFTER) & ~Q(email__endswith=NOBODY)
    last_look = Q(erasing_at__lte=now - LAST_LOOK_AFTER)
    return User.objects.filter(abandoned | last_look, erased_at=None)


def close_doors(user: User, *, now: datetime) -> None:
    """Remove keys, connections with their secrets, answered requests and sessions.

    Sessions don't say in a column whose they are, so all that still live are read.
    """
    ApiKey.objects.filter(user=user).delete()
    Connection.objects.filter(owner=user).delete()
    IdempotencyKey.objects.filter(user=user).delete()
    living = Session.objects.filter(expire_date__gt=now)
    own = [
        session.session_key
        for session in living.iterator(chunk_size=500)
        if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]
    Session.objects.filter(session_key__in=own).delete()


def anonymise(user: User) -> None:
    """Take out of the row whatever says who it was; does nothing the second time."""
    user.groups.clear()
    user.user_permissions.clear()
    # What staff did to the account is noted beside its address.
    about = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=about, object_id=str(user.pk)).delete()
    User.objects.filter(pk=user.pk).exclude(email__endswith=NOBODY).update(
        email=f"{uuid.uuid4()}{NOBODY}",
        password=make_password(None),
        last_login=None,
        email_verified_at=None,
        theme="",
        notify_browser=False,
        notify_email=False,
        notify_schedules=False,
        default_format=OutputFormat.PNG,
    )


def finish(user: User, *, now: datetime) -> bool:
    """Note that nothing is left, once nobody can bring anything any more."""
    quiet = User.objects.filter(
        pk=user.pk, erasing_at__lte=now - LAST_LOOK_AFTER, erased_at=None, email__endswith=NOBODY
    )
    return bool(quiet.update(erased_at=now))
