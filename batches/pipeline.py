"""One item from claim to settlement. May run twice for the same item, and charges once.

    fetch:  queued -> fetching -> fetched      an address becomes an original
    run:    fetched -> running -> done         the tool runs, results are stored, credits captured

A claim is won by compare-and-set and carries a token; whatever a worker does afterwards is
settled only if the token still stands. Files are stored first, under names that hold the token,
and then one transaction makes them count: a worker that dies in between leaves files that no
row names, and the sweeper removes them.
"""

import hashlib
import io
import json
import logging
import os
import socket
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, connections, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_noop
from PIL import Image

from accounts.models import User
from batches import (
    addresses,
    clock,
    dispatch,
    intake,
    lifecycle,
    links,
    outbox,
    pricing,
    reuse,
    setting_images,
    storage,
    tracing,
)
from batches import connections as connected
from batches import fetch as downloads
from batches.exports.archive import result_name
from batches.models import Batch, Item, Original, Result, SettingImage
from batches.states import OPEN, BatchState, ItemState
from batches.stores.base import StoreError
from credits import ledger
from tools import abilities, registry
from tools.base import Note, Output, Tool, ToolError
from tools.engines import guard, images, matting, weights

LEASE = timedelta(seconds=30)
"""How long a claim stands without a sign of life."""
RENEW_EVERY = 10.0
"""Seconds between signs of life."""
MOST_TRIES = 3
"""Times that a passing error may come before the item fails."""
BACK_OFF = (timedelta(seconds=2), timedelta(seconds=10))
"""Waits before the second and the third try."""
FETCH_THREADS = 16
FETCH_TIMEOUT = 600.0
"""Seconds after which a fetch counts as hung: far beyond what download and guard may take."""
HUNG = 70
"""Exit status of a worker that ended itself because a model did not come back."""

_ending = threading.Event()
_in_hand: dict[str, None] = {}
"""Kept by `Lease`; read by the thread that tells of this worker."""

log = logging.getLogger(__name__)


def worker_name() -> str:
    """This process, as claims name it: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def in_hand() -> list[str]:
    """The uids of the items that this process has in hand now, the longest first."""
    return list(_in_hand)


def take_nothing_more() -> None:
    """Begin no other item in this process: it is to end. Safe in a signal's handler."""
    _ending.set()


def fetch(item_ids: Sequence[int]) -> None:
    """Download, validate and store the originals of these items, side by side."""
    if len(item_ids) == 1:
        _fetch_one(item_ids[0])
        return
    with ThreadPoolExecutor(min(FETCH_THREADS, len(item_ids))) as pool:
        for done in [pool.submit(_fetch_in_thread, pk) for pk in item_ids]:
            done.result()


def run(item_id: int) -> None:
    """Run the batch's tool on one item whose original is here."""
    item = _claim(item_id, ItemState.RUNNING)
    if item is not None:  # else another worker has it, it was cancelled, or the batch is paused
        _process(item)


def _process(item: Item) -> None:
    """All that follows a claim: work, settlement, and what follows that."""
    tool = registry.get(item.batch.tool)
    with Lease(item, seconds=tool.timeout):
        try:
            settled = _follow_first(item)
            if settled is None and _belongs_elsewhere(item, tool):
                settled = lifecycle.turn_away(item)
            elif settled is None:
                settled = _run_tool(item, tool)
        except ToolError as error:
            settled = _stop(item, error.code, error.params, again=not error.permanent)
        except images.ImageProblem as problem:
            settled = _stop(item, problem.code, problem.params, again=False)
        except (weights.WeightsError, weights.ModelNotLoaded) as error:
            log.error("%s", error)  # noqa: TRY400 - the sentence says it all
            settled = _give_back(item, tool)
        except Exception:
            log.exception("Item %s of batch %s failed", item.uid, item.batch.uid)
            settled = _stop(item, "processing_failed", {}, again=True)
    if settled:
        lifecycle.settled(item.batch_id, now=clock.now())


def _belongs_elsewhere(item: Item, tool: Tool) -> bool:
    """Whether this host lacks what the item needs, and another one has it."""
    needed = abilities.needed(tool, item.settings)
    if needed not in abilities.lost() and tool.unavailable_reason(item.settings) is None:
        return False
    return dispatch.others_can_run(needed, but=worker_name())


def _give_back(item: Item, tool: Tool) -> bool:
    """Let another worker run what this one can't after all: its model did not load.

    This one says so, and nobody sends it more of that for a while. An item that so many workers
    gave back fails; so it does at once where nobody says what he can run.
    """
    abilities.lose(abilities.needed(tool, item.settings))
    if not dispatch.engine_workers():
        return _stop(item, "model_unavailable", {}, again=False)
    return lifecycle.give_back(item, "model_unavailable")


class Lease:
    """Signs of life for a claim while a model computes, and the end of a process that hangs.

    A thread renews the lease until the block ends. When the block takes longer than `seconds`
    the whole process ends itself: nothing else can stop code that does not come back from C.
    Its claim then runs out, or the supervisor ends it at once. That watch goes on when the claim
    is lost and when the database does not answer.
    """

    def __init__(self, item: Item, *, seconds: float) -> None:
        self._item = item
        self._deadline = time.monotonic() + seconds
        self._ended = threading.Event()
        self._named = tracing.at_work(batch=item.batch.uid, item=item.uid)

    def __enter__(self) -> Self:
        self._named.__enter__()
        _in_hand[str(self._item.uid)] = None
        # Its lines are about this item, too.
        renew = partial(copy_context().run, self._renew)
        self._thread = threading.Thread(target=renew, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._named.__exit__(None, None, None)
        _in_hand.pop(str(self._item.uid), None)

    def _renew(self) -> None:
        # No row once the claim is lost: settling will find out.
        mine = Item.objects.filter(pk=self._item.pk, token=self._item.token)
        renewed = False
        try:
            while not self._ended.wait(RENEW_EVERY):
                renewed = True
                if time.monotonic() > self._deadline:
                    log.critical("Item %s hangs: this worker ends itself.", self._item.uid)
                    os._exit(HUNG)
                try:
                    mine.update(lease_until=clock.now() + LEASE)
                except (DatabaseError, InterfaceError) as error:
                    log.warning("No sign of life for item %s: %s", self._item.uid, error)
                    connections.close_all()  # the next one opens a new connection
        finally:
            if renewed:
                connections.close_all()  # the thread's own


def _fetch_in_thread(item_id: int) -> None:
    try:
        _fetch_one(item_id)
    finally:
        connections.close_all()  # the thread's own


def _fetch_one(item_id: int) -> None:
    item = _claim(item_id, ItemState.FETCHING)
    if item is not None:
        _bring_in(item)


def _bring_in(item: Item) -> None:
    """All that follows a claim: download, settlement, and what follows that."""
    # The download has a deadline below the lease, but then its file may wait for the guard.
    with Lease(item, seconds=FETCH_TIMEOUT):
        try:
            settled = _follow_first(item)
            if settled is None:
                original = item.original or _fetched_before(item) or _download(item)
                _bring_setting_images(item)
        except downloads.FetchError as error:
            limits = guard.SHRINKABLE if item.shrink else images.LIMITS
            figures = addresses.figures(error, limits=limits)
            settled = _stop(item, error.code, figures, again=error.transient)
        except intake.ImageRefused as refused:
            settled = _stop(item, refused.code, refused.params, again=False)
        except StoreError as error:
            if item.connection and error.code in {"store_credentials", "connection_sealed"}:
                connected.note(item.connection, error)
            params = dict(error.params)
            wait = error.retry_after
            settled = _stop(item, error.code, params, again=error.transient, wait=wait)
        except Exception:
            log.exception("Fetching item %s of batch %s failed", item.uid, item.batch.uid)
            settled = _stop(item, "processing_failed", {}, again=True)
        else:
            if settled is None:
                settled = _take_in(item, original)
    if settled:
        lifecycle.settled(item.batch_id, now=clock.now())


def _follow_first(item: Item) -> bool | None:
    """Do with a duplicate as with its first: fail as that did, or wait for it once more.

    None when there is no such thing to follow, and the item goes its own way; else whether it
    has ended.
    """
    first = item.twin_of
    if first is None or not reuse.is_same(item, first):
        return None
    if first.state in OPEN:  # it was retried while we were on our way
        lifecycle.wait_for_first(item)
        return False
    if first.state == ItemState.FAILED:
        return lifecycle.fail_item(item, first.error_code, first.error_params, token=item.token)
    return None


def _fetched_before(item: Item) -> Original | None:
    """What a duplicate's first has found at their address."""
    first = item.twin_of
    return first.original if first and reuse.is_same(item, first) else None


def _take_in(item: Item, original: Original) -> bool:
    """Let a fetched item wait for its engine; False when the claim was lost on the way."""
    mine = Item.objects.filter(pk=item.pk, token=item.token)
    try:
        with transaction.atomic():
            first = reuse.first_of(item, original, registry.get(item.batch.tool))
            won = mine.advance(
                ItemState.FETCHED,
                original=original,
                twin_of=first or item.twin_of,
                token=None,
                lease_until=None,
                rung_at=None,
            )
    except IntegrityError:
        # We had the same picture already, and just now it went with the last batch that used it.
        return _stop(item, "processing_failed", {}, again=True)
    return bool(won)


def _bring_setting_images(item: Item) -> None:
    """Fetch what the item's settings name. Raises what is wrong with it, for people to tell apart.

    An address that is wrong for good is not asked again for each of the batch's other items.
    """
    tool = registry.get(item.batch.tool)
    for name, value in tool.image_settings(item.settings).items():
        label = {"setting": str(tool.Settings().fields[name].label)}
        with setting_images.to_fetch(item, value) as row:
            if row is None:
                continue
            if row.error_code:
                raise intake.ImageRefused(row.error_code, row.error_params)
            this = SettingImage.objects.filter(pk=row.pk)
            try:
                original = fetched(item.batch.owner, value, name=addresses.name_in(value))
            except downloads.FetchError as error:
                error.params = {**error.params, **label}
                if not error.transient:
                    figures = addresses.figures(error, limits=images.LIMITS)
                    this.update(error_code=error.code, error_params=figures)
                raise
            except intake.ImageRefused as refused:
                refused.params |= label
                this.update(error_code=refused.code, error_params=refused.params)
                raise
            this.update(original=original)


_large_ones = threading.BoundedSemaphore(2)
"""Files that are to be shrunk come in two at a time: each may be 100 MB, and lie in memory."""


def _download(item: Item) -> Original:
    """What lies at the item's address or path, validated and kept. Raises what is wrong with it."""
    with _large_ones if item.shrink else nullcontext():
        if item.is_stored:
            return _read(item)
        return fetched(item.batch.owner, item.source_url, name=item.name, shrink=item.shrink)


def _read(item: Item) -> Original:
    """What lies in somebody's storage, as with `fetched`. Raises `StoreError`, too."""
    if item.connection is None:
        raise StoreError("connection_gone")
    limits = guard.SHRINKABLE if item.shrink else images.LIMITS
    with tempfile.TemporaryFile() as file:
        store = connected.open_store(item.connection)
        store.read(item.source_url, into=file, max_bytes=limits.max_bytes)
        file.seek(0)
        owner, shrink = item.batch.owner, item.shrink
        original, _new = intake.receive(owner, file.read(), name=item.name, shrink=shrink)
    return original


def fetched(owner: User, url: str, *, name: str, shrink: bool = False) -> Original:
    """What lies at an address, validated and kept for its owner.

    Raises `fetch.FetchError` or `intake.ImageRefused`.
    """
    with tempfile.TemporaryFile() as file:
        downloads.fetch(
            url,
            into=file,
            max_bytes=guard.SHRINKABLE.max_bytes if shrink else settings.IMAGE_MAX_BYTES,
            deadline=downloads.DEADLINE * (guard.SHRINKING_TAKES if shrink else 1),
            allow=settings.FETCH_ALLOW,
        )
        file.seek(0)
        original, _new = intake.receive(owner, file.read(), name=name, shrink=shrink)
    return original


def _claim(item_id: int, to: ItemState) -> Item | None:
    """Win the item for this process, or nothing when it is not to be had."""
    if _ending.is_set():
        dispatch.forget_rings(Item.objects.filter(pk=item_id))  # the next round rings another
        return None
    now = clock.now()
    token = uuid.uuid4()
    # Not through a join: see `ItemQuerySet.advance`.
    running = Batch.objects.filter(state=BatchState.RUNNING)
    # A duplicate is not to be had before its first has ended.
    first = Exists(Item.objects.filter(pk=OuterRef("twin_of"), state__in=OPEN))
    won = Item.objects.filter(~first, pk=item_id, batch__in=running).advance(
        to,
        token=token,
        lease_until=now + LEASE,
        worker=worker_name(),
        started_at=Coalesce("started_at", now),
    )
    if not won:
        return None
    # Somebody may have taken it away between the two statements, or even deleted it.
    mine = Item.objects.filter(pk=item_id, token=token)
    everything = mine.select_related("batch__owner", "original", "connection", "twin_of__original")
    return everything.first()


def _run_tool(item: Item, tool: Tool) -> bool:
    """The work itself; True when it was settled, False when the claim was lost on the way."""
    if item.original is None:
        raise ToolError("source_missing", permanent=True)
    key = "" if item.shrink else reuse.work_key(item, tool)
    if (settled := _serve_again(item, key)) is not None:
        return settled
    picture = images.read(io.BytesIO(storage.read(storage.ORIGINALS, item.original.key)))
    if item.shrink:
        before, picture = picture.size, _small_enough(picture, item)
        key = reuse.work_key(item, tool, size=picture.size if picture.size != before else None)
        if (settled := _serve_again(item, key)) is not None:
            return settled
    if not _is_paid_for(item):
        return False
    try:
        chosen = setting_images.resolve(item, tool)
    except KeyError:
        raise ToolError("source_missing", permanent=True) from None
    drawn = {name: chosen[name].size for name in tool.image_settings(item.settings)}
    tool.refuse_size(picture.size, item.settings, drawn)
    size = {"width": picture.width, "height": picture.height}
    price = min(pricing.of_batch(item.batch).price_for(item.settings, **size), item.held_price)
    outputs, whole = _outputs(item, tool, picture, chosen)
    return _settle(
        item,
        [_store(item, position, output) for position, output in enumerate(outputs)],
        price=price,
        model_version=tool.version(item.settings),
        # What lack of memory has made smaller is nothing to go by another time.
        work_key=key if whole else "",
        reused_from=None,
    )


def _serve_again(item: Item, key: str) -> bool | None:
    """Settle an item with the result of the same work, at no cost.

    None when there is none; else whether the claim still stood.
    """
    if not item.batch.reuse or (found := reuse.served(item, key)) is None:
        return None
    source, results = found
    return _settle(
        item,
        results,
        price=0,
        model_version=source.model_version,
        work_key=source.work_key,
        reused_from=source.uid,
    )


def _is_paid_for(item: Item) -> bool:
    """See to it that credits are set aside for a run; False when the claim was lost.

    Nothing is for an item that an earlier result was to serve. Raises `ToolError` when there are
    not enough.
    """
    price = pricing.of_batch(item.batch).max_price(item.settings)
    if item.held_price or not price or not item.batch.reuse:
        return True
    try:
        return lifecycle.hold_after_all(item, price)
    except (ledger.InsufficientCredits, lifecycle.CapExceeded) as short:
        raise ToolError(short.code, short.params, permanent=True) from short


def _settle(item: Item, results: Sequence[Result], *, price: int, **fields: Any) -> bool:
    """Make results count and charge for them, if the claim still stands; else remove them."""
    with transaction.atomic():
        ledger.lock(item.batch.owner_id)
        mine = Item.objects.filter(pk=item.pk, token=item.token)
        won = mine.advance(
            ItemState.DONE,
            **fields,
            price=price,
            token=None,
            lease_until=None,
            rung_at=None,
            finished_at=clock.now(),
        )
        if won:
            Result.objects.bulk_create(results)
            outbox.record(
                item.batch.owner, outbox.ASSET_PROCESSED, lambda: _event(item, results, price)
            )
            if item.hold_id:
                ledger.capture(
                    item.hold_id,
                    item_uid=item.uid,
                    generation=item.generation,
                    held=item.held_price,
                    price=price,
                    reference=item.batch.reference,
                )
    if not won:
        reuse.forget(results)
    return bool(won)


def _event(item: Item, results: Sequence[Result], price: int) -> dict[str, Any]:
    """A done image as webhooks tell of it; the address is that of its first result."""
    first = results[0]
    return {
        "id": str(item.uid),
        "batch_id": str(item.batch.uid),
        "external_id": item.external_id,
        "tool": item.batch.tool,
        "url": links.result_link(first, item=item),
        "name": result_name(first),
        "format": first.format,
        "width": first.width,
        "height": first.height,
        "bytes": first.bytes,
        "text": None if first.key else first.text,
        "credits_used": price,
    }


def _outputs(
    item: Item, tool: Tool, picture: Image.Image, chosen: Mapping[str, Any]
) -> tuple[list[Output], bool]:
    """What the tool makes of the picture; of half its pixels, once, where memory runs out.

    And whether it was made of the whole picture. Raises `ToolError` and what else a tool may
    raise.
    """
    try:
        try:
            return tool.run(picture, chosen), True
        except weights.ModelOutOfMemory:
            log.warning("Item %s: out of memory, once more at half the pixels", item.uid)
            return _smaller(tool, picture, chosen), False
    except weights.ModelOutOfMemory as error:
        raise ToolError("model_out_of_memory", permanent=True) from error
    except matting.NoSubject:
        raise ToolError("no_subject", permanent=True) from None


def _smaller(tool: Tool, picture: Image.Image, chosen: Mapping[str, Any]) -> list[Output]:
    """The tool's work on a smaller copy, and a note that says so."""

    def half(image: Image.Image) -> Image.Image:
        pixels = image.width * image.height // 2
        return images.fitted(image, max_pixels=pixels, max_side=max(image.size))

    # What was drawn on the picture, a mask, has to stay on it.
    smaller = {
        name: half(value) if getattr(value, "size", None) == picture.size else value
        for name, value in chosen.items()
    }
    copy = half(picture)
    note = Note(
        gettext_noop("Made from a smaller copy ({w} × {h} px): the model ran out of memory."),
        w=copy.width,
        h=copy.height,
    )
    return [replace(made, notes=[*made.notes, note]) for made in tool.run(copy, smaller)]


def _small_enough(picture: Image.Image, item: Item) -> Image.Image:
    """The picture of an item that is to be shrunk, as small as its last failure asks for.

    A model that named its limit gets that; one that ran out of memory gets half as many pixels
    for each time that it did.
    """
    pixels = picture.width * picture.height
    for past in item.history:
        if past["code"] == "model_out_of_memory":
            pixels //= 2
        elif past["code"] == "dimensions_too_large":
            limit = past["params"].get("max")
            if isinstance(limit, int | float):
                pixels = min(pixels, int(limit * 1_000_000))
    return images.fitted(picture, max_pixels=pixels, max_side=images.LIMITS.max_side)


def _store(item: Item, position: int, output: Output) -> Result:
    """Write one output under a name of this claim's own, as an unsaved result."""
    notes = [[note.text, note.params] for note in output.notes]
    if output.image is None:
        report = output.data is not None
        text = json.dumps(output.data, ensure_ascii=False) if report else output.text or ""
        data = text.encode()
        return Result(
            item=item,
            position=position,
            format="json" if report else "txt",
            text=text,
            notes=notes,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            crc32=zlib.crc32(data),
        )
    if item.token is None:
        raise RuntimeError("Only a claimed item can have results.")
    kind = item.settings["format"]
    picture = output.image
    if kind == "jpg" and picture.has_transparency_data:
        picture = images.flattened(picture)
    data = images.encode(picture, format=kind, quality=item.settings.get("quality"))
    extension = images.EXTENSIONS[kind]
    key = storage.result_key(item.batch.uid, item.uid, item.token, position, extension)
    result = Result(
        item=item,
        position=position,
        key=key,
        thumbnail_key=f"{key}.thumb.webp",
        format=kind,
        width=picture.width,
        height=picture.height,
        notes=notes,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        crc32=zlib.crc32(data),
    )
    storage.save(storage.RESULTS, key, data)
    storage.save(storage.RESULTS, result.thumbnail_key, images.thumbnail(picture))
    return result


def _stop(
    item: Item,
    code: str,
    params: dict[str, object],
    *,
    again: bool,
    wait: float | None = None,
) -> bool:
    """End a try that went wrong: later again where that can help, else the item fails.

    `wait` are the seconds that the other side asks for, where it does.
    """
    if again and item.tries + 1 < MOST_TRIES:
        pause = max(BACK_OFF[min(item.tries, len(BACK_OFF) - 1)], timedelta(seconds=wait or 0))
        later = {"tries": item.tries + 1, "retry_at": clock.now() + pause}
        return bool(lifecycle.put_back(item, code, params, **later))
    return lifecycle.fail_item(item, code, params, token=item.token)
