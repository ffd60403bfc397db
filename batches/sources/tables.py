"""Rows out of spreadsheets: look at one, let a person say what its columns are, then read it.

`look` is for the preview, `read` streams the rows in flat memory; both take the same file, and
what a hostile one does is kept within bounds (see `workbooks` for what happens to XLSX). Nothing
is known here of users, tools or batches; `mapping` makes rows of a batch from rows of a table.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import IO, BinaryIO, Final, cast

from batches.sources import delimited, workbooks
from batches.sources.tabular import (
    LONGEST_CELL,
    MOST_BYTES,
    MOST_COLUMNS,
    MOST_ROWS,
    Header,
    Note,
    Tab,
    Table,
    TableError,
    TableRow,
    below,
    is_address,
    letters,
    survey,
    tidy,
)

__all__ = [
    "LONGEST_CELL",
    "MOST_BYTES",
    "MOST_COLUMNS",
    "MOST_ROWS",
    "Header",
    "Note",
    "Tab",
    "Table",
    "TableError",
    "TableRow",
    "from_values",
    "is_address",
    "kind",
    "letters",
    "look",
    "read",
]

_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_FOREIGN: Final = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"%PDF",
    b"{\\rtf",
    b"\x1f\x8b",
    b"Rar!",
    b"7z\xbc\xaf",
)
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml", b"<table", b"<svg")


def look(
    file: IO[bytes], *, name: str, tab: str = "", header: Header = "guess", rows: int = 10
) -> tuple[Table, list[TableRow]]:
    """What is in a file: its columns, how many rows it has, and the first few of them.

    `name` is only for messages: what a file is, its bytes say. Raises `TableError`.
    """
    with _opened(file, name=name, tab=tab) as (found, data):
        names, line, count, kept, doubtful = survey(tidy(data), header=header, keep=rows)
        notes = [*found.notes, *_doubts(doubtful)]
        tabs = [
            Tab(t.name, count if t.name == found.tab else None, t.is_hidden) for t in found.tabs
        ]
        return Table(names, line, count, found.tab, tabs, notes), kept


def read(
    file: IO[bytes], *, name: str, tab: str = "", header: Header = "guess"
) -> Iterator[TableRow]:
    """The rows of data, one by one, without those that are blank. Raises `TableError`.

    `header` is best what `look` found. An XLSX is parsed as a whole before the first row comes.
    """
    with _opened(file, name=name, tab=tab) as (_found, data):
        _named, rows = below(tidy(data), header)
        yield from rows


def from_values(
    values: Iterable[Sequence[str]],
    *,
    tab: str = "",
    tabs: Sequence[Tab] = (),
    header: Header = "guess",
) -> tuple[Table, list[TableRow]]:
    """A table and all its rows from values that a service gave, row 1 first.

    Raises `TableError`.
    """
    given = (TableRow(line, [str(cell) for cell in cells]) for line, cells in enumerate(values, 1))
    names, line, count, kept, _doubtful = survey(tidy(given), header=header, keep=None)
    shown = sorted(tabs, key=lambda one: one.is_hidden)
    return Table(names, line, count, tab, shown), kept


def kind(file: IO[bytes]) -> str:
    """`csv` or `xlsx`, by the file's first bytes. Raises `TableError` for what is neither."""
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    if head.startswith(_OLE):
        raise workbooks.of_ole(file)
    if not head.strip():
        raise TableError("sheet_empty")
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(_FOREIGN) or plain.startswith(_MARKUP):
        raise TableError("sheet_not_a_table")
    return "csv"


@contextmanager
def _opened(
    file: IO[bytes], *, name: str, tab: str
) -> Iterator[tuple[workbooks.Found, Iterator[TableRow]]]:
    """What is known of a file beforehand, and all its rows as they are."""
    with tempfile.TemporaryFile() as copy:
        # Storages give all sorts of files; a descriptor is what a child and a decoder can use.
        _copy(file, copy, name=name)
        if kind(copy) == "xlsx":
            with workbooks.opened(copy, tab=tab) as opened:
                yield opened
        else:
            with closing(delimited.rows(copy, delimited.sniff(copy))) as rows:
                yield workbooks.Found(), rows


def _copy(file: IO[bytes], copy: IO[bytes], *, name: str) -> None:
    file.seek(0, 2)
    size = file.tell()
    if size > MOST_BYTES:
        raise TableError(
            "sheet_too_large",
            {"name": name, "size": -(-size // 2**20), "max": MOST_BYTES // 2**20},
        )
    file.seek(0)
    shutil.copyfileobj(cast("BinaryIO", file), copy, 2**20)
    copy.flush()
    copy.seek(0)


def _doubts(lines: Sequence[int]) -> list[Note]:
    if not lines:
        return []
    named = ", ".join(map(str, lines[:5])) + (" …" if len(lines) > 5 else "")
    return [Note("sheet_quote_unclosed", {"rows": named})]
