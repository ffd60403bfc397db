"""Which image this thread is at work on, for every line that it logs meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_in_hand: ContextVar[tuple[str, str]] = ContextVar("in_hand", default=("", ""))


@contextmanager
def at_work(*, batch: object, item: object) -> Iterator[None]:
    """Lines that are logged within name this batch and item."""
    before = _in_hand.set((str(batch), str(item)))
    try:
        yield
    finally:
        _in_hand.reset(before)


def in_hand() -> tuple[str, str]:
    """Batch and item, by uid; empty where nothing is in hand."""
    return _in_hand.get()
