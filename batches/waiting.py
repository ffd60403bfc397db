"""Waiting for one image within a request, where only so many may wait at once.

A wait takes one of the web server's threads. Beyond the bound of a process nobody waits: the
caller is told at once that the image is under way, and the other threads stay free for those
who ask something short.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.conf import settings

from batches.models import Item
from batches.states import ENDED

LONGEST = 30.0
"""Seconds that one request waits at most, unless its door says otherwise."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.4
"""Seconds between two looks: quick for what is quick, and little work for what takes long."""

_places = BoundedSemaphore(settings.RUN_WAITS)


class NoPlace(Exception):
    """As many requests wait in this process already as may."""


@contextmanager
def place() -> Iterator[None]:
    """One of the places to wait in. Raises `NoPlace` at once where all are taken."""
    if not _places.acquire(blocking=False):
        raise NoPlace
    try:
        yield
    finally:
        _places.release()


def until_ended(item: Item, *, seconds: float) -> Item:
    """The item as soon as it has ended, or as it stands after so many seconds.

    Raises `Item.DoesNotExist` where somebody deletes it meanwhile.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    state = item.state
    while state not in ENDED and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        state = Item.objects.values_list("state", flat=True).get(pk=item.pk)
    return Item.objects.select_related("batch").get(pk=item.pk)
