"""Events that somebody wants to be told of, written down where they become true.

The rows are the outbox: whoever rings and sends reads them later, and may die in between.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q

from accounts.models import User
from batches import dispatch
from batches.models import Batch, WebhookEndpoint, WebhookMessage, WebhookState

BATCH_FINISHED = "batch.finished"
BATCH_SAMPLED = "batch.sampled"
DELIVERY_FINISHED = "delivery.finished"
ASSET_CREATED = "asset.created"
EVENTS = (BATCH_FINISHED, BATCH_SAMPLED, DELIVERY_FINISHED, ASSET_CREATED)


def record(owner: User, event: str, data: Mapping[str, Any], *, batch: Batch | None = None) -> int:
    """Write down an event for everybody who asked for it; how many messages that makes.

    Call it in the transaction that makes the event true. `batch` is the one that it is about:
    its own address is told too.
    """
    endpoints = WebhookEndpoint.objects.visible_to(owner).filter(disabled_at=None).order_by("pk")
    messages = [
        WebhookMessage(
            owner=owner, endpoint=endpoint, url=endpoint.url, event=event, payload=dict(data)
        )
        for endpoint in endpoints
        if event in endpoint.events
    ]
    if batch and batch.webhook_url:
        messages.append(
            WebhookMessage(owner=owner, url=batch.webhook_url, event=event, payload=dict(data))
        )
    WebhookMessage.objects.bulk_create(messages, batch_size=500)
    if messages:
        ring()
    return len(messages)


def ring() -> None:
    """Have somebody send what is due, after the commit."""
    dispatch.ring_for_webhooks()


def ring_if_due(*, now: datetime) -> bool:
    """Ring where something waits: a ring may have been lost, and some messages wait for later."""
    waits = WebhookMessage.objects.filter(state=WebhookState.WAITING, next_at__lte=now)
    due = waits.filter(Q(lease_until=None) | Q(lease_until__lt=now)).exists()
    if due:
        ring()
    return due
