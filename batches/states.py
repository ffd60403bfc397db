"""The states of batches and items and the moves between them: the law, nothing else.

Every move is a compare-and-set (`QuerySet.advance` in `batches.models`): it filters on the
states that may lead to the new one and returns how many rows moved.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class BatchState(models.TextChoices):
    """Where a batch stands. "Finished with problems" is a count of items, not a state."""

    DRAFT = "draft", _("Draft")
    IMPORTING = "importing", _("Importing")
    READY = "ready", _("Ready")
    RUNNING = "running", _("Running")
    SAMPLED = "sampled", _("Sample finished")
    PAUSED = "paused", _("Paused")
    CANCELLING = "cancelling", _("Cancelling")
    CANCELLED = "cancelled", _("Cancelled")
    FINISHED = "finished", _("Finished")


class ItemState(models.TextChoices):
    """Where an item stands.

    `pending`: not paid for yet. `queued`: waits to be fetched. `fetched`: its original is
    here and it waits for an engine.
    """

    PENDING = "pending", _("Waiting")
    QUEUED = "queued", _("Waiting")
    FETCHING = "fetching", _("Fetching")
    FETCHED = "fetched", _("Waiting for an engine")
    RUNNING = "running", _("Processing")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


BATCH_MOVES: Mapping[BatchState, frozenset[BatchState]] = {
    BatchState.DRAFT: frozenset({BatchState.IMPORTING, BatchState.READY}),
    BatchState.IMPORTING: frozenset({BatchState.READY, BatchState.DRAFT, BatchState.CANCELLING}),
    BatchState.READY: frozenset({BatchState.RUNNING, BatchState.CANCELLING}),
    BatchState.RUNNING: frozenset(
        {BatchState.SAMPLED, BatchState.PAUSED, BatchState.CANCELLING, BatchState.FINISHED}
    ),
    BatchState.SAMPLED: frozenset({BatchState.RUNNING, BatchState.CANCELLING, BatchState.FINISHED}),
    # What was in hand when the batch was paused still finishes, and may be the last.
    BatchState.PAUSED: frozenset(
        {BatchState.RUNNING, BatchState.SAMPLED, BatchState.CANCELLING, BatchState.FINISHED}
    ),
    BatchState.CANCELLING: frozenset({BatchState.CANCELLED}),
    BatchState.FINISHED: frozenset({BatchState.RUNNING}),  # retry of what failed
    BatchState.CANCELLED: frozenset(),
}

ITEM_MOVES: Mapping[ItemState, frozenset[ItemState]] = {
    # An item whose original is here already skips the fetch stage.
    ItemState.PENDING: frozenset({ItemState.QUEUED, ItemState.FETCHED, ItemState.CANCELLED}),
    ItemState.QUEUED: frozenset({ItemState.FETCHING, ItemState.CANCELLED}),
    ItemState.FETCHING: frozenset(
        {ItemState.FETCHED, ItemState.FAILED, ItemState.CANCELLED, ItemState.QUEUED}
    ),
    ItemState.FETCHED: frozenset({ItemState.RUNNING, ItemState.CANCELLED}),
    ItemState.RUNNING: frozenset(
        {ItemState.DONE, ItemState.FAILED, ItemState.CANCELLED, ItemState.FETCHED}
    ),
    ItemState.FAILED: frozenset({ItemState.QUEUED, ItemState.FETCHED}),  # retry, with a new hold
    ItemState.DONE: frozenset(),
    ItemState.CANCELLED: frozenset(),
}

IN_HAND = frozenset({ItemState.FETCHING, ItemState.RUNNING})
"""A worker has it: there is a token and a lease."""

ON_HOLD = frozenset({ItemState.QUEUED, ItemState.FETCHING, ItemState.FETCHED, ItemState.RUNNING})
"""Its price is held on the account, and it has not ended."""

OPEN = frozenset({ItemState.PENDING, *ON_HOLD})
"""It has not ended."""

ENDED = frozenset({ItemState.DONE, ItemState.FAILED, ItemState.CANCELLED})
"""Nothing more happens to it by itself."""

LIVE = frozenset(
    {BatchState.IMPORTING, BatchState.RUNNING, BatchState.PAUSED, BatchState.CANCELLING}
)
"""Something may still change without anybody asking for it."""

RETRYABLE = frozenset(
    {BatchState.RUNNING, BatchState.PAUSED, BatchState.SAMPLED, BatchState.FINISHED}
)

DELETABLE = frozenset(
    {BatchState.DRAFT, BatchState.READY, BatchState.FINISHED, BatchState.CANCELLED}
)
"""Nothing runs and nothing is on hold."""

_State = TypeVar("_State", BatchState, ItemState)


def leading_to(to: _State, moves: Mapping[_State, Iterable[_State]]) -> list[_State]:
    """The states from which ``to`` may be reached in one move."""
    return [state for state, targets in moves.items() if to in targets]
