"""The API asks the database as often for five hundred things as for five.

Verbs that write many rows do so in chunks, and may ask a few times more for each chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches import webhooks
from batches.models import Batch, Delivery, Item, Parcel, Result, WebhookEndpoint, WebhookMessage
from batches.states import BatchState, ItemState
from credits import ledger
from tests import clients
from tests.factories import bare_batch, give

pytestmark = pytest.mark.usefixtures("fake_tool", "valkey")

FEW, MANY = 5, 500
API = "/api/v1"


def batch_of(
    owner, count: int, item: str = ItemState.DONE, state: str = BatchState.FINISHED, **fields
):
    """A batch of so many images, each with a text as its result when it is done."""
    batch = bare_batch(owner, state=state)
    now = timezone.now()
    items = Item.objects.bulk_create(
        Item(
            batch=batch,
            position=position,
            name=f"{position}.png",
            source_url=f"https://a.io/{position}.png",
            state=item,
            held_price=2,
            settings={},
            started_at=now - timedelta(minutes=5),
            finished_at=now if item == ItemState.DONE else None,
            **fields,
        )
        for position in range(count)
    )
    if item == ItemState.DONE:
        Result.objects.bulk_create(
            Result(item=one, format="txt", text="A cat.", bytes=6, sha256="0" * 64) for one in items
        )
    return batch


def batches(owner, count):
    """Most of them run, and are far enough to say how long they will."""
    for _number in range(count // 5):
        batch_of(owner, 2)
    made = Batch.objects.bulk_create(
        Batch(owner=owner, tool="fake", state=BatchState.RUNNING)
        for _number in range(count - count // 5)
    )
    now = timezone.now()
    Item.objects.bulk_create(
        Item(
            batch=batch,
            position=position,
            state=ItemState.DONE if position < 3 else ItemState.FETCHED,
            started_at=now - timedelta(minutes=5),
            finished_at=now - timedelta(minutes=position),
        )
        for batch in made
        for position in range(5)
    )
    return f"{API}/batches?page_size={count}"


def entries(owner, count):
    for number in range(min(count, 60)):  # each is several queries, and a second page says the same
        ledger.grant(owner, 1, kind="admin", key=f"{count}:{number}")
    return f"{API}/credits/entries?page_size={count}"


def endpoints(owner, count):
    WebhookEndpoint.objects.bulk_create(
        WebhookEndpoint(owner=owner, url="https://a.io/", events=["batch.finished"], secret="x")
        for _number in range(count)
    )
    return f"{API}/webhooks?page_size=500"


def messages(owner, count):
    endpoint = webhooks.register(owner, url="https://a.io/", events=["batch.finished"])
    WebhookMessage.objects.bulk_create(
        WebhookMessage(
            owner=owner, endpoint=endpoint, url=endpoint.url, event="batch.finished", payload={}
        )
        for _number in range(count)
    )
    return f"{API}/webhooks/{endpoint.uid}/deliveries?page_size=500"


def deliveries(owner, count):
    batch = batch_of(owner, 1)
    made = Delivery.objects.bulk_create(
        Delivery(
            batch=batch, to="library", state="failed", error_code="worker_lost" if n % 2 else ""
        )
        for n in range(count)
    )
    result = Result.objects.get(item__batch=batch)
    Parcel.objects.bulk_create(
        Parcel(delivery=one, result=result, state="failed", error_code="worker_lost")
        for one in made[: count // 2]
    )
    return f"{API}/batches/{batch.uid}/deliveries?page_size=500"


def delivery(owner, count):
    batch = batch_of(owner, count)
    made = Delivery.objects.create(batch=batch, to="library", state="finished")
    Parcel.objects.bulk_create(
        Parcel(delivery=made, result=result, state="failed", error_code="worker_lost")
        for result in Result.objects.filter(item__batch=batch)
    )
    return f"{API}/deliveries/{made.uid}"


def of_batch(end: str = "", **fields) -> Callable[[object, int], str]:
    """Something about a batch of so many images."""
    return lambda owner, count: f"{API}/batches/{batch_of(owner, count, **fields).uid}{end}"


READS = {
    "me": lambda _owner, _count: f"{API}/me",
    "tools": lambda _owner, _count: f"{API}/tools",
    "batches": batches,
    "credits": entries,
    "webhooks": endpoints,
    "messages": messages,
    "deliveries": deliveries,
    "delivery": delivery,
    "batch": of_batch(),
    "running batch": of_batch(state=BatchState.RUNNING),
    "items": of_batch("/items?page_size=500"),
    "items in some states": of_batch("/items?state=done,failed,needs_review"),
    "results.zip": of_batch("/results.zip"),
}


def queries_of(ask: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = ask()
        if response.streaming:
            b"".join(response)
    assert response.status_code < 300, response.content
    return len(captured)


@pytest.fixture
def client(alice):
    client = clients.with_key(alice)
    client.get(f"{API}/me")  # notes that the key is used, and makes the account
    return client


@pytest.mark.parametrize("name", READS)
def test_a_read_asks_as_often_for_many_as_for_few(client, alice, name):
    few, many = (READS[name](alice, count) for count in (FEW, MANY))

    assert queries_of(lambda: client.get(many)) == queries_of(lambda: client.get(few))


@dataclass(frozen=True)
class Write:
    """A verb: what there is before, what is sent, and how often it asks for each chunk of rows."""

    item: str = ItemState.PENDING
    state: str = BatchState.READY
    chunk: int = MANY
    each: int = 0
    body: Callable[[int], dict] = lambda _count: {}


def images(count: int) -> dict:
    rows = [{"url": f"https://a.io/{number}.png", "id": str(number)} for number in range(count)]
    return {"tool": "fake", "images": rows}


WRITES = {
    "": Write(body=images),
    "start": Write(),
    "approve": Write(state=BatchState.SAMPLED),
    "pause": Write(ItemState.QUEUED, BatchState.RUNNING),
    "resume": Write(ItemState.QUEUED, BatchState.PAUSED),
    "cancel": Write(ItemState.QUEUED, BatchState.RUNNING, chunk=100, each=5),
    "retry": Write(ItemState.FAILED, BatchState.FINISHED, chunk=100, each=1),
}


@pytest.mark.parametrize("verb", WRITES, ids=lambda verb: verb or "create")
def test_a_write_asks_as_often_for_many_as_for_few_but_for_its_chunks(client, alice, verb):
    write = WRITES[verb]
    give(alice, 10_000)

    def ask(count):
        path = f"{API}/batches"
        if verb:
            error = "no_subject" if write.item == ItemState.FAILED else ""
            batch = batch_of(alice, count, write.item, write.state, error_code=error)
            path = f"{path}/{batch.uid}/{verb}"
        body = write.body(count)
        return queries_of(lambda: client.post(path, body, format="json"))

    few, many = ask(FEW), ask(MANY)

    assert few <= many <= few + (MANY // write.chunk - 1) * write.each
    assert Batch.objects.count() == 2
