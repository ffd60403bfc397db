"""Monthly credits: once a month to each person, and what of last month's lasts on."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Plan, User
from credits import ledger
from credits.audit import disagreements
from credits.models import CreditAccount, Grant, HoldPart, LedgerEntry
from credits.monthly import Granted, grant_monthly
from tests.batches.races import at_once

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2026, 10, 1, 0, 0, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, 0, 0, tzinfo=UTC)
JANUARY = datetime(2027, 1, 1, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def plan():
    """What everybody is on: 100 credits each month, of which 30 may last on."""
    Plan.objects.filter(is_default=True).update(is_default=False)
    made = Plan(slug="pro", name="Pro", is_default=True, monthly_credits=100, rollover_credits=30)
    made.save()
    return made


def spend(user, amount, *, now):
    """Use credits for good."""
    held = ledger.hold(user, amount, key=f"hold:{uuid.uuid4()}", now=now)
    ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=amount, price=amount)


def kinds(user):
    """What is left of each kind of grant."""
    left = Grant.objects.filter(account__owner=user).values("kind").annotate(n=Sum("remaining"))
    return {row["kind"]: row["n"] for row in left}


def test_each_active_confirmed_person_is_given_the_months_credits_once(alice, bob, plan):
    User.objects.create_user("gone@example.com", is_active=False)
    User.objects.create_user("unconfirmed@example.com", email_verified_at=None)
    User.objects.create_user("leaving@example.com", erasing_at=OCTOBER)

    first = grant_monthly(now=OCTOBER + DAY)
    again = grant_monthly(now=OCTOBER + 20 * DAY)

    assert (first.people, first.credits) == (2, 200)
    assert (again.people, again.credits) == (0, 0)
    [grant] = Grant.objects.filter(account__owner=alice)
    assert grant.key == f"monthly:{alice.pk}:2026-10"
    assert (grant.kind, grant.amount, grant.expires_at) == ("monthly", 100, NOVEMBER)
    assert ledger.balance(bob) == (100, 0)


def test_a_plan_without_monthly_credits_gives_nothing_and_asks_nobody(alice, plan):
    Plan.objects.filter(pk=plan.pk).update(is_default=False)
    alice.plan = Plan.objects.create(slug="free", name="Free")
    alice.save()

    with CaptureQueriesContext(
        connection,
    ) as asked:
        done = grant_monthly(now=OCTOBER)

    assert (done.people, len(asked)) == (0, 2)
    assert not Grant.objects.exists()


def test_own_plans_count_before_the_default_one(alice, bob, plan):
    alice.plan = Plan.objects.create(slug="big", name="Big", monthly_credits=1000)
    alice.save()

    grant_monthly(now=OCTOBER)

    assert (ledger.balance(alice).available, ledger.balance(bob).available) == (1000, 100)


@pytest.mark.parametrize(("spent", "carried"), [(0, 30), (60, 30), (70, 30), (85, 15), (100, 0)])
def test_what_is_left_lasts_on_up_to_the_plans_bound(alice, plan, spent, carried, sound):
    grant_monthly(now=OCTOBER)
    if spent:
        spend(alice, spent, now=OCTOBER + DAY)

    done = grant_monthly(now=NOVEMBER)

    assert done.carried_over == carried
    assert ledger.balance(alice) == (100 + carried, 0)
    over = Grant.objects.filter(kind="rollover").first()
    if carried:
        assert (over.key, over.amount) == (f"rollover:{alice.pk}:2026-11", carried)
        assert over.expires_at == DECEMBER
    else:
        assert over is None


def test_what_was_carried_over_is_drawn_first_and_not_carried_over_again(alice, plan, sound):
    grant_monthly(now=OCTOBER)
    grant_monthly(now=NOVEMBER)

    spend(alice, 10, now=NOVEMBER + DAY)
    assert kinds(alice) == {"monthly": 100, "rollover": 20}
    grant_monthly(now=DECEMBER)

    assert ledger.balance(alice) == (130, 0)


def expire(_user, now):
    ledger.expire(now)


def start_a_batch(user, now):
    held = ledger.hold(user, 1, key=f"hold:{uuid.uuid4()}", now=now)
    ledger.close(held.pk)


def give(_user, now):
    grant_monthly(now=now)


@pytest.mark.parametrize("first", [expire, start_a_batch, give])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=9)])
def test_whatever_runs_first_however_late_the_outcome_is_the_same(alice, plan, first, late, sound):
    grant_monthly(now=OCTOBER)
    spend(alice, 80, now=OCTOBER + DAY)

    for run in (first, give, expire, start_a_batch, expire):
        run(alice, NOVEMBER + late)

    assert ledger.balance(alice) == (120, 0)
    assert kinds(alice) == {"monthly": 100, "rollover": 20}


def test_a_run_that_missed_a_month_carries_nothing_into_one_that_is_over(alice, plan, sound):
    grant_monthly(now=OCTOBER)

    grant_monthly(now=DECEMBER + 2 * DAY)

    assert ledger.balance(alice) == (100, 0)
    assert not Grant.objects.filter(kind="rollover").exists()


def test_what_was_on_hold_at_the_months_end_is_carried_over_when_it_comes_home(alice, plan, sound):
    grant_monthly(now=OCTOBER)
    held = ledger.hold(alice, 90, key="work", now=OCTOBER + DAY)

    grant_monthly(now=NOVEMBER)
    assert ledger.balance(alice) == (110, 90)
    ledger.close(held.pk)
    ledger.expire(NOVEMBER + DAY)
    ledger.expire(NOVEMBER + DAY)

    assert ledger.balance(alice) == (130, 0)
    keys = Grant.objects.filter(kind="rollover").order_by("pk").values_list("key", "amount")
    assert list(keys) == [
        (f"rollover:{alice.pk}:2026-11", 10),
        (f"rollover:{alice.pk}:2026-11:2", 20),
    ]


def test_a_changed_plan_counts_from_the_next_month_on(alice, plan, sound):
    grant_monthly(now=OCTOBER)
    plan.monthly_credits, plan.rollover_credits = 500, 0
    plan.save()

    assert grant_monthly(now=OCTOBER + 15 * DAY).people == 0
    grant_monthly(now=NOVEMBER)

    assert kinds(alice) == {"monthly": 500, "rollover": 30}  # as promised in October
    grant_monthly(now=DECEMBER)
    assert ledger.balance(alice) == (500, 0)


def test_whoever_joins_in_the_middle_of_a_month_gets_all_of_it(plan):
    grant_monthly(now=OCTOBER)
    late = User.objects.create_user("late@example.com")

    done = grant_monthly(now=OCTOBER + 20 * DAY)

    assert (done.people, ledger.balance(late).available) == (1, 100)
    assert Grant.objects.get().expires_at == NOVEMBER


def test_what_is_carried_over_does_not_count_as_granted_twice(alice, plan):
    began = timezone.now()
    grant_monthly(now=OCTOBER)
    grant_monthly(now=NOVEMBER)

    moved = ledger.moved(since=began, until=timezone.now() + MINUTE)

    assert moved == (0, 200)
    assert ledger.balance(alice) == (130, 0)


def test_the_year_ends_in_december(alice, plan):
    grant_monthly(now=DECEMBER + 30 * DAY)

    grant = Grant.objects.get()
    assert (grant.key, grant.expires_at) == (f"monthly:{alice.pk}:2026-12", JANUARY)
    assert grant.carry_until == datetime(2027, 2, 1, tzinfo=UTC)


def test_a_dry_run_counts_and_changes_nothing(alice, bob, plan):
    grant_monthly(now=OCTOBER)
    spend(bob, 90, now=OCTOBER)
    before = (list(Grant.objects.values()), LedgerEntry.objects.count())

    would = grant_monthly(now=NOVEMBER, dry_run=True)
    expired = ledger.expire(NOVEMBER, dry_run=True)

    assert (list(Grant.objects.values()), LedgerEntry.objects.count()) == before
    assert expired == ledger.Expired(credits=110, carried_over=40, accounts=2)
    assert would == grant_monthly(now=NOVEMBER) == Granted(people=2, credits=200, carried_over=40)
    assert ledger.expire(NOVEMBER) == ledger.Expired()


def test_what_goes_wrong_with_one_person_stops_nobody_else(alice, bob, plan, caplog):
    # Somebody's key stands for another kind of entry: the ledger refuses to go on.
    ledger.adjust(bob, 5, actor=alice, note="by hand", key=f"monthly:{bob.pk}:2026-10")
    Grant.objects.all().update(key="other")
    carol = User.objects.create_user("carol@example.com")

    done = grant_monthly(now=OCTOBER)

    assert (done.people, done.failed) == (2, 1)
    assert ledger.balance(carol).available == ledger.balance(alice).available == 100
    assert f"User {bob.pk} could not be given" in caplog.text


def test_who_has_this_months_credits_already_is_not_even_read(plan):
    User.objects.bulk_create(User(email=f"{n}@example.com") for n in range(600))
    people = list(User.objects.all())
    accounts = CreditAccount.objects.bulk_create(CreditAccount(owner=one) for one in people)
    Grant.objects.bulk_create(
        Grant(
            account=account,
            kind="monthly",
            amount=100,
            remaining=100,
            priority=10,
            key=f"monthly:{account.owner_id}:2026-10",
        )
        for account in accounts
    )
    late = User.objects.create_user("late@example.com")

    with CaptureQueriesContext(connection) as asked:
        done = grant_monthly(now=OCTOBER, dry_run=True)

    assert (done.people, len(asked)) == (1, 5)
    assert grant_monthly(now=OCTOBER).people == 1
    assert ledger.balance(late).available == 100


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_all_that_moves_credits_at_the_months_end_at_once_moves_each_once(alice, bob, plan, sound):
    grant_monthly(now=OCTOBER)
    spend(alice, 80, now=OCTOBER + DAY)

    at_once(
        *[partial(grant_monthly, now=NOVEMBER)] * 3,
        *[partial(ledger.expire, NOVEMBER)] * 3,
        partial(start_a_batch, alice, NOVEMBER),
        partial(start_a_batch, bob, NOVEMBER),
    )

    ledger.expire(NOVEMBER)
    assert (ledger.balance(alice), ledger.balance(bob)) == ((120, 0), (130, 0))
    assert Grant.objects.count() == 6


class Story:
    """Months of one account, with a sum of its own: what each month's grant must have passed on."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.user = User.objects.create_user(f"{seed}@example.com")
        self.now = OCTOBER + timedelta(hours=self.chance.randrange(700))
        self.holds: list[tuple[int, int]] = []
        self.plan = Plan.objects.get(slug="pro")
        self.plan.save()  # processes forget what they remember of plans
        self.promised: dict[int, int] = {}
        self.grant()
        self.note()

    def step(self) -> None:
        often = [self.wait, self.hold, self.settle]
        verb = self.chance.choice([*often, *often, self.grant, self.expire, self.replan])
        verb()
        self.note()

    def note(self) -> None:
        """What the plan said when a grant was made is what counts for it."""
        for grant in Grant.objects.filter(kind="monthly", account__owner=self.user):
            self.promised.setdefault(grant.pk, self.plan.rollover_credits)

    def wait(self) -> None:
        self.now += timedelta(hours=self.chance.choice([1, 24, 200, 500]))

    def grant(self) -> None:
        grant_monthly(now=self.now)

    def expire(self) -> None:
        ledger.expire(self.now)

    def hold(self) -> None:
        amount = self.chance.randint(1, 60)
        try:
            held = ledger.hold(self.user, amount, key=f"{uuid.uuid4()}", now=self.now)
        except ledger.InsufficientCredits:
            return
        self.holds.append((held.pk, amount))

    def settle(self) -> None:
        if not self.holds:
            return
        pk, amount = self.holds.pop(self.chance.randrange(len(self.holds)))
        price = self.chance.choice([0, amount, self.chance.randint(0, amount)])
        ledger.capture(pk, item_uid=uuid.uuid4(), generation=1, held=amount, price=price)

    def replan(self) -> None:
        self.plan.rollover_credits = self.chance.choice([0, 10, 30, 200])
        self.plan.save()

    def check(self) -> None:
        """No credit twice, and none lost below the bound, where all of it ended in time."""
        for pk, promised in self.promised.items():
            source = Grant.objects.get(pk=pk)
            used = HoldPart.objects.filter(grant=source).aggregate(n=Sum("captured"))["n"] or 0
            passed_on = promised - source.carry_over
            assert 0 <= passed_on <= min(promised, source.amount - used)
            month = f"{source.expires_at:%Y-%m}"
            over = Grant.objects.filter(
                account=source.account, kind="rollover", key__contains=f":{month}"
            )
            assert (over.aggregate(n=Sum("amount"))["n"] or 0) == passed_on
            if self.now < source.carry_until and self.now >= source.expires_at:
                # A look at it has just been taken, and what is still on hold may come home yet.
                parts = HoldPart.objects.filter(grant=source)
                still = sum(part.open for part in parts)
                assert passed_on == min(promised, source.amount - used - still)
        assert list(disagreements()) == []


def test_in_random_stories_no_credit_is_carried_twice_and_none_is_lost(plan):
    carried = 0
    for seed in range(12):
        with transaction.atomic():
            story = Story(seed)
            for _ in range(30):
                story.step()
                if story.chance.random() < 0.3:
                    ledger.expire(story.now)
                    story.check()
            carried += Grant.objects.filter(kind="rollover").count()
            transaction.set_rollback(True)

    assert carried >= 8  # or the stories were about nothing


def test_accounts_that_are_not_there_yet_are_opened_with_their_welcome(alice, plan, settings):
    settings.WELCOME_CREDITS = 25

    grant_monthly(now=timezone.now())

    assert CreditAccount.objects.get(owner=alice).available == 125
