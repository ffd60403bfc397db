"""Two hosts of workers share one database, Valkey and S3 server; one of them is cut off."""

import os
import secrets
import signal
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from batches import hosts, intake, lifecycle, progress
from batches.models import Batch, Item, Result
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from bench.photos import photos
from credits import ledger
from credits.models import EntryKind, LedgerEntry
from studio import buckets
from studio.supervisor import Child, manage
from tests import s3_server
from tests.network import Host, certificate
from tests.worker.conftest import wait_for
from tests.worker.test_workers import everything_agrees, state_of
from tools import registry

pytestmark = [
    pytest.mark.worker,
    pytest.mark.chaos,
    pytest.mark.django_db(transaction=True),
]

IMAGES = 24
SIZES = [(480, 360), (360, 480)]


@pytest.fixture
def s3(settings, monkeypatch):
    """The site's buckets, on a server of S3's protocol."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with s3_server.serving() as server:
        for name in ("originals", "results"):
            server.client.create_bucket(Bucket=name)
        made = {name: buckets.options(name, endpoint=server.url) for name in storages.backends}
        settings.STORAGES = {
            **settings.STORAGES,
            **{name: made[name] for name in ("originals", "results")},
        }
        yield server
        server.reset()


@pytest.fixture
def passwords(valkey):
    """Users of the database and of Valkey who need one, beside those of the tests."""
    secret = secrets.token_hex(12)
    valkey.acl_setuser(
        "host",
        enabled=True,
        passwords=[f"+{secret}"],
        keys=["*"],
        channels=["*"],
        commands=["+@all"],
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("DROP ROLE IF EXISTS studio_host")
            cursor.execute(f"CREATE ROLE studio_host SUPERUSER LOGIN PASSWORD '{secret}'")
            cursor.execute("SHOW hba_file")
            rules = Path(cursor.fetchone()[0])
            before = rules.read_text()
            rules.write_text(f"local all studio_host scram-sha-256\n{before}")
            cursor.execute("SELECT pg_reload_conf()")
    yield secret
    valkey.acl_deluser("host")
    if connection.vendor == "postgresql":
        rules.write_text(before)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute("DROP ROLE studio_host")


@pytest.fixture
def two_hosts(tmp_path):
    made = []
    try:
        for number, name in enumerate(("host-a", "host-b"), start=1):
            made.append(Host(name, number, tmp_path))
        yield made
    finally:
        for host in made:
            host.close()


@pytest.fixture
def join(worker_env, passwords, s3, two_hosts, supervisor):
    """Start a worker on a host that finds the servers over its cable, with passwords and TLS."""

    def start(host: Host) -> Child:
        tls = certificate(host.folder, host.server)
        queue = urlsplit(settings.RQ_QUEUES["io"]["URL"])
        redis_port = host.reach(queue.path, tls=tls)
        s3_port = host.reach(("127.0.0.1", int(s3.host.rpartition(":")[2])))
        database = worker_env["DATABASE_URL"]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_setting('unix_socket_directories'), current_setting('port')"
                )
                folder, number = cursor.fetchone()
            server = f"{folder.split(',')[0].strip()}/.s.PGSQL.{number}"
            port = host.reach(server, tls=tls, asks=True)
            name = connection.settings_dict["NAME"]
            database = (
                f"postgres://studio_host:{passwords}@{host.server}:{port}/{name}"
                f"?sslmode=verify-full&sslrootcert={tls[0]}"
            )
        env = {
            **worker_env,
            "STUDIO_DATA_DIR": str(host.folder),
            "DATABASE_URL": database,
            "REDIS_URL": f"rediss://host:{passwords}@{host.server}:{redis_port}"
            f"/{queue.query.removeprefix('db=')}?ssl_ca_certs={tls[0]}",
            "STUDIO_STORAGE": "s3",
            "STUDIO_S3_ENDPOINT": f"http://{host.server}:{s3_port}",
            "STUDIO_ORIGINALS_BUCKET": "originals",
            "STUDIO_RESULTS_BUCKET": "results",
        }
        child = Child(host.name, host.command(manage("worker", "cpu")), 0, env=env, queue="cpu")
        supervisor.start(child)
        return child

    return start


def batch_of(owner, count: int, *, first: int = 0) -> Batch:
    rows = []
    for name, data in islice(photos(first + count, sizes=SIZES), first, None):
        original, _new = intake.receive(owner, data, name=name)
        rows.append(Row(upload=str(original.uid)))
    tool = registry.get("remove-background")
    # Else whoever comes late would find the other's result, and have none of its own to settle.
    settings_ = {"model": "u2netp"}
    return lifecycle.start(lifecycle.create(owner, tool, rows, settings=settings_, reuse=False))


def stop_in_mid_image(child: Child, name: str) -> Item:
    """Freeze a worker that has an image in hand; so it is surely late with it."""
    mine = Item.objects.filter(state=ItemState.RUNNING, worker=name)
    while True:
        wait_for(mine.exists)
        child.process.send_signal(signal.SIGSTOP)
        if found := mine.first():
            return found
        child.process.send_signal(signal.SIGCONT)  # it was between two images


def stored(s3) -> list[str]:
    """The names of all results in the bucket."""
    return [entry["Key"] for entry in s3.client.list_objects_v2(Bucket="results")["Contents"]]


def test_a_host_that_is_cut_off_loses_nothing_pays_nothing_twice_and_works_on(
    alice, two_hosts, join, supervisor, valkey, s3
):
    ledger.grant(alice, 100, kind="admin", key="test:hosts")
    _here, cut_off = two_hosts
    children = [join(host) for host in two_hosts]
    wait_for(lambda: len(hosts.workers(valkey)) == 2)
    names = {worker.pid: worker.name for worker in hosts.workers(valkey)}
    theirs = names[children[1].process.pid]
    batch = batch_of(alice, IMAGES)

    def watch() -> None:
        supervisor.check(wait=0.05)
        reconcile(now=timezone.now())

    done = Item.objects.filter(batch=batch, state=ItemState.DONE)
    # Late enough that its image need not wait long for its turn: a connection that is cut for
    # longer than it bears is gone, and so is what was to be said on it.
    wait_for(lambda: done.count() >= IMAGES - 8, tick=watch)
    assert done.filter(worker=theirs).exists()
    stuck = stop_in_mid_image(children[1], theirs)
    cut_off.cut()
    # Others need not wait for the lease, and neither need we.
    Item.objects.filter(pk=stuck.pk).update(lease_until=timezone.now())
    late = stuck.token.hex
    wait_for(lambda: done.filter(pk=stuck.pk).exists(), tick=watch)
    stuck.refresh_from_db()
    kept = list(Result.objects.filter(item=stuck).values_list("key", "sha256"))

    # Back again, it has its own picture of that image, stores it and is refused.
    cut_off.mend()
    children[1].process.send_signal(signal.SIGCONT)
    wait_for(lambda: any(late in line for line in s3.requests if line.startswith("PUT")))
    wait_for(lambda: not any(late in key for key in stored(s3)))

    # From here on that host is alone.
    wait_for(lambda: state_of(batch) == BatchState.FINISHED, tick=watch)
    os.kill(children[0].process.pid, signal.SIGTERM)
    children[0].process.wait(30)
    supervisor.children.remove(children[0])
    more = batch_of(alice, 3, first=IMAGES)
    wait_for(lambda: state_of(more) == BatchState.FINISHED, tick=watch)

    seen = progress.of(batch, now=None)
    paid = LedgerEntry.objects.filter(kind=EntryKind.CAPTURE)
    assert (stuck.state, stuck.losses) == (ItemState.DONE, 1)
    assert stuck.worker != theirs
    assert (seen.done, seen.failed, seen.used, seen.held) == (IMAGES, 0, IMAGES, 0)
    assert paid.count() == IMAGES + 3
    assert paid.values("item_uid").distinct().count() == IMAGES + 3
    assert list(Result.objects.filter(item=stuck).values_list("key", "sha256")) == kept
    assert ledger.balance(alice).held == 0
    assert set(more.items.values_list("worker", flat=True)) == {theirs}, "it was started anew"
    assert everything_agrees() == []
    call_command("checkledger", verbosity=0)
    if cut_off.is_namespace:
        assert (theirs.split(":")[0], stuck.worker.split(":")[0]) == ("host-b", "host-a")
