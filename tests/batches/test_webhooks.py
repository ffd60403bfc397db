"""Webhooks against a real server on loopback: signatures, retries, what is given up."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from accounts import vault
from batches import erasure, lifecycle, outbox, reconcile, webhooks
from batches.models import DefaultSecret, WebhookEndpoint, WebhookMessage, WebhookState
from tests import clients
from tests.factories import make_batch

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fake_tool", "rings_at_once")]


@dataclass
class Receiver:
    """Somebody's server: keeps what arrives and answers as it is told."""

    url: str = ""
    host: str = ""
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            self.send_response(receiver.status)
            if receiver.status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver.host = f"127.0.0.1:{server.server_port}"
    receiver.url = f"http://{receiver.host}/hook"
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    with receiving() as running:
        settings.FETCH_ALLOW = [running.host]
        yield running


@pytest.fixture
def endpoint(alice, receiver) -> WebhookEndpoint:
    events = [outbox.BATCH_FINISHED, outbox.BATCH_SAMPLED, outbox.DELIVERY_FINISHED]
    return webhooks.register(alice, url=receiver.url, events=events)


def send(*, later: timedelta = timedelta()) -> int:
    return webhooks.send_due(now=timezone.now() + later)


def test_a_batch_that_ends_is_told_and_the_standard_library_believes_it(
    alice, receiver, endpoint, run_jobs
):
    batch = make_batch(alice, 2)

    lifecycle.start(batch)
    run_jobs()

    ((headers, body),) = receiver.got
    told = Webhook(endpoint.secret).verify(body, headers)
    assert told["type"] == told["event"] == "batch.finished"
    assert told["data"]["batch_id"] == str(batch.uid)
    assert (told["data"]["status"], told["data"]["done"]) == ("finished", 2)
    by_hand = hmac.new(endpoint.secret.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Webhook-Signature"] == f"sha256={by_hand}"
    assert len(body) < 20_000
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint.secret).verify(body.replace(b"finished", b"finishes"), headers)


def test_a_sample_and_a_cancelled_batch_are_told_too(alice, receiver, endpoint, run_jobs):
    batch = make_batch(alice, 3)
    lifecycle.start(batch, sample=1)
    run_jobs()

    lifecycle.cancel(batch)
    send()

    told = [json.loads(body) for _headers, body in receiver.got]
    assert [(one["event"], one["data"]["status"]) for one in told] == [
        ("batch.sampled", "sampled"),
        ("batch.finished", "cancelled"),
    ]


def test_a_batch_may_name_an_address_of_its_own(alice, receiver, run_jobs):
    batch = make_batch(alice, 1, webhook_url=receiver.url)

    lifecycle.start(batch)
    run_jobs()

    ((headers, body),) = receiver.got
    assert (
        Webhook(webhooks.default_secret(alice)).verify(body, headers)["event"] == "batch.finished"
    )


def test_only_those_who_asked_are_told(alice, bob, receiver, run_jobs):
    webhooks.register(alice, url=receiver.url, events=["asset.created"])
    webhooks.register(bob, url=receiver.url, events=["batch.finished"])

    lifecycle.start(make_batch(alice, 1))
    run_jobs()

    assert receiver.got == []
    assert not WebhookMessage.objects.exists()


def test_what_does_not_arrive_is_sent_again_for_a_day_under_the_same_id(endpoint, receiver, alice):
    receiver.status = 503
    outbox.record(alice, "batch.finished", {"n": 1})
    passed = timedelta()

    for wait in webhooks.WAITS:
        assert send(later=passed) == 1
        assert send(later=passed) == 0, "not before its time"
        passed += wait + timedelta(seconds=2)
    receiver.status = 200
    send(later=passed)

    message = WebhookMessage.objects.get()
    assert message.state == WebhookState.SENT
    assert [attempt["status"] for attempt in message.attempts] == [503] * 8 + [200]
    ids = {headers["webhook-id"] for headers, _body in receiver.got}
    assert ids == {message.message_id}
    assert timedelta(hours=20) < sum(webhooks.WAITS, timedelta()) <= timedelta(hours=25)


def test_an_endpoint_that_takes_nothing_for_a_day_is_given_up_and_can_be_switched_on(
    endpoint, receiver, alice
):
    receiver.status = 500
    outbox.record(alice, "batch.finished", {})
    for n in range(len(webhooks.WAITS) + 1):
        send(later=timedelta(days=n))
    assert WebhookMessage.objects.get().state == WebhookState.FAILED

    assert outbox.record(alice, "batch.finished", {}) == 0
    assert webhooks.switch_on(endpoint)
    assert outbox.record(alice, "batch.finished", {}) == 1


def test_what_waits_for_one_that_was_given_up_waits_until_it_is_switched_on(
    endpoint, receiver, alice
):
    outbox.record(alice, "batch.finished", {})
    WebhookEndpoint.objects.update(disabled_at=timezone.now())

    assert send() == 0
    assert not outbox.ring_if_due(now=timezone.now())
    webhooks.ping(endpoint)
    assert send() == 1, "somebody wants to see whether it answers again"
    webhooks.switch_on(endpoint)
    assert send() == 1


def test_one_that_answers_others_meanwhile_is_not_given_up(endpoint, receiver, alice):
    outbox.record(alice, "batch.finished", {})
    refused = WebhookMessage.objects.get()
    outbox.record(alice, "batch.finished", {})
    WebhookMessage.objects.filter(pk=refused.pk).update(tries=len(webhooks.WAITS))
    WebhookMessage.objects.exclude(pk=refused.pk).update(
        state=WebhookState.SENT, finished_at=timezone.now()
    )
    receiver.status = 400

    send()

    refused.refresh_from_db()
    endpoint.refresh_from_db()
    assert refused.state == WebhookState.FAILED
    assert endpoint.disabled_at is None


def test_gone_means_gone(endpoint, receiver, alice):
    receiver.status = 410
    outbox.record(alice, "batch.finished", {})

    send()

    endpoint.refresh_from_db()
    assert endpoint.disabled_at
    assert len(receiver.got) == 1


def test_a_redirect_is_not_followed(endpoint, receiver, alice):
    receiver.status = 302
    outbox.record(alice, "batch.finished", {})

    send()

    assert len(receiver.got) == 1
    assert WebhookMessage.objects.get().attempts[0]["status"] == 302


def test_two_senders_at_once_send_each_message_once(endpoint, receiver, alice):
    for n in range(5):
        outbox.record(alice, "batch.finished", {"n": n})
    now = timezone.now()
    first = WebhookMessage.objects.order_by("pk").first()
    assert webhooks._claim(first.pk, now=now)

    assert webhooks._claim(first.pk, now=now) is None
    assert send() == 4
    assert send(later=webhooks.LEASE + timedelta(seconds=1)) == 1, "its sender died"
    assert len(receiver.got) == 5


def test_a_sender_that_wakes_up_late_settles_nothing(endpoint, receiver, alice):
    outbox.record(alice, "batch.finished", {})
    late = webhooks._claim(WebhookMessage.objects.get().pk, now=timezone.now())
    send(later=webhooks.LEASE * 2)

    webhooks._settle(late, {"at": "", "seconds": 0, "status": 500, "code": ""}, now=timezone.now())

    message = WebhookMessage.objects.get()
    assert (message.state, len(message.attempts)) == (WebhookState.SENT, 1)


def test_a_lost_ring_is_rung_again(endpoint, receiver, alice, run_jobs, valkey):
    outbox.record(alice, "batch.finished", {})
    valkey.flushdb()
    run_jobs()
    assert receiver.got == []

    reconcile.reconcile(now=timezone.now())
    run_jobs()

    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://localhost/", "ftp://a.io/", "https://a.io:8080/x"]
)
def test_private_places_are_refused_when_it_is_made(alice, url):
    with pytest.raises(webhooks.Refused) as refused:
        webhooks.register(alice, url=url, events=["batch.finished"])

    assert refused.value.code == "source_not_allowed"


def test_an_address_that_became_private_is_refused_when_it_is_told(endpoint, receiver, settings):
    settings.FETCH_ALLOW = []
    outbox.record(endpoint.owner, "batch.finished", {})

    send()

    assert receiver.got == []
    assert WebhookMessage.objects.get().attempts[0]["code"] == "source_not_allowed"


def test_a_secret_of_ones_own_signs_as_the_bytes_that_it_is(alice, receiver):
    webhooks.register(alice, url=receiver.url, events=["batch.finished"], secret="sixteen letters!")
    outbox.record(alice, "batch.finished", {})

    send()

    ((headers, body),) = receiver.got
    Webhook(base64.b64encode(b"sixteen letters!").decode()).verify(body, headers)


def test_secrets_are_unreadable_in_the_database(alice, endpoint):
    row = WebhookEndpoint.objects.values().get()

    assert "secret" not in row
    assert not row["sealed_secret"].startswith("whsec_")
    assert endpoint.secret.startswith("whsec_")


def test_lost_keys_make_a_new_default_secret_and_fail_a_message_in_words(
    alice, endpoint, settings, receiver
):
    first = webhooks.default_secret(alice)
    settings.CREDENTIALS_KEYS = ["j3Jk1mCwqDyCwsZyXbDCPvKbpWJqTmrBYVbqzVDDo0Q="]

    outbox.record(alice, "batch.finished", {})
    send()

    assert webhooks.default_secret(alice) != first
    assert WebhookMessage.objects.get().attempts[0]["code"] == "secret_unreadable"
    with pytest.raises(vault.Unreadable):
        WebhookEndpoint.objects.get().secret  # noqa: B018


def test_leaving_takes_webhooks_and_their_log_along(alice, endpoint):
    webhooks.default_secret(alice)
    outbox.record(alice, "batch.finished", {})

    erasure.leave(alice, now=timezone.now())

    assert not WebhookEndpoint.objects.exists()
    assert not WebhookMessage.objects.exists()
    assert not DefaultSecret.objects.exists()


def test_what_is_over_for_long_is_forgotten(endpoint, alice):
    outbox.record(alice, "batch.finished", {})
    send()
    outbox.record(alice, "batch.finished", {})

    assert webhooks.prune(now=timezone.now() + timedelta(days=31)) == 1
    assert WebhookMessage.objects.get().state == WebhookState.WAITING


# --- The API --------------------------------------------------------------------------


def test_the_api_makes_lists_tests_and_removes(alice, receiver):
    client = clients.with_key(alice)

    made = client.post(
        "/api/v1/webhooks", {"url": receiver.url, "events": ["batch.finished"]}, format="json"
    )
    one = f"/api/v1/webhooks/{made.json()['id']}"
    tested = client.post(f"{one}/test")
    send()
    log = client.get(f"{one}/deliveries").json()["results"]

    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert "secret" not in client.get(one).json()
    assert tested.status_code == 202
    assert log[0]["id"] == tested.json()["id"] == receiver.got[0][0]["webhook-id"]
    assert log[0]["state"] == "sent"
    assert log[0]["attempts"][0]["status"] == 204
    assert client.delete(one).status_code == 204
    assert client.get(one).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"url": "http://10.0.0.1/", "events": ["batch.finished"]}, "/url", "source_not_allowed"),
        ({"url": "https://a.io/", "events": ["batch.exploded"]}, "/events/0", "invalid_choice"),
        ({"url": "https://a.io/", "events": []}, "/events", "empty"),
        (
            {"url": "https://a.io/", "events": ["batch.finished"], "secret": "short"},
            "/secret",
            "min_length",
        ),
    ],
)
def test_the_api_says_what_is_wrong_and_where(alice, body, pointer, code):
    answer = clients.with_key(alice).post("/api/v1/webhooks", body, format="json")

    (error,) = answer.json()["errors"]
    assert answer.status_code == 422
    assert (error["pointer"], error["code"]) == (pointer, code)


def test_there_is_an_end_to_how_many(alice, monkeypatch):
    monkeypatch.setattr(webhooks, "MOST_ENDPOINTS", 1)
    webhooks.register(alice, url="https://a.io/", events=["batch.finished"])

    with pytest.raises(webhooks.Refused, match="Remove one first"):
        webhooks.register(alice, url="https://a.io/", events=["batch.finished"])


# --- The pages ------------------------------------------------------------------------


def test_the_page_shows_the_secret_once_and_the_log_always(alice, client, receiver):
    client.force_login(alice)

    made = client.post(
        "/accounts/webhooks/", {"url": receiver.url, "events": ["batch.finished"], "secret": ""}
    )
    endpoint = WebhookEndpoint.objects.get()
    page = f"/accounts/webhooks/{endpoint.uid}/"
    client.post(f"{page}test/")
    send()
    log = client.get(page).content.decode()

    assert made.status_code == 201
    assert endpoint.secret in made.content.decode()
    assert endpoint.secret not in client.get("/accounts/webhooks/").content.decode()
    assert "answered 204" in log
    message = WebhookMessage.objects.get()
    client.post(f"/accounts/webhooks/messages/{message.uid}/resend/")
    send()
    assert len(receiver.got) == 2
    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]


def test_strangers_find_nothing(alice, bob, client, endpoint):
    outbox.record(alice, "batch.finished", {})
    client.force_login(bob)

    assert client.get(f"/accounts/webhooks/{endpoint.uid}/").status_code == 404
    assert client.post(f"/accounts/webhooks/{endpoint.uid}/test/").status_code == 404
    client.post(f"/accounts/webhooks/{endpoint.uid}/remove/")
    message = WebhookMessage.objects.get()
    answer = client.post(f"/accounts/webhooks/messages/{message.uid}/resend/")

    assert answer.status_code == 404
    assert WebhookEndpoint.objects.filter(pk=endpoint.pk).exists()
