"""A worker that is asked to stop: what it has in hand is finished, or goes to another at once."""

import signal
import subprocess
import time

import pytest

from batches import hosts, intake, lifecycle
from batches.models import Item
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from bench.photos import photos
from credits import ledger
from studio import valkey as valkey_server
from tests.worker.conftest import wait_for
from tests.worker.test_workers import everything_agrees, make_batch, state_of
from tools import registry

pytestmark = [pytest.mark.worker, pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]


def running() -> bool:
    return Item.objects.filter(state=ItemState.RUNNING).exists()


def slow_batch(owner):
    """One image that takes the largest model half a minute."""
    ledger.grant(owner, 100, kind="admin", key="test:slow")
    ((name, data),) = photos(1, sizes=[(640, 480)])
    original, _new = intake.receive(owner, data, name=name)
    rows = [Row(upload=str(original.uid))]
    tool = registry.get("upscale")
    return lifecycle.start(lifecycle.create(owner, tool, rows, settings={"model": "quality"}))


def test_a_worker_that_is_stopped_finishes_its_image_takes_no_other_and_ends_well(alice, start):
    batch = make_batch(alice, 4)
    worker = start("worker", "cpu")
    wait_for(running)

    worker.terminate()
    worker.wait(30)

    states = sorted(batch.items.values_list("state", flat=True))
    assert worker.returncode == 0
    assert ItemState.RUNNING not in states
    assert ItemState.DONE in states
    assert ItemState.FETCHED in states
    assert set(batch.items.values_list("losses", flat=True)) == {0}
    assert everything_agrees() == []


def test_a_worker_that_is_stopped_while_valkey_is_away_ends_its_image_undisturbed(
    alice, start, tmp_path
):
    socket = tmp_path / "valkey.sock"
    server = subprocess.Popen(valkey_server.command(socket, tmp_path))
    valkey_server.wait_until_it_answers(socket, server.poll)
    batch = make_batch(alice, 1)
    worker = start("worker", "cpu", REDIS_URL=f"unix://{socket}")
    start("reconcile", REDIS_URL=f"unix://{socket}").wait(30)  # this Valkey knows of no ring yet
    wait_for(running)

    worker.send_signal(signal.SIGSTOP)
    assert running()
    server.kill()
    server.wait()
    worker.terminate()
    worker.send_signal(signal.SIGCONT)
    worker.wait(30)

    item = batch.items.get()
    assert (item.state, item.attempt, item.history) == (ItemState.DONE, 1, [])
    assert everything_agrees() == []


def test_an_image_that_takes_too_long_goes_to_another_worker_at_once_and_is_no_loss(
    alice, start, valkey
):
    batch = slow_batch(alice)
    worker = start("worker", "cpu", STUDIO_DRAIN_SECONDS="3")
    wait_for(running)
    before = hosts.workers(valkey)

    worker.terminate()
    began = time.monotonic()
    wait_for(lambda: any(one.draining for one in hosts.workers(valkey)), seconds=2)
    worker.wait(10)

    took = time.monotonic() - began
    item = batch.items.get()
    assert (len(before), before[0].models is not None) == (1, True)
    assert worker.returncode == 0
    assert 2 < took < 8
    assert (item.state, item.losses, item.attempt) == (ItemState.FETCHED, 0, 2)
    assert item.history[-1]["code"] == "worker_stopped"
    assert item.rung_at is not None, "nobody was rung for it"
    assert ledger.balance(alice).held == item.held_price
    assert state_of(batch) == BatchState.RUNNING


def test_a_host_that_does_not_see_the_sites_files_takes_nothing_and_says_why(
    alice, start, valkey, tmp_path
):
    batch = make_batch(alice, 1)
    stranger = start("worker", "cpu", STUDIO_DATA_DIR=str(tmp_path))
    wait_for(lambda: any(one.problems for one in hosts.workers(valkey)))
    (told,) = hosts.workers(valkey)

    stranger.terminate()
    stranger.wait(10)

    assert "its storage is not the one that the others use" in told.problems[0]
    assert told.models == ()
    assert stranger.returncode == 0
    assert batch.items.get().state == ItemState.FETCHED
