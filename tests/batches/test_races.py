"""What happens at the same moment: people who click twice, workers that meet, late cancels.

Every test runs on PostgreSQL, where row locks decide, and on SQLite, where writers take turns.
"""

import threading
from collections import Counter
from datetime import timedelta
from functools import partial

import django_rq
import pytest
from django.db import transaction
from django.utils import timezone

from batches import dispatch, intake, lifecycle, pipeline
from batches.models import Batch, Item, Original
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.batches import fetch_server
from tests.batches.races import at_once, refusals
from tests.factories import give, make_original, picture
from tools import registry

pytestmark = [
    pytest.mark.concurrency,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "media", "sound"),
]


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def ready(owner, count: int = 2, **options) -> Batch:
    """A batch of one picture many times over, with exactly the credits to run it."""
    rows = [Row(upload=str(make_original(owner).uid))] * count
    batch = lifecycle.create(owner, registry.get("fake"), rows, **{"reuse": False} | options)
    give(owner, 2 * count)
    return batch


def started(owner, count: int = 2, **options) -> Batch:
    return lifecycle.start(ready(owner, count, **options))


def states(batch: Batch) -> list[str]:
    return list(batch.items.order_by("position").values_list("state", flat=True))


def state_of(batch: Batch) -> str:
    batch.refresh_from_db()
    return batch.state


def claim(batch: Batch, position: int = 0) -> Item:
    item = pipeline._claim(batch.items.get(position=position).pk, ItemState.RUNNING)
    assert item is not None
    return item


def fail(batch: Batch, *positions: int) -> None:
    for position in positions:
        item = claim(batch, position)
        assert lifecycle.fail_item(item, "no_subject", {}, token=item.token)


def spent(owner) -> int:
    """Credits captured, all in all."""
    deltas = ledger.entries(owner).filter(kind="capture").values_list("held_delta", flat=True)
    return -sum(deltas)


# --- People ---------------------------------------------------------------------------


def test_two_starts_at_once_take_one_hold(alice):
    for _ in range(10):
        batch = ready(alice)
        before = ledger.balance(alice)

        answers = at_once(partial(lifecycle.start, batch), partial(lifecycle.start, batch))

        assert refusals(answers) == [lifecycle.StateConflict]
        assert ledger.balance(alice) == (before.available - 4, before.held + 4)
        assert states(batch) == ["fetched", "fetched"]


def test_two_starts_with_credits_for_one_start_one(alice):
    for _ in range(10):
        batches = [ready(alice), ready(alice)]
        ledger.adjust(alice, -4, actor=alice, note="test", key=f"test:{batches[0].uid}")

        answers = at_once(*[partial(lifecycle.start, batch) for batch in batches])

        assert refusals(answers) == [ledger.InsufficientCredits]
        assert sorted(state_of(batch) for batch in batches) == ["ready", "running"]
        assert ledger.balance(alice) == (0, 4)
        for batch in batches:
            lifecycle.cancel(batch)
        ledger.adjust(alice, -4, actor=alice, note="test", key=f"test:{batches[1].uid}")


def test_a_start_and_a_cancel_at_once_end_in_a_cancelled_batch(alice):
    for _ in range(20):
        batch = ready(alice, 3)
        before = ledger.balance(alice)

        answers = at_once(partial(lifecycle.start, batch), partial(lifecycle.cancel, batch))

        assert refusals(answers) in ([], [lifecycle.StateConflict])
        assert state_of(batch) == BatchState.CANCELLED
        assert states(batch) == ["cancelled"] * 3
        assert ledger.balance(alice) == before


def test_two_cancels_at_once_release_once(alice, monkeypatch):
    monkeypatch.setattr(lifecycle, "RELEASE_CHUNK", 2)
    for _ in range(10):
        batch = started(alice, 7)
        before = ledger.balance(alice)

        answers = at_once(
            partial(lifecycle.cancel, batch),
            partial(lifecycle.cancel, batch),
            lambda: reconcile(now=timezone.now()),
        )

        assert refusals(answers) == [lifecycle.StateConflict]
        assert state_of(batch) == BatchState.CANCELLED
        assert ledger.balance(alice) == (before.available + 14, before.held - 14)


def test_two_retries_at_once_take_one_hold(alice):
    for _ in range(10):
        batch = started(alice, 2)
        fail(batch, 0, 1)
        lifecycle.close_if_finished(batch.pk)
        before = ledger.balance(alice)

        answers = at_once(partial(lifecycle.retry, batch), partial(lifecycle.retry, batch))

        assert refusals(answers) == [lifecycle.StateConflict]
        assert ledger.balance(alice) == (before.available - 4, before.held + 4)
        assert set(batch.items.values_list("state", "generation")) == {("fetched", 2)}


def test_a_retry_and_a_cancel_at_once_leave_nothing_on_hold(alice):
    for _ in range(20):
        batch = started(alice, 3)
        fail(batch, 0, 1)
        before = ledger.balance(alice)

        answers = at_once(partial(lifecycle.retry, batch), partial(lifecycle.cancel, batch))

        assert refusals(answers) in ([], [lifecycle.StateConflict])
        assert state_of(batch) == BatchState.CANCELLED
        assert states(batch) in (["failed", "failed", "cancelled"], ["cancelled"] * 3)
        assert ledger.balance(alice) == (before.available + 2, before.held - 2)


def test_approval_and_cancel_at_once_leave_nothing_on_hold(alice):
    for _ in range(10):
        batch = started(alice, 3, sample=1)
        pipeline.run(batch.items.get(position=0).pk)
        before = ledger.balance(alice)

        answers = at_once(partial(lifecycle.approve, batch), partial(lifecycle.cancel, batch))

        assert refusals(answers) in ([], [lifecycle.StateConflict])
        assert states(batch) == ["done", "cancelled", "cancelled"]
        assert ledger.balance(alice) == before


def test_the_same_file_twice_at_once_is_kept_once(alice, media):
    for number in range(10):
        data = picture(number)

        answers = at_once(*[partial(intake.receive, alice, data, name="a.png")] * 2)

        assert {original.pk for original, _new in answers} == {Original.objects.latest("pk").pk}
        assert sorted(new for _original, new in answers) == [False, True]
        assert len(files(media)) == 2 * (number + 1)


def test_a_pause_and_the_last_image_at_once_end_the_batch(alice):
    for _ in range(20):
        batch = started(alice, 1)
        item = claim(batch)

        at_once(partial(pipeline._process, item), partial(lifecycle.pause, batch))

        assert state_of(batch) == BatchState.FINISHED


def test_two_deletions_at_once_have_one_winner(alice, media):
    for _ in range(10):
        batch = ready(alice, 3)

        answers = at_once(*[partial(lifecycle.delete, batch)] * 2)

        assert sorted(answers) == [False, True]
        assert files(media) == []


def test_two_batches_of_the_same_picture_deleted_at_once_take_it_along(alice, media):
    for _ in range(10):
        batches = [ready(alice), ready(alice)]

        answers = at_once(*[partial(lifecycle.delete, batch) for batch in batches])

        assert answers == [True, True]
        assert not Original.objects.exists()
        assert files(media) == []


def test_a_deletion_and_a_new_batch_of_the_same_picture_at_once_lose_nothing(alice, media):
    outcomes = Counter()
    for _ in range(20):
        old = ready(alice)
        row = Row(upload=str(Original.objects.get().uid))

        def create(row=row):
            try:
                return lifecycle.create(alice, registry.get("fake"), [row])
            except intake.RowsInvalid as invalid:
                return invalid.errors[0].code

        _deleted, made = at_once(partial(lifecycle.delete, old), create)

        outcomes[isinstance(made, Batch)] += 1
        if isinstance(made, Batch):
            pipeline.run(lifecycle.start(made).items.get().pk)
            assert states(made) == ["done"]
            assert lifecycle.delete(made)
        else:
            assert made == "source_missing"
        assert files(media) == []
    assert outcomes.total() == 20


def test_a_deletion_while_a_worker_has_the_same_picture_in_hand_loses_nothing(alice, media):
    for _ in range(10):
        old, other = ready(alice), started(alice, 1)
        item = claim(other)

        at_once(partial(pipeline._process, item), partial(lifecycle.delete, old))

        assert states(other) == ["done"]
        assert Original.objects.count() == 1
        assert len(files(media)) == 4
        lifecycle.delete(other)


def test_a_deletion_and_a_retry_at_once_leave_nothing_on_hold(alice):
    for _ in range(10):
        batch = started(alice, 1)
        fail(batch, 0)
        lifecycle.close_if_finished(batch.pk)
        before = ledger.balance(alice)

        answers = at_once(partial(lifecycle.retry, batch), partial(lifecycle.delete, batch))

        assert refusals(answers) == [lifecycle.StateConflict]
        if Batch.objects.filter(pk=batch.pk).exists():
            lifecycle.cancel(batch)
        assert ledger.balance(alice) == before


def test_a_picture_that_is_deleted_while_its_twin_comes_in_is_fetched_again(
    alice, media, server, monkeypatch
):
    batch = lifecycle.create(alice, registry.get("fake"), [Row(url=server.url("/ok"))])
    give(alice, 2)
    pk = lifecycle.start(batch).items.get().pk
    receive = intake.receive
    twin, _new = receive(alice, fetch_server.PNG, name="twin.png")
    old = lifecycle.create(alice, registry.get("fake"), [Row(upload=str(twin.uid))])

    def rival(*args, **kwargs):
        """The other batch goes right after the bytes were found to be known."""
        found = receive(*args, **kwargs)
        if Batch.objects.filter(pk=old.pk).exists():
            assert not found[1]
            at_once(partial(lifecycle.delete, old))
        return found

    monkeypatch.setattr(intake, "receive", rival)
    pipeline.fetch([pk])
    assert states(batch) == ["queued"]
    Item.objects.update(retry_at=None)

    pipeline.fetch([pk])
    pipeline.run(pk)

    assert states(batch) == ["done"]
    assert Original.objects.count() == 1


# --- Workers --------------------------------------------------------------------------


def test_two_workers_never_win_the_same_claim(alice):
    for _ in range(20):
        batch = started(alice, 1)
        pk = batch.items.get().pk

        answers = at_once(*[partial(pipeline._claim, pk, ItemState.RUNNING)] * 4)

        (won,) = filter(None, answers)
        assert batch.items.get().token == won.token


@pytest.mark.parametrize("rival", [ItemState.RUNNING, ItemState.CANCELLED])
def test_a_claim_that_waited_for_a_rivals_lock_looks_again(alice, free, rival):
    """The rival has the row, uncommitted, when the claim begins; the claim must wait and lose."""
    row = Row(upload=str(make_original(alice).uid))
    batch = lifecycle.start(lifecycle.create(alice, free, [row]))
    pk = batch.items.get().pk
    answers: list[Item | None] = []
    begun = threading.Event()

    def late_worker():
        begun.set()
        answers.append(pipeline._claim(pk, ItemState.RUNNING))

    thread = threading.Thread(target=lambda: at_once(late_worker))
    with transaction.atomic():
        Item.objects.filter(pk=pk).advance(rival, worker="rival")
        thread.start()
        begun.wait(10)
        thread.join(0.3)  # it waits for our lock
        assert thread.is_alive()
    thread.join(30)

    item = batch.items.get()
    assert answers == [None]
    assert (item.state, item.worker, item.token) == (rival, "rival", None)


def test_settling_and_cancelling_the_same_image_at_once_has_one_winner(alice, media):
    outcomes = Counter()
    for _ in range(20):
        batch = started(alice, 1)
        item = claim(batch)
        before = (ledger.balance(alice), spent(alice), len(files(media / "results")))

        at_once(partial(pipeline._process, item), partial(lifecycle.cancel, batch))

        won = states(batch) == ["done"]
        outcomes[won] += 1
        balance, spending, kept = before
        assert states(batch) in (["done"], ["cancelled"])
        assert state_of(batch) in (["finished", "cancelled"] if won else ["cancelled"])
        assert spent(alice) == spending + 2 * won
        assert ledger.balance(alice) == (balance.available + 2 * (not won), balance.held - 2)
        assert len(files(media / "results")) == kept + 2 * won
    assert outcomes.total() == 20


def test_the_last_two_images_settled_at_once_end_the_batch(alice):
    for _ in range(30):
        batch = started(alice, 2)
        first, second = claim(batch, 0), claim(batch, 1)

        at_once(partial(pipeline._process, first), partial(pipeline._process, second))

        assert states(batch) == ["done", "done"]
        assert state_of(batch) == BatchState.FINISHED


def stand_in(pk: int) -> None:
    """Another worker, once the lease of the first has run out."""
    lifecycle.end_leases(now=timezone.now())
    pipeline.run(pk)


def test_a_worker_and_its_stand_in_settle_an_image_once(alice, media):
    for _ in range(20):
        batch = started(alice, 1)
        late = claim(batch)
        Item.objects.filter(pk=late.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        before = (spent(alice), len(files(media / "results")))

        at_once(partial(pipeline._process, late), partial(stand_in, late.pk))

        item = batch.items.get()
        assert (item.state, item.price, item.results.count()) == (ItemState.DONE, 2, 1)
        assert state_of(batch) == BatchState.FINISHED
        assert (spent(alice), len(files(media / "results"))) == (before[0] + 2, before[1] + 2)


def test_a_retry_while_workers_settle_the_rest_locks_nobody_out(alice):
    for _ in range(10):
        batch = started(alice, 6)
        fail(batch, 0, 1)
        in_hand = [claim(batch, position) for position in range(2, 6)]

        answers = at_once(
            partial(lifecycle.retry, batch),
            *[partial(pipeline._process, item) for item in in_hand],
        )

        assert refusals(answers) == []
        assert states(batch) == ["fetched"] * 2 + ["done"] * 4
        assert state_of(batch) == BatchState.RUNNING
        lifecycle.cancel(batch)


def test_cancelling_in_chunks_while_workers_settle_loses_and_charges_nothing_twice(
    alice, media, monkeypatch
):
    monkeypatch.setattr(lifecycle, "RELEASE_CHUNK", 5)
    batch = started(alice, 60)
    ids = list(batch.items.order_by("position").values_list("pk", flat=True))
    enough = threading.Event()

    def worker(number: int):
        for pk in ids[number::4]:
            pipeline.run(pk)
            if Item.objects.filter(batch=batch, state=ItemState.DONE).count() >= 10:
                enough.set()

    def canceller():
        assert enough.wait(60)
        return lifecycle.cancel(batch)

    answers = at_once(canceller, *[partial(worker, n) for n in range(4)])

    ended = Counter(states(batch))
    assert refusals(answers) == []
    assert state_of(batch) == BatchState.CANCELLED
    assert ended["done"] >= 10
    assert ended["done"] + ended["cancelled"] == 60
    assert ended["cancelled"] > 0, "nothing was left to cancel"
    assert spent(alice) == 2 * ended["done"]
    assert ledger.balance(alice) == (120 - 2 * ended["done"], 0)
    assert len(files(media / "results")) == 2 * ended["done"]


def test_four_workers_run_a_whole_batch_once(alice, media, valkey):
    batch = started(alice, 40)
    ids = list(batch.items.order_by("position").values_list("pk", flat=True))

    at_once(*[lambda: [pipeline.run(pk) for pk in ids]] * 4)

    assert states(batch) == ["done"] * 40
    assert state_of(batch) == BatchState.FINISHED
    assert set(batch.items.values_list("attempt", flat=True)) == {1}
    assert ledger.balance(alice) == (0, 0)
    assert len(files(media / "results")) == 80


def test_two_top_ups_at_once_lose_no_ring(alice, valkey):
    batch = started(alice, 40)
    for _ in range(10):
        dispatch.forget_rings(batch.items.all())
        valkey.flushdb()

        at_once(*[lambda: dispatch.top_up(batch.pk, now=timezone.now())] * 2)

        rung = set(batch.items.filter(rung_at__isnull=False).values_list("pk", flat=True))
        assert dispatch.ENGINE_WINDOW <= len(rung) <= 2 * dispatch.ENGINE_WINDOW
        assert {job.kwargs["item_id"] for job in django_rq.get_queue("cpu").jobs} == rung


# --- Housekeeping ---------------------------------------------------------------------


def test_many_rounds_of_reconcile_at_once_do_everything_once(alice):
    batches = [started(alice, 3) for _ in range(4)]
    for batch in batches:
        claim(batch)
    Item.objects.filter(state=ItemState.RUNNING).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )
    for batch in batches[:2]:
        Batch.objects.filter(pk=batch.pk).update(state=BatchState.CANCELLING)

    found = at_once(*[lambda: reconcile(now=timezone.now())] * 4)

    assert 2 <= sum(summary.leases_ended for summary in found) <= 4
    assert [state_of(batch) for batch in batches] == ["cancelled"] * 2 + ["running"] * 2
    assert [states(batch) for batch in batches[2:]] == [["fetched"] * 3] * 2
    assert set(batches[3].items.values_list("losses", flat=True)) == {0, 1}
    assert ledger.balance(alice) == (12, 12)
