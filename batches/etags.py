"""The tag of a batch's answer in the HTTP API, and whether somebody has that answer already.

The tag is a digest of the answer, so that it changes when the answer does, and never else. To
count a batch's items again for everybody who asks would be a look at each of them. So the tag is
remembered in the cache under a mark of all that the answer depends on: the batch's own columns,
and the newest change among its items, which is one look into an index.

The newest change says something of the others only when it is old enough. A transaction may
commit after one that began later: its items then have changed before the newest change, and the
mark stays as it was. All times are the database's own, and `SETTLED_AFTER` is longer than any
transaction goes on behind a change of an item. Only the start of very many items could take as
long, and that moves the batch as well. Where nobody has an item in hand, whatever changes one
moves the batch in the same transaction, and the mark is good at once.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import redis
from django.core.cache import cache
from django.db.models.functions import Now

from batches.models import Batch
from batches.states import BatchState

SETTLED_AFTER = timedelta(seconds=60)
"""More than a transaction may wait for locks, statements and its process after a change."""
AT_REST = frozenset({BatchState.READY, BatchState.FINISHED, BatchState.CANCELLED})
"""States in which no item moves unless the batch does, too."""
KEPT_SECONDS = 3600

log = logging.getLogger(__name__)


def of(read: Mapping[str, Any]) -> str:
    """The tag; weak, because the guess of the time left changes while nothing happens."""
    steady = {name: value for name, value in read.items() if name != "eta_seconds"}
    digest = hashlib.sha256(json.dumps(steady, default=str).encode()).hexdigest()
    return f'W/"{digest[:32]}"'


def mark_of(batch: Batch, *beside: str) -> str | None:
    """What stands for one answer for ever, or None while nothing can be said. One query.

    `beside` is what the answer depends on beside the batch and its items.
    """
    if batch.state == BatchState.IMPORTING:
        return None  # items come and go
    changes = batch.items.order_by("-changed_at").values_list("changed_at", Now())
    newest, now = changes.first() or (None, None)
    if newest is None or now is None:
        return None
    if batch.state not in AT_REST and newest > now - SETTLED_AFTER:
        return None
    columns = [getattr(batch, field.attname) for field in batch._meta.concrete_fields]
    digest = hashlib.sha256(json.dumps([columns, newest, beside], default=str).encode())
    return f"batch-tag:{digest.hexdigest()}"


def remembered(mark: str) -> str | None:
    """The tag of the answer that a mark stands for, if the cache knows it."""
    try:
        tag: str | None = cache.get(mark)
    except (redis.RedisError, OSError) as error:
        log.warning("A tag was not looked up: %s", error)
        return None
    return tag


def remember(mark: str, tag: str) -> None:
    """Let the next who ask have it without a count; look at the items after the mark."""
    try:
        cache.set(mark, tag, timeout=KEPT_SECONDS)
    except (redis.RedisError, OSError) as error:
        log.warning("A tag was not remembered: %s", error)
