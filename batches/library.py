"""The asset library: what somebody keeps, with bytes of its own, whatever becomes of the batch.

Everything that changes a library does so under its owner's lock (`folders.locked`). Files are
written before the row that names them and removed after the commit that forgets it: whoever dies
in between leaves files without a row, and the sweeper takes those.
"""

import hashlib
import io
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from accounts import plans
from accounts.models import User
from batches import formats, links, outbox, storage
from batches.folders import LibraryRefused, locked
from batches.models import Asset, AssetQuerySet, Folder, Original, Result, Tag
from batches.names import clean_name, split_name
from tools.engines import images

AT_ONCE = 500
"""Assets that one request may change."""
TRASH_DAYS = 30
"""An asset in the trash for so long is deleted."""
MOST_TAGS = 50
"""On one asset."""
LONGEST_TAG = 64
MOST_VERSIONS = 60
"""Of one picture that are told."""
LONGEST_ALT_TEXT = 2000
"""Characters."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an asset is made of: where its bytes are, and what is known of them."""

    name: str
    format: str
    bytes: int
    sha256: str
    alias: str = ""
    key: str = ""
    thumbnail_key: str = ""
    text: str = ""
    """The content, where there is no file."""
    width: int | None = None
    height: int | None = None
    tool: str = ""
    source_sha256: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """What `save` has done: the asset, and the words that its alt text took the place of."""

    asset: Asset
    alt_text_before: str | None = None


# --- In -------------------------------------------------------------------------------------


def add(
    owner: User,
    made: Result | Original,
    *,
    folder: Folder | None = None,
    name: str = "",
    tags: Iterable[str] = (),
    delivery: str = "",
) -> Asset:
    """Keep a result or an original: a copy of its bytes becomes an asset.

    The same result of the same image is in a folder once: adding it again gives the asset that is
    there, out of the trash if need be. `delivery` is the uid of what brought it, if anything did.
    Raises `LibraryRefused`: `library_full`, `asset_source_gone`.
    """
    origin = {"delivery": delivery} if delivery else {}
    found = _source(made, name=name, origin=origin)
    if known := _there(owner, found, folder):
        return _again(known, owner, tags)
    _check_room(owner, found.bytes)  # before the copy; under the lock it is what counts
    asset = Asset(
        uid=uuid4(),
        owner=owner,
        name=found.name,
        format=found.format,
        width=found.width,
        height=found.height,
        bytes=found.bytes,
        sha256=found.sha256,
        tool=found.tool,
        source_sha256=found.source_sha256,
        origin=dict(found.origin),
    )
    _copy(found, asset)
    try:
        with locked(owner):
            known = _there(owner, found, folder)
            if known is None:
                _check_room(owner, found.bytes)
                if folder and Folder.objects.visible_to(owner).filter(pk=folder.pk).exists():
                    asset.folder = folder
                asset.save(force_insert=True)
                _put_tags(owner, [asset], tags)
                outbox.record(owner, outbox.ASSET_CREATED, lambda: event(asset))
    except BaseException:
        storage.delete(storage.RESULTS, asset.key, asset.thumbnail_key)
        raise
    if known:  # somebody was faster with the same
        storage.delete(storage.RESULTS, asset.key, asset.thumbnail_key)
        return _again(known, owner, tags)
    return asset


def save(
    owner: User,
    result: Result,
    *,
    folder: Folder | None = None,
    name: str = "",
    tags: Iterable[str] = (),
    delivery: str = "",
) -> Kept:
    """Keep a result where it serves: pictures as they are, words with their picture.

    A text about a picture becomes the alt text of that picture. If the library has it already,
    its words are replaced; if not, the picture is added with them. Texts without a picture of
    theirs, and reports, are kept as files. Raises `LibraryRefused`.
    """
    original = result.item.original
    if result.key or result.format != "txt" or original is None:
        return Kept(add(owner, result, folder=folder, name=name, tags=tags, delivery=delivery))
    words = result.text.strip()[:LONGEST_ALT_TEXT]
    described = _picture_of(owner, original)
    if described is None:
        own_name = f"{split_name(name)[0]}{split_name(original.name)[1]}" if name else ""
        described = add(owner, original, folder=folder, name=own_name, tags=tags, delivery=delivery)
    with locked(owner):
        asset = Asset.objects.filter(pk=described.pk).first()
        if asset is None:  # deleted by somebody just now
            raise LibraryRefused("asset_source_gone", name=described.name)
        before = asset.alt_text
        asset.alt_text = words
        asset.save(update_fields=["alt_text", "updated_at"])
        _put_tags(owner, [asset], tags)
        outbox.record(owner, outbox.ASSET_UPDATED, lambda: event(asset))
    return Kept(asset, alt_text_before=before)


def event(asset: Asset) -> dict[str, Any]:
    """An asset as webhooks tell of it."""
    return {
        "id": str(asset.uid),
        "url": links.asset_link(asset),
        "name": asset.name,
        "format": asset.format,
        "width": asset.width,
        "height": asset.height,
        "bytes": asset.bytes,
        "sha256": asset.sha256,
        "tool": asset.tool,
        "folder": str(asset.folder.uid) if asset.folder else None,
        "batch": asset.origin.get("batch", {}).get("uid"),
        "item": asset.origin.get("item", {}).get("uid"),
        "created_at": asset.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def _source(made: Result | Original, *, name: str, origin: Mapping[str, Any]) -> Source:
    if isinstance(made, Result):
        return _of_result(made, name, origin)
    return _of_original(made, name, origin)


def _of_result(result: Result, name: str, origin: Mapping[str, Any]) -> Source:
    item, batch = result.item, result.item.batch
    stem = split_name(name or PurePosixPath(item.stem).name or item.name)[0]
    if not name and result.position:
        stem = f"{stem}-{result.position + 1}"
    return Source(
        name=clean_name(f"{stem}{formats.ending(result.format)}"),
        format=result.format,
        bytes=result.bytes if result.key else len(result.text.encode()),
        sha256=result.sha256,
        alias=storage.RESULTS,
        key=result.key,
        thumbnail_key=result.thumbnail_key,
        text=result.text,
        width=result.width,
        height=result.height,
        tool=batch.tool,
        source_sha256=item.original.sha256 if item.original else "",
        origin={
            "batch": {"uid": str(batch.uid), "name": str(batch)},
            "item": {"uid": str(item.uid), "name": item.name, "position": result.position},
            "settings": item.settings,
            "model_version": item.model_version,
            **origin,
        },
    )


def _of_original(original: Original, name: str, origin: Mapping[str, Any]) -> Source:
    """As it is stored: upright, and in a format that browsers show."""
    try:
        data = storage.read(storage.ORIGINALS, original.key)
    except FileNotFoundError:
        raise LibraryRefused("asset_source_gone", name=original.name) from None
    kinds = {content_type: kind for kind, content_type in images.CONTENT_TYPES.items()}
    kind = kinds[original.content_type]
    stem, ending = split_name(clean_name(name or original.name))
    if kind != original.format or not ending:
        ending = images.EXTENSIONS[kind]
    return Source(
        name=clean_name(f"{stem}{ending}"),
        format=kind,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        alias=storage.ORIGINALS,
        key=original.key,
        thumbnail_key=original.thumbnail_key,
        width=original.width,
        height=original.height,
        source_sha256=original.sha256,
        origin={"upload": {"uid": str(original.uid), "name": original.name}, **origin},
    )


def _copy(found: Source, asset: Asset) -> None:
    """Give the asset files of its own."""
    stem = f"library/{asset.owner.uid}/{asset.uid}.{uuid4().hex}"
    asset.key = f"{stem}{formats.ending(found.format)}"
    try:
        if found.key:
            storage.copy(found.alias, found.key, asset.key, into=storage.RESULTS)
        else:
            storage.save(storage.RESULTS, asset.key, io.BytesIO(found.text.encode()))
        if found.thumbnail_key:
            asset.thumbnail_key = f"{stem}.thumb.webp"
            storage.copy(
                found.alias, found.thumbnail_key, asset.thumbnail_key, into=storage.RESULTS
            )
    except FileNotFoundError:
        storage.delete(storage.RESULTS, asset.key)
        raise LibraryRefused("asset_source_gone", name=found.name) from None


def _there(owner: User, found: Source, folder: Folder | None) -> Asset | None:
    """The asset that this very thing has become in this folder before, in the trash or not."""
    same = Asset.objects.visible_to(owner).filter(
        sha256=found.sha256, source_sha256=found.source_sha256, tool=found.tool, folder=folder
    )
    item = found.origin.get("item", {}).get("uid")
    for asset in same.order_by("pk"):
        if asset.origin.get("item", {}).get("uid") == item:
            return asset
    return None


def _again(asset: Asset, owner: User, tags: Iterable[str]) -> Asset:
    """An asset that was to be added and is there."""
    restore(owner, [asset.uid])
    with locked(owner):
        _put_tags(owner, [asset], tags)
    asset.refresh_from_db()
    return asset


def _picture_of(owner: User, original: Original) -> Asset | None:
    """The asset that shows what an original shows: the original itself, or what it was made of."""
    own = Asset.objects.visible_to(owner).kept()
    itself = own.filter(source_sha256=original.sha256, tool="").order_by("pk").first()
    return itself or own.filter(sha256=original.sha256).order_by("pk").first()


# --- How much -------------------------------------------------------------------------------


def used(owner: User) -> int:
    """Bytes that the library takes, with the trash: that is kept too."""
    return Asset.objects.visible_to(owner).aggregate(n=Sum("bytes"))["n"] or 0


def _check_room(owner: User, size: int) -> None:
    limit = plans.plan_for(owner).library_bytes
    if used(owner) + size > limit:
        raise LibraryRefused("library_full", gigabytes=round(limit / 1024**3, 1))


# --- One by one -----------------------------------------------------------------------------


def edit(
    asset: Asset,
    *,
    name: str | None = None,
    alt_text: str | None = None,
    tags: Iterable[str] | None = None,
) -> None:
    """Change what is said about an asset: only what is given. Raises `LibraryRefused`."""
    with locked(asset.owner):
        if name is not None:
            # What the file is called says what is inside; that doesn't change with the name.
            ending = formats.ending(asset.format)
            stem, given = split_name(clean_name(name))
            asset.name = clean_name(f"{stem if given.lower() == ending else stem + given}{ending}")
        if alt_text is not None:
            if len(alt_text) > LONGEST_ALT_TEXT:
                raise LibraryRefused("alt_text_too_long", max=LONGEST_ALT_TEXT)
            asset.alt_text = alt_text.replace("\0", "").strip()
        asset.save(update_fields=["name", "alt_text", "updated_at"])
        if tags is not None:
            wanted = clean_tags(tags)
            if len(wanted) > MOST_TAGS:
                raise LibraryRefused("tags_full", max=MOST_TAGS)
            asset.tags.set(_tags(asset.owner, wanted))
            _forget_unused(asset.owner)
        outbox.record(asset.owner, outbox.ASSET_UPDATED, lambda: event(asset))


def versions(asset: Asset) -> list[Asset]:
    """What the same picture has become, by tool, with the picture itself first."""
    if not asset.source_sha256:
        return []
    same = Asset.objects.visible_to(asset.owner).kept().filter(source_sha256=asset.source_sha256)
    return list(same.order_by("tool", "created_at", "pk")[:MOST_VERSIONS])


# --- Many at once ---------------------------------------------------------------------------


def trash(owner: User, uids: Collection[UUID]) -> int:
    """Put assets in the trash, where they are kept for a month; how many went."""
    now = timezone.now()
    return _chosen(owner, uids).kept().update(trashed_at=now, updated_at=now)


def restore(owner: User, uids: Collection[UUID]) -> int:
    """Take assets out of the trash again; how many came back."""
    trashed = _chosen(owner, uids).filter(trashed_at__isnull=False)
    return trashed.update(trashed_at=None, updated_at=timezone.now())


def move(owner: User, uids: Collection[UUID], folder: Folder | None) -> int:
    """Put assets into a folder or at the top; how many there are. Raises `LibraryRefused`."""
    with locked(owner):
        if folder and not Folder.objects.visible_to(owner).filter(pk=folder.pk).exists():
            raise LibraryRefused("folder_missing")
        moved = _chosen(owner, uids).kept()
        count = moved.update(folder=folder, updated_at=timezone.now())
        changed = moved.select_related("folder").order_by("pk")
        outbox.record_each(owner, outbox.ASSET_UPDATED, lambda: map(event, changed))
        return count


def favourite(owner: User, uids: Collection[UUID], *, on: bool) -> int:
    """Mark assets as favourites, or no longer; how many changed."""
    others = _chosen(owner, uids).kept().filter(favourite=not on)
    return others.update(favourite=on, updated_at=timezone.now())


def tag(owner: User, uids: Collection[UUID], tags: Iterable[str]) -> int:
    """Put tags on assets; how many of them have all of these now.

    Those that would have too many stay as they are.
    """
    with locked(owner):
        return _put_tags(owner, list(_chosen(owner, uids).kept()), tags)


def untag(owner: User, uids: Collection[UUID], tags: Iterable[str]) -> int:
    """Take tags off assets; how many had one of them."""
    with locked(owner):
        on = Asset.tags.through.objects.filter(
            asset__in=_chosen(owner, uids).values("pk"),
            tag__in=Tag.objects.filter(owner=owner, name__in=clean_tags(tags)),
        )
        changed = len(set(on.values_list("asset", flat=True)))
        on.delete()
        _forget_unused(owner)
        return changed


def delete(owner: User, uids: Collection[UUID]) -> int:
    """Delete assets in the trash for good, files and all; how many. What isn't there stays."""
    return _delete(owner, _chosen(owner, uids).filter(trashed_at__isnull=False))


def empty_trash(owner: User) -> int:
    """Delete all that is in the trash now; how many assets."""
    until = timezone.now()
    return sum(
        _delete(owner, Asset.objects.visible_to(owner).filter(trashed_at__lte=until, pk__in=chunk))
        for chunk in _chunks(Asset.objects.visible_to(owner).filter(trashed_at__lte=until))
    )


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Delete what has been in the trash for a month; how many assets. `dry_run` only counts."""
    old = Asset.objects.filter(trashed_at__lt=now - timedelta(days=TRASH_DAYS))
    if dry_run:
        return old.count()
    deleted = 0
    for owner in User.objects.filter(pk__in=old.values("owner")).order_by("pk"):
        for chunk in _chunks(old.filter(owner=owner)):
            deleted += _delete(owner, old.filter(pk__in=chunk))
    return deleted


def days_left(asset: Asset, *, now: datetime) -> int:
    """Whole days until an asset in the trash is deleted."""
    if asset.trashed_at is None:
        return TRASH_DAYS
    left = asset.trashed_at + timedelta(days=TRASH_DAYS) - now
    return max(0, left.days)


def _chosen(owner: User, uids: Collection[UUID]) -> AssetQuerySet:
    """The owner's assets among these. Raises `LibraryRefused` for more than `AT_ONCE`."""
    if len(uids) > AT_ONCE:
        raise LibraryRefused("too_many_chosen", max=AT_ONCE)
    return Asset.objects.visible_to(owner).filter(uid__in=uids)


def _delete(owner: User, assets: QuerySet[Asset]) -> int:
    with locked(owner):
        going = list(assets.select_for_update().order_by("pk"))
        keys = list(chain.from_iterable((one.key, one.thumbnail_key) for one in going))
        outbox.record_each(
            owner,
            outbox.ASSET_DELETED,
            lambda: [{"id": str(one.uid), "name": one.name} for one in going],
        )
        Asset.objects.filter(pk__in=[one.pk for one in going]).delete()
        _forget_unused(owner)
        transaction.on_commit(lambda: storage.delete(storage.RESULTS, *keys), robust=True)
    return len(going)


def _chunks(assets: QuerySet[Asset]) -> Iterator[list[int]]:
    pks = list(assets.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(pks), AT_ONCE):
        yield pks[start : start + AT_ONCE]


# --- Tags -----------------------------------------------------------------------------------


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Tags as they are kept, each once: small letters, single spaces, nothing invisible."""
    cleaned = []
    for name in tags:
        text = unicodedata.normalize("NFC", name).lower()
        text = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text)
        cleaned.append(" ".join(text.replace(",", " ").split())[:LONGEST_TAG].strip())
    return list(dict.fromkeys(filter(None, cleaned)))


def tags_of(owner: User) -> list[tuple[str, int]]:
    """The tags in use and how many assets each is on, the trash left out; by name."""
    kept = Tag.objects.filter(owner=owner, assets__trashed_at=None, assets__isnull=False)
    return list(kept.annotate(n=Count("assets")).order_by("name").values_list("name", "n"))


def _tags(owner: User, names: Sequence[str]) -> list[Tag]:
    """The tags of these names, made where they are missing."""
    rows = [Tag(owner=owner, name=name) for name in names]
    Tag.objects.bulk_create(rows, ignore_conflicts=True)
    return list(Tag.objects.filter(owner=owner, name__in=names))


def _put_tags(owner: User, assets: Sequence[Asset], tags: Iterable[str]) -> int:
    """Under the lock. How many of the assets have all of these tags now."""
    if not (names := clean_tags(tags)[:MOST_TAGS]) or not assets:
        return 0
    wanted = {tag.pk: tag for tag in _tags(owner, names)}
    through = Asset.tags.through
    has: dict[int, set[int]] = {asset.pk: set() for asset in assets}
    for asset_id, tag_id in through.objects.filter(asset__in=has).values_list("asset", "tag"):
        has[asset_id].add(tag_id)
    fitting = [pk for pk, there in has.items() if len(there | wanted.keys()) <= MOST_TAGS]
    rows = [
        through(asset_id=pk, tag_id=tag_id) for pk in fitting for tag_id in wanted.keys() - has[pk]
    ]
    through.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    _forget_unused(owner)
    return len(fitting)


def _forget_unused(owner: User) -> None:
    """Drop tags that are on nothing: nobody could find anything by them."""
    Tag.objects.filter(owner=owner, assets=None).delete()
