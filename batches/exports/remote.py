"""Results into somebody's own storage: the exporters `sirv` and `s3`, over one set of verbs.

Before anything is written, the parcel says where to and what lies there. So whoever comes after a
worker that died finds its own file instead of taking it for somebody else's, and everything can
be taken back. What lies there is read after it was written: a store's "done" is only its belief.

A text (alt text) goes to the picture that it was made of, as its description, if that picture
lies in the very same storage. Else it becomes a file of its own, `name.txt`.
"""

import hashlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from enum import Enum
from pathlib import PurePosixPath
from typing import IO, Any

from django.db import transaction
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from accounts.models import Connection
from batches import connections, formats, storage
from batches.exports.base import ExportError, Sent
from batches.models import Delivery, Parcel, ParcelState, Result
from batches.names import clean_name, split_name
from batches.stores.base import Found, Store, StoreError

SKIP, RENAME, OVERWRITE = "skip", "rename", "overwrite"

CONFLICTS = [
    (SKIP, _("Leave what is there")),
    (RENAME, _("Keep both: number the new one")),
    (OVERWRITE, _("Replace it; this can be undone")),
]

ASIDE = "studio-undo"
"""The folder of a storage where replaced files lie until they are put back."""
MOST_NAMESAKES = 500
CHUNK = 64 * 1024


class _Lies(Enum):
    """What is in the place of a result."""

    NOTHING = "nothing"
    OURS = "ours"
    PART = "part"
    """The beginning of it: an upload that broke off."""
    OTHER = "other"


class Options(serializers.Serializer):
    """Where in the storage, and what happens where a name is taken."""

    folder = serializers.CharField(
        label=_("Folder"),
        help_text=_("Without it: the one that the account has for the batch's tool."),
        required=False,
        allow_blank=True,
        max_length=500,
    )
    conflict = serializers.ChoiceField(
        label=_("If a name is taken"),
        help_text=_("Without it: as the account says."),
        required=False,
        choices=CONFLICTS,
    )

    def validate_folder(self, folder: str) -> str:
        """The folder without slashes around it, of names that any store takes."""
        names = [name for name in folder.replace("\\", "/").split("/") if name.strip()]
        if any(name.strip() in {".", ".."} for name in names):
            raise serializers.ValidationError(_("Name the folder without dots that climb."))
        return "/".join(clean_name(name) for name in names)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """What was left out, as the account has it: the record then says what happens."""
        account: Connection | None = self.context.get("connection")
        if account is not None:
            own = str(account.folders.get(self.context.get("tool", ""), ""))
            attrs.setdefault("folder", self.validate_folder(own))
            attrs.setdefault("conflict", account.conflict)
        return {"folder": "", "conflict": RENAME, **attrs}


class RemoteExporter:
    """Takes results to a `Store`, and back."""

    slug = ""
    Options = Options

    def send(self, delivery: Delivery, result: Result, *, name: str) -> Sent:
        """Write one result, and see that it is there. Raises `StoreError` or `ExportError`."""
        store = opened(delivery)
        item = result.item
        if _describes(delivery, result):
            store.describe(item.source_url, text=result.text, product=item.external_id)
            url = store.url(item.source_url)
            return Sent(place=item.source_url, url=url, undo={"described": True})
        parcel = Parcel.objects.get(delivery=delivery, result=result)
        with closing(_open(result)) as body:
            undo, lies = _gone_on_with(store, parcel, body, result)
            if undo is None:
                chosen = _choose(store, delivery, parcel, result, name)
                if isinstance(chosen, Sent):
                    return chosen
                undo, lies = chosen, _Lies.NOTHING
            if lies != _Lies.OURS:
                undo = _put_aside(store, parcel, undo)
                _write(store, parcel, undo, body, result)
        place = undo["path"]
        if item.external_id:
            store.describe(place, text="", product=item.external_id)
        return Sent(place=place, url=store.url(place), undo=undo)

    def undo(self, delivery: Delivery, parcel: Parcel) -> None:
        """Remove what was written, or put back what lay there; never what is somebody else's.

        Raises `StoreError`, or `ExportError`: `undo_changed`, `undo_description`.
        """
        undo = dict(parcel.undo)
        if undo.get("described"):
            raise ExportError("undo_description")
        if not undo:
            return
        store = opened(delivery)
        path, aside = undo["path"], undo.get("aside", "")
        there = store.stat(path)
        with closing(_open(parcel.result)) as body:
            lies = _what_lies(store, there, body, parcel.result)
        if not undo.get("kept"):
            if lies in {_Lies.OURS, _Lies.PART} and not undo.get("aside"):
                store.delete(path)
            elif lies == _Lies.OTHER and not undo.get("aside"):
                raise ExportError("undo_changed", path=path)
            return
        if undo.get("back") and there and there.bytes == undo["old"]["bytes"]:
            store.delete(aside)  # somebody died between putting it back and this
            return
        if lies not in {_Lies.OURS, _Lies.PART}:
            raise ExportError("undo_changed", path=path)
        _note(parcel, undo | {"back": True})
        store.copy(aside, path)
        back = store.stat(path)
        if back is None or back.bytes != undo["old"]["bytes"]:
            raise StoreError("store_damaged", transient=True, path=path)
        store.delete(aside)


class SirvExporter(RemoteExporter):
    """Somebody's Sirv account."""

    slug = "sirv"


class S3Exporter(RemoteExporter):
    """Somebody's bucket."""

    slug = "s3"


def opened(delivery: Delivery) -> Store:
    """The storage of a delivery. Raises `StoreError` or `ExportError`."""
    if delivery.connection is None:
        raise ExportError("account_gone")
    return connections.open_store(delivery.connection)


# --- Where to -------------------------------------------------------------------------


def _describes(delivery: Delivery, result: Result) -> bool:
    """Whether a text is about a picture that lies in the storage it goes to."""
    item = result.item
    same = item.connection_id is not None and item.connection_id == delivery.connection_id
    return result.format == "txt" and same and bool(item.source_url)


def _gone_on_with(
    store: Store, parcel: Parcel, body: IO[bytes], result: Result
) -> tuple[dict[str, Any] | None, _Lies]:
    """What an earlier try had chosen, if that still holds, and what has become of its file."""
    undo = parcel.undo
    if not undo:
        return None, _Lies.NOTHING
    there = store.stat(undo["path"])
    lies = _what_lies(store, there, body, result)
    if lies == _Lies.OTHER and not _is(there, undo.get("old")):
        return None, lies  # somebody has put something else there: the rule is asked once more
    return undo, lies


def _choose(
    store: Store, delivery: Delivery, parcel: Parcel, result: Result, name: str
) -> dict[str, Any] | Sent:
    """A place that the conflict rule allows, noted on the parcel; or what is there already."""
    wanted = _joined(delivery.options.get("folder", ""), name)
    conflict = delivery.options.get("conflict", RENAME)
    for path in _namesakes(wanted):
        there = store.stat(path)
        if there and conflict == SKIP:
            return Sent(place=path, url=store.url(path), is_skipped=True)
        if there and conflict == RENAME:
            continue
        undo: dict[str, Any] = {"path": path, "bytes": result.bytes, "sha256": result.sha256}
        if there:
            ending = split_name(PurePosixPath(path).name)[1]
            undo["aside"] = f"{ASIDE}/{delivery.uid}/{parcel.pk}-{parcel.attempt}{ending}"
            undo["old"] = _as_it_was(there)
        if _reserve(delivery, parcel, undo):
            return undo
        if conflict != RENAME:
            # Another delivery writes there just now. Later there is something to decide on.
            raise ExportError("store_name_taken", transient=True, path=path)
    raise ExportError("store_name_taken", path=wanted)


def _namesakes(path: str) -> Iterator[str]:
    """The path itself, then numbered ones."""
    folder, slash, name = path.rpartition("/")
    stem, ending = split_name(name)
    yield path
    for number in range(2, MOST_NAMESAKES):
        yield f"{folder}{slash}{stem}-{number}{ending}"


def _reserve(delivery: Delivery, parcel: Parcel, undo: Mapping[str, Any]) -> bool:
    """Note on the parcel where it goes; False when another one is on its way there."""
    account = delivery.connection
    if account is None:
        raise ExportError("account_gone")
    on_the_way = [ParcelState.WAITING, ParcelState.SENDING]
    with transaction.atomic():
        # One at a time for an account: else two find the same name free.
        Connection.objects.select_for_update().filter(uid=account.uid).first()
        rivals = Parcel.objects.filter(
            delivery__connection=account, place=undo["path"], state__in=on_the_way
        )
        if rivals.exclude(pk=parcel.pk).exists():
            return False
        _note(parcel, undo, place=undo["path"])
    return True


def _note(parcel: Parcel, undo: Mapping[str, Any], **fields: Any) -> None:
    """Write down what it takes to go on, or back. Raises `ExportError` when the claim is lost."""
    mine = Parcel.objects.filter(pk=parcel.pk, token=parcel.token, state=ParcelState.SENDING)
    if not mine.update(undo=dict(undo), **fields):
        raise ExportError("delivery_failed", transient=True)


def _joined(folder: str, name: str) -> str:
    """A path in the store. Names may come from a sheet: each part is made safe."""
    parts = [part for part in f"{folder}/{name}".split("/") if part.strip(" .")]
    return "/".join(clean_name(part) for part in parts)


# --- What lies there ------------------------------------------------------------------


def _put_aside(store: Store, parcel: Parcel, undo: dict[str, Any]) -> dict[str, Any]:
    """Keep what is about to be replaced, once."""
    if not undo.get("aside") or undo.get("kept"):
        return undo
    store.copy(undo["path"], undo["aside"])
    kept = store.stat(undo["aside"])
    if kept is None or kept.bytes != undo["old"]["bytes"]:
        raise StoreError("store_damaged", transient=True, path=undo["aside"])
    undo = {**undo, "kept": True}
    _note(parcel, undo)
    return undo


def _write(
    store: Store, parcel: Parcel, undo: Mapping[str, Any], body: IO[bytes], result: Result
) -> None:
    """Write, and read what lies there then; a second time if that is not what was sent."""
    path = undo["path"]
    for _try in range(2):
        body.seek(0)
        kind = formats.CONTENT_TYPES[result.format]
        store.write(path, body, size=result.bytes, content_type=kind)
        if _what_lies(store, store.stat(path), body, result) == _Lies.OURS:
            return
    with suppress(StoreError):  # what is wrong is known already
        if undo.get("kept"):
            store.copy(undo["aside"], path)
            store.delete(undo["aside"])
        else:
            store.delete(path)
        _note(parcel, {}, place="")
    raise StoreError("store_damaged", path=path)


def _what_lies(store: Store, there: Found | None, body: IO[bytes], result: Result) -> _Lies:
    """What a place holds, by its bytes; the store's own digest saves reading them."""
    if there is None:
        return _Lies.NOTHING
    if there.bytes > result.bytes:
        return _Lies.OTHER
    body.seek(0)
    if there.bytes == result.bytes and there.fingerprint == _md5(body):
        return _Lies.OURS
    body.seek(0)
    with tempfile.TemporaryFile() as copy:
        try:
            store.read(there.path, into=copy, max_bytes=result.bytes)
        except StoreError as error:
            if error.code == "file_too_large":
                return _Lies.OTHER
            raise
        size = copy.tell()
        copy.seek(0)
        while chunk := copy.read(CHUNK):
            if chunk != body.read(len(chunk)):
                return _Lies.OTHER
    return _Lies.OURS if size == result.bytes else _Lies.PART


def _open(result: Result) -> IO[bytes]:
    """The bytes of a result. Raises `ExportError` when its file is gone."""
    if not result.key:
        return io.BytesIO(result.text.encode())
    try:
        return storage.open_file(storage.RESULTS, result.key)
    except FileNotFoundError:
        raise ExportError("result_gone") from None


def _md5(body: IO[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := body.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _as_it_was(there: Found) -> dict[str, Any]:
    changed_at = there.changed_at.isoformat() if there.changed_at else ""
    return {"bytes": there.bytes, "fingerprint": there.fingerprint, "changed_at": changed_at}


def _is(there: Found | None, old: Mapping[str, Any] | None) -> bool:
    """Whether what lies there is the same as before, by all that the store says of it."""
    if there is None or not old:
        return False
    return _as_it_was(there) == dict(old)
