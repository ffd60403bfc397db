"""Leases go by the database's clock, however wrong that of a host is."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from batches import clock

pytestmark = pytest.mark.django_db


class Behind(datetime):
    """A host whose clock is ten minutes late."""

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - timedelta(minutes=10)


def test_a_host_whose_clock_is_late_goes_by_the_databases(monkeypatch, django_assert_num_queries):
    if connection.vendor != "postgresql":
        assert abs(clock.now() - timezone.now()) < timedelta(seconds=1)
        return
    monkeypatch.setattr(clock._known, "until", 0.0)
    monkeypatch.setattr(clock._known, "ahead", timedelta(0))
    monkeypatch.setattr(clock, "datetime", Behind)
    monkeypatch.setattr(clock.timezone, "now", lambda: Behind.now(UTC))

    with django_assert_num_queries(1):
        told = [clock.now(), clock.now()]

    assert all(abs(one - datetime.now(UTC)) < timedelta(seconds=5) for one in told)


def test_clocks_that_differ_by_less_than_a_second_are_one(monkeypatch):
    monkeypatch.setattr(clock._known, "until", 0.0)
    clock.now()
    assert clock._known.ahead == timedelta(0)
