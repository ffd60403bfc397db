"""Spreadsheets that people gave: kept as they came, so that results can be written back into them.

A file lies among the originals under a name of its own. It stays as long as a batch was made of
it or a tool's page shows it, and otherwise for `KEPT_FOR`.
"""

import hashlib
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import IO, Any
from uuid import UUID, uuid4

from django.db import transaction

from accounts.models import User
from batches import storage
from batches.models import Draft, Sheet, SheetKind
from batches.names import clean_name

MOST_BYTES = 50 * 2**20
"""A longer file is turned away before it is kept."""
KEPT_FOR = timedelta(days=30)
"""A sheet that no batch and no page has is forgotten after so long."""
CHUNK = 2**16

_ZIP = b"PK"


class SheetRefused(Exception):
    """A file that can't be kept. Carries the code and the figures of its message."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


def keep(owner: User, file: IO[bytes], name: str) -> Sheet:
    """Keep a file as it is; what is in it is judged when its rows are read.

    Raises `SheetRefused` for one above `MOST_BYTES`.
    """
    uid = uuid4()
    key = storage.sheet_key(owner.uid, uid)
    digest = hashlib.sha256()
    size = 0
    with tempfile.SpooledTemporaryFile(max_size=2**20) as spool:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                raise SheetRefused("sheet_too_large", max=MOST_BYTES // 2**20)
            digest.update(chunk)
            spool.write(chunk)
        spool.seek(0)
        is_zip = spool.read(len(_ZIP)) == _ZIP
        spool.seek(0)
        storage.save(storage.ORIGINALS, key, spool)
    return Sheet.objects.create(
        uid=uid,
        owner=owner,
        kind=SheetKind.XLSX if is_zip else SheetKind.CSV,
        name=clean_name(name),
        key=key,
        bytes=size,
        sha256=digest.hexdigest(),
    )


def open_file(sheet: Sheet) -> IO[bytes]:
    """The file as it came; the caller closes it. Raises `FileNotFoundError` once it is gone."""
    return storage.open_file(storage.ORIGINALS, sheet.key)


def forget_unused(sheet: Sheet) -> bool:
    """Remove a sheet that no batch and no page has; True for whoever did it.

    The row goes first: whoever dies in between leaves a file that the sweeper removes.
    """
    with transaction.atomic():
        locked = Sheet.objects.select_for_update().filter(pk=sheet.pk).first()
        if locked is None or locked.batches.exists() or _is_on_a_page(locked):
            return False
        locked.delete()
        if locked.key:
            transaction.on_commit(
                lambda: storage.delete(storage.ORIGINALS, locked.key), robust=True
            )
    return True


def remove_unused(*, now: datetime) -> int:
    """Forget sheets that nothing has had for long; returns how many."""
    old = Sheet.objects.filter(batches=None, updated_at__lt=now - KEPT_FOR)
    return sum(forget_unused(sheet) for sheet in list(old))


def keys_of(uids: Iterable[UUID]) -> set[str]:
    """The files of those of these sheets that are still there."""
    return set(Sheet.objects.filter(uid__in=list(uids)).values_list("key", flat=True))


def _is_on_a_page(sheet: Sheet) -> bool:
    drafts = Draft.objects.filter(owner=sheet.owner_id).values_list("fields", flat=True)
    return any(str(sheet.uid) in fields.get("sheet", ()) for fields in drafts)
