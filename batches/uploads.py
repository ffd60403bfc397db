"""Uploads that nobody has used: what was sent and became part of nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, islice

from django.db import transaction
from django.db.models import QuerySet

from batches import storage, uses
from batches.models import Original

KEPT_FOR = timedelta(days=7)
"""Since it came last: who sends the same file again begins anew."""
AT_ONCE = 500


def unused(*, now: datetime) -> QuerySet[Original]:
    """Originals that came longer ago than that, and that no batch, page or setting has."""
    return Original.objects.filter(
        received_at__lt=now - KEPT_FOR, items=None, drafts=None, setting_images=None
    )


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Delete unused uploads and their files; returns how many. With `dry_run` just count."""
    removed = 0
    ids = unused(now=now).order_by("pk").values_list("pk", flat=True)
    for chunk in _portions(list(ids)):
        with transaction.atomic():
            # Looked at again under its lock, which whoever makes a batch of it takes, too.
            locked = Original.objects.select_for_update().filter(pk__in=chunk)
            there = [row.pk for row in locked.order_by("pk")]
            still = unused(now=now).filter(pk__in=there)
            named = uses.named(still)
            rows = [row for row in still.order_by("pk") if row.uid not in named]
            removed += len(rows)
            if dry_run:
                continue
            Original.objects.filter(pk__in=[row.pk for row in rows]).delete()
            keys = list(chain.from_iterable((row.key, row.thumbnail_key) for row in rows))
            transaction.on_commit(
                lambda keys=keys: storage.delete(storage.ORIGINALS, *keys),  # type: ignore[misc]
                robust=True,
            )
    return removed


def _portions(ids: list[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while chunk := list(islice(rest, AT_ONCE)):
        yield chunk
