"""Who may do what: every route and method of the API, tried by everybody.

The routes come from the URL resolver, so a new one fails here until the table below says what
it is for.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import get_resolver, reverse
from django.utils import timezone

from accounts.models import ApiKey
from batches import storage, webhooks
from batches.models import Batch, Delivery, Original, Parcel, Result
from batches.states import BatchState, ItemState
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


def an_archive():
    return {"data": {"to": "zip"}, "format": "json"}


def a_sheet():
    file = SimpleUploadedFile("list.csv", b"url\nhttps://a.io/x.png\n")
    return {"data": {"tool": "fake", "file": file}, "format": "multipart"}


@dataclass(frozen=True)
class Route:
    """What a route answers whoever may use it, and what it is about."""

    status: int = 200
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
}


def routes() -> set[tuple[str, str]]:
    """Every route of `/api/v1/` with every method that its view has."""
    found = set()
    (api,) = [
        resolver
        for resolver in get_resolver().url_patterns
        if getattr(resolver, "namespace", None) == "api"
    ]

    def walk(patterns):
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                walk(pattern.url_patterns)
                continue
            view = pattern.callback.cls
            found.update((pattern.name, name) for name in METHODS if hasattr(view, name))

    walk(api.url_patterns)
    return found


def test_every_route_is_in_the_table():
    assert routes() == set(TABLE)


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
        item=done, key=key, thumbnail_key=key, format="png", bytes=1, sha256="0" * 64
    )
    webhook = webhooks.register(alice, url="https://a.io/", events=["batch.finished"])
    delivery = Delivery.objects.create(
        batch=batch,
        to="sirv",
        state="failed",
        key=key,
        filename="x.csv",
        content_type="text/csv",
    )
    Parcel.objects.create(delivery=delivery, result=done.results.get(), state="failed", place="x")
    return {
        "upload": upload,
        "batch": batch,
        "item": done,
        "tool": "fake",
        "webhook": webhook,
        "delivery": delivery,
    }


@pytest.fixture(params=sorted(TABLE), ids=" ".join)
def ask(request, objects):
    """One route: its row in the table, its method, and a function that asks as somebody."""
    name, method = request.param
    route = TABLE[request.param]
    objects["batch"].state = route.state
    objects["batch"].save()
    thing = objects.get(route.of)
    address = reverse(f"api:{name}", args=[getattr(thing, "uid", thing)] if thing else [])

    def ask(client):
        response = getattr(client, method)(address + route.query, **route.body())
        if response.streaming:
            response.close()
        return response

    return route, method, ask


def code_of(response) -> str:
    return response.json()["code"]


def test_the_owner_may(ask, alice):
    route, _method, as_ = ask

    assert as_(clients.with_key(alice)).status_code == route.status


def test_a_stranger_may_not(ask, api):
    route, _method, as_ = ask

    response = as_(api)

    assert response.status_code == (200 if route.open else 401)
    if not route.open:
        assert code_of(response) == "not_authenticated"


def test_somebody_else_finds_nothing(ask, bob):
    route, _method, as_ = ask

    response = as_(clients.with_key(bob))

    if route.of and not route.open and not route.shared:
        assert (response.status_code, code_of(response)) == (404, "not_found")
        assert Batch.objects.get().state == route.state
    else:
        assert response.status_code == route.status


def test_staff_find_nothing_either(ask, staff):
    route, _method, as_ = ask

    response = as_(clients.with_key(staff))

    if route.of and not route.open and not route.shared:
        assert (response.status_code, code_of(response)) == (404, "not_found")
        assert Batch.objects.get().state == route.state


def test_a_key_without_the_scope_may_not(ask, alice):
    route, method, as_ = ask
    other = "run" if method == "get" else "read"

    response = as_(clients.with_key(alice, other))

    if route.open:
        assert response.status_code == route.status
    else:
        assert (response.status_code, code_of(response)) == (403, "scope_missing")


@pytest.mark.parametrize("change", ["revoked_at", "expires_at"])
def test_a_key_that_ended_opens_nothing(ask, alice, change):
    _route, _method, as_ = ask
    client = clients.with_key(alice)
    ApiKey.objects.update(**{change: timezone.now()})

    response = as_(client)

    assert (response.status_code, code_of(response)) == (401, "not_authenticated")


def test_a_session_without_a_csrf_token_changes_nothing(ask, alice):
    route, method, as_ = ask

    response = as_(clients.with_session(alice))

    if method != "get":
        assert (response.status_code, code_of(response)) == (403, "permission_denied")
    else:
        assert response.status_code == route.status
