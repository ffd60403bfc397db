"""The same work is paid for once: what was done before serves again, duplicates share one run.

Work is the same when the picture's bytes, the tool, all settings (with the pictures they name)
and the model's version are. A done item keeps a digest of these as its `work_key`. Nobody is
served with what another account has paid for.

`Plan` says beforehand which items will cost nothing; `served` hands an earlier result over when
an item's turn has come. What was planned on may be gone by then: the item runs itself.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from accounts.models import User
from batches import addresses, storage
from batches.models import Batch, Item, Original, Result
from batches.names import split_name
from batches.states import ON_HOLD, ItemState
from tools.base import Tool

KEYS_PER_QUERY = 500
MOST_LOOKED_AT = 3
"""Earlier results of one work that are tried, newest first, before it is done once more."""
FIELDS = ("twin_of", "reused_from", "held_price")
"""The columns that a plan sets."""
TOLD_APART_BY = (
    *("source_url", "original", "connection", "settings", "shrink", "history"),
    *("twin_of", "error_code"),
)
"""The columns that `Plan.meet` looks at."""


class Plan:
    """Finds the items of a batch that will cost nothing, all at once or by and by."""

    def __init__(self, batch: Batch, tool: Tool) -> None:
        self._batch = batch
        self._tool = tool
        self._firsts: dict[bytes, int] = {}

    def meet(self, item: Item) -> None:
        """Know of an item that was planned before, so that later ones may become its twins."""
        usable = self._batch.reuse and not item.error_code and item.twin_of_id is None
        if usable and self._tool.repeats(item.settings):
            pictures = _pictures(self._batch, self._tool)
            if same := _sameness(item, self._tool, pictures):
                self._firsts.setdefault(same, item.pk)

    def add(self, items: Iterable[Item]) -> list[Item]:
        """Those among the next items; the caller saves `FIELDS` of all that it gave.

        They have rows already, come in the order of their positions, and have the price of a run
        as `held_price`; what was planned for them before is forgotten. A duplicate of an earlier
        one becomes its twin. What was done before, as far as that is known without fetching
        anything, names the item that it will be served from.
        """
        batch, tool = self._batch, self._tool
        pictures = _pictures(batch, tool)
        keys: dict[str, Item] = {}
        free = []
        for item in items:
            item.twin_of = item.reused_from = None
            if not batch.reuse or not tool.repeats(item.settings):
                continue
            if (same := _sameness(item, tool, pictures)) is None:
                continue
            first = self._firsts.setdefault(same, item.pk)
            if first != item.pk:
                item.twin_of_id, item.held_price = first, 0
                free.append(item)
            elif not item.shrink and (key := work_key(item, tool, pictures=pictures)):
                keys[key] = item
        for key, uid in _done(batch.owner_id, keys).items():
            keys[key].reused_from, keys[key].held_price = uid, 0
            free.append(keys[key])
        return free


def work_key(
    item: Item,
    tool: Tool,
    *,
    size: tuple[int, int] | None = None,
    pictures: Mapping[str, str] | None = None,
) -> str:
    """The digest of an item's work; empty where a picture is not here, or no run is like another.

    `size` is what the picture was made smaller to, if it was; `pictures` are those of the
    batch's settings, for whoever asks for many items.
    """
    if item.original is None or not tool.repeats(item.settings):
        return ""
    if pictures is None:
        pictures = _pictures(item.batch, tool)
    named = tool.image_settings(item.settings)
    if any(value not in pictures for value in named.values()):
        return ""
    drawn = {name: pictures[value] for name, value in named.items()}
    return _key(item.original.sha256, size, tool, item.settings, drawn)


def done_before(
    owner: User, tool: Tool, settings: Mapping[str, Any], originals: Iterable[Original]
) -> set[int]:
    """Which of these pictures would cost nothing with these (clean) settings, by their ids.

    For whoever asks before there is a batch: an address among the settings is not known yet.
    """
    if not tool.repeats(settings):
        return set()
    named = tool.image_settings(settings)
    uploads = [value for value in named.values() if not value.startswith(("http:", "https:"))]
    own = Original.objects.filter(owner=owner, uid__in=uploads)
    pictures = {str(uid): sha256 for uid, sha256 in own.values_list("uid", "sha256")}
    if any(value not in pictures for value in named.values()):
        return set()
    drawn = {name: pictures[value] for name, value in named.items()}
    keys = {
        _key(original.sha256, None, tool, settings, drawn): original.pk for original in originals
    }
    return {keys[key] for key in _done(owner.pk, keys)}


def is_same(item: Item, first: Item) -> bool:
    """Whether a twin still asks for what its first does: either may have been changed since."""
    if item.settings != first.settings or item.shrink != first.shrink:
        return False
    if item.original_id and first.original_id:
        return item.original_id == first.original_id
    return bool(item.source_url) and _address(item) == _address(first)


def first_of(item: Item, original: Original, tool: Tool) -> Item | None:
    """An earlier open item of the batch that turns out to be of the same picture, if there is one.

    Two addresses may lead to one picture. Call it in the transaction that gives the item its
    original: the original's row is locked, so that of two that come in at once one sees the other.
    """
    if not item.batch.reuse or item.twin_of or not tool.repeats(item.settings):
        return None
    Original.objects.select_for_update().filter(pk=original.pk).first()
    earlier = Item.objects.filter(
        batch=item.batch_id,
        original=original,
        position__lt=item.position,
        state__in=ON_HOLD,
        twin_of=None,
        shrink=item.shrink,
    )
    same = (one for one in earlier.order_by("position") if one.settings == item.settings)
    return next(same, None)


def served(item: Item, key: str) -> tuple[Item, list[Result]] | None:
    """An earlier item of the same work, and its results as this item's own, not saved yet.

    Their files are the item's own too. None when there is nothing that could serve.
    """
    for source in _sources(item, key):
        if results := _copied(source, item):
            return source, results
    return None


def _sources(item: Item, key: str) -> Iterator[Item]:
    """Who may serve the item: its first, then what was done before, newest first."""
    first = item.twin_of
    if first and first.state == ItemState.DONE and is_same(item, first):
        yield first
    if key:
        own = Item.objects.filter(batch__owner=item.batch.owner_id, state=ItemState.DONE)
        yield from own.filter(work_key=key).exclude(pk=item.pk).order_by("-pk")[:MOST_LOOKED_AT]


def _copied(source: Item, item: Item) -> list[Result]:
    """The results of one item for another; none when any of their files is gone."""
    if item.token is None:
        raise RuntimeError("Only a claimed item can have results.")
    copies: list[Result] = []
    for made in source.results.order_by("position"):
        key = thumbnail_key = ""
        if made.key:
            _stem, extension = split_name(made.key)
            key = storage.result_key(item.batch.uid, item.uid, item.token, made.position, extension)
            thumbnail_key = f"{key}.thumb.webp"
        copies.append(
            Result(
                item=item,
                position=made.position,
                key=key,
                thumbnail_key=thumbnail_key,
                format=made.format,
                width=made.width,
                height=made.height,
                bytes=made.bytes,
                sha256=made.sha256,
                crc32=made.crc32,
                text=made.text,
                notes=made.notes,
            )
        )
        if not key:
            continue
        try:
            storage.copy(storage.RESULTS, made.key, key)
            storage.copy(storage.RESULTS, made.thumbnail_key, thumbnail_key)
        except FileNotFoundError:
            forget(copies)
            return []
    return copies


def forget(results: Sequence[Result]) -> None:
    """Remove the files of results that were never saved."""
    for result in results:
        storage.delete(storage.RESULTS, result.key, result.thumbnail_key)


def _done(owner_id: int, keys: Iterable[str]) -> dict[str, Any]:
    """The newest done item of the same owner for each of these works that has one, by its uid."""
    wanted = list(keys)
    found: dict[str, Any] = {}
    for start in range(0, len(wanted), KEYS_PER_QUERY):
        done = Item.objects.filter(
            batch__owner=owner_id,
            state=ItemState.DONE,
            work_key__in=wanted[start : start + KEYS_PER_QUERY],
        )
        found |= dict(done.order_by("pk").values_list("work_key", "uid"))
    return found


def _pictures(batch: Batch, tool: Tool) -> dict[str, str]:
    """What the batch's settings name as pictures, with the digest of each that is here."""
    if not tool.may_name_pictures:
        return {}
    here = batch.setting_images.filter(original__isnull=False)
    return dict(here.values_list("value", "original__sha256"))


def _sameness(item: Item, tool: Tool, pictures: Mapping[str, str]) -> bytes | None:
    """What duplicates within a batch have in common, known before anything is fetched.

    None for an item that is like no other: it is to be made smaller by what its history says.
    """
    if item.shrink and item.history:
        return None
    place = item.original_id or _address(item)
    drawn = {
        name: pictures.get(value, value)
        for name, value in tool.image_settings(item.settings).items()
    }
    return bytes.fromhex(_digest(place, item.shrink, item.settings | drawn))


def _address(item: Item) -> list[Any]:
    address, _tracking = addresses.without_tracking(item.source_url)
    return [item.connection_id, address]


def _key(
    sha256: str,
    size: tuple[int, int] | None,
    tool: Tool,
    settings: Mapping[str, Any],
    drawn: Mapping[str, str],
) -> str:
    return _digest(sha256, size, tool.slug, {**settings, **drawn}, tool.version(settings))


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
