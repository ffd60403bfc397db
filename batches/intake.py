"""Images in: files become originals, rows become items. Everything is judged before money moves."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Connection, User
from batches import fetch, messages, reuse, setting_images, storage
from batches.models import Asset, Batch, Item, Original, Result
from batches.names import Names, clean_name, split_name
from batches.patterns import Facts, Namer, NameTaken
from batches.sources.base import Row
from batches.states import ItemState
from batches.stores import paths
from tools import abilities
from tools.base import SettingsInvalid, Tool, ToolError
from tools.engines import guard, images

_KNOWN_AGAIN = ("batch", "position", "line", "stem", *reuse.TOLD_APART_BY)
"""Columns of items that were there before: whoever goes on with a long import reads them all."""


class ImageRefused(Exception):
    """An image that can't be taken in. Carries the code and the figures of its message."""

    def __init__(self, code: str, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.params = dict(params or {})


@dataclass(frozen=True)
class RowError:
    """What is wrong with one row: where (a JSON pointer), the code, and words for people."""

    index: int
    pointer: str
    code: str
    detail: str
    params: Mapping[str, Any] = field(default_factory=dict)


class RowsInvalid(Exception):
    """Rows that can't become items. Nothing was stored."""

    code = "validation_failed"

    def __init__(self, errors: Sequence[RowError]) -> None:
        super().__init__(f"{len(errors)} rows are invalid")
        self.errors = list(errors)


def receive(owner: User, data: bytes, *, name: str, shrink: bool = False) -> tuple[Original, bool]:
    """Validate a file in the guarded child and keep it as an original of its owner.

    With `shrink` a file beyond the limits is kept as a smaller picture instead of being refused.
    Returns the original and whether it is new: identical bytes of one owner are stored once.
    Raises `ImageRefused`. Safe to call for the same bytes from several threads at once.
    """
    digest = hashlib.sha256(data).hexdigest()
    if known := Original.objects.filter(owner=owner, sha256=digest).first():
        # People look for what they have just sent, under the name that it has now; and whoever
        # forgets what nobody uses must see that it has just come.
        known.name, known.received_at = clean_name(name), timezone.now()
        here = Original.objects.filter(pk=known.pk)
        if here.update(name=known.name, received_at=known.received_at):
            return known, False
    try:
        seen = guard.inspect(data, shrink=shrink)
    except images.ImageProblem as problem:
        raise ImageRefused(problem.code, problem.params) from problem
    kept, kind = (seen.normalised or data), (seen.kept_as or seen.format)
    uid = uuid.uuid4()
    key = storage.original_key(owner.uid, uid, images.EXTENSIONS[kind])
    thumbnail_key = f"{key}.thumb.webp"
    storage.save(storage.ORIGINALS, key, kept)
    storage.save(storage.ORIGINALS, thumbnail_key, seen.thumbnail)
    return _kept(
        Original(
            uid=uid,
            owner=owner,
            name=clean_name(name),
            sha256=digest,
            bytes=len(data),
            format=seen.format,
            width=seen.width,
            height=seen.height,
            key=key,
            content_type=images.CONTENT_TYPES[kind],
            thumbnail_key=thumbnail_key,
        )
    )


def adopt(owner: User, result: Result) -> Original:
    """A result of the owner's as an original, to work on further.

    We have made the file ourselves, so it is copied and not looked at again. Raises
    `ImageRefused` for what is no image, is gone, or is more than one may send us.
    """
    if not result.key or result.width is None or result.height is None:
        raise ImageRefused("source_not_image")
    known = Original.objects.filter(owner=owner, sha256=result.sha256).first()
    if known and Original.objects.filter(pk=known.pk).update(received_at=timezone.now()):
        return known
    try:
        images.check_bytes(result.bytes)
        images.check_dimensions(result.width, result.height)
    except images.ImageProblem as problem:
        raise ImageRefused(problem.code, problem.params) from problem
    uid = uuid.uuid4()
    key = storage.original_key(owner.uid, uid, images.EXTENSIONS[result.format])
    thumbnail_key = f"{key}.thumb.webp"
    try:
        storage.copy(storage.RESULTS, result.key, key, into=storage.ORIGINALS)
        storage.copy(storage.RESULTS, result.thumbnail_key, thumbnail_key, into=storage.ORIGINALS)
    except FileNotFoundError:
        storage.delete(storage.ORIGINALS, key)
        raise ImageRefused("source_missing") from None
    return _kept(
        Original(
            uid=uid,
            owner=owner,
            name=clean_name(f"{split_name(result.item.name)[0]}{images.EXTENSIONS[result.format]}"),
            sha256=result.sha256,
            bytes=result.bytes,
            format=result.format,
            width=result.width,
            height=result.height,
            key=key,
            content_type=images.CONTENT_TYPES[result.format],
            thumbnail_key=thumbnail_key,
        )
    )[0]


def adopt_assets(owner: User, assets: Sequence[Asset]) -> Iterator[tuple[Asset, Original | None]]:
    """Pictures of the library as originals, in their order; nothing for one that can't be used.

    What came into the library unchanged is here already; the others are looked at once more.
    Raises `guard.GuardLost` where that can't be done just now.
    """
    digests = [asset.source_sha256 for asset in assets if not asset.tool]
    here = Original.objects.visible_to(owner).filter(sha256__in=digests)
    known = {original.sha256: original for original in here}
    for asset in assets:
        if not asset.tool and asset.source_sha256 in known:
            yield asset, known[asset.source_sha256]
            continue
        try:
            data = storage.read(storage.RESULTS, asset.key)
            original, _new = receive(owner, data, name=asset.name)
        except (FileNotFoundError, ImageRefused):
            yield asset, None
        else:
            yield asset, original


def _kept(original: Original) -> tuple[Original, bool]:
    """The original, stored, and whether it is new: the same may have come in beside us."""
    try:
        with transaction.atomic():
            original.save(force_insert=True)
    except IntegrityError:
        storage.delete(storage.ORIGINALS, original.key, original.thumbnail_key)
        return Original.objects.get(owner=original.owner, sha256=original.sha256), False
    return original, True


def add_items(
    batch: Batch,
    tool: Tool,
    rows: Sequence[Row],
    *,
    skip_invalid: bool = False,
    refuse_clashes: bool = False,
) -> list[Item]:
    """Turn rows into the items of a batch that has none, all validated, in one bulk insert.

    Shapes, settings and address rules are judged; nothing is fetched. Raises `RowsInvalid`
    with every problem, unless `skip_invalid`: then such rows become failed items that cost
    nothing. With `refuse_clashes` it is raised all the same where two results would have one
    name. Raises `PatternInvalid`.
    """
    taker = Intake(batch, tool)
    return taker.add(rows, skip_invalid=skip_invalid, refuse_clashes=refuse_clashes)


class Intake:
    """Rows on their way into one batch, all at once or by and by.

    `there` are the names of the items that the batch has already; the new ones come after them.
    `count` is how many there are.
    """

    def __init__(self, batch: Batch, tool: Tool, *, there: Iterable[str] = ()) -> None:
        self._batch = batch
        self._tool = tool
        self._names = Names()
        self.count = 0
        for name in there:
            self._names.unique(name)
            self.count += 1
        self._cleaner = Cleaner(tool, batch.settings)
        self._namer: Namer | None = None
        self._plan = reuse.Plan(batch, tool)
        self._goes_on = self.count > 0

    def add(
        self, rows: Sequence[Row], *, skip_invalid: bool, refuse_clashes: bool = False
    ) -> list[Item]:
        """The next items, stored; as with `add_items`. Call it in a transaction."""
        batch, tool = self._batch, self._tool
        named_by_rows = _Named(_uploads(batch.owner, rows), _connections(batch.owner, rows))
        judged = [
            _item(batch, index, row, named_by_rows, self._cleaner)
            for index, row in enumerate(rows, start=self.count)
        ]
        unusable = setting_images.keep(batch, tool, (item.settings for item, _problems in judged))
        named = {
            value for item, _ in judged for value in tool.image_settings(item.settings).values()
        }
        sizes = setting_images.sizes(batch, named)
        if self._namer is None:
            columns = {column for row in rows for column in row.fields}
            columns |= set(batch.sheet.columns if batch.sheet else ())
            self._namer = self._begun(Namer(batch.pattern, columns=columns))
        errors: list[RowError] = []
        clashes: list[RowError] = []
        items: list[Item] = []
        for (item, wrong), row in zip(judged, rows, strict=True):
            problems = wrong + self._wrong_pictures(item, unusable, sizes, is_wrong=bool(wrong))
            try:
                item.stem = _stem(item, row, self._namer, tool)
            except NameTaken as taken:
                detail, at = messages.text(taken.code, taken.params), f"/images/{item.position}"
                clash = RowError(item.position, at, taken.code, detail, taken.params)
                clashes.append(clash)
                problems.append(clash)
            errors += problems
            if problems:
                item.state = ItemState.FAILED
                item.held_price = 0  # it is in no quote; a retry prices it anew
                item.error_code = problems[0].code
                item.error_params = dict(problems[0].params)
            items.append(item)
        if errors and not skip_invalid:
            raise RowsInvalid(errors)
        if clashes and refuse_clashes:
            raise RowsInvalid(clashes)
        for item in items:
            item.name = self._names.unique(item.name)
        self.count += len(items)
        made = Item.objects.bulk_create(items, batch_size=500)
        free = self._plan.add(item for item in made if not item.error_code)
        Item.objects.bulk_update(free, reuse.FIELDS, batch_size=500)
        return made

    def _begun(self, namer: Namer) -> Namer:
        """The namer, and the plan, as if they had seen the items that were there before."""
        if self._goes_on:
            there = self._batch.items.order_by("position").only(*_KNOWN_AGAIN)
            for item in there.iterator(chunk_size=2000):
                namer.meet(item.stem, row=item.line or item.position + 1)
                self._plan.meet(item)
        return namer

    def _wrong_pictures(
        self,
        item: Item,
        unusable: Mapping[str, setting_images.Problem],
        sizes: Mapping[str, tuple[int, int]],
        *,
        is_wrong: bool,
    ) -> list[RowError]:
        """What is wrong with the pictures that its settings name, or with all sizes together."""
        tool = self._tool
        named = tool.image_settings(item.settings)
        problems = [
            _wrong_picture(item.position, tool, name, *unusable[value])
            for name, value in named.items()
            if value in unusable
        ]
        if problems or is_wrong or not item.original:
            return problems
        drawn = {name: sizes[value] for name, value in named.items() if value in sizes}
        return _wrong_size(item.position, tool, item, item.original, drawn)


def judge(row: Row, cleaner: "Cleaner") -> tuple[int, list[RowError]]:
    """The most credits that a row of an address would cost, and everything that is wrong with it.

    There need not be a batch. Pictures that settings name are not looked at.
    """
    judged = _judged(0, row, _Named(), cleaner)
    return judged.price, judged.problems


class Cleaner:
    """A tool's settings of many rows on top of their batch's: rows mostly have the same few."""

    _REMEMBERED = 1000

    def __init__(self, tool: Tool, base: Mapping[str, Any]) -> None:
        self.tool = tool
        self._base = base
        self._known: dict[str, tuple[dict[str, Any], int, str | None] | SettingsInvalid] = {}

    def clean(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], int, str | None]:
        """All settings, the most that it may cost, and why these can't run here, if they can't.

        Raises `SettingsInvalid`.
        """
        key = json.dumps(settings, sort_keys=True, default=str)
        if key not in self._known:
            if len(self._known) >= self._REMEMBERED:
                self._known.clear()
            self._known[key] = self._cleaned(settings)
        found = self._known[key]
        if isinstance(found, SettingsInvalid):
            raise found.with_traceback(None)  # the same one again: it would grow
        cleaned, price, reason = found
        return dict(cleaned), price, reason

    def _cleaned(
        self, settings: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int, str | None] | SettingsInvalid:
        try:
            cleaned = self.tool.clean(settings, base=self._base)
        except SettingsInvalid as invalid:
            return invalid
        return (
            cleaned,
            self.tool.max_price(cleaned),
            abilities.unavailable_reason(self.tool, cleaned),
        )


@dataclass(frozen=True)
class _Named:
    """The owner's things that rows name, by id."""

    uploads: Mapping[str, Original] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)


def _connections(owner: User, rows: Iterable[Row]) -> dict[str, Connection]:
    """The owner's connections that the rows name, by id."""
    wanted = {row.connection for row in rows if _as_uuid(row.connection)}
    found = Connection.objects.visible_to(owner).filter(uid__in=wanted) if wanted else ()
    return {str(connection.uid): connection for connection in found}


def _uploads(owner: User, rows: Iterable[Row]) -> dict[str, Original]:
    """The owner's originals that the rows name, by id."""
    wanted = []
    for row in rows:
        try:
            wanted.append(uuid.UUID(row.upload))
        except ValueError:
            continue
    # Locked, so that nobody deletes them with the last batch that had them before ours is there.
    found = Original.objects.visible_to(owner).filter(uid__in=wanted).order_by("pk")
    found = found.select_for_update()
    return {str(original.uid): original for original in found}


@dataclass(slots=True)
class _Judged:
    """What a row asks for, and everything that is wrong with it.

    Cheaper than an `Item`: of long sheets rows are judged that nobody stores yet.
    """

    url: str = ""
    original: Original | None = None
    connection: Connection | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    price: int = 0
    problems: list[RowError] = field(default_factory=list)


def _item(
    batch: Batch, index: int, row: Row, named: _Named, cleaner: Cleaner
) -> tuple[Item, list[RowError]]:
    """One row as an unsaved item, with everything that is wrong with it."""
    judged = _judged(index, row, named, cleaner)
    item = Item(
        batch=batch,
        position=index,
        external_id=row.external_id,
        source_url=judged.url,
        original=judged.original,
        connection=judged.connection,
        settings=judged.settings,
        held_price=judged.price,
    )
    if batch.sheet_id and row.fields:  # not a line of pasted addresses
        item.line = row.line
    item.name = clean_name(row.name or _name_of(item))
    return item, judged.problems


def _judged(index: int, row: Row, named: _Named, cleaner: Cleaner) -> _Judged:
    found = _Judged()
    at = f"/images/{index}"
    given = row.problems
    if not given and not row.refusal and bool(row.url) == bool(row.upload):
        given = [("", _("Give either an address or an upload."))]
    if row.refusal:
        code, params = row.refusal
        found.problems.append(RowError(index, at, code, messages.text(code, params), params))
    elif given:
        found.problems += [
            RowError(index, _pointer(at, name), "row_invalid", detail, {"detail": detail})
            for name, detail in given
        ]
    elif row.upload:
        found.original = named.uploads.get(_as_uuid(row.upload))
        if found.original is None:
            detail = _("There is no such upload. Upload the file again.")
            found.problems.append(RowError(index, f"{at}/upload", "source_missing", detail))
    elif row.connection:
        found.url, found.connection = row.url, named.connections.get(row.connection)
        found.problems += _wrong_path(index, row, found.connection)
    else:
        found.url = row.url
        try:
            found.url = fetch.check_url(row.url, allow=settings.FETCH_ALLOW)
        except fetch.FetchError as error:
            detail = _refusal(error)
            found.problems.append(RowError(index, f"{at}/url", error.code, detail, error.params))
    found.problems += _take_settings(found, index, row, cleaner)
    return found


def _wrong_path(index: int, row: Row, connection: Connection | None) -> list[RowError]:
    """What is wrong with a row that names a file in an account elsewhere."""
    at = f"/images/{index}"
    if connection is None:
        detail = messages.text("connection_gone")
        return [RowError(index, f"{at}/connection", "connection_gone", detail)]
    if not paths.is_plain(row.url):
        path = {"path": row.url[:100]}
        return [RowError(index, f"{at}/url", "store_path", messages.text("store_path", path), path)]
    return []


def _take_settings(found: _Judged, index: int, row: Row, cleaner: Cleaner) -> list[RowError]:
    """Note the row's settings and price; returns what is wrong with them."""
    at = f"/images/{index}/settings"
    try:
        found.settings, found.price, reason = cleaner.clean(row.settings)
    except SettingsInvalid as invalid:
        return [
            RowError(
                index,
                _pointer(at, wrong.field),
                "settings_invalid",
                wrong.detail,
                {"detail": f"{wrong.field}: {wrong.detail}" if wrong.field else wrong.detail},
            )
            for wrong in invalid.errors
        ]
    if reason:
        return [RowError(index, at, "tool_unavailable", reason, {"reason": reason})]
    return []


def _stem(item: Item, row: Row, namer: Namer, tool: Tool) -> str:
    """Where an item's result is saved to; nowhere for a file that was turned away.

    Raises `NameTaken`.
    """
    if row.refusal:
        return ""
    facts = Facts(
        name=item.name,
        number=item.position + 1,
        tool=tool.slug,
        day=timezone.localdate(item.batch.created_at),
        external_id=item.external_id,
        fields=row.fields,
        folder=row.folder,
    )
    named_in_a_sheet = bool(row.name) and row.line is not None
    return namer.stem(facts, row=row.line or item.position + 1, is_given=named_in_a_sheet)


def _wrong_picture(
    index: int, tool: Tool, name: str, code: str, params: Mapping[str, Any]
) -> RowError:
    """A picture that a row's settings name and that can't be used."""
    params = {**params, "setting": str(tool.Settings().fields[name].label)}
    pointer = _pointer(f"/images/{index}/settings", name)
    return RowError(index, pointer, code, messages.text(code, params), params)


def _wrong_size(
    index: int, tool: Tool, item: Item, original: Original, drawn: Mapping[str, tuple[int, int]]
) -> list[RowError]:
    """What the tool objects to in the sizes that are known already."""
    try:
        tool.refuse_size((original.width, original.height), item.settings, drawn)
    except ToolError as error:
        detail = messages.text(error.code, error.params)
        return [RowError(index, f"/images/{index}", error.code, detail, error.params)]
    return []


def _pointer(at: str, name: str) -> str:
    """The JSON pointer to a member, or to the whole when the name is empty."""
    return f"{at}/{name.replace('~', '~0').replace('/', '~1')}" if name else at


def _as_uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""


def _refusal(error: fetch.FetchError) -> str:
    return messages.text(error.code, error.params)


def _name_of(item: Item) -> str:
    """A name for an image that came without one."""
    if item.original:
        return item.original.name
    if item.is_stored:
        return PurePosixPath(item.source_url).name
    return unquote(PurePosixPath(urlsplit(item.source_url).path).name)
