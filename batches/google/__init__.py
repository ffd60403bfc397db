"""Google Sheets: reading a table once, and writing into it. The only way to Google there is.

A sheet that was shared with the site's service account is read and written through the API, by
gspread; one that anybody with the link may see is read as CSV where that fails or where the site
has no such account. gspread and Google's libraries are loaded at the first use: most processes
never need them.
"""

import csv
import io
import itertools
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import redis
from django.conf import settings
from django.core.cache import cache

from batches import fetch
from batches.google import account
from batches.google.account import service_address
from batches.google.problems import SheetError

if TYPE_CHECKING:
    from batches.google import wire

__all__ = [
    "MOST_COLUMNS",
    "MOST_ROWS",
    "Document",
    "Grid",
    "Link",
    "SheetError",
    "Tab",
    "Table",
    "document",
    "editing",
    "letters",
    "parse_url",
    "read_table",
    "service_address",
    "tabs",
]

MOST_ROWS = 100_050
"""Of a tab: as many as a table may have, and what stands above them."""
MOST_COLUMNS = 100
MOST_CSV_BYTES = 64 * 1024 * 1024
CSV_SECONDS = 60.0
REMEMBERED = 300
"""Seconds for which a title and the names of tabs are not asked for again."""
CALL_BYTES = 1_800_000
"""Of one call that writes: Google advises 2 MB at most."""

_LINK = re.compile(
    r"(?:/a/[^/]+)?/spreadsheets/(?:u/[0-9]+/)?d/(?P<id>[A-Za-z0-9_-]{20,100})(?:/.*)?"
)
_PUBLISHED = re.compile(r"(?:/a/[^/]+)?/spreadsheets/(?:u/[0-9]+/)?d/e/.*")
_ADDRESS_IN_FORMULA = re.compile(
    r"""=\s*(?:HYPERLINK|IMAGE)\s*\(\s*"(https?://[^"]+)\"""", re.IGNORECASE
)
_OUT_OF_DATE = {"google_tab_missing", "google_outside"}
"""What goes wrong where titles and sizes are not what they were."""
# A sheet that the account may not see, or no account at all: perhaps anybody may see it.
_PERHAPS_PUBLIC = {"google_not_shared", "google_not_public", "google_account"}


class Link(NamedTuple):
    """What a link to a sheet says: which spreadsheet, and which of its tabs, if it names one."""

    id: str
    gid: int | None


@dataclass(frozen=True)
class Tab:
    """One of the sheets of a spreadsheet."""

    title: str
    """Empty where only its number is known."""
    gid: int
    rows: int = 0
    """Of the grid, used or not; 0 where nobody says."""
    columns: int = 0
    is_hidden: bool = False


@dataclass(frozen=True)
class Document:
    """A spreadsheet: its title, empty where nobody says, and its tabs in their order."""

    id: str
    title: str
    tabs: tuple[Tab, ...]
    is_public: bool = False
    """Whether it is read by its public link: then it can't be written to."""


class Table(NamedTuple):
    """The cells of one tab from A1 on, as people see them; rows may differ in length."""

    values: list[list[str]]
    title: str
    tab: str


def parse_url(text: str) -> Link:
    """Take a link from a browser's address bar apart. Raises `SheetError`."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = parts.hostname
    except ValueError as error:
        raise SheetError("google_link") from error
    if parts.scheme not in ("http", "https") or host != urlsplit(settings.GOOGLE["docs"]).hostname:
        raise SheetError("google_link")
    if _PUBLISHED.fullmatch(parts.path):
        raise SheetError("google_published")
    found = _LINK.fullmatch(parts.path)
    if not found:
        raise SheetError("google_link")
    # The one behind the `#` follows the reader from tab to tab.
    named = parse_qs(parts.fragment).get("gid") or parse_qs(parts.query).get("gid") or [""]
    gid = named[0]
    return Link(found["id"], int(gid) if re.fullmatch(r"[0-9]{1,10}", gid) else None)


def document(url: str) -> Document:
    """Title and tabs of the spreadsheet that a link leads to: one call. Raises `SheetError`.

    By a public link nobody learns of titles: then there is the one tab that the link names, and
    whether it can be read shows when it is.
    """
    link = parse_url(url)
    try:
        with _opened() as client:
            return _asked(client, link.id)
    except SheetError as error:
        if error.code not in _PERHAPS_PUBLIC:
            raise
    return Document(link.id, "", (Tab("", link.gid or 0),), is_public=True)


def tabs(url: str) -> tuple[Tab, ...]:
    """The tabs to choose from, those that people see first. Raises `SheetError`."""
    return tuple(sorted(document(url).tabs, key=lambda tab: tab.is_hidden))


def read_table(url: str, tab: str = "", *, rows: int | None = None) -> Table:
    """The cells of a tab: one call, besides the one that finds out titles, which are remembered.

    Without `tab` it is the one that the link names, else the first that is not hidden. `rows` is
    how many are wanted from the top; without it, all. Raises `SheetError`: nothing is ever cut.
    """
    link = parse_url(url)
    try:
        with _opened() as client:
            return _read(client, link, tab, rows)
    except SheetError as error:
        if error.code not in _PERHAPS_PUBLIC:
            raise
        gid = link.gid or 0
        if tab:
            # Another tab than the one that was chosen would be worse than none.
            known = _remembered(link.id)
            gids = [one.gid for one in known.tabs if one.title == tab] if known else []
            if not gids:
                raise
            [gid] = gids
        return Table(_public_values(link.id, gid, rows, instead=error), "", tab)


# --- Writing --------------------------------------------------------------------------


class Grid:
    """One tab, to be read by rows and columns, and written to."""

    def __init__(self, client: "wire.Client", found: Document, tab: Tab) -> None:
        self.document = found
        self.tab = tab
        self._client = client

    def refresh(self) -> None:
        """Ask for titles and sizes again: what is remembered may be some minutes old."""
        self.document = _asked(self._client, self.document.id)
        self.tab = _chosen(self.document, self.tab.title, self.tab.gid)

    def rows(self, runs: Sequence[tuple[int, int]]) -> list[list[list[str]]]:
        """The cells of some runs of rows (first and last, 1-based), as people see them: one call.

        Rows that the tab has not are not there; empty ones at the end of a run are left out.
        """
        if any(last > self.tab.rows for _first, last in runs):
            self.refresh()
        try:
            return self._rows(runs)
        except SheetError as error:
            if error.code not in _OUT_OF_DATE:
                raise
        self.refresh()
        return self._rows(runs)

    def _rows(self, runs: Sequence[tuple[int, int]]) -> list[list[list[str]]]:
        there = [run for run in runs if run[0] <= self.tab.rows]
        asked = [f"{first}:{min(last, self.tab.rows)}" for first, last in there]
        answers = iter(self._cells(asked) if asked else [])
        return [next(answers) if run in there else [] for run in runs]

    def columns(self, places: Sequence[int], *, links: bool = False) -> list[list[str]]:
        """Some columns (0 is A) from the first row on; with `links`, addresses in formulas too."""
        asked = [f"{letters(at)}:{letters(at)}" for at in places]
        found = self._cells(asked, links=links)
        return [[row[0] if row else "" for row in column] for column in found]

    def _cells(self, ranges: Sequence[str], *, links: bool = False) -> list[list[list[str]]]:
        answer = self._client.values_batch_get(
            self.document.id,
            [_range(self.tab.title, one) for one in ranges],
            {"valueRenderOption": "FORMULA"} if links else None,
        )
        return [_texts(one, links=links) for one in answer["valueRanges"]]

    def write(self, ranges: Mapping[str, Sequence[Sequence[str | int]]]) -> int:
        """Write rows into ranges, text as text and never as formulas; how many calls it took."""
        calls = 0
        for data in _portions(self.tab.title, ranges):
            with self._writing():
                self._client.values_batch_update(
                    self.document.id, {"valueInputOption": "RAW", "data": data}
                )
            calls += 1
        return calls

    def widen(self, columns: int) -> None:
        """See to it that the grid has so many columns: Google writes into no others."""
        if missing := max(columns - self.tab.columns, 0):
            append = {"sheetId": self.tab.gid, "dimension": "COLUMNS", "length": missing}
            with self._writing():
                self._client.batch_update(
                    self.document.id, {"requests": [{"appendDimension": append}]}
                )
            self.refresh()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say what a refusal means to somebody who has read here a moment ago."""
        try:
            yield
        except SheetError as error:
            if error.code == "google_not_shared":
                raise SheetError("google_read_only", **error.params) from error
            if error.code == "google_outside":
                self.refresh()  # for the next time, which may find everything in its place
                raise SheetError("google_outside", transient=True) from error
            raise


@contextmanager
def editing(url: str, tab: str = "") -> Iterator[Grid]:
    """A tab to write into, chosen as in `read_table`. Raises `SheetError`."""
    if not settings.GOOGLE["credentials"]:
        raise SheetError("google_no_account")
    link = parse_url(url)
    with _opened() as client:
        yield Grid(client, *_found(client, link, tab))


def letters(column: int) -> str:
    """What a sheet calls a column: 0 is A, 26 is AA."""
    name = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def _portions(
    tab: str, ranges: Mapping[str, Sequence[Sequence[str | int]]]
) -> Iterator[list[dict[str, Any]]]:
    """The ranges in as few calls as their size allows; a range is never divided."""
    portion: list[dict[str, Any]] = []
    size = 0
    for one, rows in ranges.items():
        # JSON writes what is not ASCII in six characters for each two bytes of UTF-16.
        weight = 100 + sum(
            6 + len(str(cell).encode("utf-16-le")) * 3 for row in rows for cell in row
        )
        if portion and size + weight > CALL_BYTES:
            yield portion
            portion, size = [], 0
        portion.append({"range": _range(tab, one), "majorDimension": "ROWS", "values": rows})
        size += weight
    if portion:
        yield portion


# --- Asking ---------------------------------------------------------------------------


@contextmanager
def _opened() -> Iterator["wire.Client"]:
    """A client for a few calls. Raises `SheetError` where the site has no usable account."""
    credentials = account.credentials()
    from batches.google import wire

    with wire.opened(credentials) as client:
        yield client


def _found(client: "wire.Client", link: Link, tab: str) -> tuple[Document, Tab]:
    """The tab that is meant; what is remembered is asked for again if the tab is not in it."""
    if known := _remembered(link.id):
        with suppress(SheetError):
            return known, _chosen(known, tab, link.gid)
    known = _asked(client, link.id)
    return known, _chosen(known, tab, link.gid)


def _read(client: "wire.Client", link: Link, tab: str, rows: int | None) -> Table:
    found, chosen = _found(client, link, tab)
    try:
        return Table(_values(client, link.id, chosen, rows), found.title, chosen.title)
    except SheetError as error:
        if error.code not in _OUT_OF_DATE:
            raise
    found = _asked(client, link.id)
    chosen = _chosen(found, tab, link.gid)
    return Table(_values(client, link.id, chosen, rows), found.title, chosen.title)


def _chosen(found: Document, tab: str, gid: int | None) -> Tab:
    for one in found.tabs:
        if one.title == tab if tab else one.gid == gid:
            return one
    if tab or gid is not None:
        raise SheetError("google_tab_missing", tab=tab or gid)
    return next((one for one in found.tabs if not one.is_hidden), found.tabs[0])


def _asked(client: "wire.Client", sheet_id: str) -> Document:
    fields = "properties.title,sheets.properties(sheetId,title,hidden,sheetType,gridProperties)"
    answer = client.fetch_sheet_metadata(sheet_id, {"fields": fields})
    about = [sheet["properties"] for sheet in answer["sheets"]]
    found = Document(
        sheet_id,
        answer["properties"]["title"],
        tuple(
            Tab(
                title=one["title"],
                gid=one.get("sheetId", 0),
                rows=one["gridProperties"].get("rowCount", 0),
                columns=one["gridProperties"].get("columnCount", 0),
                is_hidden=one.get("hidden", False),
            )
            for one in about
            if "gridProperties" in one  # a chart may have a tab to itself
        ),
    )
    with suppress(redis.RedisError, OSError):  # then it is asked for again
        cache.set(_cache_key(sheet_id), found, REMEMBERED)
    return found


def _remembered(sheet_id: str) -> Document | None:
    try:
        found: Document | None = cache.get(_cache_key(sheet_id))
    except (redis.RedisError, OSError):
        return None
    return found


def _cache_key(sheet_id: str) -> str:
    return f"google-document:{sheet_id}"


def _values(client: "wire.Client", sheet_id: str, tab: Tab, rows: int | None) -> list[list[str]]:
    # Google refuses rows that the tab has not.
    cells = _range(tab.title, f"1:{min(rows, tab.rows)}" if rows else "")
    values = _texts(client.values_get(sheet_id, cells))
    if not any("://" in cell for row in values for cell in row):
        # Pictures (`=IMAGE("…")`) and texts with a link are shown without the address.
        formulas = client.values_get(sheet_id, cells, {"valueRenderOption": "FORMULA"})
        values = _with_links(values, _texts(formulas, links=True))
    return _checked(values) if rows is None else values


def _with_links(values: list[list[str]], formulas: list[list[str]]) -> list[list[str]]:
    """What people see, but the address where a formula holds one."""
    merged = [list(row) for row in values] + [[] for _ in formulas[len(values) :]]
    for row, others in zip(merged, formulas, strict=False):
        row.extend("" for _ in others[len(row) :])
        for at, cell in enumerate(others):
            if cell.startswith(("http://", "https://")):
                row[at] = cell
    return merged


def _texts(answer: Mapping[str, Any], *, links: bool = False) -> list[list[str]]:
    return [[_text(cell, links=links) for cell in row] for row in answer.get("values", [])]


def _text(cell: object, *, links: bool = False) -> str:
    text = str(cell)
    found = _ADDRESS_IN_FORMULA.match(text) if links else None
    return found[1] if found else text


def _range(tab: str, cells: str) -> str:
    quoted = tab.replace("'", "''")
    return f"'{quoted}'!{cells}" if cells else f"'{quoted}'"


def _checked(values: list[list[str]]) -> list[list[str]]:
    if len(values) > MOST_ROWS:
        raise SheetError("google_too_large", limit=100_000, rows=len(values))
    if any(len(row) > MOST_COLUMNS for row in values):
        raise SheetError("google_too_large", limit=MOST_COLUMNS, columns=MOST_COLUMNS + 1)
    return values


# --- Without an account ---------------------------------------------------------------


def _public_values(
    sheet_id: str, gid: int, rows: int | None, *, instead: SheetError
) -> list[list[str]]:
    """The CSV that anybody with the link gets; `instead` is why it comes to that."""
    url = f"{settings.GOOGLE['docs']}/spreadsheets/d/{sheet_id}/export?format=csv&gid={gid}"
    hosts = (str(urlsplit(settings.GOOGLE["docs"]).hostname), ".googleusercontent.com")
    with tempfile.TemporaryFile() as file:
        try:
            fetch.fetch(
                url,
                into=file,
                max_bytes=MOST_CSV_BYTES,
                deadline=CSV_SECONDS,
                allow=settings.FETCH_ALLOW,
                hosts=hosts,
            )
        except fetch.FetchError as error:
            if error.label == "empty":
                return []
            raise _public_problem(error, gid, instead) from error
        file.seek(0)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        try:
            values = list(itertools.islice(csv.reader(text), rows or MOST_ROWS + 1))
        except csv.Error as error:
            raise SheetError("google_too_large", kb=csv.field_size_limit() // 1024) from error
    return _checked(values) if rows is None else values


def _public_problem(error: fetch.FetchError, gid: int, instead: SheetError) -> SheetError:
    status = error.params.get("status")
    if status == 429:
        return SheetError("google_busy", transient=True, retry_after=60.0, seconds=60)
    if status in (404, 410):
        return SheetError("google_not_found")
    if status == 400:
        return SheetError("google_tab_missing", tab=gid)
    if error.label == "too_big":
        return SheetError("google_too_large", mb=MOST_CSV_BYTES // 2**20)
    if status in (401, 403) or error.label in ("not_image", "other_host"):
        # A page to sign in. Whoever has an account of ours to share with can do so.
        return instead
    return SheetError("google_unreachable", transient=True)
