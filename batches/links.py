"""Links to results that work without signing in: for sheets, webhooks and other people's programs.

A link names one result and ends at a time of its own. It is signed, so that nobody makes one up,
and it holds the batch's `link_version`: one more, and none of the batch's earlier links opens
anything. Nothing of it is stored.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from batches.models import Batch, Item, Result

LASTS = timedelta(days=30)
"""Unless somebody asks for another time."""

_SIGNER = signing.Signer(salt="batches.links")


class Broken(Exception):
    """A link that opens nothing: not ours, over, or taken back."""


@dataclass(frozen=True)
class _Named:
    """What a link says."""

    item: UUID
    position: int
    version: int
    until: int


def result_link(result: Result, *, item: Item | None = None, expires_in: timedelta = LASTS) -> str:
    """The full address of a result for whoever has it, until it ends or is taken back.

    `item`, with its batch, saves the queries where the caller has it.
    """
    item = item or result.item
    until = int((timezone.now() + expires_in).timestamp())
    said = f"{item.uid.hex}.{result.position}.{item.batch.link_version}.{until}"
    path = reverse("batches:link", args=[_SIGNER.sign(said)])
    return f"{settings.SITE_URL.rstrip('/')}{path}"


def opened(token: str, *, now: datetime) -> Result:
    """The result that a link opens. Raises `Broken`."""
    named = _read(token)
    if datetime.fromtimestamp(named.until, UTC) < now:
        raise Broken("over")
    result = (
        Result.objects.filter(
            item__uid=named.item,
            position=named.position,
            item__batch__link_version=named.version,
            item__batch__owner__is_active=True,
        )
        .select_related("item")
        .first()
    )
    if result is None:
        raise Broken("gone")
    return result


def revoke(batch: Batch) -> None:
    """Take back every link to the batch's results that was ever given out."""
    Batch.objects.filter(pk=batch.pk).update(link_version=F("link_version") + 1)


def _read(token: str) -> _Named:
    try:
        item, position, version, until = _SIGNER.unsign(token).split(".")
        return _Named(UUID(item), int(position), int(version), int(until))
    except (signing.BadSignature, ValueError):
        raise Broken("not ours") from None
