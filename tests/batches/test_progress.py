"""One look at a batch: counts that add up, credits, and the time that is left."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches import lifecycle, pipeline, progress
from batches.models import Batch, Item
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch, make_original
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "media")


def look(batch: Batch) -> progress.Progress:
    return progress.of(Batch.objects.get(pk=batch.pk), now=timezone.now())


def one_item_in_each_state(owner) -> Batch:
    batch = bare_batch(owner, state=BatchState.RUNNING)
    for position, state in enumerate(ItemState.values):
        bare_item(batch, state=state, position=position, held_price=2)
    return batch


# --- Counts ---------------------------------------------------------------------------


def test_the_five_counts_add_up_to_the_total(alice):
    seen = look(one_item_in_each_state(alice))

    assert seen.total == 8
    assert seen.waiting == 4  # pending, queued, fetching and fetched
    assert (seen.processing, seen.done, seen.failed, seen.cancelled) == (1, 1, 1, 1)
    assert seen.waiting + seen.processing + seen.finished == seen.total


def test_an_empty_batch_is_as_finished_as_can_be(alice):
    seen = look(bare_batch(alice))

    assert (seen.total, seen.percent, seen.finished) == (0, 100, 0)


@pytest.mark.parametrize(
    ("ended", "total", "percent"), [(0, 3, 0), (1, 3, 33), (2, 3, 66), (3, 3, 100), (199, 200, 99)]
)
def test_a_hundred_percent_is_said_only_at_the_end(alice, ended, total, percent):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    Item.objects.bulk_create(
        Item(
            batch=batch,
            position=n,
            name=f"{n}.png",
            state=ItemState.DONE if n < ended else ItemState.FETCHED,
        )
        for n in range(total)
    )

    assert look(batch).percent == percent


@pytest.mark.parametrize("state", BatchState.values)
def test_a_look_is_worth_repeating_while_something_may_change(alice, state):
    seen = look(bare_batch(alice, state=state))

    assert seen.live == (state in {"importing", "running", "paused", "cancelling"})


def test_results_that_want_a_second_look_are_counted(alice):
    batch = bare_batch(alice)
    for position, flags in enumerate([[], ["edges"], ["edges", "halo"]]):
        bare_item(batch, state=ItemState.DONE, position=position, review=flags)

    assert look(batch).needs_review == 2


def test_each_batch_has_its_own_figures(alice, bob):
    hers, his = one_item_in_each_state(alice), bare_batch(bob)
    bare_item(his, state=ItemState.DONE)

    seen = progress.of_many([hers, his], now=None)

    assert (seen[hers.pk].total, seen[his.pk].total) == (8, 1)
    assert seen[his.pk].done == 1


def test_no_batches_make_no_figures(db):
    assert progress.of_many([], now=None) == {}


# --- Credits --------------------------------------------------------------------------


def test_credits_go_from_quoted_to_held_to_used_and_released(alice, scripted):
    batch = make_batch(alice, 3, tool="scripted")
    before = look(batch)
    lifecycle.start(batch)
    started = look(batch)
    first, second, _third = batch.items.order_by("position")
    pipeline.run(first.pk)
    one_done = look(batch)
    Item.objects.filter(pk=second.pk).update(settings={**second.settings, "trouble": "permanent"})
    pipeline.run(second.pk)
    one_failed = look(batch)
    lifecycle.cancel(batch)
    after = look(batch)

    def credits_of(seen):
        return (seen.quoted, seen.held, seen.used, seen.released)

    assert credits_of(before) == (6, 0, 0, 0)
    assert credits_of(started) == (6, 6, 0, 0)
    assert credits_of(one_done) == (6, 4, 2, 0)
    assert credits_of(one_failed) == (6, 2, 2, 2)
    assert credits_of(after) == (6, 0, 2, 4)
    assert ledger.balance(alice) == (28, 0)


def test_a_cheaper_image_shows_what_came_back(alice, sized):
    batch = lifecycle.create(alice, sized, [Row(upload=str(make_original(alice).uid))])
    give(alice, 10)
    lifecycle.start(batch)

    pipeline.run(batch.items.get().pk)

    seen = look(batch)
    assert (seen.quoted, seen.held, seen.used, seen.released) == (10, 0, 2, 8)


def test_what_was_never_paid_for_is_not_released(alice):
    batch = make_batch(alice, 2)

    lifecycle.cancel(batch)

    assert look(batch).released == 0


def test_an_invalid_row_is_in_no_quote(alice, fake_tool):
    rows = [Row(url="ftp://a.example.com/"), Row(url="https://a.example.com/")]

    batch = lifecycle.create(alice, fake_tool, rows, skip_invalid=True)

    assert look(batch).quoted == 2


# --- Time left ------------------------------------------------------------------------


def running_batch(owner, now, *, done: int, left: int, seconds: float) -> Batch:
    """So many were done in so many seconds, one after the other, up to now."""
    batch = bare_batch(owner, state=BatchState.RUNNING)
    each = timedelta(seconds=seconds / max(done, 1))
    for n in range(done):
        began = now - (done - n) * each
        bare_item(
            batch,
            state=ItemState.DONE,
            position=n,
            started_at=began,
            finished_at=began + each,
        )
    for n in range(left):
        bare_item(batch, state=ItemState.FETCHED, position=done + n)
    return batch


def test_the_time_left_is_a_range_around_the_pace_so_far(alice):
    now = timezone.now()
    batch = running_batch(alice, now, done=10, left=20, seconds=10)

    low, high = progress.of(batch, now=now).eta_seconds

    assert low <= 20 <= high
    assert (low, high) == (15, 28)


def test_only_the_recent_pace_counts(alice):
    now = timezone.now()
    batch = running_batch(alice, now - timedelta(seconds=40), done=10, left=0, seconds=10_000)
    for n in range(progress.RECENT):
        ended = now - timedelta(seconds=progress.RECENT - n - 1)
        bare_item(
            batch,
            state=ItemState.DONE,
            position=100 + n,
            started_at=ended - timedelta(seconds=1),
            finished_at=ended,
        )
    for n in range(10):
        bare_item(batch, state=ItemState.FETCHED, position=200 + n)

    low, high = progress.of(batch, now=now).eta_seconds

    assert (low, high) == (7, 14)


@pytest.mark.parametrize(
    ("done", "left", "known"),
    [(4, 60, False), (5, 60, True), (1, 9, False), (2, 8, True), (3, 27, True), (2, 28, False)],
)
def test_nothing_is_said_before_the_pace_can_be_known(alice, done, left, known):
    now = timezone.now()
    batch = running_batch(alice, now, done=done, left=left, seconds=10)

    assert (progress.of(batch, now=now).eta_seconds is not None) == known


@pytest.mark.parametrize("state", ["paused", "sampled", "finished", "cancelled"])
def test_a_batch_that_does_not_run_has_no_time_left(alice, state):
    now = timezone.now()
    batch = running_batch(alice, now, done=10, left=10, seconds=10)
    batch.state = state

    assert progress.of(batch, now=now).eta_seconds is None


def test_a_pause_does_not_count_as_work(alice):
    now = timezone.now()
    batch = running_batch(alice, now, done=10, left=20, seconds=10)
    before = progress.of(batch, now=now).eta_seconds

    resumed = progress.of(batch, now=now + timedelta(hours=1)).eta_seconds

    assert before == (15, 28)
    assert before[0] <= resumed[0] <= resumed[1] <= before[1] * 1.2


def test_a_pause_between_two_results_does_not_count_either(alice):
    now = timezone.now()
    batch = running_batch(alice, now - timedelta(hours=2), done=10, left=20, seconds=10)
    for n in range(3):
        bare_item(
            batch,
            state=ItemState.DONE,
            position=100 + n,
            started_at=now - timedelta(seconds=4 - n),
            finished_at=now - timedelta(seconds=2 - n),
        )

    low, high = progress.of(batch, now=now).eta_seconds

    assert low <= 20 <= high < 40


def test_a_clock_that_was_set_back_gives_no_negative_time(alice):
    now = timezone.now()
    batch = running_batch(alice, now, done=10, left=10, seconds=10)

    assert progress.of(batch, now=now - timedelta(hours=1)).eta_seconds == (1, 2)


# --- What a look costs ----------------------------------------------------------------


def test_a_look_costs_two_queries_however_large_the_batch(alice):
    def queries(count: int) -> int:
        upload = str(make_original(alice).uid)
        give(alice, 2 * count)
        rows = [Row(upload=upload)] * count
        batch = lifecycle.start(lifecycle.create(alice, registry.get("fake"), rows))
        for pk in batch.items.order_by("position").values_list("pk", flat=True)[: count - 1]:
            pipeline.run(pk)
        with CaptureQueriesContext(connection) as seen:
            assert progress.of(batch, now=timezone.now()).eta_seconds
        return len(seen)

    assert queries(5) == queries(200) == 2


def test_a_page_of_batches_costs_one_query(alice, django_assert_num_queries):
    batches = [one_item_in_each_state(alice) for _ in range(5)]

    with django_assert_num_queries(1):
        progress.of_many(batches, now=None)
