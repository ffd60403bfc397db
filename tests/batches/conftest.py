"""What the tests of batches share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from accounts.models import Connection
from batches import audit, couriers, dispatch
from batches.exports import registry, remote
from batches.google import wire
from credits import audit as credits_audit
from tests import fakes, google_server
from tests.batches import fetch_server, odd_tools, places, web_pages


@pytest.fixture
def media(settings, tmp_path) -> Path:
    """Storages of this test's own, so that it can count the files: `originals` and `results`."""
    settings.STORAGES = {
        **settings.STORAGES,
        **{
            alias: {
                "BACKEND": "batches.storage.DurableFileSystemStorage",
                "OPTIONS": {"location": str(tmp_path / alias), "allow_overwrite": True},
            }
            for alias in ("originals", "results")
        },
    }
    return tmp_path


@pytest.fixture
def server(settings) -> Iterator[fetch_server.FetchServer]:
    """The web server that misbehaves on demand; downloads may reach it."""
    with fetch_server.serving() as running:
        settings.FETCH_ALLOW = list(running.allow)
        yield running


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[Any]:
    from tests import s3_server  # moto takes its time to load

    with s3_server.serving() as running:
        yield running


@pytest.fixture
def s3(settings, _s3_server) -> Iterator[Any]:
    """An S3 server on loopback with the bucket `pictures`, which the site may reach."""
    settings.FETCH_ALLOW = [*settings.FETCH_ALLOW, _s3_server.host]
    _s3_server.client.create_bucket(Bucket="pictures")
    _s3_server.requests.clear()
    yield _s3_server
    _s3_server.reset()


@pytest.fixture(scope="session")
def _s3_session() -> Any:
    """What takes a quarter of a second to load, and is the same for all clients."""
    import boto3

    from tests import s3_server

    return boto3.Session(s3_server.KEY, s3_server.SECRET)


@pytest.fixture
def on_s3(settings, s3, _s3_session, monkeypatch) -> Any:
    """The site keeps its files in two buckets of the S3 server, as a site with `s3` does."""
    from storages.backends.s3 import S3Storage

    from studio import buckets

    monkeypatch.setattr(S3Storage, "_create_session", lambda _storage: _s3_session)
    named = {"originals": "originals", "results": "results", "direct": "originals"}
    for bucket in set(named.values()):
        s3.client.create_bucket(Bucket=bucket)
    settings.STORAGES = {
        **settings.STORAGES,
        **{alias: buckets.options(name, endpoint=s3.url) for alias, name in named.items()},
    }
    for alias in named:
        _ = storages[alias].bucket  # here, since two threads can't make clients of one session
    return s3


@pytest.fixture
def cloud(settings, tmp_path, valkey, monkeypatch) -> Iterator[google_server.GoogleServer]:
    """Google; the site has an account there, and doesn't wait long between two tries."""
    monkeypatch.setattr(wire, "BACK_OFF", 0.01)
    with google_server.serving() as running:
        key = running.key_file(tmp_path)
        settings.GOOGLE = {"credentials": str(key), **running.configuration}
        settings.FETCH_ALLOW = [f"127.0.0.1:{running.port}", f"localhost:{running.port}"]
        yield running


@pytest.fixture
def web(settings) -> Iterator[web_pages.Web]:
    """A shop's own site; downloads may reach it."""
    with web_pages.serving() as running:
        settings.FETCH_ALLOW = [*settings.FETCH_ALLOW, f"127.0.0.1:{running.server_port}"]
        yield running


@pytest.fixture
def scripted() -> Iterator[odd_tools.ScriptedTool]:
    """The tool `scripted`, which does in each run what the test says."""
    with fakes.registered(odd_tools.ScriptedTool) as tools:
        yield tools[0]


@pytest.fixture
def sized() -> Iterator[odd_tools.SizedTool]:
    """The tool `sized`, whose price depends on the picture's width."""
    with fakes.registered(odd_tools.SizedTool) as tools:
        yield tools[0]


@pytest.fixture
def free() -> Iterator[odd_tools.FreeTool]:
    """The tool `free`, which costs nothing."""
    with fakes.registered(odd_tools.FreeTool) as tools:
        yield tools[0]


@pytest.fixture
def rings_at_once(monkeypatch, valkey) -> None:
    """Rings reach the queues when they are asked for: a test's own transaction never commits."""
    monkeypatch.setattr(dispatch, "_ring", dispatch._push)


@pytest.fixture
def no_welcome(settings) -> None:
    """Sums are easier to follow from zero."""
    settings.WELCOME_CREDITS = 0


@pytest.fixture
def sound(db) -> Iterator[None]:
    """Fail when money and items disagree at the end of a test."""
    yield
    assert [*credits_audit.disagreements(), *audit.disagreements()] == []


@pytest.fixture
def store(monkeypatch) -> places.MemoryStore:
    """The storage that every connected account has, one result at a time."""
    store = places.MemoryStore()
    monkeypatch.setattr(remote, "opened", lambda _delivery: store)
    monkeypatch.setattr(couriers, "WINDOW", 1)
    return store


@pytest.fixture
def shop(alice) -> Connection:
    """Alice's account at Sirv, with a folder for the tool `fake`."""
    return Connection.objects.create(
        owner=alice, kind="sirv", name="Shop", folders={"fake": "cutouts"}, conflict="rename"
    )


@pytest.fixture
def made_places(monkeypatch) -> Iterator[None]:
    """`csv` makes a list of names and `google_sheet` keeps rows: `places`."""
    known = {
        "csv": ("tests.batches.places", "ListOfNames"),
        "google_sheet": ("tests.batches.places", "Rows"),
    }
    monkeypatch.setattr(registry, "_EXPORTERS", registry._EXPORTERS | known)
    monkeypatch.setattr(places.Rows, "pushed", [])
    monkeypatch.setattr(places.Rows, "trouble", [])
    monkeypatch.setattr(places.Rows, "gone", set())
    registry.get.cache_clear()
    yield
    registry.get.cache_clear()
