"""Events that somebody wants to be told of, written down where they become true.

The rows are the outbox: whoever rings and sends reads them later, and may die in between.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import User
from batches import dispatch
from batches.models import Batch, WebhookEndpoint, WebhookMessage, WebhookState

BATCH_FINISHED = "batch.finished"
BATCH_SAMPLED = "batch.sampled"
DELIVERY_FINISHED = "delivery.finished"
ASSET_CREATED = "asset.created"
ASSET_UPDATED = "asset.updated"
ASSET_DELETED = "asset.deleted"
ASSET_PROCESSED = "asset.processed"
PING = "ping"
"""A message that means nothing, to see whether it arrives; nobody subscribes to it."""
EVENTS = (
    *(BATCH_FINISHED, BATCH_SAMPLED, DELIVERY_FINISHED),
    *(ASSET_CREATED, ASSET_UPDATED, ASSET_DELETED, ASSET_PROCESSED),
)


def record(
    owner: User,
    event: str,
    data: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    *,
    batch: Batch | None = None,
) -> int:
    """Write down an event for everybody who asked for it; how many messages that makes.

    Call it in the transaction that makes the event true. `data` that has to be looked up is given
    as a function: it is called only where somebody listens. `batch` is the one that it is about:
    its own address is told too.
    """

    def one() -> list[Mapping[str, Any]]:
        return [data() if callable(data) else data]

    return record_each(owner, event, one, batch=batch)


def record_each(
    owner: User,
    event: str,
    data: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    batch: Batch | None = None,
) -> int:
    """`record` for many things to which the same has happened."""
    endpoints = [
        endpoint
        for endpoint in WebhookEndpoint.objects.visible_to(owner).filter(disabled_at=None)
        if event in endpoint.events
    ]
    to: list[tuple[WebhookEndpoint | None, str]] = [(end, end.url) for end in endpoints]
    if batch and batch.webhook_url:
        to.append((None, batch.webhook_url))
    if not to:
        return 0
    messages = [
        WebhookMessage(owner=owner, endpoint=endpoint, url=url, event=event, payload=dict(payload))
        for payload in data()
        for endpoint, url in to
    ]
    WebhookMessage.objects.bulk_create(messages, batch_size=500)
    ring()
    return len(messages)


def ring() -> None:
    """Have somebody send what is due, after the commit."""
    dispatch.ring_for_webhooks()


def due(*, now: datetime) -> QuerySet[WebhookMessage]:
    """Messages that somebody should send now.

    An address that was given up is told nothing; what waits for it waits until it is switched on.
    """
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    wanted = Q(endpoint=None) | Q(endpoint__disabled_at=None) | Q(event=PING)
    return WebhookMessage.objects.filter(free, wanted, state=WebhookState.WAITING, next_at__lte=now)


def ring_if_due(*, now: datetime) -> bool:
    """Ring where something waits: a ring may have been lost, and some messages wait for later."""
    waits = due(now=now).exists()
    if waits:
        ring()
    return waits
