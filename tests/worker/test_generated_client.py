"""A client that openapi-python-client makes out of the live document runs whole batches.

Nobody has written a line of it, so whatever it can't do, the document does not say.
"""

import hashlib
import hmac
import importlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from django.conf import settings
from django.utils import timezone
from standardwebhooks import Webhook

from accounts.models import SCOPES, create_key
from batches import outbox
from batches.models import WebhookMessage
from bench.photos import photos
from tests.batches.test_webhooks import receiving
from tests.factories import give
from tests.worker.conftest import wait_for

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

OVERRIDES = settings.BASE_DIR / "docs/openapi-python-client.json"


def generate(document: bytes, folder: Path) -> str:
    """Make the package `studio_client` in the folder; what the generator says."""
    source, config = folder / "openapi.json", folder / "config.json"
    source.write_bytes(document)
    config.write_text(json.dumps({**json.loads(OVERRIDES.read_text()), "post_hooks": []}))
    made = subprocess.run(
        [
            *(Path(sys.executable).with_name("openapi-python-client"), "generate"),
            *("--path", source, "--config", config, "--meta", "none"),
            *("--output-path", folder / "studio_client"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout + made.stderr


class Site:
    """The site as the generated client sees it: `site("batches_read", uid)` is one call."""

    def __init__(self, port: int, folder: Path, secret: str) -> None:
        address = f"http://127.0.0.1:{port}"
        document = httpx.get(f"{address}/api/v1/schema", timeout=60).content
        self.said = generate(document, folder)
        self.models = importlib.import_module("studio_client.models")
        self.types = importlib.import_module("studio_client.types")
        self._tags = {
            operation["operationId"]: operation["tags"][0]
            for methods in json.loads(document)["paths"].values()
            for operation in methods.values()
        }
        opened = importlib.import_module("studio_client").AuthenticatedClient
        self.client = opened(address, token=secret, timeout=60, raise_on_unexpected_status=True)
        self.stranger = opened(address, token="sk_live_none", timeout=60)

    def __call__(self, operation: str, *args, by=None, **fields):
        """The answer: `status_code`, `headers` and what was `parsed` out of it."""
        name = f"studio_client.api.{self._tags[operation]}.{operation}"
        ask = importlib.import_module(name).sync_detailed
        return ask(*args, client=by or self.client, **fields)

    def close(self) -> None:
        """Let go of the connections."""
        for client in (self.client, self.stranger):
            client.get_httpx_client().close()


@pytest.fixture
def receiver():
    with receiving() as running:
        yield running


@pytest.fixture
def site(web, start, alice, receiver, tmp_path, monkeypatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    give(alice, 20)
    for queue in ("cpu", "io"):
        start("worker", queue, STUDIO_FETCH_ALLOW=receiver.host)
    _key, secret = create_key(alice, name="test", scopes=SCOPES)
    there = Site(web(STUDIO_FETCH_ALLOW=receiver.host), tmp_path, secret)
    yield there
    there.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "studio_client"]:
        del sys.modules[name]


def upload(site: Site, name: str, data: bytes):
    """The picture on the site."""
    file = site.types.File(payload=io.BytesIO(data), file_name=name, mime_type="image/jpeg")
    return site("uploads_create", body=site.models.UploadFormRequest(file=file))


def finished(site: Site, uid):
    """The batch once it has finished, asked for as seldom as the site lets us."""
    seen = SimpleNamespace(tag="", batch=None, unchanged=0)

    def is_over() -> bool:
        told = site("batches_read", uid, if_none_match=seen.tag)
        if told.status_code == 304:
            seen.unchanged += 1
            return False
        seen.tag, seen.batch = told.headers["ETag"], told.parsed
        return seen.batch.status == "finished"

    wait_for(is_over)
    return seen


def test_a_client_made_of_the_document_runs_a_whole_batch_and_is_told_of_it(site, receiver, alice):
    assert len(site.said.splitlines()) == 1, site.said  # "Generating …", and no warning
    models = site.models
    assert "remove-background" in {tool.slug for tool in site("tools_list").parsed.results}
    cutout = site("tools_read", "remove-background").parsed
    assert cutout.available
    assert "model" in cutout.settings_schema["properties"]

    # A webhook, whose receiver is out of order the first time.
    receiver.status = 500
    hook = site(
        "webhooks_create",
        body=models.NewWebhookRequest(
            url=receiver.url, events=[models.WebhookEvent("batch.finished")]
        ),
    ).parsed

    # Pictures in; the same one twice is one.
    pictures = list(photos(2, sizes=[(120, 90)]))
    sent = [upload(site, name, data) for name, data in pictures]
    again = upload(site, "again.jpg", pictures[0][1])
    assert [answer.status_code for answer in (*sent, again)] == [201, 201, 200]
    assert again.parsed.id == sent[0].parsed.id
    assert sent[0].parsed.sha256 == hashlib.sha256(pictures[0][1]).hexdigest()

    # A quote, and then the start.
    wanted = models.NewBatchRequest(
        tool="remove-background",
        settings=models.NewBatchRequestSettingsType0.from_dict({"model": "u2netp"}),
        images=[
            models.ImageRequest(id=f"sku-{n}", upload=str(answer.parsed.id))
            for n, answer in enumerate(sent)
        ],
        start=False,
    )
    made, replayed = (
        site("batches_create", body=wanted, idempotency_key="one") for _time in range(2)
    )
    assert (made.status_code, made.parsed.status) == (201, "ready")
    assert (made.parsed.credits_.quoted, made.parsed.counts.waiting) == (2, 2)
    assert replayed.parsed == made.parsed
    assert replayed.headers["Idempotent-Replayed"] == "true"
    uid = made.parsed.id
    started = site("batches_start", uid, body=models.StartRequest())
    assert started.parsed.credits_.held == 2

    # Until it is done.
    seen = finished(site, uid)
    assert seen.batch.counts.done == seen.batch.total == seen.batch.credits_.used == 2
    unchanged = site("batches_read", uid, if_none_match=seen.tag)
    assert (unchanged.status_code, unchanged.parsed) == (304, None)

    # What came of it.
    items = site("batches_items", uid, page_size=500).parsed
    assert (items.next_, items.previous) == (None, None)
    assert [item.external_id for item in items.results] == ["sku-0", "sku-1"]
    first = items.results[0]
    result = site("items_result", first.id).parsed.payload.read()
    assert hashlib.sha256(result).hexdigest() == first.result.sha256
    packed = site("batches_results", uid).parsed.payload
    with zipfile.ZipFile(packed) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert [entry["external_id"] for entry in manifest["items"]] == ["sku-0", "sku-1"]
        assert archive.read(manifest["items"][0]["name"]) == result
    me = site("me_read").parsed
    assert me.email == alice.email
    entries = site("credits_entries", page_size=500).parsed.results
    assert entries[0].available_after == me.credits_.available
    assert {entry.kind.value for entry in entries} >= {"grant", "hold", "capture"}

    # Refusals come as what they are.
    conflict = site("batches_start", uid, body=models.StartRequest())
    assert (conflict.status_code, conflict.parsed.code) == (409, "state_conflict")
    many = [models.ImageRequest(url=f"https://a.io/{n}.png") for n in range(500)]
    poor = models.NewBatchRequest(tool="remove-background", images=many)
    short = site("batches_create", body=poor).parsed
    assert (short.code, short.required, short.available) == (
        "insufficient_credits",
        500,
        me.credits_.available,
    )
    wrong = models.NewBatchRequest.from_dict({"tool": "none", "images": [{"url": "x"}]})
    invalid = site("batches_create", body=wrong).parsed
    assert (invalid.code, invalid.errors[0].pointer) == ("validation_failed", "/tool")
    stranger = site("me_read", by=site.stranger)
    assert (stranger.status_code, stranger.parsed.code) == (401, "not_authenticated")

    # The webhook is told again after the failure, under the same id, and signed both ways.
    def tries() -> list[int]:
        (message,) = site("webhooks_deliveries", hook.id).parsed.results
        return [attempt.status for attempt in message.attempts]

    wait_for(lambda: tries() == [500])
    receiver.status = 204
    WebhookMessage.objects.update(next_at=timezone.now())  # five seconds later, that is
    outbox.ring_if_due(now=timezone.now())
    wait_for(lambda: tries() == [500, 204])
    (headers, body), (later, same) = receiver.got
    assert later["webhook-id"] == headers["webhook-id"]
    assert same == body
    by_hand = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
    for signed in (headers, later):
        told = Webhook(hook.secret).verify(body, signed)
        assert (told["type"], told["data"]["batch_id"]) == ("batch.finished", str(uid))
        assert signed["X-Webhook-Signature"] == f"sha256={by_hand}"
