"""Links that work without signing in: for sheets, webhooks and other people's programs.

A link names one file and ends at a time of its own. It is signed, so that nobody makes one up.
That of a result holds the batch's `link_version`, too: one more, and none of the batch's earlier
links opens anything. Those of uploads and assets open them as long as they are there. Nothing of
it is stored.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from batches.models import Asset, Batch, Item, Original, Result

LASTS = timedelta(days=30)
"""Unless somebody asks for another time."""
UPLOAD_LASTS = timedelta(days=7)
"""Of an upload: it is on its way to a tool."""

_UPLOAD, _ASSET = "upload", "asset"
_SIGNER = signing.Signer(salt="batches.links")


class Broken(Exception):
    """A link that opens nothing: not ours, over, or taken back."""


@dataclass(frozen=True)
class NamedResult:
    """A link to a result: which one, and the version of its batch's links."""

    item: UUID
    position: int
    version: int


@dataclass(frozen=True)
class NamedUpload:
    """A link to a picture as it came in."""

    upload: UUID


@dataclass(frozen=True)
class NamedAsset:
    """A link to something in the library."""

    asset: UUID


Named = NamedResult | NamedUpload | NamedAsset


def result_link(result: Result, *, item: Item | None = None, expires_in: timedelta = LASTS) -> str:
    """The full address of a result for whoever has it, until it ends or is taken back.

    `item`, with its batch, saves the queries where the caller has it.
    """
    item = item or result.item
    return _link(f"{item.uid.hex}.{result.position}.{item.batch.link_version}", expires_in)


def upload_link(original: Original, *, expires_in: timedelta = UPLOAD_LASTS) -> str:
    """The full address of a picture as it came in, for whoever has it, until it ends."""
    return _link(f"{_UPLOAD}.{original.uid.hex}", expires_in)


def asset_link(asset: Asset, *, expires_in: timedelta = LASTS) -> str:
    """The full address of something in the library, for whoever has it, until it ends."""
    return _link(f"{_ASSET}.{asset.uid.hex}", expires_in)


def named(token: str, *, now: datetime) -> Named:
    """What a link names; whether that is there is not looked at. Raises `Broken`."""
    try:
        said, _dot, until = _SIGNER.unsign(token).rpartition(".")
        over = datetime.fromtimestamp(int(until), UTC) < now
        match said.split("."):
            case [kind, uid] if kind == _UPLOAD:
                found: Named = NamedUpload(UUID(uid))
            case [kind, uid] if kind == _ASSET:
                found = NamedAsset(UUID(uid))
            case [item, position, version]:
                found = NamedResult(UUID(item), int(position), int(version))
            case _:
                raise Broken("not ours")
    except (signing.BadSignature, ValueError):
        raise Broken("not ours") from None
    if over:
        raise Broken("over")
    return found


def opened(token: str, *, now: datetime) -> Result | Original | Asset:
    """What a link opens. Raises `Broken`."""
    found: Result | Original | Asset | None
    match named(token, now=now):
        case NamedResult(item, position, version):
            results = Result.objects.filter(
                item__uid=item,
                position=position,
                item__batch__link_version=version,
                item__batch__owner__is_active=True,
            )
            found = results.select_related("item").first()
        case NamedUpload(upload):
            found = Original.objects.filter(uid=upload, owner__is_active=True).first()
        case NamedAsset(asset):
            kept = Asset.objects.filter(owner__is_active=True).kept()
            found = kept.filter(uid=asset).first()
    if found is None:
        raise Broken("gone")
    return found


def revoke(batch: Batch) -> None:
    """Take back every link to the batch's results that was ever given out."""
    Batch.objects.filter(pk=batch.pk).update(link_version=F("link_version") + 1)


def _link(said: str, expires_in: timedelta) -> str:
    until = int((timezone.now() + expires_in).timestamp())
    path = reverse("batches:link", args=[_SIGNER.sign(f"{said}.{until}")])
    return f"{settings.SITE_URL.rstrip('/')}{path}"
