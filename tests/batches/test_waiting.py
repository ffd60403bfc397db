"""Waiting within a request: short, bounded, and never for what has ended."""

import socket
import threading
import time

import pytest
from django.db import connection

from accounts import idempotency
from batches import waiting
from batches.models import Item
from batches.states import ItemState
from tests.factories import bare_batch, bare_item


def test_who_finds_no_place_is_told_at_once(settings):
    places = [waiting.place() for _ in range(settings.RUN_WAITS)]
    for one in places:
        one.__enter__()

    with pytest.raises(waiting.NoPlace), waiting.place():
        pass

    for one in places:
        one.__exit__(None, None, None)
    with waiting.place():
        pass


def test_an_image_that_has_ended_is_not_waited_for(alice):
    item = bare_item(bare_batch(alice), state=ItemState.DONE)
    before = time.monotonic()

    found = waiting.until_ended(item, seconds=60)

    assert found.state == ItemState.DONE
    assert time.monotonic() - before < 30


@pytest.mark.django_db(transaction=True)
def test_a_wait_ends_when_the_image_does(alice):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING)

    def end():
        Item.objects.filter(pk=item.pk).update(state=ItemState.DONE)
        connection.close()

    ending = threading.Timer(0.1, end)
    ending.start()

    found = waiting.until_ended(item, seconds=60)
    ending.join()

    assert found.state == ItemState.DONE


def test_a_wait_ends_when_its_time_is_up(alice):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING)

    found = waiting.until_ended(item, seconds=0.05)

    assert found.state == ItemState.RUNNING


@pytest.fixture
def to_end(monkeypatch) -> list[bool]:
    """Whether this process is to end: the last one counts."""
    answers = [False]
    monkeypatch.setattr(waiting, "_reasons_to_end", [])
    waiting.end_all_when(lambda: answers[-1])
    return answers


def test_a_wait_ends_at_once_in_a_process_that_is_to_end(alice, to_end):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING)
    to_end.append(True)
    before = time.monotonic()

    found = waiting.until_ended(item, seconds=60)

    assert found.state == ItemState.RUNNING
    assert time.monotonic() - before < 30


def test_a_wait_ends_for_a_caller_who_has_gone(alice, to_end):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING)
    ours, theirs = socket.socketpair()
    gone = lambda: waiting.has_gone({"gunicorn.socket": ours})  # noqa: E731
    before = time.monotonic()

    with ours, theirs:
        silent = gone()
        theirs.send(b"the next request")
        eager = gone()
        still_there = ours.recv(100)
        theirs.close()
        found = waiting.until_ended(item, seconds=60, unless=gone)

    assert (silent, eager, still_there) == (False, False, b"the next request")
    assert found.state == ItemState.RUNNING
    assert time.monotonic() - before < 30


def test_a_caller_who_can_not_be_asked_is_taken_to_be_there():
    assert waiting.has_gone({}) is False


def test_a_key_is_not_given_up_while_its_first_request_waits():
    assert idempotency.ABANDONED_AFTER.total_seconds() > waiting.LONGEST * 2


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_for_a_moment_does_not_end_a_wait(alice):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING)

    def hang_up_and_end():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        Item.objects.filter(pk=item.pk).update(state=ItemState.DONE)
        connection.close()

    ending = threading.Timer(0.1, hang_up_and_end)
    ending.start()

    found = waiting.until_ended(item, seconds=60)
    ending.join()

    assert found.state == ItemState.DONE
