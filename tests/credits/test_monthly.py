"""Monthly credits: each month's once, what is left carried over once, nothing counted twice."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Plan, User
from credits import audit, ledger, monthly
from credits.models import Grant, LedgerEntry

JANUARY = datetime(2027, 1, 10, 12, tzinfo=UTC)
FEBRUARY = datetime(2027, 2, 1, 0, 5, tzinfo=UTC)
MARCH = datetime(2027, 3, 3, tzinfo=UTC)


@pytest.fixture
def member(alice) -> User:
    """Alice, on a plan of 100 credits a month, 30 of which may be carried over."""
    plan = Plan.objects.create(slug="p", name="P", monthly_credits=100, rollover_credits=30)
    alice.plan = plan
    alice.save()
    return alice


def spend(user: User, amount: int, now: datetime) -> None:
    held = ledger.hold(user, amount, key=f"spend:{LedgerEntry.objects.count()}", now=now)
    ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=amount, price=amount)


def base(user: User) -> int:
    """What the account has without any monthly credits: those of its welcome."""
    return sum(g.remaining for g in Grant.objects.filter(account__owner=user, kind="welcome"))


def test_a_month_is_given_once_and_ends_with_the_month(member):
    given = monthly.grant_monthly(now=JANUARY)
    assert (given.people, given.credits, given.carried_over) == (1, 100, 0)
    again = monthly.grant_monthly(now=JANUARY + timedelta(days=3))
    assert (again.people, again.credits) == (0, 0)
    grant = Grant.objects.get(key=f"monthly:{member.pk}:2027-01")
    assert grant.expires_at == datetime(2027, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("expired_before", [True, False])
@pytest.mark.parametrize(("spent", "carried"), [(0, 30), (85, 15), (100, 0), (70, 30)])
def test_what_is_left_is_carried_over_up_to_the_limit_whoever_expires_it(
    member, spent, carried, expired_before
):
    monthly.grant_monthly(now=JANUARY)
    if spent:
        spend(member, spent, JANUARY)
    if expired_before:
        ledger.expire(FEBRUARY)
    given = monthly.grant_monthly(now=FEBRUARY)
    assert (given.credits, given.carried_over) == (100, carried)
    assert ledger.balance(member).available == base(member) + 100 + carried
    assert monthly.grant_monthly(now=FEBRUARY).carried_over == 0
    assert list(audit.disagreements()) == []


def test_what_was_carried_over_once_ends_with_the_next_month(member):
    for now in (JANUARY, FEBRUARY, MARCH):
        monthly.grant_monthly(now=now)
    spendable = ledger.balance(member).available - base(member)
    assert spendable == 130, "a hundred of March and thirty of February's own hundred"


def test_credits_on_hold_at_the_end_of_a_month_are_carried_over_when_they_come_home(member):
    monthly.grant_monthly(now=JANUARY)
    held = ledger.hold(member, 90, key="h", now=JANUARY)
    assert monthly.grant_monthly(now=FEBRUARY).carried_over == 10
    ledger.close(held.pk)
    assert monthly.grant_monthly(now=FEBRUARY + timedelta(hours=1)).carried_over == 20
    assert ledger.balance(member).available == base(member) + 130
    assert list(audit.disagreements()) == []


def test_a_month_that_nobody_ran_in_is_not_made_up_for(member):
    monthly.grant_monthly(now=JANUARY)
    given = monthly.grant_monthly(now=MARCH)
    assert (given.credits, given.carried_over) == (100, 0)


def test_a_rehearsal_writes_nothing_and_says_the_same(member):
    monthly.grant_monthly(now=JANUARY)
    spend(member, 85, JANUARY)
    before = (Grant.objects.count(), LedgerEntry.objects.count())
    rehearsed = monthly.grant_monthly(now=FEBRUARY, dry_run=True)
    assert (Grant.objects.count(), LedgerEntry.objects.count()) == before
    assert rehearsed == monthly.grant_monthly(now=FEBRUARY)


@pytest.mark.parametrize(
    "field", [{"is_active": False}, {"email_verified_at": None}, {"erasing_at": JANUARY}]
)
def test_who_may_not_use_credits_gets_none(member, field):
    User.objects.filter(pk=member.pk).update(**field)
    assert monthly.grant_monthly(now=JANUARY).people == 0


def test_a_failure_for_one_does_not_stop_the_rest(member, bob, monkeypatch):
    bob.plan = member.plan
    bob.save()
    give = ledger.grant

    def fails(user, *arguments, **options):
        if user.pk == member.pk:
            raise RuntimeError("no")
        return give(user, *arguments, **options)

    monkeypatch.setattr(ledger, "grant", fails)
    given = monthly.grant_monthly(now=JANUARY)
    assert (given.people, given.failed) == (1, 1)


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_give_each_month_once(member):
    monthly.grant_monthly(now=JANUARY)
    totals = []

    def run() -> None:
        try:
            totals.append(monthly.grant_monthly(now=FEBRUARY))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(total.credits for total in totals) == 100
    assert sum(total.carried_over for total in totals) == 30
    assert sum(total.failed for total in totals) == 0
    assert list(audit.disagreements()) == []


@settings(max_examples=12, deadline=None)
@given(
    story=st.lists(
        st.tuples(st.integers(0, 140), st.booleans(), st.booleans()), min_size=1, max_size=5
    )
)
@pytest.mark.django_db
def test_over_any_months_there_is_never_more_than_two_months_allow(story):
    user = User.objects.create_user(email=f"m{User.objects.count()}@example.com")
    plan, _ = Plan.objects.get_or_create(
        slug="p", defaults={"name": "P", "monthly_credits": 100, "rollover_credits": 30}
    )
    user.plan = plan
    user.save()
    ledger.account_for(user)
    left = 0
    for number, (wanted, expire_first, twice) in enumerate(story):
        now = datetime(2027, 1 + number, 1, 0, 1, tzinfo=UTC)
        if expire_first:
            ledger.expire(now)
        for _ in range(1 + twice):
            monthly.grant_monthly(now=now)
        carried = min(30, left)
        have = 100 + carried
        assert ledger.balance(user).available == base(user) + have
        spent = min(wanted, have)
        if spent:
            spend(user, spent, now)
        # Of one priority, so what was carried over and the month's own go in the order given.
        own = Grant.objects.get(key=f"monthly:{user.pk}:{now:%Y-%m}")
        left = own.remaining
    assert list(audit.disagreements()) == []
