"""How often one may ask: counted in Valkey, for each key, reads and writes apart."""

from dataclasses import replace

import pytest
import redis

from accounts import plans
from accounts.models import ApiKey
from tests import clients

pytestmark = pytest.mark.usefixtures("valkey")

LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


@pytest.fixture
def plan(monkeypatch):
    """Change the plan that everybody is on."""

    def change(**figures):
        monkeypatch.setattr(plans, "STANDARD", replace(plans.STANDARD, **figures))

    return change


@pytest.fixture
def limited(plan):
    plan(api_reads_per_hour=3, api_writes_per_hour=1)


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


def test_each_key_of_one_user_has_its_own_share(alice, limited, at_ten_to_nine):
    shop = clients.with_key(alice)
    for _request in range(4):
        shop.get("/api/v1/me")

    assert shop.get("/api/v1/me").status_code == 429
    assert clients.with_key(alice).get("/api/v1/me").status_code == 200


def test_somebody_who_is_signed_in_has_one_share_on_all_devices(alice, limited, at_ten_to_nine):
    for _request in range(3):
        assert clients.with_session(alice).get("/api/v1/me").status_code == 200

    assert clients.with_session(alice).get("/api/v1/me").status_code == 429
    assert clients.with_key(alice).get("/api/v1/me").status_code == 200


def test_the_figures_are_those_of_the_plan():
    assert plans.STANDARD.api_writes_per_hour == 5_000
    assert plans.STANDARD.api_reads_per_hour == 50_000


def test_an_account_that_staff_have_given_larger_batches_has_the_limits_of_its_plan(alice, limited):
    alice.batch_images = 100_000
    alice.save()

    assert clients.with_key(alice).get("/api/v1/me")["RateLimit-Limit"] == "3"


@pytest.mark.parametrize("key", ["", "sk_live_wrong"], ids=["none", "wrong"])
def test_who_is_not_let_in_is_counted_too(db, limited, at_ten_to_nine, key):
    client = clients.with_secret(key)
    here = [client.get("/api/v1/me", REMOTE_ADDR="192.0.2.1") for _request in range(4)]
    there = client.get("/api/v1/me", REMOTE_ADDR="192.0.2.2")

    assert [response.status_code for response in here] == [401, 401, 401, 429]
    assert [response["RateLimit-Remaining"] for response in here] == ["2", "1", "0", "0"]
    assert here[-1]["Retry-After"] == "600"
    assert here[-1].json()["code"] == "rate_limited"
    assert there.status_code == 401


def test_a_key_that_falls_short_is_counted_once_for_each_request(alice, limited, at_ten_to_nine):
    client = clients.with_key(alice, "run")

    refused = [client.get("/api/v1/me") for _request in range(4)]

    assert [response.status_code for response in refused] == [403, 403, 403, 429]


def test_a_plan_without_the_api_opens_pages_but_no_keys(alice, plan):
    plan(api=False)

    refused = clients.with_key(alice).get("/api/v1/me")
    signed_in = clients.with_session(alice).get("/api/v1/me")

    assert (refused.status_code, refused.json()["code"]) == (403, "api_not_enabled")
    assert "plan" in refused.json()["detail"]
    assert signed_in.status_code == 200
    assert ApiKey.objects.get().revoked_at is None


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
