"""The credits that a plan gives each month, and what is carried over from the month before.

A month is one of the calendar in UTC. Its credits run out when it ends. What nobody has used then
is expired and given anew for one more month, up to the plan's `rollover_credits`; what was carried
over once is not carried over again.

Both gifts have keys of their own, so that running late, twice, or side by side gives each once.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import models, transaction
from django.db.models import Sum

from accounts import plans
from accounts.models import User
from credits import ledger
from credits.models import EntryKind, Grant, GrantKind, LedgerEntry

PEOPLE_PER_QUERY = 500

log = logging.getLogger(__name__)


@dataclass
class Granted:
    """What one run gave, and to how many it could not give."""

    people: int = 0
    credits: int = 0
    carried_over: int = 0
    failed: int = 0


def grant_monthly(*, now: datetime, dry_run: bool = False) -> Granted:
    """Give everybody the credits of this month who has not got them yet.

    Whoever is active, has proved the address and is on a plan with monthly credits gets them; who
    joins such a plan in mid-month, at the next run. A plan that changes counts from the next month
    on. With `dry_run` nothing is written. What goes wrong for one person is logged and counted, and
    the others get theirs.
    """
    month, ends_at = _month(now)
    given = Granted()
    for people in _portions():
        plan_of = {user.pk: plans.plan_for(user) for user in people}
        wanted = [user for user in people if plan_of[user.pk].monthly_credits > 0]
        keys = {_key("monthly", user, month): user for user in wanted}
        have = set(Grant.objects.filter(key__in=keys).values_list("key", flat=True))
        for key, user in keys.items():
            try:
                with transaction.atomic():
                    if key not in have:
                        amount = plan_of[user.pk].monthly_credits
                        _give(user, amount, key, ends_at=ends_at, into=given, dry_run=dry_run)
                    limit = plan_of[user.pk].rollover_credits
                    _carry_over(user, limit, now=now, into=given, dry_run=dry_run)
            except Exception:
                log.exception("User %s did not get the credits of %s", user.uid, month)
                given.failed += 1
    return given


def _give(
    user: User, amount: int, key: str, *, ends_at: datetime, into: Granted, dry_run: bool
) -> None:
    if not dry_run:
        account = ledger.lock(user.pk)
        if Grant.objects.filter(account=account, key=key).exists():
            return  # somebody was faster
        ledger.grant(user, amount, kind=GrantKind.MONTHLY, key=key, expires_at=ends_at)
    into.people += 1
    into.credits += amount


def _carry_over(user: User, limit: int, *, now: datetime, into: Granted, dry_run: bool) -> None:
    """Give again what of last month's credits ran out unused, as far as the plan allows.

    Credits that were on hold when the month ended run out when they come home: then a later run
    gives what is still missing to the limit.
    """
    month, ends_at = _month(now)
    last = Grant.objects.filter(key=_key("monthly", user, _month_before(now))).first()
    if last is None or limit <= 0:
        return
    start = _key("rollover", user, month)
    lost = last.remaining
    if not dry_run:
        account = ledger.lock(user.pk)
        ledger.expire_of(account, now=now)
        lost = 0
    expired = LedgerEntry.objects.filter(
        account_id=last.account_id, kind=EntryKind.EXPIRE, key__startswith=f"expire:{last.pk}:"
    )
    lost -= _sum(expired, "available_delta")
    had = _sum(Grant.objects.filter(account_id=last.account_id, key__startswith=f"{start}:"))
    missing = min(limit, lost) - had
    if missing <= 0:
        return
    if not dry_run:
        ledger.grant(
            user, missing, kind=GrantKind.MONTHLY, key=f"{start}:{had}", expires_at=ends_at
        )
    into.carried_over += missing


def _portions() -> Iterator[list[User]]:
    """Everybody who may get credits, some at a time, whatever happens to the table meanwhile."""
    people = User.objects.filter(
        is_active=True, erasing_at=None, email_verified_at__isnull=False
    ).order_by("pk")
    last = 0
    while some := list(people.filter(pk__gt=last)[:PEOPLE_PER_QUERY]):
        yield some
        last = some[-1].pk


def _key(what: str, user: User, month: str) -> str:
    return f"{what}:{user.pk}:{month}"


def _month(now: datetime) -> tuple[str, datetime]:
    """This month (`2026-11`), and when it ends."""
    begun = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = divmod(begun.year * 12 + begun.month, 12)
    return f"{begun:%Y-%m}", begun.replace(year=year, month=month + 1)


def _month_before(now: datetime) -> str:
    year, month = divmod(now.astimezone(UTC).year * 12 + now.astimezone(UTC).month - 2, 12)
    return f"{year:04}-{month + 1:02}"


def _sum(rows: models.QuerySet, column: str = "amount") -> int:
    return int(rows.aggregate(total=Sum(column))["total"] or 0)
