"""Budgets that all processes share."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from batches import quotas
from batches.models import TokenBucket

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

SPENDER = """
import sys, time
import django
django.setup()
from batches import quotas
print("ready", flush=True)
sys.stdin.readline()
end = time.time() + 1
asked = 0
while time.time() < end:
    asked += 1
    if wait := quotas.take("shared", size=10, per_minute=1200):
        time.sleep(wait)  # as whoever asks does; a database in one file is nobody's meanwhile
    else:
        print("took", time.time(), flush=True)
print("asked", asked, flush=True)
"""


def take(seconds: float) -> float:
    return quotas.take("test", size=2, per_minute=60, now=NOON + timedelta(seconds=seconds))


def test_a_budget_is_spent_and_fills_as_time_passes(db):
    assert [take(0), take(0)] == [0, 0]
    assert take(0) == pytest.approx(1)
    assert take(0.75) == pytest.approx(0.25)
    assert take(1) == 0
    assert take(1) == pytest.approx(1)


def test_a_budget_never_holds_more_than_its_size(db):
    take(0)

    assert [take(3600), take(3600)] == [0, 0]
    assert take(3600) > 0


def test_a_clock_that_runs_late_fills_nothing(db):
    assert [take(10), take(10)] == [0, 0]
    assert take(5) == pytest.approx(1)
    assert take(11) == 0


def test_budgets_know_nothing_of_each_other(db):
    assert [take(0), take(0)] == [0, 0]

    assert quotas.take("other", size=1, per_minute=1, now=NOON) == 0


@pytest.mark.concurrency
def test_two_processes_never_spend_more_than_one_may(transactional_db):
    name = str(connection.settings_dict["NAME"])
    url = f"sqlite:///{name}"
    if connection.vendor == "postgresql":
        url = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    env = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "studio.settings"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER],
            env=env,
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"

    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [line.split() for process in both for line in process.communicate()[0].splitlines()]

    # Nothing is promised about who gets how much, only about how much there is for both.
    asked = [int(figure) for word, figure in said if word == "asked"]
    assert len(asked) == 2
    assert min(asked) > 1
    times = sorted(float(figure) for word, figure in said if word == "took")
    assert len(times) > 20
    # A process says when it took a call a moment after it did: allow for one of each.
    for first, start in enumerate(times):
        for number, end in enumerate(times[first:], 1):
            assert number <= 10 + (end - start) * 20 + 2
    assert TokenBucket.objects.get().tokens < 10
