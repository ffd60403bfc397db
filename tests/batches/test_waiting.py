"""Waiting within a request: short, bounded, and never for what has ended."""

import threading
import time

import pytest
from django.db import connection

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
