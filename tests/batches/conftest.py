"""What the tests of batches share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batches import audit, dispatch
from credits import audit as credits_audit
from tests import fakes
from tests.batches import fetch_server, odd_tools


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
