"""CSV as people send it: in any encoding, with any delimiter, or a mere list of addresses."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from batches.sources.tabular import (
    LONGEST_CELL,
    MOST_COLUMNS,
    MOST_ROWS,
    TableError,
    TableRow,
    is_address,
)

DELIMITERS: Final = ",;\t|"
_LONGEST_LINE: Final = LONGEST_CELL * MOST_COLUMNS
_SAMPLE_LINES: Final = 200
_SAMPLE_CHARACTERS: Final = 256 * 1024
_MOST_BLANK: Final = 1_000_000
"""Lines without anything, more than which no program writes."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it begins like it
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")
_SEP: Final = re.compile(r'^"?sep=(.)"?\r?\n?$', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: all that it takes to read it, or to write another like it."""

    encoding: str
    """Python's name; `utf-8-sig` and `utf-16` stand for files that begin with a mark."""
    delimiter: str
    """Empty where each line is one address, whatever is in it."""
    has_sep_line: bool = False
    """Whether the first line is Excel's `sep=;`, which is no row and counts as none."""


def sniff(file: BinaryIO) -> Dialect:
    """Find out how a file is written. Raises `TableError` for what is no text."""
    encoding = _encoding(file)
    with _text(file, encoding) as lines:
        sample, characters = [], 0
        for line in islice(lines, _SAMPLE_LINES):
            sample.append(line)
            characters += len(line)
            if characters > _SAMPLE_CHARACTERS:
                break
    if sample and (declared := _SEP.match(sample[0])):
        return Dialect(encoding, declared[1], has_sep_line=True)
    return Dialect(encoding, _delimiter(sample))


def records(file: BinaryIO, dialect: Dialect) -> Iterator[list[str]]:
    """Every record with its cells; blank ones too, so that they can be counted.

    Raises `TableError` where a cell or a line is longer than any that is taken.
    """
    with _text(file, dialect.encoding) as lines:
        if dialect.has_sep_line:
            next(lines, None)
        if not dialect.delimiter:
            for line in lines:
                yield [line.strip()]
            return
        count = 0
        try:
            for cells in csv.reader(lines, delimiter=dialect.delimiter):
                count += 1
                yield cells
        except csv.Error:
            raise TableError("sheet_cell_too_long", {"row": count + 1}) from None


def rows(file: BinaryIO, dialect: Dialect) -> Generator[TableRow, None, None]:
    """The rows with their numbers; those that may have swallowed others say so."""
    width = blank = 0
    for line, cells in enumerate(records(file, dialect), 1):
        if not any(cells):
            blank += 1
            if blank > _MOST_BLANK:
                raise TableError("sheet_too_many_rows", {"max": MOST_ROWS})
            continue
        width = width or len(cells)
        doubtful = any("\n" in cell or "\r" in cell for cell in cells) and _has_swallowed(
            cells, dialect.delimiter, width
        )
        yield TableRow(line, cells, problem="sheet_quote_unclosed" if doubtful else "")


def _has_swallowed(cells: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether a cell looks as if its quotation mark were not closed and it went on over rows.

    A description of several lines may have an address in it, too; but then the row has all its
    cells, and the address is not where one would be in a row.
    """
    for cell in cells:
        _first, *more = cell.splitlines()
        if (
            more
            and "http" in cell.lower()
            and (
                len(cells) != width
                or any(is_address(line) for line in more)
                or f"{delimiter}http" in cell.lower()
            )
        ):
            return True
    return False


def _encoding(file: BinaryIO) -> str:
    """The encoding, found out from the whole file."""
    file.seek(0)
    head = file.read(4096)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        return _without_mark(head)
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8"
    file.seek(0)
    while True:
        block = file.read(2**20)
        if _NO_TEXT.search(block):
            raise TableError("sheet_not_a_table")
        if encoding == "utf-8":
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError:
                encoding = "cp1252"
        if not block:
            return encoding


def _without_mark(head: bytes) -> str:
    """UTF-16 without a mark has its zeros on one side. Raises `TableError` for anything else."""
    sides = Counter(place % 2 for place, byte in enumerate(head) if not byte)
    if len(sides) == 1 and sides.total() * 20 >= len(head) and b"\0\0" not in head:
        return "utf-16-le" if 1 in sides else "utf-16-be"
    raise TableError("sheet_not_a_table")


class _text:  # noqa: N801 - a context, used like a function
    """The lines of a file with their ends, however they end; the file stays open."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        file.seek(0)
        # UTF-8 was found to be right; in the others a wrong character spoils no more than itself.
        self._wrapper = io.TextIOWrapper(file, encoding, errors="replace", newline="")

    def __enter__(self) -> Iterator[str]:
        return self._lines()

    def __exit__(self, *_: object) -> None:
        self._wrapper.detach()

    def _lines(self) -> Iterator[str]:
        number = 0
        while line := self._wrapper.readline(_LONGEST_LINE):
            number += 1
            if len(line) >= _LONGEST_LINE:
                raise TableError("sheet_cell_too_long", {"row": number})
            yield line


def _delimiter(sample: Sequence[str]) -> str:
    """The delimiter that makes the most even table; empty for a list of addresses."""
    lines = [line for line in sample if line.strip()]
    if not lines:
        return ","
    scores = {}
    for delimiter in DELIMITERS:
        try:
            parsed = csv.reader(sample, delimiter=delimiter)
            widths = Counter(len(cells) for cells in parsed if cells)
        except csv.Error:  # a cell that is too long: whoever reads it will say so
            continue
        width, even = max(widths.items(), key=lambda item: (item[1], item[0]))
        scores[delimiter] = (even / widths.total(), width) if width > 1 else (0.0, 1)
    tables = [
        delimiter
        for delimiter, (even, _width) in scores.items()
        if even and (delimiter == "\t" or not _is_list(lines, delimiter))
    ]
    if tables:
        return max(tables, key=lambda delimiter: scores[delimiter])
    return "" if any(_is_list(lines, delimiter) for delimiter in ",;|") else ","


def _is_list(lines: Sequence[str], delimiter: str) -> bool:
    """Whether each line is one address, delimiters in it or not: `…/w_100,h_200/shoe.jpg`."""
    if any('"' in line for line in lines):
        return False
    addresses = lines if is_address(lines[0]) or delimiter in lines[0] else lines[1:]
    if not addresses or not all(map(is_address, addresses)):
        return False
    if not any(delimiter in line for line in addresses):
        return False
    # An address that ends before the delimiter is a cell, and more cells follow.
    return not all(_is_whole(line.split(delimiter)[0]) for line in addresses)


def _is_whole(address: str) -> bool:
    try:
        return bool(PurePosixPath(urlsplit(address.strip()).path).suffix)
    except ValueError:
        return False
