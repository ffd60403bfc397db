"""Forty real photos and five bad inputs, while workers are killed and Valkey is flushed."""

import io
import os
import signal
import zipfile
from contextlib import closing

import pytest
from django.core.management import call_command
from django.utils import timezone
from PIL import Image

from batches import intake, lifecycle, progress, storage
from batches.exports import archive
from batches.models import Item, Result
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from bench.photos import photos
from credits import ledger
from tests.batches import fetch_server
from tests.worker.conftest import wait_for
from tests.worker.test_workers import everything_agrees, state_of
from tools import registry

pytestmark = [pytest.mark.worker, pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]

BAD = {
    "/nothing-here.png": "source_not_found",
    "/html": "source_not_image",
    "/empty": "file_empty",
    "/status/403": "source_forbidden",
}
"""What the loopback server has, and the code that each must end with."""


@pytest.fixture
def bad_server(settings):
    with fetch_server.serving() as server:
        settings.FETCH_ALLOW = list(server.allow)
        yield server


def mixed_batch(owner, server):
    """40 photos, and every 9th input a bad one: four bad downloads and one forbidden address."""
    ledger.grant(owner, 200, kind="admin", key="test:chaos")
    rows = []
    for name, data in photos(40, sizes=[(480, 360), (360, 480), (640, 640)]):
        original, _new = intake.receive(owner, data, name=name)
        rows.append(Row(upload=str(original.uid)))
    bad = [Row(url=server.url(path)) for path in BAD] + [Row(url="http://127.0.0.1:22/a.png")]
    for place, row in enumerate(bad):
        rows.insert(place * 9 + 3, row)
    tool = registry.get("remove-background")
    return lifecycle.create(owner, tool, rows, settings={"model": "u2netp"}, skip_invalid=True)


def assert_forty_done_five_failed(batch, owner, granted):
    seen = progress.of(batch, now=timezone.now())
    codes = set(batch.items.filter(state=ItemState.FAILED).values_list("error_code", flat=True))
    assert (seen.total, seen.done, seen.failed) == (45, 40, 5)
    assert codes == {*BAD.values(), "source_not_allowed"}
    assert (seen.used, seen.held) == (40, 0)
    assert ledger.balance(owner) == (granted - 40, 0)
    assert everything_agrees() == []
    call_command("checkledger", verbosity=0)
    with closing(archive.Archive(batch)) as whole:
        data = b"".join(whole)
    with zipfile.ZipFile(io.BytesIO(data)) as archived:
        pictures = [name for name in archived.namelist() if name.endswith(".png")]
        assert len(pictures) == 40
        assert archived.testzip() is None
    for result in Result.objects.filter(item__batch=batch):
        with storage.open_file(storage.RESULTS, result.key) as file:
            picture = Image.open(file)
            picture.load()
            assert picture.mode == "RGBA"


def test_five_bad_inputs_fail_with_their_codes_and_forty_photos_succeed(
    alice, bad_server, workers, supervisor
):
    batch = mixed_batch(alice, bad_server)
    granted = ledger.balance(alice).available

    workers(STUDIO_FETCH_ALLOW=bad_server.allow[0])
    lifecycle.start(batch)
    wait_for(
        lambda: state_of(batch) == BatchState.FINISHED,
        seconds=120,
        tick=lambda: (supervisor.check(wait=0.1), reconcile(now=timezone.now())),
    )

    assert_forty_done_five_failed(batch, alice, granted)


@pytest.mark.chaos
def test_the_end_is_the_same_with_workers_killed_and_valkey_flushed(
    alice, bad_server, workers, supervisor, valkey
):
    batch = mixed_batch(alice, bad_server)
    granted = ledger.balance(alice).available
    engines = workers(STUDIO_FETCH_ALLOW=bad_server.allow[0])[1:]
    kills = flushes = 0

    def make_trouble():
        """A kill for each six that are done, a flush for each ten; only while work is going on."""
        nonlocal kills, flushes
        supervisor.check(wait=0.05)
        reconcile(now=timezone.now())
        done = Item.objects.filter(batch=batch, state=ItemState.DONE).count()
        if flushes < 3 and done >= 10 * flushes + 3:
            assert valkey.dbsize() > 0
            valkey.flushdb()
            flushes += 1
        running = Item.objects.filter(batch=batch, state=ItemState.RUNNING).first()
        if kills < 6 and done >= 6 * kills + 2 and running:
            victim = int(running.worker.rsplit(":", 1)[1])
            if victim in {child.process.pid for child in engines if child.process}:
                os.kill(victim, signal.SIGKILL)
                kills += 1

    lifecycle.start(batch)
    wait_for(lambda: state_of(batch) == BatchState.FINISHED, seconds=180, tick=make_trouble)

    wait_for(  # the last victim may not have been missed yet
        lambda: sum(child.restarts for child in engines) >= kills,
        seconds=10,
        tick=lambda: supervisor.check(wait=0.05),
    )
    again = Item.objects.filter(batch=batch, attempt__gt=1, state=ItemState.DONE).count()
    assert kills == 6, "too few workers were killed"
    assert flushes == 3, "Valkey was flushed too seldom"
    assert again >= 3, "no item had to run again"
    assert_forty_done_five_failed(batch, alice, granted)
