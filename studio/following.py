"""Batches that somebody waits for at a terminal: a bar, and results saved as they finish."""

import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from django.utils import timezone
from tqdm import tqdm

from batches import lifecycle, storage
from batches.models import Batch, Item, Result
from batches.reconcile import reconcile
from batches.states import BatchState, ItemState

LOOK_SECONDS = 0.2
RECONCILE_SECONDS = 2.0

tqdm.monitor_interval = 0  # no thread of its own: we may have to start a process again meanwhile


def follow(
    batch: Batch,
    *,
    watch: Callable[..., None],
    on_done: Callable[[Item], None],
    asked_to_stop: Callable[[], bool],
    bar: "tqdm[None]",
) -> list[Item]:
    """Wait for a batch to end; `on_done` gets each item as it finishes.

    Cancels the batch when asked to stop: what was finished by then still comes to `on_done`.
    Reconciles on the way, because there may be no scheduler. `watch` sleeps, as
    `Supervisor.check` does, and looks after the processes that do the work. Returns the items
    that failed, in order.
    """
    seen: set[int] = set()
    failed: list[Item] = []
    reconciled = timezone.now()
    while True:
        watch(wait=LOOK_SECONDS)
        if asked_to_stop():
            cancel(batch)
        batch.refresh_from_db(fields=["state"])
        ended = batch.items.filter(state__in=[ItemState.DONE, ItemState.FAILED])
        for item in ended.exclude(pk__in=seen).prefetch_related("results"):
            seen.add(item.pk)
            if item.state == ItemState.DONE:
                on_done(item)
            else:
                failed.append(item)
            bar.update()
        if batch.state in {BatchState.FINISHED, BatchState.CANCELLED}:
            return sorted(failed, key=lambda item: item.position)
        now = timezone.now()
        if (now - reconciled).total_seconds() > RECONCILE_SECONDS:
            reconcile(now=now)
            reconciled = now


def cancel(batch: Batch) -> None:
    """Cancel a batch, unless it has just ended by itself."""
    with suppress(lifecycle.StateConflict):
        lifecycle.cancel(batch)


def progress_bar(total: int, label: str) -> "tqdm[None]":
    """A bar on the error stream: what a command prints stays clean."""
    return tqdm(total=total, desc=label, unit="image", file=sys.stderr, dynamic_ncols=True)


def save(result: Result, target: Path) -> None:
    """Write a result to a file, which appears whole or not at all."""
    data = result.text.encode() if not result.key else storage.read(storage.RESULTS, result.key)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4()}.part")  # its own name might become too long
    try:
        draft.write_bytes(data)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def failures(items: Sequence[tuple[str, str, str]]) -> str:
    """The list at the end: what failed, why, and the code, one line each."""
    return "\n".join(f"  {name}: {reason} [{code}]" for name, reason, code in items)
