"""The credits that a plan gives each month, and what of last month's lasts on.

A month is the calendar's, in UTC. Its grant has the key `monthly:<user>:<YYYY-MM>`, so that it is
given once, and runs out when the month ends. Of what is left then, at most as many credits as the
plan said when they were given last one month more: as a second grant, `rollover:<user>:<YYYY-MM>`,
which the ledger makes in the very transaction that takes the first one away, whoever does that
(see `ledger._expire`). So it makes no difference which command runs first, or how late. What was
carried over is not carried over again.

Whoever joins in the middle of a month gets all of it. A plan that is changed counts from the next
month on. Who is given nothing in a month, because nothing ran, is not given it later.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat

from accounts import plans
from accounts.models import Plan, User
from credits import ledger
from credits.models import Grant, GrantKind

AT_ONCE = 500
"""People who are read in one query: memory stays the same however many there are."""

log = logging.getLogger(__name__)


@dataclass
class Granted:
    """What a run gave: to how many people how many credits; and how many it could not serve.

    `carried_over` is what went on of what these people had left, on this occasion.
    """

    people: int = 0
    credits: int = 0
    carried_over: int = 0
    failed: int = 0


def grant_monthly(*, now: datetime, dry_run: bool = False) -> Granted:
    """Give this month's credits to everybody who has not got them; safe to run at any time.

    What goes wrong with one person is logged and counted, and the others get theirs. With
    `dry_run` it is only counted what would be given.
    """
    done = Granted()
    for user in _waiting(now):
        plan = plans.plan_for(user)
        if not plan.monthly_credits:
            continue
        try:
            if dry_run:
                expired = ledger.expire_of(user, now=now, dry_run=True)
            else:
                expired = _grant(user, plan, now=now)
        except Exception:
            log.exception("User %s could not be given this month's credits", user.pk)
            done.failed += 1
            continue
        done.carried_over += expired.carried_over
        done.people += 1
        done.credits += plan.monthly_credits
    return done


def start_of_month(now: datetime) -> datetime:
    """Midnight, UTC, of the first day of the month."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(start: datetime) -> datetime:
    """The start of the month after the one that begins then."""
    if start.month == 12:
        return start.replace(year=start.year + 1, month=1)
    return start.replace(month=start.month + 1)


def _grant(user: User, plan: plans.Plan, *, now: datetime) -> ledger.Expired:
    """Give one person this month's credits; returns what ran out on the way."""
    start = start_of_month(now)
    end = next_month(start)
    with transaction.atomic():
        expired = ledger.expire_of(user, now=now)
        ledger.grant(
            user,
            plan.monthly_credits,
            kind=GrantKind.MONTHLY,
            key=_key(user.pk, start),
            expires_at=end,
            carry_over=plan.rollover_credits,
            carry_until=next_month(end),
        )
    return expired


def _key(user_id: int, start: datetime) -> str:
    return f"monthly:{user_id}:{start:%Y-%m}"


def _waiting(now: datetime) -> Iterator[User]:
    """Active people with a confirmed address who have not been given this month's credits."""
    month = Value(f":{start_of_month(now):%Y-%m}")
    key = Concat(Value("monthly:"), Cast(OuterRef("pk"), CharField()), month)
    gives = Q(plan__monthly_credits__gt=0)
    if Plan.objects.filter(is_default=True, monthly_credits__gt=0).exists():
        gives |= Q(plan=None)
    has_not = ~Exists(Grant.objects.filter(key=key))
    people = User.objects.filter(
        gives, has_not, is_active=True, erasing_at=None, email_verified_at__isnull=False
    ).order_by("pk")
    after = 0
    while chunk := list(people.filter(pk__gt=after)[:AT_ONCE]):
        yield from chunk
        after = chunk[-1].pk
