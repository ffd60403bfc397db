"""What is known of a batch's images in the words of a sheet, whatever the sheet is.

The names of columns and states are fixed, so that a file can come back and be understood.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from functools import partial
from typing import IO

from django.db.models import F, Prefetch

from batches import links
from batches.models import Batch, Item, Result
from batches.sources import columns
from batches.states import ENDED, ItemState

Values = dict[str, str | int]
Row = tuple[int, Values]
"""A 1-based row of a sheet, and what our columns say there."""
Place = Callable[[Result], str]

ABOUT = ("name", "id", "source")
"""What says which image a row is about, where there is no sheet that says it."""
COLUMNS = (*ABOUT, *columns.OURS)

ITEMS_AT_ONCE = 1000

WAITING = "waiting"
"""What stands in the column of states until an image has ended."""
_ENDED_WORDS = {
    ItemState.DONE: columns.DONE,
    ItemState.FAILED: columns.FAILED,
    ItemState.CANCELLED: "cancelled",
}
_FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")  # noqa: RUF001  Excel takes the wide ones, too
_BOM = "\ufeff"


def items(batch: Batch, *, by_line: bool = False) -> Iterator[Item]:
    """All images of a batch with their results, a thousand at a time: memory stays flat.

    By their place in the batch, or by their row in its sheet (those without one last).
    """
    results = Prefetch("results", Result.objects.order_by("position"))
    order = [F("line").asc(nulls_last=True)] if by_line else []
    found = batch.items.order_by(*order, "position").prefetch_related(results)
    return found.iterator(chunk_size=ITEMS_AT_ONCE)


def values(item: Item, place: Place | None = None) -> Values:
    """What our columns say of an image; ``place`` says where a result of it is found.

    Without it that is a signed link, for whatever leaves the site.
    Places of several results have spaces between them. Credits are a number. The time is when
    it ended, as ISO 8601 in UTC. What is not known is empty.
    """
    place = place or partial(links.result_link, item=item)
    results = list(item.results.all()) if item.state == ItemState.DONE else []
    has_ended = item.state in ENDED
    ended_at = item.finished_at.astimezone(UTC) if item.finished_at and has_ended else None
    return {
        columns.STATUS: _ENDED_WORDS.get(ItemState(item.state), WAITING),
        columns.RESULT: " ".join(place(result) for result in results),
        columns.ALT_TEXT: "\n".join(found.text for found in results if found.format == "txt"),
        columns.ERROR: item.error if item.state == ItemState.FAILED else "",
        columns.CREDITS: (item.price or 0) if has_ended else "",
        columns.TIME: f"{ended_at:%Y-%m-%dT%H:%M:%SZ}" if ended_at else "",
    }


def about(item: Item) -> Values:
    """Which image it is: its name, the caller's own id, and where it came from."""
    return {"name": item.name, "id": item.external_id, "source": item.source_url}


def harmless(value: str | int) -> str:
    """A value for a CSV file that no spreadsheet program takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


class Table:
    """A CSV file of rows as in `COLUMNS`, all quoted, in UTF-8 that Excel recognises."""

    def __init__(self, file: IO[str]) -> None:
        file.write(_BOM)
        self._writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        self.add(COLUMNS)

    def add(self, row: Iterable[str | int]) -> None:
        """Write one row."""
        self._writer.writerow([harmless(value) for value in row])


def row(item: Item, place: Place | None = None) -> list[str | int]:
    """An image's line in a file of its own, as in `COLUMNS`."""
    known = about(item) | values(item, place)
    return [known[column] for column in COLUMNS]
