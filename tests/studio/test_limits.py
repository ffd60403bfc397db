"""How often one may ask: counted in Valkey, per user, reads and writes apart."""

import pytest
import redis

from tests import clients

pytestmark = pytest.mark.usefixtures("valkey")

LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


@pytest.fixture
def limited(settings):
    settings.API_READS_PER_HOUR = 3
    settings.API_WRITES_PER_HOUR = 1


@pytest.fixture
def at_ten_to_nine(monkeypatch):
    """The clock of the counters; set it forward by changing the value."""
    clock = [1_800_000_000 // 3600 * 3600 + 3000]
    monkeypatch.setattr("accounts.limits.time.time", lambda: clock[0])
    return clock


def test_every_answer_says_how_much_is_left(alice, limited, at_ten_to_nine):
    client = clients.with_key(alice)

    answers = [client.get("/api/v1/me") for _request in range(2)]

    figures = [[response[name] for name in LIMITS] for response in answers]
    assert figures == [["3", "2", "600"], ["3", "1", "600"]]


def test_one_request_too_many_is_told_when_to_come_back(alice, limited, at_ten_to_nine):
    client = clients.with_key(alice)
    for _request in range(3):
        assert client.get("/api/v1/me").status_code == 200

    refused = client.get("/api/v1/me")

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused["Content-Type"] == "application/problem+json"
    assert (refused["Retry-After"], refused["RateLimit-Remaining"]) == ("600", "0")


def test_the_next_hour_is_a_new_one(alice, limited, at_ten_to_nine):
    client = clients.with_key(alice)
    for _request in range(4):
        client.get("/api/v1/me")

    at_ten_to_nine[0] += 600

    assert client.get("/api/v1/me").status_code == 200


def test_writes_are_counted_apart_from_reads(alice, limited, at_ten_to_nine):
    client = clients.with_key(alice)
    first = client.post("/api/v1/batches", {}, format="json")

    second = client.post("/api/v1/batches", {}, format="json")

    assert (first.status_code, second.status_code) == (422, 429)
    assert client.get("/api/v1/me").status_code == 200


def test_users_do_not_use_up_each_others_share(alice, bob, limited, at_ten_to_nine):
    alices = clients.with_key(alice)
    for _request in range(4):
        alices.get("/api/v1/me")

    assert clients.with_key(bob).get("/api/v1/me").status_code == 200


def test_keys_of_one_user_share_one_count(alice, limited, at_ten_to_nine):
    for _request in range(3):
        clients.with_key(alice).get("/api/v1/me")

    assert clients.with_key(alice).get("/api/v1/me").status_code == 429


def test_strangers_are_counted_by_address(db, api, limited, at_ten_to_nine):
    here = [api.get("/api/v1/schema", REMOTE_ADDR="192.0.2.1") for _request in range(4)]
    there = api.get("/api/v1/schema", REMOTE_ADDR="192.0.2.2")

    assert [response.status_code for response in here] == [200, 200, 200, 429]
    assert there.status_code == 200


def test_without_valkey_everybody_is_let_in(alice, limited, monkeypatch):
    def away(*_args, **_kwargs):
        raise redis.ConnectionError("Valkey is away")

    monkeypatch.setattr("django.core.cache.backends.redis.RedisCache.add", away)
    client = clients.with_key(alice)

    answers = [client.get("/api/v1/me") for _request in range(5)]

    assert {response.status_code for response in answers} == {200}
    assert "RateLimit-Limit" not in answers[0]


def test_pages_are_not_counted(client, db, limited):
    response = client.get("/accounts/login/")

    assert "RateLimit-Limit" not in response
