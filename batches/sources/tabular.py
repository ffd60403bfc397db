"""What every table is, whatever kind of file or service it comes from, and how much is taken."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

from batches.sources import columns

MOST_BYTES: Final = 50 * 1024 * 1024
"""Bytes of a file."""
MOST_ROWS: Final = 100_000
"""Rows of data."""
MOST_COLUMNS: Final = 100
LONGEST_CELL: Final = 64 * 1024
"""Characters."""
LOOKED_AT: Final = 50
"""Rows among which the column names are looked for."""

Header = int | None | Literal["guess"]
"""The 1-based row of the column names, None where there are none."""


class TableError(Exception):
    """A table that can't be read. Carries the code and the figures of its message."""

    def __init__(self, code: str, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.params = dict(params or {})


@dataclass(frozen=True)
class Tab:
    """One of the sheets in a file."""

    name: str
    rows: int | None = None
    """Rows of data; None where nobody has counted."""
    is_hidden: bool = False


@dataclass(frozen=True)
class Note:
    """What people should know of a table that can be read: a code with a text, and figures."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TableRow:
    """One row that is not blank."""

    line: int
    """1-based, as the program shows it in which people see the sheet."""
    cells: list[str]
    """As people see them; the first is column A. May be shorter than the table is wide."""
    links: Mapping[int, str] = field(default_factory=dict)
    """Where cells lead, by their place, when they don't show the address themselves."""
    problem: str = ""
    """The code of what makes the whole row doubtful, such as `sheet_quote_unclosed`."""


@dataclass(frozen=True)
class Table:
    """What is known of a table before anybody decides what its columns are."""

    columns: list[str]
    """Unique names, one for each column from A on; "Column C" where a name is missing."""
    header: int | None
    """1-based row of the column names; None where there are none."""
    rows: int
    """Rows of data."""
    tab: str = ""
    tabs: list[Tab] = field(default_factory=list)
    """The sheets of the file, hidden ones last; empty where there is only one table."""
    notes: list[Note] = field(default_factory=list)


def is_address(text: str) -> bool:
    """Whether a cell holds the address of something on the web."""
    return text.lstrip()[:8].lower().startswith(("http://", "https://"))


def letters(place: int) -> str:
    """What programs call a column: A for 0, AB for 27."""
    name = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def tidy(rows: Iterable[TableRow]) -> Iterator[TableRow]:
    """The rows that are not blank, without empty cells at their ends.

    Raises `TableError` for more rows, columns or characters than are taken.
    """
    count = 0
    for row in rows:
        cells = row.cells
        while cells and not cells[-1].strip() and len(cells) - 1 not in row.links:
            cells.pop()
        if not cells:
            continue
        count += 1
        if count > MOST_ROWS + LOOKED_AT:
            raise TableError("sheet_too_many_rows", {"max": MOST_ROWS})
        if len(cells) > MOST_COLUMNS:
            raise TableError("sheet_too_many_columns", {"n": len(cells), "max": MOST_COLUMNS})
        if max(map(len, cells)) > LONGEST_CELL:
            raise TableError("sheet_cell_too_long", {"row": row.line})
        yield row


def below(rows: Iterator[TableRow], header: Header) -> tuple[TableRow | None, Iterator[TableRow]]:
    """The row of the column names, if there is one, and the rows of data."""
    first = list(islice(rows, LOOKED_AT))
    line = find_header(first) if header == "guess" else header
    named = next((row for row in first if row.line == line), None)
    return named, _after(line or 0, first, rows)


def _after(line: int, first: list[TableRow], rest: Iterator[TableRow]) -> Iterator[TableRow]:
    count = 0
    for part in (first, rest):
        for row in part:
            if row.line > line:
                count += 1
                if count > MOST_ROWS:
                    raise TableError("sheet_too_many_rows", {"max": MOST_ROWS})
                yield row


def find_header(rows: Sequence[TableRow]) -> int | None:
    """The 1-based row of the column names; None where the data begins at once.

    It is the first row that holds no address, stands above data, and is about as wide as a row
    can be there: a title above the table, often one merged cell, is not, even where it is a link.
    """
    is_wide = max(map(_filled, rows), default=0) > 2
    data = next(
        (
            place
            for place, row in enumerate(rows)
            if _has_address(row) and not (is_wide and _filled(row) == 1)
        ),
        None,
    )
    above = rows[:-1] if data is None else rows[:data]
    widest = max(map(_filled, above), default=0)
    if widest > 1:
        return next(row.line for row in above if _filled(row) >= max(2, widest * 0.6))
    named = [row.line for row in above if not _has_address(row)]
    if not named:
        return None
    return named[0] if data is None else named[-1]


def _has_address(row: TableRow) -> bool:
    return bool(row.links) or any(map(is_address, row.cells))


def _filled(row: TableRow) -> int:
    return sum(1 for cell in row.cells if cell.strip())


def name_columns(named: TableRow | None, width: int) -> list[str]:
    """Unique names for so many columns, those of the header row where it has them."""
    given = [" ".join(cell.split()) for cell in named.cells] if named else []
    taken: set[str] = set()
    names: list[str] = []
    for place in range(max(width, len(given))):
        name = given[place] if place < len(given) else ""
        base = name = name or f"Column {letters(place)}"
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{base} ({number})"
        taken.add(name.casefold())
        names.append(name)
    return names


def survey(
    rows: Iterator[TableRow], *, header: Header, keep: int | None
) -> tuple[list[str], int | None, int, list[TableRow], list[int]]:
    """Go through a whole table once, in flat memory.

    Returns its columns, the header's row, the number of rows, the first `keep` of them (all for
    None), and the lines of doubtful ones, a hundred at most. Raises `TableError`.
    """
    named, data = below(rows, header)
    kept: list[TableRow] = []
    doubtful: list[int] = []
    count = width = 0
    for row in data:
        count += 1
        width = max(width, len(row.cells))
        if keep is None or count <= keep:
            kept.append(row)
        if row.problem and len(doubtful) < 100:
            doubtful.append(row.line)
    names = name_columns(named, width)
    if not names or not count:
        raise TableError("sheet_empty")
    return names, named.line if named else None, count, kept, doubtful


def ours(names: Sequence[str]) -> dict[str, int]:
    """The places of our own columns, by what they are called."""
    return {
        name.strip().casefold(): place for place, name in enumerate(names) if columns.is_ours(name)
    }
