"""Deliveries over HTTP: asked for, read, sent again, taken back; and those of a new batch."""

import django_rq
import pytest

from accounts.models import Connection
from batches import couriers
from batches.models import Batch, Delivery, Parcel
from batches.stores.base import StoreError
from tests import clients
from tests.factories import done_batch, give, make_original

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media", "shop")


@pytest.fixture
def alices(alice):
    give(alice, 100)
    return clients.with_key(alice)


def post(client, batch: Batch, **body):
    return client.post(f"/api/v1/batches/{batch.uid}/deliveries", body, format="json")


def carry() -> None:
    queue = django_rq.get_queue("io")
    while jobs := queue.jobs:
        queue.remove(jobs[0])
        couriers.send(**jobs[0].kwargs)


def test_a_delivery_is_asked_for_and_read(alices, alice, shop, store):
    batch = done_batch(alice, 2)
    store.trouble = [None, StoreError("store_forbidden", path="cutouts/1.png")]

    asked = post(alices, batch, to="sirv", folder="shop")
    assert (asked.status_code, asked.json()["status"]) == (202, "waiting")
    carry()

    address = f"/api/v1/deliveries/{asked.json()['id']}"
    read = alices.get(address).json()
    errors = read.pop("errors")
    assert [(error["code"], error["count"]) for error in errors] == [("store_forbidden", 1)]
    assert {name: read[name] for name in read if not name.endswith("_at")} == {
        "id": asked.json()["id"],
        "batch": str(batch.uid),
        "to": "sirv",
        "options": {"folder": "shop", "conflict": "rename"},
        "connection": str(shop.uid),
        "status": "finished",
        "done": 1,
        "skipped": 0,
        "failed": 1,
        "undone": 0,
        "total": 2,
        "url": None,
    }
    again = alices.post(f"{address}/retry")
    assert (again.status_code, again.json()["status"]) == (200, "running")
    carry()
    assert alices.post(f"{address}/retry").json()["code"] == "state_conflict"
    assert alices.post(f"{address}/undo").json()["status"] == "running"
    carry()
    assert (alices.get(address).json()["undone"], store.files) == (2, {})
    listed = alices.get(f"/api/v1/batches/{batch.uid}/deliveries").json()
    assert [one["id"] for one in listed["results"]] == [asked.json()["id"]]


def test_a_file_is_fetched_from_its_delivery(alices, alice, made_places):
    asked = post(alices, done_batch(alice, 2), to="csv").json()
    assert alices.get(f"/api/v1/deliveries/{asked['id']}/file").status_code == 404

    carry()

    read = alices.get(f"/api/v1/deliveries/{asked['id']}").json()
    answer = alices.get(read["url"])
    assert b"".join(answer.streaming_content) == b"0.png\n1.png"
    assert answer["Content-Type"] == "text/csv"
    assert 'filename="names.csv"' in answer["Content-Disposition"]


def test_the_archive_is_where_it_always_was(alices, alice):
    batch = done_batch(alice, 1)

    read = post(alices, batch, to="zip").json()

    assert read["status"] == "finished"
    assert read["url"].endswith(f"/api/v1/batches/{batch.uid}/results.zip")


def test_sent_twice_with_one_key_it_is_asked_for_once(alices, alice):
    batch = done_batch(alice, 1)
    path = f"/api/v1/batches/{batch.uid}/deliveries"

    first = alices.post(path, {"to": "sirv"}, format="json", headers={"Idempotency-Key": "a"})
    second = alices.post(path, {"to": "sirv"}, format="json", headers={"Idempotency-Key": "a"})

    assert second.headers["Idempotent-Replayed"] == "true"
    assert first.json() == second.json()
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/to", "required"),
        ({"to": "moon"}, "/to", "invalid_choice"),
        ({"to": "s3"}, "/connection", "connection_missing"),
        ({"to": "library", "connection": ""}, "/connection", "invalid"),
        ({"to": "zip", "connection": "x"}, "/connection", "not_allowed"),
        ({"to": "sirv", "colour": "red"}, "/colour", "unknown_field"),
        ({"to": "sirv", "conflict": "burn"}, "/conflict", "invalid_choice"),
        ({"to": ["sirv"]}, "/to", "invalid_choice"),
        ({"to": "sirv", "connection": {"a": 1}}, "/connection", "invalid"),
    ],
)
def test_what_makes_no_sense_is_pointed_at(alices, alice, body, pointer, code):
    response = post(alices, done_batch(alice, 1), **body)

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)
    assert not Delivery.objects.exists()


def test_of_several_accounts_one_has_to_be_named(alices, alice):
    other = Connection.objects.create(owner=alice, kind="sirv", name="Other")
    batch = done_batch(alice, 1)

    assert post(alices, batch, to="sirv").json()["errors"][0]["code"] == "required"
    named = post(alices, batch, to="sirv", connection=str(other.uid))
    assert named.json()["connection"] == str(other.uid)


# --- With a new batch -----------------------------------------------------------------


def new(client, original, **body):
    images = [{"upload": str(original.uid)}]
    return client.post("/api/v1/batches", {"tool": "fake", "images": images, **body}, format="json")


def test_a_new_batch_is_delivered_as_it_runs(alices, alice, store, run_jobs):
    answer = new(
        alices,
        make_original(alice, name="front.png"),
        deliver=[{"to": "sirv", "folder": "new"}, {"to": "zip"}],
        webhook_url="https://hooks.example.com/x",
    )

    assert answer.status_code == 201
    assert Batch.objects.get().webhook_url == "https://hooks.example.com/x"
    run_jobs()
    assert list(store.files) == ["new/front.png"]
    assert set(Delivery.objects.values_list("to", "state")) == {
        ("sirv", "finished"),
        ("zip", "finished"),
    }
    assert Parcel.objects.get().state == "sent"


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"deliver": [{"to": "zip"}, {"to": "moon"}]}, "/deliver/1/to", "invalid_choice"),
        ({"deliver": [{"to": "s3"}]}, "/deliver/0/connection", "connection_missing"),
        ({"deliver": [{"folder": "x"}]}, "/deliver/0/to", "required"),
        ({"deliver": ["zip"]}, "/deliver/0", "invalid"),
        ({"webhook_url": "http://127.0.0.1/x"}, "/webhook_url", "source_not_allowed"),
    ],
)
def test_a_batch_that_can_not_be_delivered_is_not_made(alices, alice, body, pointer, code):
    response = new(alices, make_original(alice), **body)

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)
    assert not Batch.objects.exists()


@pytest.mark.parametrize("body", ["null", "[]", "0", "false", '""'])
def test_what_is_no_object_is_no_empty_one(alices, alice, body):
    delivery = Delivery.objects.create(batch=done_batch(alice, 1), to="library", state="finished")
    path = f"/api/v1/deliveries/{delivery.uid}/undo"

    response = alices.generic("POST", path, body, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
