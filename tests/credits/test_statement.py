"""The statement as people read it."""

import csv
import io
import uuid
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches.models import Batch
from credits import ledger, statement
from credits.models import LedgerEntry

pytestmark = [pytest.mark.django_db]

PAGE = "/accounts/credits/"


@pytest.fixture
def page(client, alice):
    """Alice's browser."""
    client.force_login(alice)
    return client


@pytest.fixture
def clock(monkeypatch):
    """When entries are written; set it back to write history."""
    now = [timezone.now().replace(hour=12)]
    field = LedgerEntry._meta.get_field("created_at")
    monkeypatch.setattr(field, "_get_default", lambda: now[0], raising=False)
    return now


def run(user, count: int, *, name: str = "Autumn", free: int = 0) -> Batch:
    """A batch's money without its images: some of them cost nothing in the end."""
    batch = Batch.objects.create(owner=user, tool="fake", name=name)
    hold = ledger.hold(user, count, key=str(uuid.uuid4()), reference=batch.reference)
    for number in range(count):
        ledger.capture(
            hold.pk, item_uid=uuid.uuid4(), generation=1, held=1, price=0 if number < free else 1
        )
    return batch


def lines(user, page=1):
    return statement.lines(user, page=page)[1]


def test_many_images_of_one_batch_are_one_line(alice, fund):
    fund(alice, 50)
    batch = run(alice, 40, free=3)

    line = lines(alice)[0]

    assert (line.title, line.of.name, line.reference) == ("Used for", "Autumn", batch.reference)
    assert (line.set_aside, line.used, line.images, line.back) == (40, 37, 37, 3)
    assert (line.delta, line.after) == (-37, 13)


def test_a_batch_that_runs_over_midnight_has_a_line_for_each_day(alice, fund, clock):
    fund(alice, 10)
    clock[0] -= timedelta(days=1)
    batch = run(alice, 2)
    hold = ledger.hold(alice, 1, key="retry", reference=batch.reference)
    clock[0] += timedelta(days=1)
    ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=1, price=1)

    today, yesterday = lines(alice)[:2]

    assert (today.used, today.delta) == (1, 0)
    assert (yesterday.used, yesterday.set_aside, yesterday.delta) == (2, 3, -3)


def test_balances_add_up_from_line_to_line_and_over_pages(alice, fund, monkeypatch):
    monkeypatch.setattr(statement, "LINES_PER_PAGE", 2)
    for number in range(3):
        fund(alice, 10)
        run(alice, 4, name=f"batch {number}")

    shown = [line for page in (1, 2, 3) for line in lines(alice, page)]

    assert shown[0].after == ledger.balance(alice).available
    assert all(newer.after - newer.delta == older.after for newer, older in pairwise(shown))
    assert shown[-1].after == shown[-1].delta


def test_lines_say_what_they_are(alice, fund, staff, settings):
    settings.WELCOME_CREDITS = 5
    ledger.grant(alice, 5, kind="purchase", key="bought")
    ledger.adjust(alice, -1, actor=staff, note="a secret reason", key="adjusted")
    run(alice, 2, free=2)
    run(alice, 1).delete()

    titles = [(line.title, line.of.name if line.of else "") for line in lines(alice)]

    assert titles == [
        ("Used for a deleted batch", ""),
        ("Set aside for", "Autumn"),
        ("Adjusted by staff", ""),
        ("Credits bought", ""),
        ("Welcome credits", ""),
    ]


def test_somebody_elses_entries_and_batches_are_not_shown(page, bob, fund):
    fund(bob, 5)
    batch = run(bob, 2, name="Bob's secret")

    statement_page = page.get(PAGE).content.decode()
    entries = page.get(PAGE, {"of": batch.reference}).content.decode()

    assert "Bob" not in statement_page + entries
    assert "no entries" in entries


def test_each_entry_of_a_batch_can_be_seen(page, alice, fund):
    fund(alice, 5)
    batch = run(alice, 3, free=1)

    answer = page.get(PAGE, {"of": batch.reference})

    kinds = [kind for _entry, kind in answer.context["entries"]]
    assert kinds == ["Used", "Used", "Given back", "Set aside"]


@pytest.mark.parametrize("of", ["batch:nonsense", "\0", "x" * 5000, "'; DROP TABLE"])
def test_an_address_that_names_nothing_shows_nothing(page, of):
    assert page.get(PAGE, {"of": of}).status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "99999", "x", "1e9"])
def test_a_page_that_there_is_not_is_the_nearest(page, alice, fund, number):
    fund(alice, 5)

    assert page.get(PAGE, {"page": number}).status_code == 200


def test_the_page_costs_the_same_for_a_long_history(page, alice, fund, django_assert_num_queries):
    fund(alice, 500)
    run(alice, 1)
    with CaptureQueriesContext(connection) as short:
        page.get(PAGE)
    for number in range(30):
        fund(alice, 1)
        run(alice, 8, name=f"batch {number}")

    with django_assert_num_queries(len(short)):
        page.get(PAGE)


def test_the_chart_has_each_day_and_its_use(alice, fund, clock):
    fund(alice, 100)
    clock[0] -= timedelta(days=3)
    run(alice, 40)
    clock[0] += timedelta(days=3)
    run(alice, 10, free=2)

    days = statement.days(alice, today=clock[0].date())

    assert len(days) == 30
    assert [(day.used, day.height) for day in days if day.used] == [(40, 100), (8, 20)]
    assert days[-1].used == 8


def test_nothing_outside_the_thirty_days_is_in_the_chart(alice, fund, clock):
    fund(alice, 100)
    today = clock[0].date()
    clock[0] -= timedelta(days=30)
    run(alice, 7)
    clock[0] += timedelta(days=1)
    run(alice, 5)

    days = statement.days(alice, today=today)

    assert [day.used for day in days if day.used] == [5]
    assert days[0].used == 5


def test_the_chart_can_be_read_without_being_seen(page, alice, fund):
    fund(alice, 5)
    run(alice, 3)

    text = page.get(PAGE).content.decode()

    assert '<desc id="chart-desc">3 in 30 days, at most 3 on one day' in text
    assert "style=" not in text


def test_the_file_has_every_entry_and_adds_up(page, alice, fund):
    fund(alice, 20)
    run(alice, 5, free=1)

    answer = page.get(f"{PAGE}statement.csv")

    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert len(rows) == LedgerEntry.objects.count()
    assert sum(int(row["credits"]) for row in rows) == ledger.balance(alice).available
    assert rows[-1]["credits after"] == str(ledger.balance(alice).available)
    assert "attachment" in answer["Content-Disposition"]


def test_an_empty_statement_says_so(page, settings):
    settings.WELCOME_CREDITS = 0

    assert "Nothing has moved yet" in page.get(PAGE).content.decode()


def test_the_welcome_is_given_once_to_whoever_finds_it_in_the_account_already(alice, settings):
    settings.WELCOME_CREDITS = 25

    first, second = ledger.welcome(alice), ledger.welcome(alice)

    assert first == second
    assert ledger.balance(alice).available == 25
