"""Who may do what: every route and method of the API, tried by everybody.

The routes come from the URL resolver, so a new one fails here until the table below says what
it is for. Those of the doors for clients of Sirv AI Studio are `zapier:…`.
"""

import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.urls import get_resolver, include, path, reverse
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts.models import ApiKey, User
from batches import storage, webhooks
from batches.models import (
    Batch,
    Delivery,
    Envelope,
    Original,
    Parcel,
    PartialUpload,
    Result,
)
from batches.states import BatchState, ItemState
from batches.zapier.table import BATCH_DOORS, DOORS
from tests import clients
from tests.factories import bare_batch, bare_item, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "valkey")

METHODS = ("get", "post", "put", "patch", "delete")


def a_file():
    return {"data": {"file": SimpleUploadedFile("x.png", picture())}, "format": "multipart"}


def a_batch():
    images = [{"url": "https://a.io/x.png"}]
    return {"data": {"tool": "fake", "images": images}, "format": "json"}


def a_webhook():
    return {"data": {"url": "https://a.io/hook", "events": ["batch.finished"]}, "format": "json"}


def an_image():
    return {"data": {"image": {"url": "https://a.io/x.png"}}, "format": "json"}


def a_direct_upload():
    return {"data": {"name": "x.png", "bytes": 100}, "format": "json"}


def an_archive():
    return {"data": {"to": "zip"}, "format": "json"}


def a_sheet():
    file = SimpleUploadedFile("list.csv", b"url\nhttps://a.io/x.png\n")
    return {"data": {"tool": "fake", "file": file}, "format": "multipart"}


def a_job():
    return {"data": {"images": [{"image_url": "https://a.io/x.png"}]}, "format": "json"}


def a_hook():
    return {"data": {"url": "https://a.io/hook", "event": "batch.completed"}, "format": "json"}


@dataclass(frozen=True)
class Route:
    """What a route answers whoever may use it, and what it is about."""

    status: int = 200
    code: str | None = None
    """The code that goes with the status, if that is a refusal."""
    of: str = ""
    """The one thing in its address, if there is one."""
    open: bool = False
    """Whether strangers may use it."""
    shared: bool = False
    """Whether that thing is everybody's who has signed in."""
    query: str = ""
    state: BatchState = BatchState.FINISHED
    body: Callable[[], dict] = dict


TABLE = {
    ("me", "get"): Route(),
    ("credit-entries", "get"): Route(),
    ("tools", "get"): Route(open=True),
    ("tool", "get"): Route(of="tool", open=True),
    ("schema", "get"): Route(open=True),
    ("uploads", "post"): Route(201, body=a_file),
    # 409 because the files of tests lie on a disk.
    ("uploads-direct", "post"): Route(409, "direct_upload_unavailable", body=a_direct_upload),
    ("upload-direct-complete", "post"): Route(of="ticket"),
    ("upload", "get"): Route(of="upload"),
    ("upload-file", "get"): Route(of="upload"),
    ("upload-thumbnail", "get"): Route(of="upload"),
    ("batches", "get"): Route(),
    ("batches", "post"): Route(201, body=a_batch),
    ("batches-import", "post"): Route(201, body=a_sheet),
    ("batch", "get"): Route(of="batch"),
    ("batch-items", "get"): Route(of="batch"),
    ("batch-results", "get"): Route(of="batch"),
    ("batch-start", "post"): Route(of="batch", state=BatchState.READY),
    ("batch-approve", "post"): Route(of="batch", state=BatchState.SAMPLED),
    ("batch-pause", "post"): Route(of="batch", state=BatchState.RUNNING),
    ("batch-resume", "post"): Route(of="batch", state=BatchState.PAUSED),
    ("batch-cancel", "post"): Route(of="batch", state=BatchState.PAUSED),
    ("batch-retry", "post"): Route(of="batch"),
    ("batch-links-revoke", "post"): Route(204, of="batch"),
    ("webhooks", "get"): Route(),
    ("webhooks", "post"): Route(201, body=a_webhook),
    ("webhook", "get"): Route(of="webhook"),
    ("webhook", "delete"): Route(204, of="webhook"),
    ("webhook-deliveries", "get"): Route(of="webhook"),
    ("webhook-test", "post"): Route(202, of="webhook"),
    ("batch-deliveries", "get"): Route(of="batch"),
    ("batch-deliveries", "post"): Route(202, of="batch", body=an_archive),
    ("delivery", "get"): Route(of="delivery"),
    ("delivery-retry", "post"): Route(of="delivery"),
    ("delivery-undo", "post"): Route(of="delivery"),
    ("delivery-file", "get"): Route(of="delivery"),
    ("run", "post"): Route(202, of="tool", shared=True, query="?wait=0", body=an_image),
    ("item", "get"): Route(of="item"),
    ("item-result", "get"): Route(of="item"),
    ("item-thumbnail", "get"): Route(of="item"),
    ("zapier:me", "get"): Route(),
    ("zapier:upload", "post"): Route(200, body=a_file),
    # Without an image: a call of a tool waits for it.
    **{(f"zapier:{door}", "post"): Route(422, "validation_failed") for door in DOORS},
    **{(f"zapier:batch-{door}", "post"): Route(body=a_job) for door in BATCH_DOORS},
    ("zapier:status", "get"): Route(of="batch"),
    ("zapier:no-door", "get"): Route(404, "not_found", of="path"),
    ("zapier:no-door", "post"): Route(404, "not_found", of="path"),
    ("zapier:webhooks", "get"): Route(),
    ("zapier:webhooks", "post"): Route(201, body=a_hook),
    ("zapier:webhook", "delete"): Route(204, of="hook"),
}


PAGES = {(":reference", "page")}
"""Pages below `/api/` that people read: `tests/pages.py` asks for them."""


def routes(patterns=None) -> set[tuple[str, str]]:
    """Every route below `/api/` with every method that its view has.

    Names are those of `/api/v1/`, or else begin with their namespace and a colon.
    """
    found = set()

    def walk(patterns, path, space):
        for pattern in patterns:
            here = path + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                walk(pattern.url_patterns, here, pattern.namespace or space)
            elif here.startswith("api/"):
                name = pattern.name if space == "api" else f"{space}:{pattern.name}"
                view = getattr(pattern.callback, "cls", None)
                methods = [method for method in METHODS if hasattr(view, method)]
                found.update((name, method) for method in methods or ["page"])

    walk(get_resolver().url_patterns if patterns is None else patterns, "", "")
    return found


def test_every_route_is_in_the_table():
    assert routes() == set(TABLE) | PAGES


def test_a_route_that_nobody_has_judged_is_seen_wherever_it_is():
    class New(APIView):
        def get(self, request): ...
        def delete(self, request): ...

    view = New.as_view()
    added = [
        path("api/new", view, name="one"),
        path("api/", include(([path("v2/<slug:x>/", view, name="two")], "v2"))),
        path("api/v1/", include(([path("three", view, name="three")], "api"))),
        path("api/plain", lambda request: None, name="four"),
        path("elsewhere", view, name="five"),
    ]

    found = routes([*get_resolver().url_patterns, *added]) - routes()

    assert found == {
        *((name, method) for name in (":one", "v2:two", "three") for method in ("get", "delete")),
        (":four", "page"),
    }


@pytest.fixture
def objects(alice):
    """One of everything that can be asked for by id; Alice's."""
    key = f"{uuid.uuid4()}.png"
    for alias in (storage.ORIGINALS, storage.RESULTS):
        storage.save(alias, key, picture())
    upload = Original.objects.create(
        owner=alice,
        name="front.png",
        sha256="0" * 64,
        bytes=1,
        format="png",
        width=1,
        height=1,
        key=key,
        content_type="image/png",
        thumbnail_key=key,
    )
    batch = bare_batch(alice)
    done = bare_item(batch, state=ItemState.DONE)
    bare_item(batch, position=1, state=ItemState.FAILED)
    bare_item(batch, position=2)
    Result.objects.create(
        item=done,
        key=key,
        thumbnail_key=key,
        format="png",
        bytes=len(picture()),
        sha256="0" * 64,
    )
    webhook = webhooks.register(alice, url="https://a.io/", events=["batch.finished"])
    hook = webhooks.register(
        alice, url="https://a.io/", events=["asset.created"], envelope=Envelope.SIRV
    )
    delivery = Delivery.objects.create(
        batch=batch,
        to="sirv",
        state="failed",
        key=key,
        filename="x.csv",
        content_type="text/csv",
    )
    Parcel.objects.create(delivery=delivery, result=done.results.get(), state="failed", place="x")
    ticket = PartialUpload.objects.create(
        owner=alice, name="x.png", length=1, direct=True, outcome={"upload": str(upload.uid)}
    )
    return {
        "upload": upload,
        "ticket": ticket,
        "batch": batch,
        "item": done,
        "tool": "fake",
        "path": "virtual-try-on",
        "webhook": webhook,
        "hook": hook,
        "delivery": delivery,
    }


def address_of(name: str, objects) -> str:
    """Where a route is, with Alice's thing in its address."""
    of = next(route.of for (known, _method), route in TABLE.items() if known == name)
    thing = objects.get(of)
    args = [getattr(thing, "uid", thing)] if thing else []
    return reverse(name.removeprefix(":") if ":" in name else f"api:{name}", args=args)


def ended(user, **fields):
    """A client whose key was good until just now."""
    client = clients.with_key(user)
    ApiKey.objects.filter(user=user).update(**fields)
    return client


def switched_off(user, client):
    User.objects.filter(pk=user.pk).update(is_active=False)
    return client


def with_csrf(user):
    client = clients.with_session(user)
    client.cookies["csrftoken"] = "a" * 32
    client.credentials(HTTP_X_CSRFTOKEN="a" * 32)
    return client


NOBODY = (401, "not_authenticated")
NOT_FOUND = (404, "not_found")
NO_SCOPE = (403, "scope_missing")


def roles(route: Route, method: str, alice, bob, staff) -> dict[str, tuple[Callable, Any]]:
    """Who asks, and what each is answered: the status, with the code where it is a refusal."""
    good = (route.status, route.code)
    writes = method != "get"
    stranger = good if route.open else NOBODY
    other = NOT_FOUND if route.of and not (route.open or route.shared) else good
    return {
        "stranger": (APIClient, stranger),
        "owner": (lambda: clients.with_key(alice), good),
        "owner's session": (lambda: with_csrf(alice), good),
        "owner's session without a CSRF token": (
            lambda: clients.with_session(alice),
            (403, "permission_denied") if writes else good,
        ),
        "somebody else": (lambda: clients.with_key(bob), other),
        "somebody else's session": (lambda: with_csrf(bob), other),
        "staff": (lambda: clients.with_key(staff), other),
        "staff's session": (lambda: with_csrf(staff), other),
        "key that only reads": (
            lambda: clients.with_key(alice, "read"),
            NO_SCOPE if writes and not route.open else good,
        ),
        "key that only runs": (
            lambda: clients.with_key(alice, "run"),
            good if writes or route.open else NO_SCOPE,
        ),
        "key that was revoked": (lambda: ended(alice, revoked_at=timezone.now()), NOBODY),
        "key that has expired": (lambda: ended(alice, expires_at=timezone.now()), NOBODY),
        "key of nobody": (lambda: clients.with_secret("sk_live_" + "x" * 43), NOBODY),
        "key of a user who was switched off": (
            lambda: switched_off(alice, clients.with_key(alice)),
            NOBODY,
        ),
        "session of a user who was switched off": (
            lambda: switched_off(alice, with_csrf(alice)),
            stranger,
        ),
    }


def code_of(response) -> str:
    """Why it refused; clients of Sirv AI Studio are told in upper case."""
    return response.json()["code"].lower()


@contextmanager
def as_if_nothing_had_happened():
    """Take back what is done within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.parametrize(("name", "method"), sorted(TABLE))
def test_each_may_what_the_table_says(name, method, objects, alice, bob, staff):
    route = TABLE[name, method]
    Batch.objects.update(state=route.state)
    address = address_of(name, objects) + route.query
    found, expected = {}, {}

    for who, (client_of, answer) in roles(route, method, alice, bob, staff).items():
        with as_if_nothing_had_happened():
            response = getattr(client_of(), method)(address, **route.body())
            if response.streaming:
                list(response.streaming_content)  # to its end, which closes what it reads
            refused = response.status_code >= 400
            found[who] = (
                response.status_code,
                code_of(response) if refused else None,
            )
            expected[who] = answer
            if answer == NOT_FOUND:
                assert Batch.objects.get().state == route.state

    assert found == expected


@pytest.mark.parametrize("name", sorted({name for name, _method in TABLE}))
def test_other_methods_are_told_which_there_are(name, objects, alice):
    client = clients.with_key(alice)
    address = address_of(name, objects)
    known = {method for other, method in TABLE if other == name}

    for method in {*METHODS, "trace"} - known:
        response = client.generic(method.upper(), address)

        assert (response.status_code, response.json()["code"].lower()) == (
            405,
            "method_not_allowed",
        )
        assert {word.strip().lower() for word in response["Allow"].split(",")} - {
            "head",
            "options",
        } == known
