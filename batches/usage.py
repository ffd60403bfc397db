"""What was used in a time: images and credits, for each person and tool."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Q, Sum

from accounts.models import User
from batches.models import Item
from batches.states import ItemState


class Used(NamedTuple):
    """One person's images with one tool."""

    owner: str
    tool: str
    done: int
    failed: int
    credits: int


def per_person_and_tool(
    *, since: datetime, until: datetime, user: User | None = None
) -> Iterator[Used]:
    """Images that ended in this time, `until` not included, of batches that are still there."""
    items = Item.objects.filter(finished_at__gte=since, finished_at__lt=until)
    if user is not None:
        items = items.filter(batch__owner=user)
    groups = items.values_list("batch__owner__email", "batch__tool").annotate(
        done=Count("pk", filter=Q(state=ItemState.DONE)),
        failed=Count("pk", filter=Q(state=ItemState.FAILED)),
        credits=Sum("price", default=0),
    )
    for row in groups.order_by("batch__owner__email", "batch__tool").iterator():
        yield Used(*row)
