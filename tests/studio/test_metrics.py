"""What Prometheus reads: true figures, for those who may, also while something is away."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from batches import dispatch
from batches.models import Item
from batches.states import BatchState, ItemState
from credits import ledger
from studio import gunicorn_config, schedule
from tests.factories import bare_batch, bare_item, give
from tests.studio.conftest import free_port


def figures(client, **headers) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics", **headers)
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_figures_are_those_of_the_site(client, alice, valkey):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    now = timezone.now()
    for position, (state, ended) in enumerate(
        [("done", 1), ("done", 2), ("failed", 3), ("done", 90)]
    ):
        code = "no_subject" if state == "failed" else ""
        at = now - timedelta(minutes=ended)
        bare_item(batch, state=state, position=position, error_code=code, finished_at=at)
    schedule.run_due(now=now)
    give(alice, 10)
    ledger.hold(alice, 7, key="h")
    dispatch.ring_for_webhooks()

    found = figures(client)

    assert found["studio_batches", "running"] == 1
    assert found["studio_images_last_hour", "done", batch.tool] == 2
    assert found["studio_images_last_hour", "failed", batch.tool] == 1
    assert found["studio_credits_held",] == ledger.balance(alice).held == 7
    assert found["studio_failures_last_day", "no_subject"] == 1
    assert found["studio_chore_well", "checkledger"] == 1
    assert (found["studio_up", "database"], found["studio_up", "valkey"]) == (1, 1)
    assert found["studio_queue_jobs", "io"] >= 0
    assert found["studio_disk_free_bytes",] > 0


def test_without_valkey_the_rest_is_told(client, alice, monkeypatch):
    gone = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(dispatch, "connection", lambda: gone)
    found = figures(client)
    assert (found["studio_up", "valkey"], found["studio_up", "database"]) == (0, 1)
    assert ("studio_queue_jobs", "io") not in found


def test_questions_are_as_many_for_five_thousand_images(
    client, alice, valkey, django_assert_num_queries
):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    with django_assert_num_queries(10) as few:
        figures(client)
    Item.objects.bulk_create(
        Item(
            batch=batch, position=n, name=str(n), state=ItemState.FAILED, error_code="no_subject",
            finished_at=timezone.now(),
        )
        for n in range(5_000)
    )  # fmt: skip
    with django_assert_num_queries(len(few) + 1):  # and the words of the latest failure
        figures(client)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"REMOTE_ADDR": "192.0.2.1"}, 404),
        ({"HTTP_X_FORWARDED_FOR": "192.0.2.1"}, 404),
    ],
)
def test_without_a_token_this_machine_alone_may_ask(client, db, valkey, headers, status):
    assert client.get("/metrics", **headers).status_code == status


@pytest.mark.parametrize(
    ("said", "status"), [("Bearer s3cret", 200), ("Bearer wrong", 404), ("", 404)]
)
def test_with_a_token_whoever_has_it_may_ask(client, db, valkey, settings, said, status):
    settings.METRICS_TOKEN = "s3cret"
    headers = {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": said}
    assert client.get("/metrics", **headers).status_code == status


def test_requests_are_counted_by_view_and_status(client, db, valkey):
    def of(view: str, status: str) -> float:
        return figures(client).get(("studio_http_requests_total", status, view), 0)

    before = of("home", "200"), of("none", "404"), of("accounts:preferences", "302")
    client.get("/")
    client.get("/nothing-here-at-all/")
    client.get("/accounts/preferences/")
    after = of("home", "200"), of("none", "404"), of("accounts:preferences", "302")

    assert [now - then for then, now in zip(before, after, strict=True)] == [1, 1, 1]
    found = figures(client)
    assert found["studio_http_request_seconds_count", "home"] >= 1
    # As many buckets for each view as are named, one without an end, a sum and a count.
    lines = sum(key[0].startswith("studio_http_request_seconds") and "home" in key for key in found)
    assert lines == 14


class Server:
    """Gunicorn with two processes, on an empty data directory."""

    def __init__(self, place: Path) -> None:
        self.port = free_port()
        ours = ("STUDIO_", "DATABASE_URL", "REDIS_URL", "DJANGO_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        command = [
            *(sys.executable, "-m", "gunicorn", "studio.wsgi", "--bind", f"127.0.0.1:{self.port}"),
            *("--config", "studio/gunicorn_config.py", "--no-control-socket"),
        ]
        env |= {"STUDIO_DATA_DIR": str(place), "STUDIO_WEB_WORKERS": "2", "TMPDIR": str(place)}
        self.process = subprocess.Popen(command, env=env, cwd=settings.BASE_DIR)

    def workers(self) -> set[int]:
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def get(self, path: str) -> str:
        until = time.monotonic() + 60
        while True:
            try:
                with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as visitor:
                    visitor.request("GET", path)
                    return visitor.getresponse().read().decode()
            except OSError:
                assert time.monotonic() < until
                assert self.process.poll() is None
                time.sleep(0.02)

    def looks(self) -> float:
        (line,) = (
            line
            for line in self.get("/metrics").splitlines()
            if line.startswith('studio_http_requests_total{status="404",view="none"}')
        )
        return float(line.split()[-1])


@pytest.mark.worker
def test_web_processes_count_together_and_those_that_ended_still_count(tmp_path):
    server = Server(tmp_path)
    try:
        for _ in range(6):
            server.get("/api/v1/nothing")
        assert [server.looks() for _ in range(3)] == [6] * 3

        first = server.workers()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 30
        while server.workers() & first:
            assert time.monotonic() < until
            time.sleep(0.02)
        server.get("/api/v1/nothing")
        assert server.looks() == 7
        (folder,) = Path(gunicorn_config.worker_tmp_dir or tmp_path).glob(
            f"studio-requests-*/counter_{min(first)}.db"
        )
    finally:
        server.process.terminate()
        server.process.wait()
    assert not folder.exists()
