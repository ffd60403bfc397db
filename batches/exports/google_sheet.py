"""Results back into the Google Sheet that a batch came from: our columns, and nothing else.

People sort, insert and delete rows while a batch runs. A row is written to only while it has the
address and the id that were read from it; one that has moved is looked up, one that is gone is
left alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.conf import settings
from django.db.models import Prefetch
from rest_framework import serializers

from batches import fetch, google
from batches.exports import report
from batches.exports.base import ExportError
from batches.google import Grid, SheetError, letters
from batches.models import Delivery, Item, Result, Sheet, SheetKind
from batches.sources import columns
from batches.sources.tabular import LOOKED_AT, TableRow, find_header, name_columns

LONGEST_CELL = 49_000
"""Characters; Google takes 50,000."""
GAP = 50
"""Rows nobody asked for that are rather read than left out: ranges make an address long."""
MOST_RANGES = 40
ROWS_TOGETHER = 100
"""In one range that is written: a call is made of whole ranges."""

Key = tuple[str, str]
"""What a row is known by: the picture's address in normal form, and the caller's own id."""


class GoogleSheetExporter:
    """Writes what became of images into their rows."""

    slug = "google_sheet"

    class Options(serializers.Serializer[Delivery]):
        """Nothing is to be said: there is one place for the results."""

    def push(self, delivery: Delivery, items: Sequence[Item]) -> Sequence[Item]:
        """Write our columns into the rows of these images; gives those whose row is gone.

        Reads once and writes once where no row has moved. Raises `ExportError`.
        """
        sheet = delivery.batch.sheet
        if sheet is None or sheet.kind != SheetKind.GOOGLE:
            raise ExportError("google_no_sheet")
        results = Prefetch("results", Result.objects.order_by("position"))
        found = Item.objects.filter(pk__in=[item.pk for item in items]).exclude(line=None)
        ordered = list(found.order_by("line").select_related("batch").prefetch_related(results))
        if not ordered:
            return []
        try:
            with google.editing(sheet.address, sheet.tab) as grid:
                return _write(grid, sheet, ordered)
        except SheetError as error:
            raise ExportError(
                error.code,
                transient=error.transient,
                retry_after=error.retry_after or error.params.get("seconds"),
                **error.params,
            ) from error


@dataclass(frozen=True)
class _Place:
    """Where things are in the tab as it is now; columns are 0-based, the header's row 1-based."""

    header: int
    names: list[str]
    url: int
    id: int | None

    def key(self, cells: Sequence[str]) -> Key:
        return _normal(_at(cells, self.url)), _at(cells, self.id).strip()[:255]

    def ours(self) -> dict[str, int]:
        """Our columns that are there already."""
        there = {name.strip().casefold(): at for at, name in enumerate(self.names)}
        return {name: there[name] for name in columns.OURS if name in there}


def _write(grid: Grid, sheet: Sheet, items: Sequence[Item]) -> list[Item]:
    lines = [item.line for item in items if item.line]
    ranges = list(_runs(lines))
    top, *parts = grid.rows([(1, LOOKED_AT), *ranges])
    now = {
        line: cells
        for (first, _last), part in zip(ranges, parts, strict=True)
        for line, cells in enumerate(part, first)
    }
    place = _place(sheet, top)
    rows = {
        item: item.line or 0
        for item in items
        if place.key(now.get(item.line or 0, [])) == _key(item)
    }
    if len(rows) < len(items):
        rows = _looked_up(grid, place, items)
    if rows:
        ours = place.ours()
        if len(ours) < len(columns.OURS):
            ours = _with_our_columns(grid, place, ours)
        grid.write(dict(_blocks(rows, ours)))
    return [item for item in items if item not in rows]


def _place(sheet: Sheet, top: Sequence[Sequence[str]]) -> _Place:
    """Find the row of the names and the columns that say which image a row is about."""
    named = {target: name for name, target in sheet.mapping.items() if target in ("url", "id")}
    if "url" not in named:
        raise ExportError("google_no_sheet")
    rows = [TableRow(line, list(cells)) for line, cells in enumerate(top, 1) if any(cells)]
    before = next((row for row in rows if row.line == sheet.header), None)
    if before and named["url"] in name_columns(before, 0):
        header: int | None = before.line
    else:
        header = find_header(rows)
    if header is None:
        raise ExportError("google_no_header")
    names = name_columns(TableRow(header, list(top[header - 1])), 0)

    def where(name: str) -> int | None:
        if name in names:
            return names.index(name)
        return sheet.columns.index(name) if name in sheet.columns else None

    url = where(named["url"])
    if url is None:
        raise ExportError("google_column_lost", column=named["url"])
    return _Place(header, names, url, where(named["id"]) if "id" in named else None)


def _looked_up(grid: Grid, place: _Place, items: Sequence[Item]) -> dict[Item, int]:
    """The rows of images by what they hold, wherever they are now.

    Of several rows that hold the same, the first is that of the image that came first.
    """
    urls, *ids = grid.columns([place.url, *([] if place.id is None else [place.id])])
    [formulas] = grid.columns([place.url], links=True)
    rows_of: dict[Key, list[int]] = defaultdict(list)
    for line in range(place.header + 1, max(len(urls), len(formulas)) + 1):
        id_ = _at(ids[0], line - 1) if ids else ""
        # A picture's address may be in its formula alone.
        for text in {_normal(_at(urls, line - 1)), _normal(_at(formulas, line - 1))} - {""}:
            rows_of[text, id_.strip()[:255]].append(line)
    lines_of = _lines(items, {_key(item) for item in items})
    found = {}
    for item in items:
        lines, rows = lines_of[_key(item)], rows_of[_key(item)]
        if len(lines) == len(rows):
            found[item] = rows[lines.index(item.line or 0)]
    return found


def _lines(items: Sequence[Item], keys: Collection[Key]) -> dict[Key, list[int]]:
    """Which rows had the same when they were read: all of the batch's, not only these."""
    lines: dict[Key, list[int]] = defaultdict(list)
    same = items[0].batch.items.filter(source_url__in={url for url, _id in keys}).exclude(line=None)
    for item in same.order_by("line").only("line", "source_url", "external_id"):
        lines[_key(item)].append(item.line or 0)
    return lines


def _with_our_columns(grid: Grid, place: _Place, ours: Mapping[str, int]) -> dict[str, int]:
    """Add those that are missing, to the right of everything that is used."""
    [used] = grid.rows([(1, google.MOST_ROWS)])
    end = max(map(len, used))
    missing = [name for name in columns.OURS if name not in ours]
    grid.widen(end + len(missing))
    first, last = letters(end), letters(end + len(missing) - 1)
    grid.write({f"{first}{place.header}:{last}{place.header}": [missing]})
    return {**ours, **{name: at for at, name in enumerate(missing, end)}}


def _blocks(
    rows: Mapping[Item, int], ours: Mapping[str, int]
) -> Iterator[tuple[str, list[list[str | int]]]]:
    """Ranges to be written and what goes into them: neighbours together."""
    values = {line: report.values(item) for item, line in rows.items()}
    names = sorted(ours, key=lambda name: ours[name])
    for side in _neighbours([ours[name] for name in names]):
        among = [name for name in names if ours[name] in side]
        for run in _neighbours(sorted(values), most=ROWS_TOGETHER):
            area = f"{letters(side[0])}{run[0]}:{letters(side[-1])}{run[-1]}"
            yield area, [[_safe(values[line][name]) for name in among] for line in run]


def _neighbours(numbers: Sequence[int], *, most: int = 1000) -> Iterator[list[int]]:
    """Sorted numbers in groups that have no gaps."""
    group = list(numbers[:1])
    for before, number in pairwise(numbers):
        if number != before + 1 or len(group) == most:
            yield group
            group = []
        group.append(number)
    yield group


def _runs(lines: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last rows of what is read to see all of these, in few ranges."""
    runs: list[tuple[int, int]] = []
    for line in lines:
        if runs and line - runs[-1][1] <= GAP:
            runs[-1] = (runs[-1][0], line)
        else:
            runs.append((line, line))
    return iter(runs if len(runs) <= MOST_RANGES else [(runs[0][0], runs[-1][1])])


def _key(item: Item) -> Key:
    return item.source_url, item.external_id.strip()


def _normal(text: str) -> str:
    """An address as an item has it."""
    try:
        return fetch.check_url(text, allow=settings.FETCH_ALLOW)
    except fetch.FetchError:
        return text.strip()


def _at(cells: Sequence[str], at: int | None) -> str:
    return cells[at] if at is not None and at < len(cells) else ""


def _safe(value: str | int) -> str | int:
    """Text that stays harmless when somebody downloads the sheet and opens it in Excel."""
    return value if isinstance(value, int) else report.harmless(value[:LONGEST_CELL])
