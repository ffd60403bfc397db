"""Who else uses uploads, beside the rows that point at them.

An upload may be named by its id in a form that somebody has not sent yet, or in settings that are
to become images. Whoever is about to use one that may be old calls `note` first, so that it is not
forgotten under their hands.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Model, QuerySet

from batches.models import Batch, Draft, Original, Recurring
from batches.states import BatchState

FRESH_FOR = timedelta(hours=1)
"""One that was used so shortly ago is in no danger, and is not noted again."""

NAMED_IN: tuple[tuple[QuerySet[Model], tuple[str, ...]], ...] = (
    (Draft.objects.all(), ("fields",)),
    (
        Batch.objects.exclude(state__in=[BatchState.FINISHED, BatchState.CANCELLED]),
        ("settings", "plan"),
    ),
    (Recurring.objects.all(), ("settings",)),
)
"""Rows with an `owner`, and their JSON columns in which uploads may be named by id."""

_ID = re.compile("(?=([0-9a-f]{32}))")


def note(originals: Sequence[Original], *, now: datetime) -> list[Original]:
    """Those of these uploads that are still there; they count as used now, and stay for a while."""
    old = [original for original in originals if original.received_at < now - FRESH_FOR]
    if not old:
        return list(originals)
    with transaction.atomic():
        rows = Original.objects.filter(pk__in=[original.pk for original in old])
        # Locked in one order for everybody who locks several.
        there = set(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
        Original.objects.filter(pk__in=there).update(received_at=now)
    gone = {original.pk for original in old} - there
    return [original for original in originals if original.pk not in gone]


def named(originals: Iterable[Original]) -> set[UUID]:
    """Which of these uploads are named in a form or in settings of their owners."""
    wanted = {original.uid: original.owner_id for original in originals}
    found = set()
    for rows, columns in NAMED_IN:
        of_owners = rows.filter(owner__in=set(wanted.values())).values_list(*columns)
        for values in of_owners.iterator(chunk_size=100):
            text = json.dumps(values).replace("-", "").lower()
            found |= {UUID(hex_) for hex_ in _ID.findall(text)} & wanted.keys()
    return found
