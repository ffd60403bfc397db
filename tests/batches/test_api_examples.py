"""The answers that the API's document shows are real: here they are asked for, and recorded."""

import json
import os
import re
from itertools import chain

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from batches import waiting
from bench.photos import photos
from studio.schema import openapi_document
from tests import clients
from tests.batches.test_webhooks import receiving
from tests.connecting import connected_bucket
from tests.contract import operation_of
from tests.factories import give

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("valkey", "on_s3"),
]

EXAMPLES = settings.BASE_DIR / "studio/api_examples.json"
RECORD = "RECORD_API_EXAMPLES"
"""In the environment of a run it writes the examples anew."""
SHOWN = 2
"""Entries of a list that are kept: more tell nothing new."""
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
BATCHES = "/api/v1/batches"
STUDIO = "https://studio.example.com"
SHEET = b"Picture,SKU,Background\nhttps://shop.example.com/mug.jpg,1001,#ffffff\n"


class Teller:
    """Asks the API and keeps what was asked and answered, by operation and status."""

    def __init__(self, client) -> None:
        self._client = client
        self.examples: dict[str, dict] = {}

    def __call__(self, method: str, address: str, body=None, **headers):
        """The answer, read."""
        is_form = isinstance(body, dict) and any(
            isinstance(value, SimpleUploadedFile) for value in body.values()
        )
        kind = {} if body is None else {"format": "multipart" if is_form else "json"}
        answer = getattr(self._client, method)(address, body, **kind, **headers)
        assert answer.status_code < 500, answer.content
        if not answer.headers.get("Content-Type", "").endswith("json"):
            return answer
        read = answer.json()
        operation = operation_of(method, answer.resolver_match.route)
        example = self.examples.setdefault(operation["operationId"], {"answers": {}})
        shown = {**read, "results": read["results"][:SHOWN]} if "previous" in read else read
        example["answers"][str(answer.status_code)] = shown
        if body is not None and answer.status_code < 300 and not is_form:
            example["request"] = body
        return read


@pytest.fixture
def shop():
    with receiving() as running:
        yield running


def test_the_document_shows_what_the_site_says(alice, on_s3, shop, run_jobs, settings, monkeypatch):
    settings.FETCH_ALLOW = [shop.host, on_s3.host]
    give(alice, 75)
    tell = Teller(clients.with_key(alice))
    tell("get", "/api/v1/me")
    tell("get", "/api/v1/tools")
    tell("get", "/api/v1/tools/remove-background")

    # A webhook.
    hook = tell("post", "/api/v1/webhooks", {"url": shop.url, "events": ["batch.finished"]})
    tell("get", "/api/v1/webhooks")
    tell("get", f"/api/v1/webhooks/{hook['id']}")
    tell("post", f"/api/v1/webhooks/{hook['id']}/test", {})

    # Pictures in, in both ways.
    (_name, front), (_name, back) = photos(2, sizes=[(120, 90)])
    for _time in range(2):
        sent = tell("post", "/api/v1/uploads", {"file": SimpleUploadedFile("front.jpg", front)})
    tell("get", f"/api/v1/uploads/{sent['id']}")
    ticket = tell("post", "/api/v1/uploads/direct", {"name": "back.jpg", "bytes": len(back)})
    on_s3.client.put_object(Bucket="originals", Key=_key_of(ticket["url"]), Body=back)
    for _time in range(2):
        other = tell("post", ticket["complete"], {})

    # A batch: quoted, started with a sample, approved, paused, gone on with.
    wanted = {
        "tool": "remove-background",
        "settings": {"model": "u2netp"},
        "images": [
            {"id": "sku-1", "upload": sent["id"]},
            {"id": "sku-2", "upload": other["id"], "settings": {"background": "#ffffff"}},
            {"id": "sku-3", "url": f"{shop.url}missing.jpg"},
        ],
        "name": "Autumn",
        "start": False,
    }
    batch = tell("post", BATCHES, wanted)
    tell("get", BATCHES)
    at = f"{BATCHES}/{batch['id']}"
    tell("post", f"{at}/start", {"sample": 1})
    tell("post", f"{at}/start", {})
    run_jobs()
    tell("post", f"{at}/approve", {})
    tell("post", f"{at}/pause", {})
    tell("post", f"{at}/resume", {})
    run_jobs()
    tell("get", at)
    first, *_others = tell("get", f"{at}/items")["results"]
    tell("get", f"/api/v1/items/{first['id']}")
    tell("get", f"/api/v1/webhooks/{hook['id']}/deliveries")

    # Results out: refused at first, then taken, then taken back.
    bucket = connected_bucket(alice, on_s3)
    on_s3.client.delete_bucket(Bucket="pictures")
    place = {"to": "s3", "connection": str(bucket.uid), "folder": "cutouts"}
    delivery = tell("post", f"{at}/deliveries", place)
    run_jobs()
    tell("get", f"{at}/deliveries")
    there = f"/api/v1/deliveries/{delivery['id']}"
    tell("get", there)
    on_s3.client.create_bucket(Bucket="pictures")
    tell("post", f"{there}/retry", {})
    run_jobs()
    tell("post", f"{there}/undo", {})

    # What failed once more, and never mind.
    tell("post", f"{at}/retry", {"settings": {"background": "#ffffff"}})
    tell("post", f"{at}/cancel", {})

    # A sheet: looked at, and made a batch of.
    for dry_run in ("true", "false"):
        file = SimpleUploadedFile("autumn.csv", SHEET, "text/csv")
        form = {"tool": "remove-background", "start": "false", "dry_run": dry_run, "file": file}
        tell("post", f"{BATCHES}/import", form)

    # One image: not waited for, and waited for while somebody works on it.
    one = {"image": {"upload": sent["id"]}, "settings": {"model": "u2netp"}}
    tell("post", "/api/v1/run/remove-background?wait=0", {**one, "reuse": False})
    monkeypatch.setattr(waiting, "until_ended", lambda *_args, **_how: run_jobs())
    tell("post", "/api/v1/run/remove-background", one)

    # What is refused, and the account in the end.
    many = [{"url": f"https://shop.example.com/{n}.jpg"} for n in range(500)]
    tell("post", BATCHES, {"tool": "remove-background", "images": many})
    tell("post", BATCHES, {"tool": "none", "images": [{"url": "mug.jpg"}]})
    tell("get", "/api/v1/credits/entries")
    with_no_key = Teller(clients.with_secret("sk_live_none"))
    with_no_key("get", "/api/v1/me")
    tell.examples["me_read"]["answers"] |= with_no_key.examples["me_read"]["answers"]

    assert _without_example(tell.examples) == set()
    _compare(
        tell.examples,
        {
            shop.url: "https://shop.example.com/",
            hook["secret"]: f"whsec_{'A' * 43}=",
            ticket["url"]: "https://bucket.example.com/originals/front?X-Amz-Signature=a1b2c3",
            on_s3.url: "https://bucket.example.com",
            "http://testserver": STUDIO,
            settings.SITE_URL: STUDIO,
        },
    )


def _key_of(url: str) -> str:
    """The name that a signed address writes to."""
    return url.partition("/originals/")[2].partition("?")[0]


def _without_example(seen: dict[str, dict]) -> set[str]:
    """Answers in JSON, of operations that went well, that were never given."""
    missing = set()
    for methods in openapi_document()["paths"].values():
        for operation in methods.values():
            name = operation["operationId"]
            told = seen.get(name, {"answers": {}})["answers"]
            for status, answer in operation["responses"].items():
                if status[0] == "2" and "application/json" in answer.get("content", {}):
                    missing |= {f"{name} {status}"} if status not in told else set()
    return missing


def _compare(seen: dict[str, dict], words: dict[str, str]) -> None:
    """Fail where what the document shows is not what the site says; record it where asked to."""
    text = json.dumps(seen, indent=1, sort_keys=True, ensure_ascii=False)
    for word, shown in words.items():
        text = text.replace(word, shown)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "2026-11-27T09:30:00.000000Z", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-11-27 09:30", text)
    for number, found in enumerate(dict.fromkeys(UUID.findall(text))):
        text = text.replace(found, f"01a7c3e2-5b1d-4f60-8a00-{number:012}")
    if os.environ.get(RECORD):
        EXAMPLES.write_text(text + "\n")
    assert _differences(json.loads(EXAMPLES.read_text()), json.loads(text)) == [], (
        f"run this test with {RECORD}=1 and look at what changes in {EXAMPLES.name}"
    )


def _differences(old, new, place: str = "") -> list[str]:
    """Where two values have not the same members; what is null in one says nothing."""
    if old is None or new is None:
        return []
    if type(old) is not type(new):
        return [place]
    if isinstance(old, dict):
        apart = [f"{place}/{name}" for name in old.keys() ^ new.keys()]
        shared = (
            _differences(old[name], new[name], f"{place}/{name}")
            for name in old.keys() & new.keys()
        )
        return [*apart, *chain.from_iterable(shared)]
    if isinstance(old, list) and old and new:
        return _differences(old[0], new[0], f"{place}/0")
    return []
