"""What was used in a time: images and credits, for each person and tool.

Of batches that were deleted since, the ledger still knows whose they were and which images were
paid for, but not with which tool: they are one line of their owner's, `DELETED`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import NamedTuple
from uuid import UUID

from django.db.models import Count, Q, Sum

from accounts.models import User
from batches.models import Batch, Item
from batches.states import ItemState
from credits import ledger

DELETED = "(deleted)"
REFERENCES_PER_QUERY = 500


class Used(NamedTuple):
    """One person's images with one tool, or those of batches that are gone."""

    owner: str
    tool: str
    done: int
    failed: int
    credits: int


def per_person_and_tool(
    *, since: datetime, until: datetime, user: User | None = None
) -> Iterator[Used]:
    """Images that ended in this time, `until` not included, by owner and tool.

    Of deleted batches only those that cost something.
    """
    found = chain(_there(since, until, user), _gone(since, until, user))
    yield from sorted(found)


def _there(since: datetime, until: datetime, user: User | None) -> Iterator[Used]:
    items = Item.objects.filter(finished_at__gte=since, finished_at__lt=until)
    if user is not None:
        items = items.filter(batch__owner=user)
    groups = items.values_list("batch__owner__email", "batch__tool").annotate(
        done=Count("pk", filter=Q(state=ItemState.DONE)),
        failed=Count("pk", filter=Q(state=ItemState.FAILED)),
        credits=Sum("price", default=0),
    )
    for row in groups.order_by().iterator():
        yield Used(*row)


def _gone(since: datetime, until: datetime, user: User | None) -> Iterator[Used]:
    images: Counter[str] = Counter()
    credit: Counter[str] = Counter()
    captured = ledger.captured_by_reference(since=since, until=until, user=user)
    while some := list(islice(captured, REFERENCES_PER_QUERY)):
        there = _batches_among([reference for _owner, reference, *_figures in some])
        for owner, reference, items, credits_ in some:
            if reference not in there:
                images[owner] += items
                credit[owner] += credits_
    for owner, count in images.items():
        yield Used(owner, DELETED, count, 0, credit[owner])


def _batches_among(references: Sequence[str]) -> set[str]:
    """Those of the ledger's references whose batch is still there."""
    uids = []
    for reference in references:
        try:
            uids.append(UUID(reference.removeprefix("batch:")))
        except ValueError:  # somebody else's
            continue
    found = Batch.objects.filter(uid__in=uids).values_list("uid", flat=True)
    return {Batch(uid=uid).reference for uid in found}
