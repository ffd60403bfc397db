"""The invariants that need items as well as money (5, 6 and 9); `credits.audit` has the others."""

import uuid
from collections.abc import Iterator

from django.db import transaction
from django.db.models import Sum

from batches.models import Batch, Item
from batches.states import ON_HOLD, BatchState, ItemState
from credits import ledger

CHUNK = 500
"""Items compared at a time: memory stays the same however long the history is."""


def disagreements() -> Iterator[str]:
    """Every way in which items and ledger contradict each other, as a sentence."""
    yield from _held()
    yield from _done_but_not_captured()
    yield from _captured_but_not_done()
    yield from _ended_but_open()


def _held() -> Iterator[str]:
    """5 and 9: a batch has on hold what its open items may cost; after the last, nothing."""
    needed, there = _needed(), ledger.open_references()
    for reference in sorted(needed.keys() | there.keys()):
        if needed.get(reference, 0) != there.get(reference, 0):
            # An item may have been settled between the two looks: look again while none can.
            yield from _held_under_lock(reference)


def _held_under_lock(reference: str) -> Iterator[str]:
    with transaction.atomic():
        if batch := _batch_of(reference):
            ledger.lock(batch.owner_id)
        need, have = _needed().get(reference, 0), ledger.open_references().get(reference, 0)
    if need != have:
        yield f"{reference} has {have} credits on hold, but its open items need {need}."


def _needed() -> dict[str, int]:
    """What the open items of each batch may cost, by the batch's reference."""
    open_items = Item.objects.filter(state__in=ON_HOLD, held_price__gt=0)
    sums = open_items.values_list("batch__uid").annotate(total=Sum("held_price"))
    return {Batch(uid=uid).reference: total for uid, total in sums}


def _batch_of(reference: str) -> Batch | None:
    try:
        uid = uuid.UUID(reference.removeprefix("batch:"))
    except ValueError:  # a hold of somebody else's
        return None
    return Batch.objects.filter(uid=uid).first()


def _done_but_not_captured() -> Iterator[str]:
    """6, one way: each item that is done and had a price was charged just that."""
    done = Item.objects.filter(state=ItemState.DONE, price__gt=0).order_by("pk")
    chunk: dict[uuid.UUID, int] = {}
    for uid, price in done.values_list("uid", "price").iterator():
        chunk[uid] = price or 0
        if len(chunk) == CHUNK:
            yield from _compare_done(chunk)
            chunk = {}
    yield from _compare_done(chunk)


def _compare_done(prices: dict[uuid.UUID, int]) -> Iterator[str]:
    captured = ledger.captures_for(prices)
    for uid, price in prices.items():
        if captured.get(uid) != price:
            yield f"Item {uid} cost {price} credits, but {captured.get(uid, 0)} were captured."


def _captured_but_not_done() -> Iterator[str]:
    """6, the other way: nothing was charged for an item that is not done."""
    captured = ledger.captured_by_item()
    # Items of a deleted batch are gone; the ledger stays, and there is nothing to compare.
    others = Item.objects.exclude(state=ItemState.DONE, price__gt=0)
    for uid in others.values_list("uid", flat=True).iterator():
        if uid in captured:
            yield f"Item {uid} is not done, but {captured[uid]} credits were captured."


def _ended_but_open() -> Iterator[str]:
    """9: a batch that has ended has no item that goes on, or that would wait for ever."""
    ended = Batch.objects.filter(
        state__in=[BatchState.FINISHED, BatchState.CANCELLED],
        items__state__in=[ItemState.PENDING, *ON_HOLD],
    )
    for uid in ended.values_list("uid", flat=True).distinct():
        yield f"Batch {uid} has ended, but some of its items have not."
