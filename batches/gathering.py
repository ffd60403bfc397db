"""What lies at the source of a schedule just now: rows, each with a key and a mark.

The key is what a thing is known by, the mark changes with whatever makes its result another one:
the picture (as far as its store tells), the settings, the cells of its row that are used.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from batches import connections, fetch, folders, formats, google, sheets
from batches.exports import remote
from batches.models import Asset, Recurring, Sheet, SourceKind
from batches.outside import OutsideError
from batches.sources import mapping, tables
from batches.sources.base import Row
from batches.stores import paths
from batches.stores.base import StoreError
from tools.base import Tool


class SourceUnreadable(OutsideError):
    """A source that can't be read; its codes are those of stores, sheets and downloads.

    Besides those: `recurring_column_lost` (`column`), `recurring_no_addresses`,
    `folder_missing`, `sheet_gone`.
    """


@dataclass(frozen=True)
class Thing:
    """One image of a source: what it is known by, what it is like, and as what it would run."""

    key: str
    mark: str
    row: Row
    asset: Asset | None = None
    """Of a library: then the row has yet to be given an upload."""


@dataclass
class Gathered:
    """A source that was opened: its things come one by one, in its own order."""

    things: Iterator[Thing]
    sheet: Sheet | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    """The source as it was found: a sheet's tab, and what its columns are."""


def gather(recurring: Recurring, tool: Tool) -> Gathered:
    """Open the source. Raises `SourceUnreadable`, here or while its things come.

    A sheet is read as a whole and kept; whoever makes no batch of it calls
    `sheets.forget_unused`.
    """
    base = [recurring.tool, recurring.settings]
    if recurring.kind == SourceKind.SHEET:
        return _of_sheet(recurring, tool, base)
    if recurring.kind == SourceKind.ACCOUNT:
        return Gathered(_in_words(_of_account(recurring, base)), source=recurring.source)
    return Gathered(_of_library(recurring, base), source=recurring.source)


def digest(*facts: Any) -> str:
    """Facts that JSON can hold, in 64 characters."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _worded() -> Iterator[None]:
    """Let all that goes wrong while reading be one kind of error."""
    try:
        yield
    except (StoreError, google.SheetError) as error:
        raise SourceUnreadable(
            error.code,
            transient=error.transient,
            retry_after=error.retry_after,
            **error.params,
        ) from error
    except fetch.FetchError as error:
        raise SourceUnreadable(error.code, transient=error.transient, **error.params) from error
    except tables.TableError as error:
        raise SourceUnreadable(error.code, **error.params) from error
    except FileNotFoundError as error:
        raise SourceUnreadable("sheet_gone") from error


def _in_words(things: Iterator[Thing]) -> Iterator[Thing]:
    with _worded():
        yield from things


# --- Sheets -----------------------------------------------------------------------------------


def _of_sheet(recurring: Recurring, tool: Tool, base: list[Any]) -> Gathered:
    source = recurring.source
    with _worded():
        sheet = sheets.keep_address(
            recurring.owner, source.get("address", ""), tab=source.get("tab", "")
        )
    try:
        with _worded():
            _understand(sheet, tool, source)
    except SourceUnreadable:
        sheets.forget_unused(sheet)
        raise
    found = {**source, "tab": sheet.tab, "mapping": sheet.mapping}
    things = _in_words(_of_rows(sheet, tool, recurring.pattern, base))
    return Gathered(things, sheet=sheet, source=found)


def _understand(sheet: Sheet, tool: Tool, source: Mapping[str, Any]) -> None:
    """Say what the sheet's columns are: as before, or by their looks the first time."""
    seen = sheets.look(sheet, tool, tab=source.get("tab", ""))
    if what := source.get("mapping"):
        _refuse_lost(what, seen.table.columns)
        known = {name: what.get(name, mapping.IGNORE) for name in seen.table.columns}
        sheets.describe(sheet, seen.table, known)
    if mapping.URL not in sheet.mapping.values():
        raise SourceUnreadable("recurring_no_addresses")


def _refuse_lost(what: Mapping[str, str], columns: list[str]) -> None:
    """Raise `SourceUnreadable` where a column that is used is not there any more."""
    for column, target in what.items():
        if target != mapping.IGNORE and column not in columns:
            raise SourceUnreadable("recurring_column_lost", column=column)


def _of_rows(sheet: Sheet, tool: Tool, pattern: str, base: list[Any]) -> Iterator[Thing]:
    """A row is known by its id, where no other has the same, else by id and address."""
    ids = Counter(row.external_id for row in sheets.rows(sheet, tool))
    met: Counter[tuple[str, ...]] = Counter()
    pattern = pattern.casefold()
    named = {name for name in sheet.columns if f"{{{name.strip().casefold()}}}" in pattern}
    for row in sheets.rows(sheet, tool):
        alone = row.external_id and ids[row.external_id] == 1
        known_by = (row.external_id,) if alone else (row.external_id, row.url)
        met[known_by] += 1
        used = {name: row.fields.get(name, "") for name in sorted(named)}
        facts = [row.url, row.name, row.external_id, dict(row.settings), used]
        yield Thing(
            key=digest("row", *known_by, met[known_by]), mark=digest(*base, *facts), row=row
        )


# --- Accounts and the library -----------------------------------------------------------------


def _of_account(recurring: Recurring, base: list[Any]) -> Iterator[Thing]:
    connection = recurring.connection
    if connection is None:
        raise StoreError("connection_gone")
    top = paths.folder(recurring.source.get("path", ""))
    deep = bool(recurring.source.get("deep"))
    start = len(top) + 1 if top else 0
    for found in connections.pictures_in(connection, top, recursive=deep):
        if found.path.startswith(f"{remote.ASIDE}/"):
            continue  # pictures that deliveries have put out of the way
        changed = found.changed_at.isoformat() if found.changed_at else ""
        facts = [found.fingerprint] if found.fingerprint else [found.bytes, changed]
        yield Thing(
            key=digest("file", str(connection.uid), found.path),
            mark=digest(*base, *facts),
            row=Row(
                url=found.path,
                connection=str(connection.uid),
                folder=found.path[start:].rpartition("/")[0],
            ),
        )


def _of_library(recurring: Recurring, base: list[Any]) -> Iterator[Thing]:
    assets = Asset.objects.visible_to(recurring.owner).kept().exclude(format__in=formats.TEXTS)
    branch = branch_of(recurring)
    deep = bool(recurring.source.get("deep"))
    if branch and deep:
        assets = assets.filter(folder__in=[at.folder.pk for at in branch.walk()])
    elif branch:
        assets = assets.filter(folder=branch.folder)
    elif not deep:
        assets = assets.filter(folder=None)
    for asset in assets.order_by("created_at", "pk").iterator():
        yield Thing(
            key=digest("asset", str(asset.uid)),
            mark=digest(*base, asset.sha256),
            row=Row(name=asset.name),
            asset=asset,
        )


def branch_of(recurring: Recurring) -> folders.Branch | None:
    """The folder of the library that is meant; nothing for all of it.

    Raises `SourceUnreadable` for one that is gone.
    """
    wanted = recurring.source.get("folder", "")
    if not wanted:
        return None
    found = folders.tree(recurring.owner).find(UUID(wanted))
    if found is None:
        raise SourceUnreadable("folder_missing")
    return found


def runs_in_circles(
    recurring: Recurring, *, to: str, options: Mapping[str, Any], connection: Any
) -> bool:
    """Whether results would lie where the source is, and be its next images.

    `to`, `options` and `connection` are those of a `deliveries.Wish`.
    """
    target = str(options.get("folder", "")).strip("/")
    if recurring.kind == SourceKind.LIBRARY and to == "library":
        branch = branch_of(recurring)
        here = branch.path if branch else ""
    elif recurring.kind == SourceKind.ACCOUNT and connection == recurring.connection:
        here = str(recurring.source.get("path", ""))
    else:
        return False
    here, target = here.casefold(), target.casefold()
    if here == target:
        return True
    if recurring.source.get("deep") and (not here or target.startswith(f"{here}/")):
        return True
    # A pattern may lead from above the source down into it.
    return "/" in recurring.pattern and (not target or here.startswith(f"{target}/"))
