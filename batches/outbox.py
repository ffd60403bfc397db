"""Events that somebody wants to be told of, written down where they become true.

The rows are the outbox: whoever rings and sends reads them later, and may die in between.
"""

from collections.abc import Callable, Mapping
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
PING = "ping"
"""A message that means nothing, to see whether it arrives; nobody subscribes to it."""
EVENTS = (BATCH_FINISHED, BATCH_SAMPLED, DELIVERY_FINISHED, ASSET_CREATED)


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
    payload = dict(data() if callable(data) else data)
    WebhookMessage.objects.bulk_create(
        [
            WebhookMessage(owner=owner, endpoint=endpoint, url=url, event=event, payload=payload)
            for endpoint, url in to
        ]
    )
    ring()
    return len(to)


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
