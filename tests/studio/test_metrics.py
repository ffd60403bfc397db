"""What Prometheus reads: true figures, for those who may, also while something is away."""

from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from batches import dispatch
from batches.models import Item
from batches.states import BatchState, ItemState
from studio import schedule
from tests.factories import bare_batch, bare_item


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
    dispatch.ring_for_webhooks()

    found = figures(client)

    assert found["studio_batches", "running"] == 1
    assert found["studio_images_last_hour", "done"] == 2
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
    with django_assert_num_queries(9) as few:
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
