"""Spreadsheets that people gave: kept as they came, so that results can be written back into them.

A file lies among the originals under a name of its own. It stays as long as a batch was made of
it or a tool's page shows it, and otherwise for `KEPT_FOR`.
"""

import csv
import hashlib
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import seeing
from accounts.models import User
from batches import fetch, google, storage
from batches.models import Draft, Sheet, SheetKind
from batches.names import clean_name
from batches.sources import mapping, tables
from batches.sources.base import Row
from batches.sources.tables import Header, Table, TableError, TableRow
from tools.base import Tool

MOST_BYTES = 50 * 2**20
"""A longer file is turned away before it is kept."""
KEPT_FOR = timedelta(days=30)
"""A sheet that no batch and no page has is forgotten after so long."""
PREVIEWED = 10
"""Rows that a person is shown before anything starts."""
CHUNK = 2**16

_ZIP = b"PK"


@dataclass(frozen=True)
class Seen:
    """What a person is shown of a sheet: what is known of its table, and its first rows."""

    table: Table
    rows: list[TableRow]


def keep(owner: User, file: IO[bytes], name: str) -> Sheet:
    """Keep a file as it is; what is in it is judged when its rows are read.

    Raises `TableError` for one above `MOST_BYTES`.
    """
    uid = uuid4()
    key = storage.sheet_key(owner.uid, uid)
    digest = hashlib.sha256()
    size = 0
    with tempfile.SpooledTemporaryFile(max_size=2**20) as spool:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                raise TableError("sheet_too_large", {"max": MOST_BYTES // 2**20})
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


def keep_google(owner: User, address: str, *, tab: str = "") -> Sheet:
    """Read a Google Sheet, once, and keep its cells. Raises `google.SheetError`."""
    link = google.parse_url(address)
    sheet = Sheet(owner=owner, kind=SheetKind.GOOGLE, address=address.strip(), google_id=link.id)
    _read_google(sheet, tab)
    sheet.save()
    return sheet


def keep_address(owner: User, address: str, *, tab: str = "") -> Sheet:
    """Read the spreadsheet at an address, a Google Sheet or a file, and keep it as it is now.

    Raises `google.SheetError`, `fetch.FetchError` or `TableError`.
    """
    try:
        google.parse_url(address)
    except google.SheetError as error:
        if error.code != "google_link":
            raise
        return _keep_file_of_web(owner, address)
    return keep_google(owner, address, tab=tab)


def _keep_file_of_web(owner: User, address: str) -> Sheet:
    with tempfile.TemporaryFile() as file:
        try:
            came = fetch.fetch(
                address.strip(), into=file, max_bytes=MOST_BYTES, allow=settings.FETCH_ALLOW
            )
        except fetch.FetchError as error:
            if error.code == "file_too_large":
                raise TableError("sheet_too_large", {"max": MOST_BYTES // 2**20}) from error
            if error.code == "source_not_image":
                raise TableError("sheet_not_a_table") from error
            raise
        file.seek(0)
        name = unquote(PurePosixPath(urlsplit(came.url).path).name)
        return keep(owner, file, name or _("Spreadsheet"))


def look(sheet: Sheet, tool: Tool, *, tab: str = "", rows: int = PREVIEWED) -> Seen:
    """What is in a sheet. Of a tab that nobody has looked at yet it guesses what its columns are.

    Raises `TableError`, or `google.SheetError` where another tab of a Google Sheet is wanted.
    """
    if sheet.kind == SheetKind.GOOGLE and tab and tab != sheet.tab:
        if seeing.only_looks():
            raise seeing.ReadOnly  # the other tab would take the place of this one
        _read_google(sheet, tab)
        sheet.columns = []
        sheet.save()
    is_new = not sheet.columns or bool(tab and tab != sheet.tab)
    in_file = "" if sheet.kind == SheetKind.GOOGLE else tab or sheet.tab
    header: Header = "guess" if is_new else sheet.header
    with open_file(sheet) as file:
        table, first = tables.look(file, name=sheet.name, tab=in_file, header=header, rows=rows)
    if is_new:
        describe(sheet, table, mapping.guess(table, first, tool))
    return Seen(table, first)


def describe(sheet: Sheet, table: Table, what: Mapping[str, str]) -> None:
    """Remember which table of the sheet is meant and what its columns are."""
    if sheet.kind != SheetKind.GOOGLE:
        sheet.tab = table.tab
        sheet.tabs = [tab.name for tab in table.tabs] if len(table.tabs) > 1 else []
    sheet.columns, sheet.header, sheet.mapping = table.columns, table.header, dict(what)
    if not seeing.only_looks():
        sheet.save()


def rows(sheet: Sheet, tool: Tool) -> Iterator[Row]:
    """The sheet's rows as its columns say, one by one, those that are done already included.

    Raises `TableError`, and `FileNotFoundError` once the file is gone.
    """
    if not sheet.columns:
        look(sheet, tool)
    tab = "" if sheet.kind == SheetKind.GOOGLE else sheet.tab
    with open_file(sheet) as file:
        found = tables.read(file, name=sheet.name, tab=tab, header=sheet.header)
        yield from mapping.rows(found, sheet.columns, sheet.mapping, tool)


def _read_google(sheet: Sheet, tab: str) -> None:
    """Keep the cells of a tab as they are now: they are read once for all that follows."""
    found = google.document(sheet.address)
    read = google.read_table(sheet.address, tab)
    sheet.name = clean_name(read.title or found.title or "Google Sheet")
    sheet.tab = read.tab
    shown = sorted(found.tabs, key=lambda one: one.is_hidden)
    sheet.tabs = [one.title for one in shown if one.title] if len(shown) > 1 else []
    with tempfile.TemporaryFile() as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(row or [""] for row in read.values)
        text.flush()
        sheet.bytes = file.tell()
        file.seek(0)
        before, sheet.key = sheet.key, storage.sheet_key(sheet.owner.uid, sheet.uid)
        storage.save(storage.ORIGINALS, sheet.key, file)
        text.detach()
    storage.delete(storage.ORIGINALS, before)


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


def remove_unused(*, now: datetime, dry_run: bool = False) -> int:
    """Forget sheets that nothing has had for long; returns how many. With `dry_run` just count.

    A page that nobody has touched for as long keeps no sheet then: it is forgotten first.
    """
    old = Sheet.objects.filter(batches=None, updated_at__lt=now - KEPT_FOR)
    if dry_run:
        since = now - KEPT_FOR
        return sum(not _is_on_a_page(sheet, touched_since=since) for sheet in list(old))
    return sum(forget_unused(sheet) for sheet in list(old))


def keys_of(uids: Iterable[UUID]) -> set[str]:
    """The files of those of these sheets that are still there."""
    wanted = list(uids)
    if not wanted:
        return set()
    return set(Sheet.objects.filter(uid__in=wanted).values_list("key", flat=True))


def _is_on_a_page(sheet: Sheet, *, touched_since: datetime | None = None) -> bool:
    pages = Draft.objects.filter(owner=sheet.owner_id)
    if touched_since is not None:
        pages = pages.filter(updated_at__gte=touched_since)
    typed = pages.values_list("fields", flat=True)
    return any(str(sheet.uid) in fields.get("sheet", ()) for fields in typed)
