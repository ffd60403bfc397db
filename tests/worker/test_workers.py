"""Real worker processes: what happens when they do their work, die, or meet something odd."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import django_rq
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from batches import audit, dispatch, intake, lifecycle, progress
from batches.models import Batch, Item
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from bench.photos import photos
from credits import audit as credits_audit
from credits import ledger
from studio import health
from tests.worker.conftest import wait_for
from tools import registry

pytestmark = [pytest.mark.worker, pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]

SMALL = [(320, 240), (240, 320), (400, 300)]


def make_batch(owner, count: int, *, start: bool = True, **settings_) -> Batch:
    ledger.grant(owner, 100, kind="admin", key=f"test:{owner.pk}:{Batch.objects.count()}")
    rows = []
    for name, data in photos(count, sizes=SMALL):
        original, _new = intake.receive(owner, data, name=name)
        rows.append(Row(upload=str(original.uid)))
    tool = registry.get("remove-background")
    batch = lifecycle.create(owner, tool, rows, settings={"model": "u2netp", **settings_})
    return lifecycle.start(batch) if start else batch


def state_of(batch: Batch) -> str:
    batch.refresh_from_db(fields=["state"])
    return batch.state


def everything_agrees() -> list[str]:
    return [*credits_audit.disagreements(), *audit.disagreements()]


def test_a_batch_of_twenty_photos_runs_through_two_workers(alice, start):
    batch = make_batch(alice, 20)

    workers = [start("worker", "cpu"), start("worker", "cpu")]
    wait_for(lambda: state_of(batch) == BatchState.FINISHED)

    seen = progress.of(batch, now=timezone.now())
    assert (seen.done, seen.failed, seen.used, seen.held) == (20, 0, 20, 0)
    assert len(set(Item.objects.values_list("worker", flat=True))) == 2, "one of them did nothing"
    assert everything_agrees() == []
    assert all(worker.poll() is None for worker in workers)


def test_a_worker_that_is_killed_in_mid_item_loses_nothing(alice, start):
    batch = make_batch(alice, 3)
    victim = start("worker", "cpu")
    wait_for(lambda: Item.objects.filter(state=ItemState.RUNNING).exists())

    victim.kill()
    victim.wait()
    stuck = Item.objects.get(state=ItemState.RUNNING)
    Item.objects.filter(pk=stuck.pk).update(lease_until=timezone.now())
    found = reconcile(now=timezone.now())
    start("worker", "cpu")
    wait_for(lambda: state_of(batch) == BatchState.FINISHED)

    stuck.refresh_from_db()
    assert found.leases_ended == 1
    assert (stuck.state, stuck.attempt, stuck.losses) == (ItemState.DONE, 2, 1)
    assert progress.of(batch, now=timezone.now()).used == 3
    assert everything_agrees() == []


def test_an_item_that_is_rung_twice_runs_and_costs_once(alice, start):
    batch = make_batch(alice, 2)
    item = batch.items.first()
    django_rq.get_queue("cpu").enqueue(dispatch.RUN_JOB, item_id=item.pk)
    django_rq.get_queue("cpu").enqueue(dispatch.RUN_JOB, item_id=item.pk)

    worker = start("worker", "cpu", "--burst")
    worker.wait(60)

    item.refresh_from_db()
    assert django_rq.get_queue("cpu").count == 0
    assert (item.state, item.attempt, item.results.count()) == (ItemState.DONE, 1, 1)
    assert progress.of(batch, now=timezone.now()).used == 2


def test_what_a_stopped_worker_makes_after_a_cancel_is_thrown_away(alice, start):
    batch = make_batch(alice, 2)
    worker = start("worker", "cpu")
    wait_for(lambda: Item.objects.filter(state=ItemState.RUNNING).exists())
    worker.send_signal(signal.SIGSTOP)
    running = Item.objects.get(state=ItemState.RUNNING)

    lifecycle.cancel(batch)
    worker.send_signal(signal.SIGCONT)
    wait_for(lambda: django_rq.get_queue("cpu").count == 0)
    worker.terminate()
    worker.wait(30)

    running.refresh_from_db()
    assert (running.state, running.price, running.results.count()) == ("cancelled", None, 0)
    assert ledger.balance(alice).held == 0
    assert not [
        name
        for _, _, names in os.walk(settings.DATA.media / "results" / str(batch.uid))
        for name in names
        if str(running.uid) in name
    ], "its files are still there"
    assert everything_agrees() == []


def test_a_flushed_valkey_is_noticed_by_the_next_round_of_reconcile(alice, start, valkey):
    batch = make_batch(alice, 3)
    reconcile(now=timezone.now())
    assert django_rq.get_queue("cpu").count

    valkey.flushdb()
    found = reconcile(now=timezone.now())
    start("worker", "cpu")
    wait_for(lambda: state_of(batch) == BatchState.FINISHED)

    assert found.rings == 3
    assert progress.of(batch, now=timezone.now()).done == 3


def test_a_worker_ends_after_its_last_job_and_leaves_the_rest(alice, start):
    batch = make_batch(alice, 3)

    worker = start("worker", "cpu", "--max-jobs", "2")
    worker.wait(60)

    assert worker.returncode == 0
    assert batch.items.filter(state=ItemState.DONE).count() == 2
    assert batch.items.filter(state=ItemState.FETCHED).count() == 1


def test_a_job_with_an_argument_of_tomorrow_is_done_all_the_same(alice, start):
    batch = make_batch(alice, 1)
    django_rq.get_queue("cpu").empty()
    django_rq.get_queue("cpu").enqueue(
        dispatch.RUN_JOB, item_id=batch.items.get().pk, colour="of tomorrow"
    )

    start("worker", "cpu", "--burst").wait(60)

    assert state_of(batch) == BatchState.FINISHED


def test_a_job_that_calls_anything_else_is_refused(worker_env, start, tmp_path):
    target = tmp_path / "made-by-a-stranger"
    django_rq.get_queue("cpu").enqueue("os.mkdir", str(target))

    worker = start("worker", "cpu", "--burst")
    said, _ = worker.communicate(timeout=60)

    assert not target.exists()
    assert "Refused a job that calls os.mkdir" in said


def test_an_unknown_queue_is_refused_with_the_ones_that_exist(worker_env, start):
    worker = start("worker", "tpu")
    said, _ = worker.communicate(timeout=60)

    assert worker.returncode == 1
    assert "There is no queue 'tpu' here. Choose one of: io, cpu." in said


def test_health_knows_a_worker_by_its_pulse_also_after_a_flush(worker_env, start, valkey):
    assert set(health.missing()) == {"io worker", "cpu worker"}

    worker = start("worker", "cpu")
    wait_for(lambda: health.missing() == ["io worker"])
    valkey.flushdb()
    assert "cpu worker" in health.missing()
    wait_for(lambda: health.missing() == ["io worker"], seconds=10)
    worker.terminate()
    worker.wait(30)

    assert set(health.missing()) == {"io worker", "cpu worker"}


def test_a_supervised_worker_that_is_killed_comes_back_and_its_item_runs_at_once(
    alice, workers, supervisor
):
    batch = make_batch(alice, 4)
    victim = workers(engines=1)[-1]
    wait_for(lambda: Item.objects.filter(state=ItemState.RUNNING).exists())
    first = victim.process.pid

    os.kill(first, signal.SIGKILL)
    wait_for(
        lambda: state_of(batch) == BatchState.FINISHED, tick=lambda: supervisor.check(wait=0.1)
    )

    assert victim.process.pid != first
    assert victim.restarts >= 1
    assert batch.items.filter(attempt=2, losses=1, state=ItemState.DONE).count() == 1
    assert everything_agrees() == []


def test_nothing_outlives_a_supervisor_that_is_killed(worker_env, tmp_path):
    script = (
        "import sys, time, pathlib\n"
        "from studio.supervisor import Child, Supervisor\n"
        "s = Supervisor(logs=pathlib.Path(sys.argv[1]))\n"
        "print(s.start(Child('sleeper', ['sleep', '600'], 0)).pid, flush=True)\n"
        "while True: s.check(wait=1)\n"
    )
    boss = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=settings.BASE_DIR,
    )
    child = int(boss.stdout.readline())

    boss.kill()
    boss.communicate()

    wait_for(lambda: not is_running(child), seconds=5)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_valkey_that_does_not_answer_stops_no_start(alice, monkeypatch):
    batch = make_batch(alice, 2, start=False)
    nowhere = redis.Redis(unix_socket_path="/nonexistent/valkey.sock")
    monkeypatch.setattr(dispatch, "connection", lambda: nowhere)

    lifecycle.start(batch)

    assert state_of(batch) == BatchState.RUNNING
    assert ledger.balance(alice).held == 2
