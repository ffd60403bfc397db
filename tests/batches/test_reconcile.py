"""What nobody finished is finished, once, whoever died and wherever."""

import os
from datetime import timedelta

import django_rq
import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches import dispatch, lifecycle, pipeline, storage
from batches.models import Batch, Item, Original, Result
from batches.reconcile import ORPHAN_AGE, reconcile, sweep_orphans
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, make_batch

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "sound", "media")


def started(owner, count: int = 2, **options) -> Batch:
    return lifecycle.start(make_batch(owner, count, **options))


def state_of(batch: Batch) -> str:
    batch.refresh_from_db()
    return batch.state


def states(batch: Batch) -> list[str]:
    return list(batch.items.order_by("position").values_list("state", flat=True))


def claim(batch: Batch, position: int = 0, *, ago: float = 0) -> Item:
    """Take an item in hand; its lease ran out so many seconds ago."""
    item = pipeline._claim(batch.items.get(position=position).pk, ItemState.RUNNING)
    if ago:
        Item.objects.filter(pk=item.pk).update(lease_until=timezone.now() - timedelta(seconds=ago))
    return item


# --- Leases, rings, batches -----------------------------------------------------------


def test_a_site_in_order_is_left_alone(alice, valkey):
    batch = started(alice)
    claim(batch)
    reconcile(now=timezone.now())
    before = (list(Item.objects.order_by("pk").values()), list(Batch.objects.values()))

    found = reconcile(now=timezone.now())

    assert (found.leases_ended, found.rings, found.batches_closed) == (0, 0, 0)
    assert (list(Item.objects.order_by("pk").values()), list(Batch.objects.values())) == before


def test_a_lease_that_ran_out_is_ended_and_the_item_is_rung_for_at_once(alice):
    batch = started(alice, 1)
    reconcile(now=timezone.now())
    item = claim(batch, ago=1)
    django_rq.get_queue("cpu").empty()

    found = reconcile(now=timezone.now())

    assert found.leases_ended == 1
    assert states(batch) == ["fetched"]
    assert [job.kwargs for job in django_rq.get_queue("cpu").jobs] == [{"item_id": item.pk}]


def test_an_item_of_a_paused_batch_is_taken_from_a_dead_worker_too(alice):
    batch = started(alice, 1)
    claim(batch, ago=1)
    lifecycle.pause(batch)

    found = reconcile(now=timezone.now())

    assert (found.leases_ended, states(batch), state_of(batch)) == (1, ["fetched"], "paused")


def test_rings_lost_with_valkey_are_rung_again(alice, valkey):
    started(alice, 3)
    reconcile(now=timezone.now())
    valkey.flushdb()

    found = reconcile(now=timezone.now())

    assert found.rings == 3
    assert django_rq.get_queue("cpu").count == 3


def test_a_batch_that_nobody_closed_is_closed(alice, monkeypatch):
    batch = started(alice, 1)
    monkeypatch.setattr(pipeline.lifecycle, "settled", lambda *_args, **_options: None)
    pipeline.run(batch.items.get().pk)  # the worker dies after the settlement
    monkeypatch.undo()
    before = state_of(batch)

    found = reconcile(now=timezone.now())

    assert (before, state_of(batch)) == (BatchState.RUNNING, BatchState.FINISHED)
    assert found.batches_closed == 1


def test_an_image_that_may_be_tried_again_now_is_rung_for(alice):
    batch = started(alice, 1, settings={"trouble": "transient"})
    pipeline.run(batch.items.get().pk)
    django_rq.get_queue("cpu").empty()

    reconcile(now=timezone.now())
    early = django_rq.get_queue("cpu").count
    reconcile(now=timezone.now() + pipeline.BACK_OFF[0])

    assert (early, django_rq.get_queue("cpu").count) == (0, 1)


@pytest.mark.parametrize("place", ["moved", "released", "chunk"])
def test_a_cancelling_that_died_half_way_is_finished(alice, monkeypatch, place):
    monkeypatch.setattr(lifecycle, "RELEASE_CHUNK", 2)
    batch = started(alice, 6)
    claim(batch)
    calls = []
    release_items = lifecycle.release_items

    def die(items):
        calls.append(items)
        if place == "moved" and len(calls) == 2:
            raise SystemExit("killed between move and release")
        release_items(items)
        if place == "released" and len(calls) == 2:
            raise SystemExit("killed before the commit")

    if place == "chunk":
        monkeypatch.setattr(
            lifecycle, "finish_cancelling", lambda _batch: (_ for _ in ()).throw(SystemExit())
        )
    else:
        monkeypatch.setattr(lifecycle, "release_items", die)
    with pytest.raises(SystemExit):
        lifecycle.cancel(batch)
    monkeypatch.undo()
    half_way = (state_of(batch), states(batch).count("cancelled"), ledger.balance(alice).held)

    found = reconcile(now=timezone.now())

    assert half_way == ("cancelling", *((0, 12) if place == "chunk" else (1, 10)))
    assert (found.batches_closed, state_of(batch)) == (1, BatchState.CANCELLED)
    assert states(batch) == ["cancelled"] * 6
    assert ledger.balance(alice) == (60, 0)


def test_a_death_before_the_last_step_of_a_cancel_is_mended(alice):
    batch = started(alice, 1)
    lifecycle.cancel(batch)
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.CANCELLING, finished_at=None)

    reconcile(now=timezone.now())

    assert state_of(batch) == BatchState.CANCELLED
    assert batch.finished_at is not None


def test_a_second_round_finds_nothing_left_to_do(alice):
    batch = started(alice, 2)
    claim(batch, ago=1)
    reconcile(now=timezone.now())

    found = reconcile(now=timezone.now())

    assert (found.leases_ended, found.batches_closed) == (0, 0)


# --- Trouble --------------------------------------------------------------------------


@pytest.fixture
def valkey_away(monkeypatch, tmp_path):
    """Nobody answers."""
    away = redis.Redis(unix_socket_path=str(tmp_path / "nobody.sock"), retry=None)
    monkeypatch.setattr(dispatch, "connection", lambda: away)


def test_without_valkey_all_but_the_rings_is_done(alice, valkey_away):
    batch = started(alice, 1)
    claim(batch, ago=1)
    Item.objects.update(losses=4)

    found = reconcile(now=timezone.now())

    assert (found.leases_ended, found.rings, found.valkey_answers) == (1, 0, False)
    assert state_of(batch) == BatchState.FINISHED
    assert str(found).endswith("; Valkey does not answer")


def test_without_valkey_no_ring_is_taken_for_rung(alice, valkey_away):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    item = bare_item(batch, state=ItemState.FETCHED)

    reconcile(now=timezone.now())

    item.refresh_from_db()
    assert item.rung_at is None


def test_a_batch_that_can_not_be_put_right_does_not_keep_the_others(
    alice, bob, monkeypatch, caplog
):
    bad, good = started(alice, 1), started(bob, 1)
    with monkeypatch.context() as dying:
        dying.setattr(lifecycle, "settled", lambda *_args, **_options: None)
        for batch in (bad, good):
            pipeline.run(batch.items.get().pk)
    close = lifecycle.close_if_finished

    def broken(batch_id):
        if batch_id == bad.pk:
            raise ledger.HoldExhausted("broken")
        return close(batch_id)

    monkeypatch.setattr(lifecycle, "close_if_finished", broken)

    with pytest.raises(ledger.HoldExhausted):
        reconcile(now=timezone.now())

    assert (state_of(bad), state_of(good)) == (BatchState.RUNNING, BatchState.FINISHED)
    assert str(bad.uid) in caplog.text


def test_an_item_that_can_not_be_settled_does_not_keep_the_batches(alice, bob, monkeypatch):
    bad, good = started(alice, 1), started(bob, 1)
    claim(bad, ago=1)
    lifecycle.cancel(good)
    Batch.objects.filter(pk=good.pk).update(state=BatchState.CANCELLING)

    def broken(item, *_why, **_fields):
        raise ledger.HoldExhausted("broken")

    monkeypatch.setattr(lifecycle, "put_back", broken)

    with pytest.raises(ledger.HoldExhausted):
        reconcile(now=timezone.now())

    assert state_of(good) == BatchState.CANCELLED


def test_a_batch_whose_tool_is_gone_does_not_keep_the_others(alice, valkey):
    orphan = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(orphan, state=ItemState.FETCHED)
    Batch.objects.filter(pk=orphan.pk).update(tool="of-yesterday")
    other = bare_batch(alice, state=BatchState.RUNNING)
    item = bare_item(other, state=ItemState.FETCHED)

    reconcile(now=timezone.now())

    assert [job.kwargs for job in django_rq.get_queue("cpu").jobs] == [{"item_id": item.pk}]


# --- The command ----------------------------------------------------------------------


def test_the_command_prints_one_line(alice, capsys, valkey):
    batch = started(alice, 1)
    claim(batch, ago=1)
    reconcile_once = "1 leases ended, 0 items rung again, 0 batches closed.\n"
    dispatch.forget_lost_rings(now=timezone.now())

    call_command("reconcile")

    assert capsys.readouterr().out == reconcile_once


def test_the_command_is_content_without_valkey(db, capsys, valkey_away):
    call_command("reconcile")

    assert "Valkey does not answer" in capsys.readouterr().out


def test_the_ledger_command_ends_badly_when_something_disagrees(alice, capsys):
    batch = started(alice, 1)
    batch.items.update(held_price=3)

    with pytest.raises(CommandError, match="1 places"):
        call_command("checkledger")

    assert batch.reference in capsys.readouterr().err
    batch.items.update(held_price=2)
    call_command("checkledger")
    assert "agrees" in capsys.readouterr().out


# --- Orphans --------------------------------------------------------------------------


def age(folder, name: str, *, seconds: float) -> None:
    old = timezone.now().timestamp() - seconds
    os.utime(folder / name, (old, old))


def test_files_that_no_row_names_are_swept_after_an_hour(alice, media):
    now = timezone.now()
    hour = ORPHAN_AGE.total_seconds()
    for alias in (storage.ORIGINALS, storage.RESULTS):
        for name in ("x/old.png", "x/old.png.thumb.webp", "x/young.png", "x/draft.part"):
            storage.save(alias, name, b"pixels")
            age(media / alias, name, seconds=hour - 60 if "young" in name else hour + 60)

    removed = sweep_orphans(now=now)

    assert removed == 6
    left = sorted(str(path.relative_to(media)) for path in media.rglob("*") if path.is_file())
    assert left == ["originals/x/young.png", "results/x/young.png"]


def test_files_that_a_row_names_are_kept_for_ever(alice, media):
    batch = started(alice, 2, settings={"copies": 2})
    for item in batch.items.all():
        pipeline.run(item.pk)
    before = sorted(path for path in media.rglob("*") if path.is_file())

    removed = sweep_orphans(now=timezone.now() + timedelta(days=1000))

    assert removed == 0
    assert sorted(path for path in media.rglob("*") if path.is_file()) == before
    assert len(before) == 2 * Original.objects.count() + 2 * Result.objects.count() == 12


def test_sweeping_many_files_costs_few_queries(db, media):
    def queries(count: int) -> int:
        for n in range(count):
            storage.save(storage.RESULTS, f"x/{n}.png", b"pixels")
        with CaptureQueriesContext(connection) as seen:
            assert sweep_orphans(now=timezone.now() + timedelta(hours=2)) == count
        return len(seen)

    assert queries(5) == queries(400) == 2  # results, and assets of the library
