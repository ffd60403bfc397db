"""Counting tries, for pages and the API alike."""

import pytest
import redis
from django.core.exceptions import PermissionDenied

from accounts import limits

pytestmark = pytest.mark.usefixtures("valkey")


def test_each_try_of_the_same_person_counts():
    counted = [limits.count("sign-in", "a@example.com") for _try in range(3)]

    assert [count.tries for count in counted] == [1, 2, 3]


def test_different_people_and_different_doors_count_apart():
    limits.count("sign-in", "a@example.com")

    assert limits.count("sign-in", "b@example.com").tries == 1
    assert limits.count("sign-up", "a@example.com").tries == 1


def test_the_count_begins_again_with_each_period(monkeypatch):
    clock = [1_800_000_000]
    monkeypatch.setattr("accounts.limits.time.time", lambda: clock[0])
    first = limits.count("sign-in", "a@example.com", period=60)

    clock[0] += first.reset

    assert limits.count("sign-in", "a@example.com", period=60).tries == 1


def test_nobody_is_counted_while_valkey_is_away(monkeypatch):
    def away(*_args, **_kwargs):
        raise redis.ConnectionError("Valkey is away")

    monkeypatch.setattr("django.core.cache.backends.redis.RedisCache.add", away)

    assert limits.count("sign-in", "a@example.com") is None


def test_too_many_requests_is_a_refusal_that_says_when_to_come_back():
    refusal = limits.TooManyRequests(retry_after=90)

    assert isinstance(refusal, PermissionDenied)
    assert refusal.retry_after == 90
