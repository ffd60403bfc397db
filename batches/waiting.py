"""Waiting for one image within a request, where only so many may wait at once.

A wait takes one of the web server's threads. Beyond the bound of a process nobody waits: the
caller is told at once that the image is under way, and the other threads stay free for those
who ask something short. A wait holds neither a transaction nor a lock, and it ends early for a
caller who has gone and in a process that is to end.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections

from batches.models import Item
from batches.states import ENDED

LONGEST = 30
"""Seconds that one request waits at most, unless its door says otherwise."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.4
_PAUSE_SHARE = 1 / 20
"""Seconds between two looks: a twentieth of the wait so far, so that a look comes soon after the
end of what is quick, and what takes long is looked at seldom."""

_places = BoundedSemaphore(settings.RUN_WAITS)
_reasons_to_end: list[Callable[[], bool]] = []


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


def end_all_when(is_ending: Callable[[], bool]) -> None:
    """End each wait of this process as soon as that is true: the web server is to stop.

    Else the server would kill those who still wait, and they would get no answer at all.
    """
    _reasons_to_end.append(is_ending)


def until_ended(item: Item, *, seconds: float, unless: Callable[[], bool] = lambda: False) -> Item:
    """The item as soon as it has ended, or as it stands after so many seconds.

    Also as it stands as soon as `unless` is true, or the process is to end. A database that is
    away for a moment is asked again. Raises `Item.DoesNotExist` where somebody deletes it
    meanwhile.
    """
    began = time.monotonic()
    state = item.state
    while state not in ENDED and (waited := time.monotonic() - began) < seconds:
        if unless() or any(is_ending() for is_ending in _reasons_to_end):
            break
        pause = min(max(waited * _PAUSE_SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        time.sleep(min(pause, seconds - waited))
        try:
            state = Item.objects.values_list("state", flat=True).get(pk=item.pk)
        except (OperationalError, InterfaceError):
            # The image is under way and may have been paid for: that is no reason to fail.
            close_old_connections()
    return Item.objects.select_related("batch").get(pk=item.pk)


def has_gone(environ: Mapping[str, Any]) -> bool:
    """Whether whoever sent the request of this WSGI environment has closed the connection.

    False where the server shows no socket: who can't be asked is taken to be there.
    """
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        # A look at what comes next, without taking it: nothing but the end of the stream is empty.
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:  # silent, as one who waits should be
        return False
    except OSError:  # reset
        return True
