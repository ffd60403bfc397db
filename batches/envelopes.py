"""How a message to somebody's server is written: as Standard Webhooks has it, or as Sirv AI Studio.

The second is for programs that were written for that service: other names for the same things.
"""

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from django.conf import settings
from django.urls import reverse

from batches import formats, outbox
from batches.models import Envelope, WebhookMessage

SIRV_EVENTS: Mapping[str, str] = {
    "asset.created": outbox.ASSET_CREATED,
    "asset.updated": outbox.ASSET_UPDATED,
    "asset.deleted": outbox.ASSET_DELETED,
    "asset.processed": outbox.ASSET_PROCESSED,
    "batch.completed": outbox.BATCH_FINISHED,
}
"""That service's names of events, and ours."""


def told(message: WebhookMessage) -> dict[str, Any]:
    """What a message says, in the envelope that its endpoint wants."""
    envelope = message.endpoint.envelope if message.endpoint else Envelope.STANDARD
    return _ENVELOPES[Envelope(envelope)](message)


def sirv_name(event: str) -> str:
    """What Sirv AI Studio calls an event of ours; ours where it has none."""
    return next((theirs for theirs, ours in SIRV_EVENTS.items() if ours == event), event)


def _standard(message: WebhookMessage) -> dict[str, Any]:
    at = _time(message)
    return {
        "id": _id(message),
        "type": message.event,
        "event": message.event,
        "timestamp": at,
        "created_at": at,
        "data": message.payload,
    }


def _sirv(message: WebhookMessage) -> dict[str, Any]:
    data = message.payload
    if message.event == outbox.BATCH_FINISHED:
        data = _job(data)
    elif message.event in SIRV_EVENTS.values():
        data = _asset(data)
    return {
        "id": _id(message),
        "event": sirv_name(message.event),
        "created_at": _time(message),
        "data": data,
    }


def _asset(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "asset_id": data["id"],
        "url": data.get("url"),
        "filename": data["name"],
        "source": data.get("tool") or "upload",
        "mime_type": formats.CONTENT_TYPES.get(data.get("format", "")),
        "file_size": data.get("bytes"),
        "width": data.get("width"),
        "height": data.get("height"),
    }


def _job(data: Mapping[str, Any]) -> dict[str, Any]:
    path = reverse("zapier:status", args=[data["batch_id"]])
    return {
        "job_id": data["batch_id"],
        "status": "completed" if data["done"] else "failed",
        "total": data["total"],
        "completed": data["done"],
        "failed": data["failed"] + data["cancelled"],
        "credits_used": data["credits_used"],
        "poll_url": f"{settings.SITE_URL.rstrip('/')}{path}",
    }


def _id(message: WebhookMessage) -> str:
    return f"evt_{message.uid.hex}"


def _time(message: WebhookMessage) -> str:
    at = message.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z")


_ENVELOPES: Mapping[Envelope, Callable[[WebhookMessage], dict[str, Any]]] = {
    Envelope.STANDARD: _standard,
    Envelope.SIRV: _sirv,
}
