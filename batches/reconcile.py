"""What puts everything right that nobody finished: safe to run at any time, many at once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import redis

from batches import dispatch, lifecycle, storage
from batches.models import Batch, Item, Original, Result
from batches.states import BatchState, ItemState

ORPHAN_AGE = timedelta(hours=1)
"""Younger files may belong to a worker that has not settled yet."""


@dataclass
class Summary:
    """What one run found and mended."""

    leases_ended: int = 0
    rings: int = 0
    batches_closed: int = 0
    valkey_answers: bool = True

    def __str__(self) -> str:
        line = (
            f"{self.leases_ended} leases ended, {self.rings} items rung again, "
            f"{self.batches_closed} batches closed"
        )
        return line if self.valkey_answers else f"{line}; Valkey does not answer"


def reconcile(*, now: datetime) -> Summary:
    """End leases that ran out, ring lost items again, close what nobody closed.

    Works without Valkey, but then rings nobody.
    """
    found = Summary(leases_ended=lifecycle.end_leases(now=now))
    try:
        found.rings = dispatch.forget_lost_rings(now=now)
    except (redis.RedisError, OSError):
        found.valkey_answers = False
    for batch in Batch.objects.live().order_by("pk"):
        if batch.state == BatchState.CANCELLING:
            lifecycle.finish_cancelling(batch)
            found.batches_closed += 1
        elif lifecycle.close_if_finished(batch.pk):
            found.batches_closed += 1
        elif found.valkey_answers:
            dispatch.top_up(batch.pk, now=now)
    return found


def sweep_orphans(*, now: datetime) -> int:
    """Remove stored files that no row names; returns how many."""
    named = {
        storage.ORIGINALS: (Original, ("key", "thumbnail_key")),
        storage.RESULTS: (Result, ("key", "thumbnail_key")),
    }
    removed = 0
    for alias, (model, columns) in named.items():
        for key in storage.walk(alias, older_than=now - ORPHAN_AGE):
            if not any(model.objects.filter(**{column: key}).exists() for column in columns):
                storage.delete(alias, key)
                removed += 1
    return removed
