"""Files that come in by pieces: what the tus protocol's verbs do.

Each request's bytes become one piece in the storage of originals, so that an interrupted
request keeps what came and any web host can take the next. The offset moves by
compare-and-set: of two requests that begin at the same byte one wins, and the other's piece is
removed.
"""

import logging
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import IO, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.http import UnreadablePostError
from django.utils import timezone

from accounts.models import User
from batches import drafts, intake, storage
from batches.models import Original, PartialUpload
from batches.names import clean_name
from batches.refusals import Refusal
from tools.engines import images

KEPT_FOR = timedelta(hours=24)
"""An upload without a new byte for so long is forgotten, with its pieces."""
MOST_OPEN = 1000
"""Uploads that one person may have open."""
MOST_BYTES = 8 * 2**30
"""What the open uploads of one person may come to."""
CHUNK = 64 * 1024
IN_MEMORY = 2**20
"""Longer pieces wait on the disk until they are stored."""

log = logging.getLogger(__name__)


class Readable(Protocol):
    """Where a request's bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end. Raises `OSError` when the sender is gone."""


class TooManyOpen(Exception):
    """The person has too much on its way already."""

    code = "too_many_uploads"


class OffsetConflict(Exception):
    """The bytes don't begin where the last ones ended."""


class TooMuch(Exception):
    """More bytes than were announced."""


class Gone(Exception):
    """The upload was removed while its bytes came in."""


def create(owner: User, *, length: int, name: str, tool: str = "") -> PartialUpload | Refusal:
    """Open an upload; a file that is too long is turned away before its first byte.

    Raises `TooManyOpen`.
    """
    name = clean_name(name)
    try:
        images.check_bytes(length or 1)  # an empty file is judged like every other, at its end
    except images.ImageProblem as problem:
        refusal = Refusal(name, problem.code, problem.params)
        if tool:
            drafts.add(owner, tool, [refusal])
        return refusal
    refuse_too_many(owner, length)
    return PartialUpload.objects.create(owner=owner, tool=tool, name=name, length=length)


def refuse_too_many(owner: User, length: int) -> None:
    """Raise `TooManyOpen` where a person can't have one more upload on its way, of this length."""
    started = PartialUpload.objects.filter(owner=owner, outcome__isnull=True)
    is_open = started.aggregate(n=Count("pk"), bytes=Sum("length"))
    if is_open["n"] >= MOST_OPEN or (is_open["bytes"] or 0) + length > MOST_BYTES:
        raise TooManyOpen


def expires_at(partial: PartialUpload) -> datetime:
    """Until when the upload can surely be resumed."""
    return partial.updated_at + KEPT_FOR


def append(partial: PartialUpload, source: Readable, *, offset: int, announced: int) -> None:
    """Keep the bytes that a request brings, also when its connection breaks on the way.

    Moves `partial` on. Raises `OffsetConflict`, `TooMuch` or `Gone`; then nothing is kept.
    """
    if offset != partial.offset:
        raise OffsetConflict
    if offset + announced > partial.length:
        raise TooMuch
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        came = 0
        for chunk in _chunks(source, announced):
            spool.write(chunk)
            came += len(chunk)
        if not came:
            return
        spool.seek(0)
        _keep(partial, spool, came)


def _chunks(source: Readable, announced: int) -> Iterator[bytes]:
    """What comes, until it has all come or nothing more does."""
    left = announced
    while left:
        try:
            chunk = source.read(min(CHUNK, left))
        except (OSError, UnreadablePostError):
            return
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


def _keep(partial: PartialUpload, piece: IO[bytes], size: int) -> None:
    key = storage.piece_key(partial.owner.uid, partial.uid, partial.offset)
    storage.save(storage.ORIGINALS, key, piece)
    now = timezone.now()
    pieces = [*partial.pieces, key]
    # The list that belongs to an offset never changes, so the offset alone says that ours holds.
    moved = PartialUpload.objects.filter(pk=partial.pk, offset=partial.offset).update(
        offset=partial.offset + size, pieces=pieces, updated_at=now
    )
    if not moved:
        storage.delete(storage.ORIGINALS, key)
        there = PartialUpload.objects.filter(pk=partial.pk).exists()
        raise OffsetConflict if there else Gone
    partial.offset += size
    partial.pieces, partial.updated_at = pieces, now


def is_complete(partial: PartialUpload) -> bool:
    """Whether all bytes are here."""
    return partial.offset == partial.length


def finish(partial: PartialUpload) -> None:
    """Make an original or a refusal of an upload that is all here, once.

    Whoever comes second, or goes on where a process died, finds the outcome. Raises what
    `intake.receive` raises when the guard can't answer; then it may be tried again.
    """
    if partial.outcome is not None or not is_complete(partial):
        return
    try:
        data = b"".join(storage.read(storage.ORIGINALS, key) for key in partial.pieces)
    except FileNotFoundError:
        partial.refresh_from_db()  # somebody was faster and has tidied up
        if partial.outcome is None:
            raise
        return
    settle(partial, receive(partial.owner, data, name=partial.name))


def settle(partial: PartialUpload, got: Original | Refusal) -> None:
    """Note what became of an upload, and let its pieces go; the first one's word counts.

    Brings `partial` up to date. Raises `PartialUpload.DoesNotExist` when it was removed.
    """
    outcome = {"refused": got.token} if isinstance(got, Refusal) else {"upload": str(got.uid)}
    with transaction.atomic():
        won = PartialUpload.objects.filter(pk=partial.pk, outcome__isnull=True).update(
            outcome=outcome, pieces=[]
        )
        if won and partial.tool:
            drafts.add(partial.owner, partial.tool, [got])
    if not won:
        partial.refresh_from_db()
        return
    storage.delete(storage.ORIGINALS, *partial.pieces)
    partial.outcome, partial.pieces = outcome, []


def taken(partial: PartialUpload) -> Original | Refusal | None:
    """What became of a finished upload; nothing when its original was deleted since."""
    outcome: dict[str, str] = partial.outcome or {}
    if token := outcome.get("refused"):
        return Refusal.from_token(token)
    if uid := outcome.get("upload"):
        return Original.objects.visible_to(partial.owner).filter(uid=uid).first()
    return None


def receive(owner: User, data: bytes, *, name: str) -> Original | Refusal:
    """Take a whole file in, or say why not."""
    try:
        original, _new = intake.receive(owner, data, name=name)
    except intake.ImageRefused as refused:
        return Refusal(clean_name(name), refused.code, refused.params)
    return original


def remove(uid: UUID, *, owner: User) -> bool:
    """Forget an upload and its pieces; the original that it became stays."""
    return _remove(PartialUpload.objects.filter(uid=uid, owner=owner, direct=False))


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Forget uploads that nobody goes on with; returns how many. `dry_run` only counts."""
    old = PartialUpload.objects.filter(updated_at__lt=now - KEPT_FOR)
    if dry_run:
        return old.count()
    return sum(_remove(old.filter(pk=pk)) for pk in list(old.values_list("pk", flat=True)))


def _remove(one: QuerySet[PartialUpload]) -> bool:
    with transaction.atomic():
        # Under its lock no byte can be added, so these are all of its pieces.
        partial = one.select_for_update().first()
        if partial is None:
            return False
        partial.delete()
    storage.delete(storage.ORIGINALS, *partial.pieces)
    return True
