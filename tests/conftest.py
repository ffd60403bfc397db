"""Fixtures that every suite shares."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connection
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg.errors import DeadlockDetected

from accounts import plans
from accounts.models import User
from batches import clock, dispatch, pricing
from tests import fakes, sirv_server
from tests.contract import CheckedClient
from tools.base import Tool

LONGEST = {"test_random_stories_leave_money_and_items_in_order", "test_every_page_is_sound"}

FOLDERS = {
    "browser": ("tests/browser/",),
    "worker": ("tests/worker/", "tests/studio/", "tests/browser/"),
    "chaos": ("tests/worker/", "tests/studio/", "tests/browser/"),
    "diffusion": ("tests/engines/",),
}
"""Where tests with a mark may be: `make test` looks for them nowhere else."""

RACING = ("browser", "worker", "chaos")
"""Marks of tests that race with the clock of a busy machine."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a marked test where `make test` would never look for it."""
    for mark, folders in FOLDERS.items():
        if item.get_closest_marker(mark) and not item.nodeid.startswith(folders):
            raise pytest.UsageError(
                f"{item.nodeid} is marked `{mark}`, so `make test` would not find it there. "
                f"Move it to one of: {', '.join(folders)}"
            )


@pytest.hookimpl(trylast=True)  # after pytest-django has put tests that commit last
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no process waits for them in the end.

    Tests that race run once more when they fail, and the summary names them: one that is wrong
    fails twice.
    """
    for item in items:
        if any(item.get_closest_marker(mark) for mark in RACING):
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: getattr(item, "originalname", item.name) not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def _tables_emptied_by_deleting() -> Iterator[None]:
    """TRUNCATE gives each table new files, which takes PostgreSQL longer than most tests."""
    truncating = DatabaseOperations.sql_flush

    def deleting(
        ops: DatabaseOperations, style: object, tables: list[str], **options: bool
    ) -> list[str]:
        if not tables or any(options.values()):
            return truncating(ops, style, tables, **options)
        names = [ops.quote_name(table) for table in tables]
        return [
            "SET LOCAL session_replication_role = replica",  # no foreign key minds the order
            # As TRUNCATE does, wait for whoever still writes.
            f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE",
            *(f"DELETE FROM {name}" for name in names),
        ]

    executing = DatabaseOperations.execute_sql_flush

    def insisting(ops: DatabaseOperations, statements: list[str]) -> None:
        # A page left open may still be answered, by a thread that holds a row of one table and
        # wants another. PostgreSQL then ends one of the two; if it is this one, it comes again.
        for left in reversed(range(20)):
            try:
                executing(ops, statements)
            except OperationalError as problem:
                if not left or not isinstance(problem.__cause__, DeadlockDetected):
                    raise
            else:
                break

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", deleting)
        patch.setattr(DatabaseOperations, "execute_sql_flush", insisting)
        yield


@pytest.fixture(autouse=True)
def _plans_read_once() -> None:
    """Let no test pay for reading plans and rules: there are none until one is saved."""
    plans.remembered.hold(plans.Known())
    pricing.rules.hold({})


@pytest.fixture(autouse=True)
def _workers_heard_anew() -> None:
    """Let no test go by what the workers of another one said."""
    dispatch._heard.until, dispatch._heard.nobody_since = 0.0, None


@pytest.fixture(autouse=True)
def _clock_read_once(monkeypatch) -> None:
    """Let no test pay for asking the database's clock: it is this host's."""
    monkeypatch.setattr(clock._known, "until", float("inf"))


@pytest.fixture
def alice(db) -> User:
    return User.objects.create_user(email="alice@example.com", password="alice's password")


@pytest.fixture
def bob(db) -> User:
    return User.objects.create_user(email="bob@example.com", password="bob's password")


@pytest.fixture
def staff(db) -> User:
    return User.objects.create_superuser(email="staff@example.com", password="staff's password")


@pytest.fixture
def api() -> CheckedClient:
    """A REST client without credentials."""
    return CheckedClient()


@pytest.fixture
def fake_tool() -> Iterator[Tool]:
    """The tool `fake`, which needs no model, and `fake-text`; known for one test only."""
    with fakes.registered(fakes.FakeTool, fakes.FakeTextTool) as tools:
        yield tools[0]


@pytest.fixture
def valkey() -> Iterator[redis.Redis]:
    """This process's own, empty Valkey database."""
    client = redis.Redis.from_url(next(iter(settings.RQ_QUEUES.values()))["URL"])
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def sirv(settings) -> Iterator[sirv_server.SirvServer]:
    """A Sirv account on loopback that the site may reach."""
    with sirv_server.serving() as running:
        settings.SIRV_API_URL = running.url
        settings.FETCH_ALLOW = [*settings.FETCH_ALLOW, running.host]
        yield running


@pytest.fixture
def run_jobs(valkey, django_capture_on_commit_callbacks) -> Callable[[], int]:
    """Drain all queues in this process, on this test's connection, until nothing is left.

    What is rung inside the test's transaction reaches the queue as if it had committed.
    Returns how many jobs ran.
    """
    import django_rq
    from rq import SimpleWorker
    from rq.serializers import JSONSerializer

    from batches.models import Batch, Item

    def drain() -> int:
        ran = 0
        while True:
            Item.objects.filter(retry_at__isnull=False).update(retry_at=None)
            with django_capture_on_commit_callbacks(execute=True):
                from django.utils import timezone

                from batches import dispatch

                for pk in Batch.objects.live().values_list("pk", flat=True):
                    dispatch.top_up(pk, now=timezone.now())
            busy = [q for q in map(django_rq.get_queue, settings.RQ_QUEUES) if q.count]
            if not busy:
                return ran
            for queue in busy:
                ran += queue.count
                with django_capture_on_commit_callbacks(execute=True):
                    SimpleWorker(
                        [queue], connection=queue.connection, serializer=JSONSerializer
                    ).work(burst=True, logging_level="ERROR")

    assert connection.vendor in {"postgresql", "sqlite"}
    return drain


@pytest.fixture(scope="session")
def _tiles_drawn_small() -> Callable[..., object]:
    """What `small_tiles` draws is drawn once for all tests."""
    from tools.engines import textures

    return lru_cache(textures.tile.__wrapped__)


@pytest.fixture
def small_tiles(monkeypatch, _tiles_drawn_small) -> None:
    """Materials of a quarter of their side: the same arithmetic, a sixteenth of the work."""
    from tools.engines import rendering, textures

    monkeypatch.setattr(textures, "SIDE", 256)
    monkeypatch.setattr(rendering, "SIDE", 256)
    monkeypatch.setattr(textures, "tile", _tiles_drawn_small)
