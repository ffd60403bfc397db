"""What puts everything right that nobody finished: safe to run at any time, many at once."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

import redis
from django.db.models import Q

from batches import deliveries, dispatch, erasure, imports, lifecycle, outbox, sheets, storage
from batches.models import Asset, Batch, Delivery, Original, PartialUpload, Result
from batches.states import BatchState

ORPHAN_AGE = timedelta(hours=1)
"""Younger files may belong to a worker that has not settled yet."""
FILES_PER_QUERY = 500
NAMED_BY: dict[str, list[type[Asset | Original | Result]]] = {
    storage.ORIGINALS: [Original],
    storage.RESULTS: [Result, Asset],
}
"""Whose rows name the files of each storage."""

log = logging.getLogger(__name__)


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

    Also goes on forgetting people who left, where somebody died over it.

    Works without Valkey, but then rings nobody. What went wrong with one item or batch is raised
    when the others have been put right.
    """
    found = Summary()
    failures: list[Exception] = []
    try:
        found.leases_ended = lifecycle.end_leases(now=now)
    except Exception as error:  # noqa: BLE001 - raised below
        failures.append(error)
    try:
        found.rings = dispatch.forget_lost_rings(now=now)
    except (redis.RedisError, OSError):
        found.valkey_answers = False
    for batch in Batch.objects.live().order_by("pk"):
        try:
            _put_right(batch, found, now=now)
        except Exception as error:
            log.exception("Batch %s could not be put right", batch.uid)
            failures.append(error)
    last_steps: Sequence[Callable[..., object]] = (
        partial(_carry_on, ring=found.valkey_answers),
        erasure.finish,
        outbox.ring_if_due,
    )
    for step in last_steps:
        try:
            step(now=now)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
    if failures:
        raise failures[0]
    return found


def _put_right(batch: Batch, found: Summary, *, now: datetime) -> None:
    """End the batch, or ring for what comes next in it."""
    if batch.state == BatchState.IMPORTING:
        found.rings += found.valkey_answers and imports.ring_again(batch, now=now)
    elif _close(batch):
        found.batches_closed += 1
    elif found.valkey_answers:
        dispatch.top_up(batch.pk, now=now)


def sweep_orphans(*, now: datetime, dry_run: bool = False) -> int:
    """Remove stored files that no row names; returns how many. With `dry_run` just count them."""
    removed = 0
    for alias, models in NAMED_BY.items():
        for keys in _chunks(storage.walk(alias, older_than=now - ORPHAN_AGE)):
            named = (_named(model, keys) for model in models)
            orphans = keys.difference(
                *named, _on_their_way(keys), _of_sheets(keys), _of_deliveries(keys)
            )
            if not dry_run:
                storage.delete(alias, *orphans)
            removed += len(orphans)
    return removed


def _close(batch: Batch) -> bool:
    """End the batch if it should have ended; True for whoever did it."""
    if batch.state == BatchState.CANCELLING:
        return lifecycle.finish_cancelling(batch).state == BatchState.CANCELLED
    return lifecycle.close_if_finished(batch.pk)


def _carry_on(*, now: datetime, ring: bool) -> None:
    """Take deliveries from couriers that are gone, and ring for all that are due."""
    deliveries.end_leases(now=now)
    if ring:
        dispatch.ring_deliveries(Delivery.objects.all(), now=now)


def _named(model: type[Asset | Original | Result], keys: set[str]) -> set[str]:
    """Which of these files have a row. Many at a time: the columns have no index."""
    rows = model._default_manager.filter(Q(key__in=keys) | Q(thumbnail_key__in=keys))
    return {key for pair in rows.values_list("key", "thumbnail_key") for key in pair}


def _on_their_way(keys: set[str]) -> set[str]:
    """Which of these are pieces of uploads that may still be gone on with.

    Whoever wrote a file to the bucket may do so again after it was taken: that one is nobody's.
    """
    pieces = {key: uid for key in keys if (uid := storage.upload_of_piece(key))}
    if not pieces:
        return set()
    uploads = PartialUpload.objects.filter(uid__in=set(pieces.values()), outcome__isnull=True)
    open_ = set(uploads.values_list("uid", flat=True))
    return {key for key, uid in pieces.items() if uid in open_}


def _of_sheets(keys: set[str]) -> set[str]:
    """Which of these are spreadsheets that somebody still has."""
    found = filter(None, map(storage.sheet_of, keys))
    return keys & sheets.keys_of(found)


def _of_deliveries(keys: set[str]) -> set[str]:
    """Which of these are files that deliveries have made and still name."""
    made = {key for key in keys if storage.MADE in key}
    return (
        set(Delivery.objects.filter(key__in=made).values_list("key", flat=True)) if made else made
    )


def _chunks(keys: Iterable[str]) -> Iterator[set[str]]:
    keys = iter(keys)
    while chunk := set(islice(keys, FILES_PER_QUERY)):
        yield chunk
