"""Our columns in a copy of a CSV file, with every other byte of it as it was.

A CSV library reads cells and writes them in its own way. Here only the places of the cells are
looked for, so that encoding, delimiter, quotation marks and line ends stay those of the file.
"""

import codecs
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from batches.exports.base import ExportError
from batches.exports.report import Row, harmless
from batches.sources import delimited
from batches.sources.delimited import Dialect
from batches.sources.tabular import TableError

_CHUNK = 256 * 1024
_LONGEST_RECORD = 16 * 2**20
"""Characters."""
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF32_LE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AFTER_BOM = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def fill(
    source: IO[bytes],
    into: IO[bytes],
    *,
    header: int | None,
    names: Sequence[str],
    rows: Iterable[Row],
) -> None:
    """Copy a CSV file with columns of these names filled.

    Columns that are there already are found by their name in the record ``header`` and filled
    again; the others come behind the longest record. Without a header all columns are new ones.
    ``rows`` come in the order of the file; what has no row here stays as it is.

    Our values are always in quotation marks and never formulas. Letters that the file's encoding
    does not have become question marks. Raises `ExportError` for what is no table.
    """
    dialect = _dialect(source)
    if not dialect.delimiter:
        raise ExportError("csv_damaged")
    file = _File(source, dialect)
    width, headings = 0, list[str]()
    for number, record in enumerate(file.records(), 1):
        width = max(width, len(record.spans))
        if number == header:
            headings = [_bare(text).strip().casefold() for text in record.cells()]
    places = {name: headings.index(name) for name in names if name in headings}
    missing = [name for name in names if name not in places]
    new = {name: width + number for number, name in enumerate(missing)}
    into.write(file.start)
    coming = iter(rows)
    line, values = next(coming, (0, {}))
    for number, record in enumerate(file.records(), 1):
        while line and line < number:
            line, values = next(coming, (0, {}))
        ours: dict[int, str | int] = {}
        if number == header:
            ours = {place: name for name, place in new.items()}
        elif number == line:
            ours = {place: values[name] for name, place in (places | new).items()}
        if ours and record.is_closed:
            into.write(file.encoded(record, ours))
        else:
            into.write(file.bytes_of(record.text))


def has_columns(source: IO[bytes]) -> bool:
    """Whether it is a table, and not a mere list of addresses with commas in them."""
    return bool(_dialect(source).delimiter)


def _dialect(source: IO[bytes]) -> Dialect:
    try:
        return delimited.sniff(cast("BinaryIO", source))
    except TableError as error:
        raise ExportError(error.code, **error.params) from error


@dataclass
class _Record:
    """One record with its line end, and where its cells are in it."""

    text: str
    spans: list[tuple[int, int]]
    is_closed: bool = True
    """Whether no quotation mark swallows the rest of the file."""

    def cells(self) -> list[str]:
        """The cells as they are written."""
        return [self.text[start:stop] for start, stop in self.spans]


class _File:
    """A CSV file as text that gives back the same bytes.

    Where delimiters and quotation marks are single bytes, each byte counts as a letter.
    """

    def __init__(self, file: IO[bytes], dialect: Dialect) -> None:
        self._file = file
        self._delimiter = dialect.delimiter
        file.seek(0)
        head = file.read(4)
        bom = next((mark for mark in _BOMS if head.startswith(mark)), b"")
        self._encoding = _AFTER_BOM.get(bom, dialect.encoding)
        is_wide = self._encoding.startswith(("utf-16", "utf-32"))
        self._reading = self._encoding if is_wide else "latin-1"
        self.start = bom
        """What stands before the first record."""
        if dialect.has_sep_line:
            text = self._text()
            self.start += self.bytes_of(text.readline())
            text.detach()
        delimiter = re.escape(self._delimiter)
        quoted = rf'"[^"]*(?:""[^"]*)*(?P<closed>"[^{delimiter}\r\n]*)?'
        self._cell = re.compile(rf"(?P<quoted>{quoted})|[^{delimiter}\r\n]*")

    def bytes_of(self, text: str) -> bytes:
        """The bytes that a text of this file was read from."""
        return text.encode(
            self._reading, "surrogatepass" if self._reading != "latin-1" else "strict"
        )

    def encoded(self, record: _Record, ours: Mapping[int, str | int]) -> bytes:
        """A record with these cells instead of what it has there, or behind its own."""
        out: list[bytes] = []
        at = 0
        count = len(record.spans)
        end = record.spans[-1][1] if record.spans else 0
        for place, value in sorted(ours.items()):
            if place < count:
                start, stop = record.spans[place]
                out += [self.bytes_of(record.text[at:start]), self._quoted(value)]
                at = stop
            else:
                between = self._delimiter * (place - count + 1)
                out += [self.bytes_of(record.text[at:end] + between), self._quoted(value)]
                at, count = end, place + 1
        out.append(self.bytes_of(record.text[at:]))
        return b"".join(out)

    def _quoted(self, value: str | int) -> bytes:
        text = harmless(value).replace('"', '""')
        return f'"{text}"'.encode(self._encoding, "replace")

    def records(self) -> Iterator[_Record]:
        """The records from the first on, blank ones too."""
        text = self._text()
        try:
            yield from self._split(text)
        finally:
            text.detach()

    def _text(self) -> io.TextIOWrapper:
        self._file.seek(len(self.start))
        errors = "strict" if self._reading == "latin-1" else "surrogatepass"
        return io.TextIOWrapper(
            cast("BinaryIO", self._file), self._reading, errors=errors, newline=""
        )

    def _split(self, text: io.TextIOWrapper) -> Iterator[_Record]:
        buffer, at, is_whole = "", 0, False
        while True:
            record = self._next(buffer, at, is_whole=is_whole)
            if record:
                yield record
                at += len(record.text)
            elif is_whole:
                return
            else:
                buffer, at = buffer[at:], 0
                if len(buffer) > _LONGEST_RECORD:
                    raise ExportError("csv_damaged")
                more = text.read(max(_CHUNK, len(buffer)))
                buffer += more
                is_whole = not more

    def _next(self, buffer: str, start: int, *, is_whole: bool) -> _Record | None:
        """The record that begins there; nothing if the buffer ends before it does."""
        at, end = start, len(buffer)
        if at == end:
            return None
        spans: list[tuple[int, int]] = []
        while True:
            cell = self._cell.match(buffer, at)
            if not cell:
                raise ExportError("csv_damaged")
            stop = cell.end()
            # What follows may belong to it: a second quotation mark, the other half of a line end.
            if stop + 1 >= end and not is_whole:
                return None
            spans.append((at - start, stop - start))
            if stop < end and buffer[stop] == self._delimiter:
                at = stop + 1
                continue
            stop += 2 if buffer.startswith("\r\n", stop) else 1
            is_closed = not cell["quoted"] or cell["closed"] is not None
            is_blank = len(spans) == 1 and spans[0] == (0, 0)
            return _Record(buffer[start:stop], [] if is_blank else spans, is_closed)


def _bare(cell: str) -> str:
    """What a cell says, for names in plain letters."""
    return cell[1:-1].replace('""', '"') if cell[:1] == cell[-1:] == '"' else cell
