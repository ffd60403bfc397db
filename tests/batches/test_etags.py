"""A batch in which nothing has changed is known by one look into an index."""

import threading
import uuid
from datetime import timedelta

import pytest
import redis
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches import etags, lifecycle
from batches.models import Item
from batches.states import BatchState, ItemState
from tests import clients
from tests.factories import bare_batch, bare_item

pytestmark = pytest.mark.usefixtures("fake_tool", "valkey")


@pytest.fixture
def alices(alice):
    return clients.with_key(alice)


def old_batch(owner, count: int):
    """A batch of so many items whose last change is an hour old."""
    batch = bare_batch(owner, state=BatchState.PAUSED)
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Item.objects.bulk_create(
        Item(
            batch=batch,
            position=position,
            name=f"{position}.png",
            state=ItemState.DONE,
            changed_at=an_hour_ago - timedelta(seconds=position),
        )
        for position in range(count)
    )
    return batch


def hold_after_all(batch):
    """What was to be served again is paid for after all."""
    token = uuid.uuid4()
    batch.items.filter(position=1).update(token=token)
    assert lifecycle.hold_after_all(batch.items.get(token=token), 2)


def ask(client, batch, tag: str = ""):
    headers = {"If-None-Match": tag} if tag else {}
    return client.get(f"/api/v1/batches/{batch.uid}", headers=headers)


def queries_of(client, batch, tag: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert ask(client, batch, tag).status_code == 304
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("count", [1, 5, 500])
def test_nothing_new_costs_the_key_the_batch_and_one_probe(alices, alice, count):
    batch = old_batch(alice, count)
    tag = ask(alices, batch)["ETag"]

    _key, _batch, probe = queries_of(alices, batch, tag)

    assert "COUNT" not in probe
    assert "LIMIT 1" in probe


def test_the_probe_looks_into_the_index_and_nowhere_else(alice):
    for _number in range(4):
        batch = old_batch(alice, 500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as captured:
        etags.mark_of(batch)
    [probe] = captured

    with connection.cursor() as cursor:
        plan = "QUERY PLAN " if connection.vendor == "sqlite" else ""
        cursor.execute(f"EXPLAIN {plan}{probe['sql']}")
        said = " ".join(str(row) for row in cursor.fetchall())

    assert "item_by_change" in said
    assert "COVERING INDEX" in said or "Index Only Scan Backward" in said
    assert "Sort" not in said


@pytest.mark.parametrize("state", [BatchState.READY, BatchState.FINISHED, BatchState.CANCELLED])
def test_where_nothing_is_in_hand_the_youngest_change_can_be_trusted(alices, alice, state):
    batch = bare_batch(alice, state=state)
    bare_item(batch, state=ItemState.DONE)
    tag = ask(alices, batch)["ETag"]

    assert len(queries_of(alices, batch, tag)) == 3


def test_a_change_that_is_young_is_counted_and_still_not_sent_again(alices, alice):
    batch = old_batch(alice, 3)
    Item.objects.filter(position=0).update(changed_at=timezone.now())
    tag = ask(alices, batch)["ETag"]

    for _time in range(2):
        assert any("COUNT" in query for query in queries_of(alices, batch, tag))


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_after_a_later_one_is_not_missed(alices, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    for position in range(2):
        bare_item(batch, state=ItemState.FETCHED, position=position)
    early, late = batch.items.order_by("position")
    changed, may_commit = threading.Event(), threading.Event()

    def change_slowly():
        with transaction.atomic():
            Item.objects.filter(pk=early.pk).advance(ItemState.CANCELLED)
            changed.set()
            may_commit.wait(20)
        connection.close()

    slow = threading.Thread(target=change_slowly)
    slow.start()
    changed.wait(20)
    if connection.vendor == "sqlite":  # there, one writer waits for the other
        may_commit.set()
        slow.join()
    Item.objects.filter(pk=late.pk).advance(ItemState.CANCELLED)
    tag = ask(alices, batch)["ETag"]
    assert ask(alices, batch, tag).status_code == 304

    may_commit.set()
    slow.join()
    answer = ask(alices, batch, tag)

    expected = 304 if connection.vendor == "sqlite" else 200
    assert answer.status_code == expected
    assert ask(alices, batch).json()["counts"]["cancelled"] == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: lifecycle.rename(batch, "Another name"),
        lifecycle.cancel,
        hold_after_all,
        lambda batch: batch.items.filter(position=1).update(
            state=ItemState.FAILED, changed_at=timezone.now() - timedelta(minutes=2)
        ),
    ],
    ids=["renamed", "cancelled", "held after all", "an item"],
)
def test_what_is_remembered_is_forgotten_with_the_change(alices, alice, change):
    batch = old_batch(alice, 3)
    tag = ask(alices, batch)["ETag"]
    assert ask(alices, batch, tag).status_code == 304

    change(batch)

    answer = ask(alices, batch, tag)
    assert answer.status_code == 200
    assert ask(alices, batch, answer["ETag"]).status_code == 304


def test_the_address_that_one_asks_at_is_part_of_the_answer(alices, alice):
    batch = old_batch(alice, 1)
    tag = ask(alices, batch)["ETag"]
    ask(alices, batch, tag)

    there = alices.get(
        f"/api/v1/batches/{batch.uid}",
        headers={"Host": "localhost", "If-None-Match": tag},
    )

    assert there.status_code == 200


def test_rows_that_come_and_go_during_an_import_are_always_counted(alice):
    batch = old_batch(alice, 3)
    batch.state = BatchState.IMPORTING

    assert etags.mark_of(batch) is None


def test_without_valkey_it_counts(alices, alice, monkeypatch):
    batch = old_batch(alice, 3)
    tag = ask(alices, batch)["ETag"]

    def away(*_args, **_kwargs):
        raise redis.ConnectionError("Valkey is away")

    for name in ("get", "set"):
        monkeypatch.setattr(f"django.core.cache.backends.redis.RedisCache.{name}", away)

    assert ask(alices, batch, tag).status_code == 304
