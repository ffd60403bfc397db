"""A sheet's rows become a batch, few at once and many by and by, whoever dies over it."""

import io
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from batches import dispatch, imports, intake, lifecycle, sheets, storage
from batches.imports import begin
from batches.intake import RowsInvalid
from batches.models import Batch, Item, Sheet
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import give, make_original

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey", "no_welcome", "sound")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    """The same steps with a hundredth of the rows."""
    monkeypatch.setattr(imports, "AT_ONCE", 10)
    monkeypatch.setattr(imports, "CHUNK", 5)


def catalogue(
    owner, count: int, *, wrong: tuple[int, ...] = (), done: tuple[int, ...] = ()
) -> Sheet:
    """A CSV of so many rows; those that are named can't be used, or are done already."""
    lines = ["photo,name,studio_status"]
    for n in range(1, count + 1):
        address = "ftp://shop.example.com/x" if n in wrong else f"https://shop.example.com/{n}.png"
        lines.append(f"{address},mug {n},{'done' if n in done else ''}")
    return sheets.keep(owner, io.BytesIO("\n".join(lines).encode()), "catalogue.csv")


def addresses(batch: Batch) -> list[str]:
    items = batch.items.order_by("position")
    return [item.source_url.rpartition("/")[2].removesuffix(".png") for item in items]


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


def state_of(batch: Batch) -> str:
    batch.refresh_from_db()
    return batch.state


@pytest.fixture
def work(django_capture_on_commit_callbacks):
    """Let workers do what an import rings for, until it has ended; returns how many jobs ran."""

    def run(batch: Batch, *, jobs: int = 100) -> int:
        ran = 0
        while ran < jobs and state_of(batch) == BatchState.IMPORTING:
            with django_capture_on_commit_callbacks(execute=True):
                imports.run(batch.pk)
            ran += 1
        return ran

    return run


# --- Few rows ---------------------------------------------------------------------------


def test_a_few_rows_are_a_ready_batch_at_once(alice, fake_tool):
    sheet = catalogue(alice, 3)

    batch = begin(alice, fake_tool, sheet, name="Autumn")

    assert (batch.state, batch.name, batch.sheet) == (BatchState.READY, "Autumn", sheet)
    assert addresses(batch) == numbers(1, 3)
    assert list(batch.items.order_by("position").values_list("line", flat=True)) == [2, 3, 4]


def test_rows_that_an_earlier_round_has_marked_as_done_are_left_out(alice, fake_tool):
    batch = begin(alice, fake_tool, catalogue(alice, 4, done=(1, 3)))

    assert addresses(batch) == ["2", "4"]


def test_other_images_of_the_page_stand_before_the_rows(alice, fake_tool):
    pasted = Row(url="https://shop.example.com/pasted.png", line=1)

    batch = begin(alice, fake_tool, catalogue(alice, 2), first=[pasted])

    assert addresses(batch) == ["pasted", "1", "2"]


def test_a_part_of_the_rows_can_be_taken_and_the_next_part_later(alice, fake_tool):
    sheet = catalogue(alice, 5)

    begun = begin(alice, fake_tool, sheet, take=2)
    last = begun.items.order_by("-position")[0].line
    rest = begin(alice, fake_tool, sheet, after=last)

    assert (addresses(begun), addresses(rest)) == (["1", "2"], ["3", "4", "5"])


def test_a_bad_row_refuses_it_all_or_fails_alone(alice, fake_tool):
    sheet = catalogue(alice, 3, wrong=(2,))

    with pytest.raises(RowsInvalid):
        begin(alice, fake_tool, sheet)
    assert not Batch.objects.exists()
    batch = begin(alice, fake_tool, sheet, skip_invalid=True)

    assert [item.state for item in batch.items.order_by("position")] == [
        ItemState.PENDING,
        ItemState.FAILED,
        ItemState.PENDING,
    ]


def test_a_batch_that_can_not_be_paid_for_is_not_made(alice, fake_tool):
    with pytest.raises(ledger.InsufficientCredits):
        begin(alice, fake_tool, catalogue(alice, 3), start=True)

    assert not Batch.objects.exists()


@pytest.mark.parametrize("count", [8, 40])
def test_more_rows_than_the_plan_takes_are_refused_before_anything(alice, fake_tool, count):
    alice.batch_images = 7
    alice.save()

    with pytest.raises(lifecycle.BatchTooLarge) as refused:
        begin(alice, fake_tool, catalogue(alice, count))

    assert refused.value.params == {"limit": 7, "count": count}
    assert not Batch.objects.exists()
    assert begin(alice, fake_tool, catalogue(alice, count), take=7).items.count() == 7


def test_what_a_sheet_would_become_is_known_without_a_batch(alice, fake_tool):
    sheet = catalogue(alice, 12, wrong=(2, 5), done=(1,))

    found = imports.check(sheet, fake_tool)

    assert (found.rows, found.done, found.wrong, found.usable) == (11, 1, 2, 9)
    assert found.credits == 18
    first = found.problems[0]
    assert (first.line, first.column, first.value) == (3, "photo", "ftp://shop.example.com/x")
    assert first.detail
    assert not Batch.objects.exists()


def test_only_the_first_rows_are_judged_while_somebody_waits_and_that_is_told(alice, fake_tool):
    found = imports.check(catalogue(alice, 9, wrong=(8,)), fake_tool, most=5)

    assert (found.rows, found.judged, found.wrong) == (9, 5, 0)


# --- Many rows --------------------------------------------------------------------------


def test_many_rows_are_imported_by_a_worker_and_then_started(alice, fake_tool, work):
    give(alice, 100)

    batch = begin(alice, fake_tool, catalogue(alice, 23), start=True)
    assert (batch.state, batch.items.count()) == (BatchState.IMPORTING, 0)
    work(batch)

    assert state_of(batch) == BatchState.RUNNING
    assert addresses(batch) == numbers(1, 23)
    assert ledger.balance(alice) == (54, 46)
    assert len(set(batch.items.values_list("name", flat=True))) == 23
    assert batch.items.get(position=22).line == 24


def test_the_ring_for_an_import_reaches_a_worker(
    alice, fake_tool, run_jobs, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        batch = begin(alice, fake_tool, catalogue(alice, 12))

    run_jobs()

    assert state_of(batch) == BatchState.READY
    assert addresses(batch) == numbers(1, 12)


def test_a_job_hands_over_when_its_time_is_over(alice, fake_tool, work, monkeypatch):
    monkeypatch.setattr(imports, "BUDGET_SECONDS", 0.0)
    first = [Row(upload=str(make_original(alice).uid))]
    batch = begin(alice, fake_tool, catalogue(alice, 23, done=(4,)), first=first)

    jobs = work(batch)

    assert jobs > 4
    assert state_of(batch) == BatchState.READY
    assert addresses(batch)[1:] == [*numbers(1, 3), *numbers(5, 23)]


def test_whoever_goes_on_asks_as_little_of_many_rows_as_of_few(
    alice, fake_tool, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(imports, "AT_ONCE", 40)
    batch = begin(alice, fake_tool, catalogue(alice, 40))
    names = batch.items.order_by("position").values_list("name", flat=True)
    taker = intake.Intake(batch, fake_tool, there=list(names))

    with django_assert_max_num_queries(12), transaction.atomic():
        taker.add([Row(url="https://shop.example.com/41.jpg", line=42)], skip_invalid=False)

    assert batch.items.count() == 41


def test_a_worker_that_dies_costs_nothing_but_time(alice, fake_tool, work, monkeypatch):
    batch = begin(alice, fake_tool, catalogue(alice, 23))
    dying = imports._hand_over
    monkeypatch.setattr(imports, "BUDGET_SECONDS", 0.0)
    monkeypatch.setattr(imports, "_hand_over", lambda *_: None)  # killed just before it
    imports.run(batch.pk)
    assert batch.items.count() == 5
    imports.run(batch.pk)  # somebody else, while the lease lasts
    assert batch.items.count() == 5
    monkeypatch.setattr(imports, "_hand_over", dying)

    Batch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    reconcile(now=timezone.now())
    work(batch)

    assert addresses(batch) == numbers(1, 23)


def test_a_worker_that_wakes_up_late_adds_nothing(alice, fake_tool, work):
    batch = begin(alice, fake_tool, catalogue(alice, 12))
    late, token = imports._claim(batch.pk, now=timezone.now())
    Batch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    work(batch)

    with pytest.raises(imports.Lost):
        imports._go_on(late, token)

    assert addresses(batch) == numbers(1, 12)


def test_a_lost_ring_is_rung_again_and_a_fresh_one_is_not(alice, fake_tool, monkeypatch):
    batch = begin(alice, fake_tool, catalogue(alice, 12))
    rung = []
    monkeypatch.setattr(dispatch, "ring_import", rung.append)

    reconcile(now=timezone.now())
    assert rung == []
    found = reconcile(now=timezone.now() + dispatch.RING_AGAIN_AFTER * 2)

    assert (rung, found.rings) == ([batch.pk], 1)


def test_an_import_that_kills_its_workers_is_given_up(alice, fake_tool, work, monkeypatch):
    batch = begin(alice, fake_tool, catalogue(alice, 12))
    for _ in range(imports.MOST_TRIES):
        imports._claim(batch.pk, now=timezone.now())
        Batch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    work(batch)

    assert state_of(batch) == BatchState.DRAFT
    assert batch.plan["errors"][0]["code"] == "worker_lost"


def test_bad_rows_leave_a_draft_that_says_what_is_wrong_with_them(alice, fake_tool, work):
    give(alice, 100)
    first = [Row(upload=str(make_original(alice).uid))]
    sheet = catalogue(alice, 23, wrong=(14, 21))
    batch = begin(alice, fake_tool, sheet, first=first, start=True)

    work(batch)

    assert state_of(batch) == BatchState.DRAFT
    assert [(one["line"], one["value"]) for one in batch.plan["errors"]] == [
        (15, "ftp://shop.example.com/x"),
        (22, "ftp://shop.example.com/x"),
    ]
    assert batch.items.count() == 1  # what stood before the sheet's rows waits
    assert ledger.balance(alice) == (100, 0)

    imports.again(batch)
    work(batch)

    assert state_of(batch) == BatchState.RUNNING
    assert batch.items.count() == 24
    assert batch.items.filter(state=ItemState.FAILED).count() == 2
    assert ledger.balance(alice) == (56, 44)


def test_a_worker_that_dies_while_it_gives_up_is_followed_by_one_that_gives_up(
    alice, fake_tool, work, monkeypatch
):
    batch = begin(alice, fake_tool, catalogue(alice, 23, wrong=(14,)))
    giving_up = imports._give_up
    monkeypatch.setattr(imports, "_give_up", lambda *_: None)
    imports.run(batch.pk)
    monkeypatch.setattr(imports, "_give_up", giving_up)
    Batch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    work(batch)

    assert (state_of(batch), batch.items.count()) == (BatchState.DRAFT, 0)


def test_a_batch_whose_credits_are_not_there_waits_and_says_so(alice, fake_tool, work):
    batch = begin(alice, fake_tool, catalogue(alice, 12), start=True)

    work(batch)

    assert state_of(batch) == BatchState.READY
    assert "24" in batch.plan["halted"]


def test_an_import_can_be_cancelled(alice, fake_tool, work, monkeypatch):
    monkeypatch.setattr(imports, "BUDGET_SECONDS", 0.0)
    batch = begin(alice, fake_tool, catalogue(alice, 23))
    work(batch, jobs=1)

    lifecycle.cancel(batch)
    imports.run(batch.pk)

    assert state_of(batch) == BatchState.CANCELLED
    assert set(batch.items.values_list("state", flat=True)) == {ItemState.CANCELLED}


def test_a_sheet_whose_file_is_gone_leaves_a_draft(alice, fake_tool, work):
    sheet = catalogue(alice, 12)
    batch = begin(alice, fake_tool, sheet)
    storage.delete(storage.ORIGINALS, sheet.key)

    work(batch)

    assert state_of(batch) == BatchState.DRAFT
    assert batch.plan["errors"][0]["code"] == "sheet_gone"
    assert lifecycle.delete(batch)
    assert not Item.objects.exists()
