"""What the health page says: 200 when everything is there, else what is missing."""

import time

import pytest
import redis
from django.db import InterfaceError, OperationalError, connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from batches import dispatch, hosts
from studio import health, worker
from studio.worker import Pulse
from tests.studio.conftest import eventually

pytestmark = pytest.mark.django_db


@pytest.fixture
def workers(valkey):
    """A worker of each kind that this site has, as far as their pulses go."""
    with Pulse(valkey, queue="io", worker="a:1"), Pulse(valkey, queue="cpu", worker="a:2"):
        eventually(lambda: not health.missing(), seconds=5)
        yield valkey


@pytest.fixture
def no_valkey(monkeypatch):
    nowhere = redis.Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(dispatch, "connection", lambda: nowhere)


def test_with_everything_there_the_page_says_ok_to_anybody(client, workers):
    answer = client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "missing": []})
    assert "no-store" in answer.headers["Cache-Control"]


def test_each_kind_of_worker_that_is_missing_is_named(client, valkey, settings):
    settings.RQ_QUEUES = {**settings.RQ_QUEUES, "gpu": settings.RQ_QUEUES["cpu"]}

    with Pulse(valkey, queue="cpu", worker="a:2"):
        eventually(lambda: hosts.count(valkey, queue="cpu"), seconds=5)
        answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "missing": ["io worker", "gpu worker"]}


def test_a_valkey_that_is_away_is_named_and_not_its_workers(client, no_valkey):
    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json()["missing"] == ["valkey"]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_named_and_the_rest_is_still_looked_at(
    client, valkey, monkeypatch, error
):
    def fail(*_args, **_options):
        raise error("it went away")

    monkeypatch.setattr(connection, "cursor", fail)

    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json()["missing"] == ["database", "io worker", "cpu worker"]


def test_a_pulse_begins_at_once_goes_on_through_a_flush_and_ends_with_the_worker(
    valkey, monkeypatch
):
    monkeypatch.setattr(worker, "PULSE_SECONDS", 0.05)

    with Pulse(valkey, queue="cpu", worker="a:1"):
        eventually(lambda: hosts.count(valkey, queue="cpu") == 1, seconds=5)
        valkey.flushdb()
        eventually(lambda: hosts.count(valkey, queue="cpu") == 1, seconds=5)

    assert hosts.count(valkey, queue="cpu") == 0


def test_a_pulse_that_is_too_old_does_not_count(valkey, monkeypatch):
    valkey.zadd("studio:workers:cpu", {"a:1": time.time() - hosts.SILENCE - 1})
    assert hosts.count(valkey, queue="cpu") == 0

    valkey.zadd("studio:workers:cpu", {"a:1": time.time() - hosts.SILENCE + 5})
    assert hosts.count(valkey, queue="cpu") == 1


def test_a_worker_that_is_known_to_be_dead_is_forgotten_alone(valkey):
    valkey.zadd("studio:workers:cpu", {"a:1": time.time(), "a:2": time.time()})

    hosts.forget(valkey, queue="cpu", worker="a:1")

    assert valkey.zrange("studio:workers:cpu", 0, -1) == [b"a:2"]


def test_a_pulse_survives_a_valkey_that_is_away(no_valkey, caplog):
    with Pulse(dispatch.connection(), queue="cpu", worker="a:1"):
        eventually(lambda: "No pulse" in caplog.text, seconds=5)
