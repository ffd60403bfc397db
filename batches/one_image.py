"""One image at a time: a batch of one, with the pipeline, price and bytes of many."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from batches import lifecycle
from batches.models import Item
from batches.sources.base import Row
from tools.base import Tool


def start(
    owner: User,
    tool: Tool,
    row: Row,
    *,
    settings: Mapping[str, Any] | None = None,
    reuse: bool = True,
    uid: UUID | None = None,
    shown_percent: int | None = None,
) -> Item:
    """Hold the credits of one image and let it run; its item, with its batch.

    Raises what `lifecycle.create` (which says what `uid` and `shown_percent` are for) and
    `lifecycle.start` raise; then nothing is stored.
    """
    with transaction.atomic():
        batch = lifecycle.create(
            owner,
            tool,
            [row],
            settings=settings,
            single=True,
            reuse=reuse,
            uid=uid,
            shown_percent=shown_percent,
        )
        batch = lifecycle.start(batch)
    item = batch.items.get()
    item.batch = batch
    return item
