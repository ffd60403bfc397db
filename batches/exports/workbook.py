"""Our columns in a copy of an XLSX file, with everything else in it as it was.

Libraries read a workbook and write another one, without the pictures, charts and pivots that
they don't know. So only the cells are written here, into the text of the one sheet: it is read
twice by a streaming parser, which says at which byte each cell lies, and what lies between our
cells is copied as it is. Every other part of the file is copied without a look at it.

Values are inline strings, never formulas. Memory stays flat whatever the size of the sheet.
"""

import posixpath
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO
from xml.parsers import expat
from xml.sax.saxutils import escape

from batches.exports.base import ExportError
from batches.exports.report import Row

Cell = tuple[int, str | int, str]
"""Column, value, style."""
Handler = Callable[[dict[str, str]], None]

_CHUNK = 64 * 1024
_LARGEST_PART = 16 * 2**20
"""Bytes of a part that is read as a whole (lists of sheets and of relations), and of one cell."""
_LAST_COLUMN = 16384
_LONGEST_TEXT = 32767
"""Characters that a cell takes."""

_SHEETS = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",  # the strict variant
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TAG = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?(\d+)(?::\$?([A-Z]{1,3})\$?(\d+))?")


def fill(
    source: IO[bytes],
    into: IO[bytes],
    *,
    tab: str,
    header: int | None,
    names: Sequence[str],
    rows: Iterable[Row],
) -> None:
    """Copy a workbook with columns of these names filled in the sheet called ``tab``.

    Columns that are there already are found by their name in the row ``header`` and filled
    again; the others come into the first free columns to the right of it. Without a header row
    there are no names, and all columns are new ones. ``rows`` come in the order of the sheet;
    rows that don't come stay as they are. Without ``tab`` it is the first sheet.

    Raises `ExportError` when something would be lost, or when it is no workbook.
    """
    try:
        with zipfile.ZipFile(source) as book:
            part = _Parts(book).sheet(tab)
            with book.open(part) as sheet:
                scan = _Scan(header)
                scan.read(sheet)
            scan.resolve(book)
            places = scan.places(names)
            with zipfile.ZipFile(into, "w") as copy:
                for member in book.infolist():
                    _copy(book, member, copy, part=part, scan=scan, places=places, rows=rows)
    except zipfile.BadZipFile:
        source.seek(0)
        code = "workbook_encrypted" if source.read(len(_OLE)) == _OLE else "workbook_damaged"
        raise ExportError(code) from None
    except (
        *(expat.ExpatError, LookupError, ValueError, StopIteration),
        *(zlib.error, EOFError, NotImplementedError, RuntimeError),  # of the ZIP
    ) as error:
        raise ExportError("workbook_damaged") from error


def _copy(
    book: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    copy: zipfile.ZipFile,
    *,
    part: str,
    scan: "_Scan",
    places: Mapping[str, int],
    rows: Iterable[Row],
) -> None:
    """One part of the file, with its place, date and rights."""
    info = zipfile.ZipInfo(member.filename, member.date_time)
    info.compress_type = member.compress_type
    info.external_attr = member.external_attr
    info.create_system = member.create_system
    info.comment = member.comment
    is_long = member.file_size > 2**30
    with book.open(member) as old, copy.open(info, "w", force_zip64=is_long) as new:
        if member.filename == part:
            _Rewriter(scan, places, rows, new).run(old)
        else:
            shutil.copyfileobj(old, new, _CHUNK)


class _Parts:
    """Finds a sheet among the parts of a workbook, and refuses what can't be kept."""

    def __init__(self, book: zipfile.ZipFile) -> None:
        self._book = book
        names = book.namelist()
        if len(set(names)) < len(names):
            raise ExportError("workbook_damaged")
        if any(name.startswith("_xmlsignatures/") for name in names):
            raise ExportError("workbook_signed")

    def sheet(self, tab: str) -> str:
        """The name of the part that holds the sheet."""
        related = self._related("")
        workbook = next(to for kind, to in related.values() if kind == "officeDocument")
        if not workbook.endswith(".xml"):
            raise ExportError("workbook_binary")
        related = self._related(workbook)
        for element, attributes in self._elements(workbook):
            if element == "sheet" and (not tab or attributes["name"] == tab):
                kind, part = related[attributes["id"]]
                if kind == "worksheet":
                    return part
                break
        raise ExportError("workbook_tab_missing", tab=tab)

    def _related(self, part: str) -> dict[str, tuple[str, str]]:
        """What a part refers to: the relation's id to its kind and the other part's name."""
        folder, name = posixpath.split(part)
        found = {}
        for element, attributes in self._elements(posixpath.join(folder, "_rels", f"{name}.rels")):
            if element == "Relationship":
                kind = attributes["Type"].rpartition("/")[2]
                target = posixpath.join("/", folder, attributes["Target"])
                found[attributes["Id"]] = kind, posixpath.normpath(target).lstrip("/")
        return found

    def _elements(self, part: str) -> list[tuple[str, dict[str, str]]]:
        """The elements of a small part with their attributes, both without namespaces."""
        if self._book.getinfo(part).file_size > _LARGEST_PART:
            raise ExportError("workbook_damaged")
        found = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            bare = {name.rpartition(" ")[2]: value for name, value in attributes.items()}
            found.append((tag.rpartition(" ")[2], bare))

        parser = _parser()
        parser.StartElementHandler = start
        parser.Parse(self._book.read(part), True)
        return found


def _parser() -> expat.XMLParserType:
    """A parser of one sheet: names come as "namespace name", and there are no entities."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = _refuse_dtd
    parser.XmlDeclHandler = _refuse_encodings
    parser.buffer_text = True
    return parser


def _refuse_dtd(*_: object) -> None:
    raise ExportError("workbook_damaged")


def _refuse_encodings(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding and encoding.casefold() not in ("utf-8", "us-ascii"):
        raise ExportError("workbook_damaged")


def _known(**handlers: Handler) -> dict[str, Handler]:
    """What to do for an element, by its name as the parser gives it."""
    return {f"{space} {name}": each for space in _SHEETS for name, each in handlers.items()}


@dataclass
class _Heading:
    """A cell of the header row."""

    style: str = ""
    kind: str = ""
    text: str = ""


class _Scan:
    """What has to be known of a sheet before the first byte of the copy is written."""

    def __init__(self, header: int | None) -> None:
        self.header = header
        self.headings: dict[int, _Heading] = {}
        self.filled: set[int] = set()
        """Columns with anything in them, in any row, or below a merged cell."""
        self.formulas: set[int] = set()
        self.last_row = 0
        self._row = self._column = 0
        self._heading = _Heading()
        self._text: list[str] | None = None
        self._has_rows = False
        self._parser = _parser()
        self._handlers = _known(
            sheetData=self._rows_begin,
            row=self._row_begins,
            c=self._cell_begins,
            v=self._value_begins,
            f=self._formula_begins,
            mergeCell=self._merged,
        ) | _known(**{"is": self._value_begins})

    def read(self, sheet: IO[bytes]) -> None:
        """Go through the sheet once."""
        self._parser.StartElementHandler = self._start
        while chunk := sheet.read(_CHUNK):
            self._parser.Parse(chunk)
        self._parser.Parse(b"", True)
        if not self._has_rows:
            raise ExportError("workbook_damaged")

    def resolve(self, book: zipfile.ZipFile) -> None:
        """Look up the texts that the header row shares with other cells."""
        wanted = {int(found.text) for found in self.headings.values() if found.kind == "s"}
        if not wanted:
            return
        part = next(name for name in book.namelist() if name.endswith("/sharedStrings.xml"))
        texts = _SharedTexts(wanted)
        with book.open(part) as file:
            texts.read(file)
        for found in self.headings.values():
            if found.kind == "s":
                found.text = texts.found[int(found.text)]

    def places(self, names: Sequence[str]) -> dict[str, int]:
        """The column of each name. Raises `ExportError` where there is no room."""
        places: dict[str, int] = {}
        for column, heading in sorted(self.headings.items()):
            name = heading.text.strip().casefold()
            if name in names and name not in places:
                if column in self.formulas:
                    raise ExportError("workbook_formulas", column=name)
                places[name] = column
        missing = [name for name in names if name not in places]
        first = max(self.headings or self.filled, default=0) + 1
        if missing:
            taken = self.filled | set(self.headings)
            while any(column in taken for column in range(first, first + len(missing))):
                first += 1
            if first + len(missing) - 1 > _LAST_COLUMN:
                raise ExportError("workbook_full")
        return places | {name: first + number for number, name in enumerate(missing)}

    @property
    def heading_style(self) -> str:
        """The style of the last column's name: ours look like it."""
        last = max(self.headings, default=0)
        return self.headings[last].style if last else ""

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if handler := self._handlers.get(tag):
            handler(attributes)

    def _rows_begin(self, _attributes: dict[str, str]) -> None:
        self._has_rows = True

    def _row_begins(self, attributes: dict[str, str]) -> None:
        number = attributes.get("r")
        row = int(number) if number else self._row + 1
        if row <= self._row:
            raise ExportError("workbook_damaged")
        self._row = self.last_row = row
        self._column = 0

    def _cell_begins(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        column = _column(reference) if reference else self._column + 1
        if column <= self._column:
            raise ExportError("workbook_damaged")
        self._column = column
        if self._row == self.header:
            self._heading = _Heading(attributes.get("s", ""), attributes.get("t", ""))

    def _value_begins(self, _attributes: dict[str, str]) -> None:
        self.filled.add(self._column)
        if self._row == self.header:
            # Only here: to be told of the ends and texts of all cells takes twice the time.
            self._text = []
            self._parser.CharacterDataHandler = self._text.append
            self._parser.EndElementHandler = self._end

    def _formula_begins(self, _attributes: dict[str, str]) -> None:
        self.filled.add(self._column)
        if self._row != self.header:
            self.formulas.add(self._column)

    def _end(self, tag: str) -> None:
        if self._text is None or self._handlers.get(tag) != self._value_begins:
            return
        self._heading.text = "".join(self._text)
        self._text = None
        self._parser.CharacterDataHandler = self._parser.EndElementHandler = None
        if self._heading.text.strip():
            self.headings[self._column] = self._heading

    def _merged(self, attributes: dict[str, str]) -> None:
        """Merged cells hide what is below them; those above the table are titles."""
        found = _RANGE.fullmatch(attributes.get("ref", ""))
        if found and found[3] and int(found[4]) >= (self.header or 1):
            self.filled.update(range(_column(found[1]), _column(found[3]) + 1))


class _SharedTexts:
    """Those of the texts that cells share which are wanted, by their number."""

    def __init__(self, wanted: set[int]) -> None:
        self.found = dict.fromkeys(wanted, "")
        self._number = -1
        self._parser = _parser()
        self._handlers = _known(si=self._item_begins, t=self._text_begins)
        self._text_ends = set(_known(t=self._text_begins))

    def read(self, file: IO[bytes]) -> None:
        """Go through the texts, as far as need be."""
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        while self._number <= max(self.found) and (chunk := file.read(_CHUNK)):
            self._parser.Parse(chunk)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if handler := self._handlers.get(tag):
            handler(attributes)

    def _item_begins(self, _attributes: dict[str, str]) -> None:
        self._number += 1

    def _text_begins(self, _attributes: dict[str, str]) -> None:
        if self._number in self.found:
            self._parser.CharacterDataHandler = self._more

    def _more(self, text: str) -> None:
        self.found[self._number] += text

    def _end(self, tag: str) -> None:
        if tag in self._text_ends:
            self._parser.CharacterDataHandler = None


class _Rewriter:
    """Copies a sheet and puts our cells where they belong."""

    def __init__(
        self, scan: _Scan, places: Mapping[str, int], rows: Iterable[Row], out: IO[bytes]
    ) -> None:
        self._scan = scan
        self._places = places
        self._out = out
        self._buffer = bytearray()
        self._at = 0
        """Which byte of the sheet the buffer begins with: all before it has been dealt with."""
        self._row = self._column = 0
        self._prefix = b""
        self._is_in_cell = self._drops_cell = False
        self._cells: list[Cell] = []
        """Ours that are still to come in this row."""
        self._pending = self._all_rows(rows)
        self._next = next(self._pending, None)
        self._parser = _parser()
        self._begin = _known(
            dimension=lambda _: self._replace_tag(self._extended),
            col=lambda _: self._replace_tag(self._shown),
            sheetData=self._rows_begin,
            row=self._row_begins,
            c=self._cell_begins,
            extLst=self._extension_begins,
        )
        self._finish = {
            **dict.fromkeys(_known(sheetData=self._rows_begin), self._rows_end),
            **dict.fromkeys(_known(row=self._row_begins), self._row_ends),
            **dict.fromkeys(_known(c=self._cell_begins), self._cell_ends),
        }

    def run(self, sheet: IO[bytes]) -> None:
        """Write the copy."""
        parser = self._parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        while chunk := sheet.read(_CHUNK):
            self._buffer += chunk
            parser.Parse(chunk)
            if not self._drops_cell and parser.CurrentByteIndex > self._at:
                self._copy_up_to(parser.CurrentByteIndex)
            if len(self._buffer) > _LARGEST_PART:
                raise ExportError("workbook_damaged")
        parser.Parse(b"", True)
        self._copy_up_to(self._at + len(self._buffer))

    def _all_rows(self, rows: Iterable[Row]) -> Iterator[tuple[int, list[Cell]]]:
        """Our cells of each row, the names of columns among them where they are not there yet."""
        header, style = self._scan.header or 0, self._scan.heading_style
        places = sorted((column, name) for name, column in self._places.items())
        new = [place for place in places if place[0] not in self._scan.headings]
        if header and new:
            yield header, [(column, name, style) for column, name in new]
        for line, values in rows:
            if line > header:
                yield line, [(column, values[name], "") for column, name in places]

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if handler := self._begin.get(tag):
            handler(attributes)

    def _end(self, tag: str) -> None:
        if handler := self._finish.get(tag):
            handler()

    def _rows_begin(self, _attributes: dict[str, str]) -> None:
        tag = self._tag(self._parser.CurrentByteIndex)
        self._prefix = _prefix(tag)
        if tag.endswith(b"/>"):
            self._replace_tag(_opened)
            self._write_rows(before=None, at=self._at)
            self._out.write(b"</" + self._prefix + b"sheetData>")

    def _rows_end(self) -> None:
        if self._next:
            self._write_rows(before=None, at=self._parser.CurrentByteIndex)

    def _row_begins(self, attributes: dict[str, str]) -> None:
        number = attributes.get("r")
        self._row = int(number) if number else self._row + 1
        self._column = 0
        self._start_row(self._parser.CurrentByteIndex)

    def _row_ends(self) -> None:
        if self._cells:
            self._write_cells(self._parser.CurrentByteIndex)

    def _extension_begins(self, _attributes: dict[str, str]) -> None:
        """What a row may have behind its cells."""
        if self._cells and not self._is_in_cell:
            self._write_cells(self._parser.CurrentByteIndex)

    def _start_row(self, at: int) -> None:
        if self._next and self._next[0] < self._row:
            self._write_rows(before=self._row, at=at)
        if not (self._next and self._next[0] == self._row):
            return
        _line, self._cells = self._next
        self._next = next(self._pending, None)
        tag = self._tag(at)
        widened = _widened(tag, max(self._places.values()))
        if tag.endswith(b"/>"):
            self._replace(at, tag, _opened(widened))
            self._write_cells(self._at)
            self._out.write(b"</" + self._prefix + b"row>")
        elif widened != tag:
            self._replace(at, tag, widened)

    def _cell_begins(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        column = self._column = _column(reference) if reference else self._column + 1
        self._is_in_cell = True
        if not self._cells or self._cells[0][0] > column:
            return
        at = self._parser.CurrentByteIndex
        self._write_cells(at, before=column)
        if self._cells and self._cells[0][0] == column:
            _column_number, value, style = self._cells.pop(0)
            tag = self._tag(at)
            self._copy_up_to(at)
            self._out.write(self._cell(column, value, attributes.get("s", style), keep=True))
            if tag.endswith(b"/>"):
                self._drop_up_to(at + len(tag))
            else:
                self._drops_cell = True

    def _cell_ends(self) -> None:
        self._is_in_cell = False
        if self._drops_cell:
            at = self._parser.CurrentByteIndex
            self._drop_up_to(at + len(self._tag(at)))
            self._drops_cell = False

    def _write_rows(self, *, before: int | None, at: int) -> None:
        """Rows that the sheet leaves out because nothing was in them."""
        self._copy_up_to(at)
        present = self._row
        while self._next and (before is None or self._next[0] < before):
            self._row, self._cells = self._next
            self._next = next(self._pending, None)
            self._out.write(b'<%srow r="%d">' % (self._prefix, self._row))
            self._write_cells(at)
            self._out.write(b"</%srow>" % self._prefix)
        self._row = present

    def _write_cells(self, at: int, *, before: int = _LAST_COLUMN + 1) -> None:
        self._copy_up_to(at)
        while self._cells and self._cells[0][0] < before:
            column, value, style = self._cells.pop(0)
            self._out.write(self._cell(column, value, style))

    def _cell(self, column: int, value: str | int, style: str, *, keep: bool = False) -> bytes:
        """A cell; one without a value only where it stands for one that is there."""
        if value == "" and not keep:
            return b""
        prefix = self._prefix.decode()
        styled = f' s="{style}"' if style else ""
        begin = f'<{prefix}c r="{_letters(column)}{self._row}"{styled}'
        if value == "":
            return f"{begin}/>".encode()
        if isinstance(value, int):
            return f"{begin}><{prefix}v>{value}</{prefix}v></{prefix}c>".encode()
        text = escape(cell_text(value))
        kept = ' xml:space="preserve"' if text != " ".join(text.split()) else ""
        inner = f"<{prefix}is><{prefix}t{kept}>{text}</{prefix}t></{prefix}is>"
        return f'{begin} t="inlineStr">{inner}</{prefix}c>'.encode()

    def _extended(self, tag: bytes) -> bytes:
        """The used range, with our columns in it."""

        def extend(found: re.Match[bytes]) -> bytes:
            area = _RANGE.fullmatch(found[2].decode())
            if not area:
                return found[0]
            first, top, last, bottom = area.groups()
            last, bottom = last or first, bottom or top
            column = max(_column(last), *self._places.values())
            wider = f"{first}{top}:{_letters(column)}{max(int(bottom), self._scan.last_row)}"
            return found[1] + wider.encode() + found[3]

        return re.sub(rb"""(\bref\s*=\s*["'])([^"']*)(["'])""", extend, tag, count=1)

    def _shown(self, tag: bytes) -> bytes:
        """A range of columns, without ours where they would be hidden."""
        first, last = (_number(tag, name) for name in (b"min", b"max"))
        ours = sorted(set(self._places.values()) - set(self._scan.headings))
        hidden = re.search(rb"""\s+hidden\s*=\s*["'](?:1|true)["']""", tag)
        if not hidden or not ours or first > ours[-1] or last < ours[0]:
            return tag
        bare = tag[: hidden.start()] + tag[hidden.end() :]
        parts = [(first, ours[0] - 1, tag), (ours[0], ours[-1], bare), (ours[-1] + 1, last, tag)]
        return b"".join(
            _ranged(look, max(low, first), min(high, last))
            for low, high, look in parts
            if max(low, first) <= min(high, last)
        )

    def _replace_tag(self, change: Callable[[bytes], bytes]) -> None:
        at = self._parser.CurrentByteIndex
        tag = self._tag(at)
        self._replace(at, tag, change(tag))

    def _replace(self, at: int, tag: bytes, new: bytes) -> None:
        self._copy_up_to(at)
        self._out.write(new)
        self._drop_up_to(at + len(tag))

    def _tag(self, at: int) -> bytes:
        """The tag at this byte; the parser has seen all of it."""
        found = _TAG.match(self._buffer, at - self._at)
        if not found:
            raise ExportError("workbook_damaged")
        return found[0]

    def _copy_up_to(self, at: int) -> None:
        if at > self._at:
            self._out.write(self._buffer[: at - self._at])
            self._drop_up_to(at)

    def _drop_up_to(self, at: int) -> None:
        del self._buffer[: at - self._at]
        self._at = at


def _prefix(tag: bytes) -> bytes:
    """With which prefix the sheet's own elements are written: `x:` or nothing."""
    name = re.split(rb"[\s/>]", tag[1:], maxsplit=1)[0]
    return name.rpartition(b":")[0] + b":" if b":" in name else b""


def _opened(tag: bytes) -> bytes:
    """A tag of an empty element as one that something follows."""
    return tag[:-2] + b">" if tag.endswith(b"/>") else tag


def _widened(tag: bytes, column: int) -> bytes:
    """A row's tag whose `spans`, if there are any, reach as far as this column."""

    def widen(found: re.Match[bytes]) -> bytes:
        return found[1] + b"%d" % max(int(found[2]), column)

    return re.sub(rb"""(\sspans\s*=\s*["'](?:\d+:\d+ )*\d+:)(\d+)""", widen, tag, count=1)


def _number(tag: bytes, name: bytes) -> int:
    found = re.search(rb"""\s%s\s*=\s*["'](\d+)["']""" % name, tag)
    return int(found[1]) if found else 0


def _ranged(tag: bytes, first: int, last: int) -> bytes:
    tag = re.sub(rb"""(\smin\s*=\s*["'])\d+""", rb"\g<1>%d" % first, tag, count=1)
    return re.sub(rb"""(\smax\s*=\s*["'])\d+""", rb"\g<1>%d" % last, tag, count=1)


def cell_text(text: str) -> str:
    """A text as a cell can hold it: what looks like Excel's escapes is meant as it stands."""
    return _LOOKS_ESCAPED.sub("_x005F_", _NOT_XML.sub("", text)[:_LONGEST_TEXT])


def _column(reference: str) -> int:
    """The 1-based column of a reference such as `AB12`, or of its letters alone."""
    column = 0
    for letter in reference:
        if "A" <= letter <= "Z":
            column = column * 26 + ord(letter) - 64
        else:
            break
    return column


def _letters(column: int) -> str:
    letters = ""
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(65 + letter) + letters
    return letters
