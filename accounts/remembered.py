"""What staff changes seldom and every request asks for, kept by each process for a moment."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import models
from django.db.models.signals import post_delete, post_save

T = TypeVar("T")

SECONDS = 10.0
"""How long a process may go on with what it read: then a change of staff's counts everywhere."""


class Remembered(Generic[T]):
    """A value that is read anew after `SECONDS`, and at once where a row of `models` changes."""

    def __init__(self, read: Callable[[], T], *sources: type[models.Model]) -> None:
        self._read = read
        self._value: T | None = None
        self._until = 0.0
        for source in sources:
            post_save.connect(self.forget, sender=source, weak=False)
            post_delete.connect(self.forget, sender=source, weak=False)

    def get(self) -> T:
        """The value, which may be as old as that."""
        now = time.monotonic()
        if self._value is None or now >= self._until:
            self._value = self._read()
            self._until = now + SECONDS
        return self._value

    def hold(self, value: T) -> None:
        """Go on with this one until a row changes: for who knows it already."""
        self._value, self._until = value, float("inf")

    def forget(self, **_signal: object) -> None:
        """Read it anew when somebody asks next."""
        self._until = 0.0
