"""What staff sees first: true figures, few questions, and something to read without Valkey."""

from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from batches import dispatch
from batches.models import Item
from batches.states import BatchState, ItemState
from credits import ledger
from studio import dashboard, fleet
from studio.worker import Pulse
from tests.factories import bare_batch, bare_item


@pytest.fixture
def desk(client, staff, valkey):
    client.force_login(staff)
    return client


def items(batch, count: int) -> None:
    now = timezone.now()
    Item.objects.bulk_create(
        Item(
            batch=batch,
            position=number,
            name=f"{number}.png",
            state=ItemState.FAILED if number % 5 == 0 else ItemState.DONE,
            error_code="no_subject" if number % 5 == 0 else "",
            finished_at=now - timedelta(minutes=number % 50),
        )
        for number in range(count)
    )


def test_it_counts_what_runs_what_ended_and_what_failed(desk, alice):
    bare_batch(alice, state=BatchState.PAUSED)
    items(bare_batch(alice, state=BatchState.RUNNING), 10)

    found = desk.get("/admin/").context["dashboard"]

    assert {state["name"]: state["n"] for state in found["batches"]} == {
        "Running": 1, "Paused": 1, "Importing": 0, "Cancelling": 0,
    }  # fmt: skip
    assert found["minutes"].total == [8, 2]
    assert [(reason.error_code, reason.n) for reason in found["failures"]] == [("no_subject", 2)]


def test_credits_are_shown_by_day(alice, desk):
    held = ledger.hold(alice, 7, key="h")
    ledger.capture(held.pk, item_uid=alice.uid, generation=1, held=7, price=5)
    shown = dashboard.look(now=timezone.now())["credits"]
    assert (shown.total, shown.bars[-1].values) == ([5], (5,))


def test_it_asks_as_little_for_five_thousand_images_as_for_five(
    desk, alice, django_assert_num_queries
):
    items(bare_batch(alice, state=BatchState.RUNNING), 5)
    desk.get("/admin/")
    with django_assert_num_queries(8) as few:
        desk.get("/admin/")
    items(bare_batch(alice, state=BatchState.RUNNING), 5_000)
    with django_assert_num_queries(len(few)):
        desk.get("/admin/")


def test_workers_are_listed_with_what_they_said_and_have_in_hand(desk, alice, valkey):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING, worker="gpu-1:42")
    said = {
        "queue": "cpu", "host": "gpu-1", "device": "cpu", "memory_bytes": 2**30,
        "loaded": ["u2netp"], "runtime": "1.32.0", "started_at": timezone.now().timestamp(),
    }  # fmt: skip
    with Pulse(valkey, queue="cpu", worker="gpu-1:42", about=lambda: said):
        while not fleet.workers(valkey):
            pass
        page = desk.get("/admin/")
        (worker,) = fleet.workers(valkey)
    assert (worker.host, worker.loaded, worker.device) == ("gpu-1", ("u2netp",), "cpu")
    text = page.content.decode()
    assert "u2netp" in text
    assert f"?q={item.uid}" in text
    assert fleet.workers(valkey) == [], "it has said goodbye"


def test_without_valkey_it_says_so_and_shows_the_rest(desk, alice, monkeypatch):
    gone = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(dispatch, "connection", lambda: gone)
    page = desk.get("/admin/")
    assert page.status_code == 200
    assert b"Valkey does not answer" in page.content


def test_staff_who_may_not_see_batches_see_no_figures(client, bob, valkey):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)
    page = client.get("/admin/")
    assert page.status_code == 200
    assert "dashboard" not in page.context
