"""Webhooks as Sirv AI Studio writes them: one event each, its names, its envelope."""

import hashlib
import hmac
import json
import re
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from batches import library, lifecycle, outbox, webhooks
from batches.envelopes import SIRV_EVENTS
from batches.models import Asset, Result, WebhookEndpoint, WebhookMessage
from tests import clients
from tests.batches.test_webhooks import receiver  # noqa: F401
from tests.factories import done_batch, make_batch

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fake_tool", "rings_at_once")]

HOOKS = "/api/webhooks"
SECRET = "sixteen letters!"


def subscribe(client, url: str, event: str, **more):
    return client.post(HOOKS, {"url": url, "event": event, **more}, format="json")


def test_a_webhook_is_added_listed_and_removed(alice, receiver):  # noqa: F811
    client = clients.with_key(alice)
    webhooks.register(alice, url=receiver.url, events=["batch.finished"])  # is not one of these

    made = subscribe(client, receiver.url, "batch.completed")

    hook = WebhookEndpoint.objects.latest("pk")
    read = {
        "id": str(hook.uid),
        "url": receiver.url,
        "event": "batch.completed",
        "active": True,
        "created_at": hook.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert (made.status_code, made.json()) == (201, {**read, "secret": hook.secret})
    assert client.get(HOOKS).json() == {"webhooks": [read]}
    assert client.delete(f"{HOOKS}/{hook.uid}").status_code == 204
    assert client.get(HOOKS).json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        ({"url": "https://a.io/", "event": "batch.finished"}, "event", "VALIDATION_FAILED"),
        ({"url": "http://127.0.0.1/", "event": "asset.created"}, "url", "SOURCE_NOT_ALLOWED"),
        (
            {"url": "https://a.io/", "event": "asset.created", "secret": "short"},
            "secret",
            "VALIDATION_FAILED",
        ),
    ],
)
def test_what_is_wrong_is_said(alice, body, said, code):
    answer = clients.with_key(alice).post(HOOKS, body, format="json")

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["error"].startswith(f"{said}: ")


def test_a_job_and_its_images_are_told_in_that_envelope(alice, receiver, run_jobs):  # noqa: F811
    client = clients.with_key(alice)
    for event in ("batch.completed", "asset.processed"):
        subscribe(client, receiver.url, event, secret=SECRET)
    batch = make_batch(alice, 1)

    lifecycle.start(batch)
    run_jobs()

    told = {}
    for headers, body in receiver.got:
        by_hand = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["X-Webhook-Signature"] == f"sha256={by_hand}"
        read = json.loads(body)
        assert set(read) == {"id", "event", "created_at", "data"}
        assert re.fullmatch("evt_[0-9a-f]{32}", read["id"])
        assert read["created_at"].endswith("Z")
        told[read["event"]] = read["data"]
    result = Result.objects.select_related("item").get()
    job = told["batch.completed"]
    assert job.pop("poll_url").endswith(f"/api/zapier/batch/status/{batch.uid}")
    assert job == {
        "job_id": str(batch.uid),
        "status": "completed",
        "total": 1,
        "completed": 1,
        "failed": 0,
        "credits_used": 2,
    }
    asset = told["asset.processed"]
    opened = Client().get(urlsplit(asset.pop("url")).path)
    assert len(b"".join(opened.streaming_content)) == result.bytes
    assert asset == {
        "asset_id": str(result.item.uid),
        "filename": "photo-1.png",
        "source": "fake",
        "mime_type": "image/png",
        "file_size": result.bytes,
        "width": result.width,
        "height": result.height,
    }


def test_what_happens_in_the_library_is_told(alice):
    webhooks.register(alice, url="https://a.io/", events=outbox.EVENTS)
    result = Result.objects.filter(item__batch=done_batch(alice, 1)).get()

    asset = library.add(alice, result)
    library.edit(asset, alt_text="A mug.")
    library.move(alice, [asset.uid], None)
    library.trash(alice, [asset.uid])
    library.delete(alice, [asset.uid])

    told = list(WebhookMessage.objects.order_by("pk"))
    assert [message.event for message in told] == [
        "asset.created",
        "asset.updated",
        "asset.updated",
        "asset.deleted",
    ]
    assert {message.payload["id"] for message in told} == {str(asset.uid)}
    assert not Asset.objects.exists()


def test_a_test_message_arrives_in_that_envelope_too(alice, receiver):  # noqa: F811
    subscribe(clients.with_key(alice), receiver.url, "asset.created")

    webhooks.ping(WebhookEndpoint.objects.get())
    webhooks.send_due(now=timezone.now())

    ((_headers, body),) = receiver.got
    assert json.loads(body)["event"] == "ping"
    assert set(SIRV_EVENTS.values()) <= set(outbox.EVENTS)
