"""What the columns of a table are: guessed, checked, and used to make rows of a batch.

A mapping names for columns what they are: `url`, `name`, `id`, `ignore`, or a setting of the
tool. A column that it doesn't name is ignored; its cells are in `Row.fields` all the same.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from batches import messages
from batches.sources import columns as round_trip
from batches.sources.base import Row
from batches.sources.tabular import Table, TableRow, is_address
from tools.base import Tool

URL: Final = "url"
NAME: Final = "name"
ID: Final = "id"
IGNORE: Final = "ignore"
TARGETS: Final = (URL, NAME, ID, IGNORE)
"""What a column may be besides a setting."""

LONGEST_ID: Final = 255
LONGEST_NAME: Final = 1000

_WORDS: Final = {
    NAME: ("name", "file name", "image name", "product name", "title", "product", "product title"),
    ID: (
        *("id", "sku", "product id", "item id", "external id", "image id", "handle", "asin"),
        *("ean", "gtin", "upc", "mpn", "barcode", "article", "article number", "item number"),
        *("part number", "variant sku", "reference number"),
    ),
    URL: (
        *(
            "url",
            "image url",
            "image",
            "image src",
            "image link",
            "link",
            "src",
            "photo",
            "picture",
        ),
        *("address", "image address", "photo url", "picture url", "source url", "main image"),
    ),
}
"""What people call such columns, in words without signs; the first match of a table counts."""
_PROMPTS: Final = ("prompt", "scene_description")
"""Settings that a column called "prompt" may mean; tools have one of them at most."""
_PICTURES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".heic", ".bmp", ".tif", ".tiff"}
)


@dataclass(frozen=True)
class MappingError:
    """What is wrong with a mapping: the column (empty: all of it), a code, and words."""

    column: str
    code: str
    detail: str


def guess(table: Table, rows: Sequence[TableRow], tool: Tool) -> dict[str, str]:
    """What each column seems to be, from its name and from the first rows."""
    found = dict.fromkeys(table.columns, IGNORE)
    open_ = {
        name: place for place, name in enumerate(table.columns) if not round_trip.is_ours(name)
    }
    settings = _setting_names(tool)
    taken: set[str] = set()
    for name, place in list(open_.items()):
        setting = settings.get(_plain(name))
        if setting and setting not in taken and _suits(tool, setting, _values(rows, place)):
            found[name] = setting
            taken.add(setting)
            del open_[name]
    if address := _address_column(open_, rows):
        found[address] = URL
        del open_[address]
    for target in (ID, NAME):
        named = next((name for name in open_ if _plain(name) in _WORDS[target]), None)
        if named is not None:
            found[named] = target
            del open_[named]
    return found


def check(mapping: Mapping[str, str], table: Table, tool: Tool) -> list[MappingError]:
    """Everything that is wrong with a mapping; nothing is right without a column of addresses."""
    settings = tool.Settings().fields
    errors: list[MappingError] = []
    owners: dict[str, str] = {}
    for column, target in mapping.items():
        if column not in table.columns:
            known = ", ".join(table.columns)
            detail = _("The table has no such column. It has: {known}.").format(known=known)
            errors.append(MappingError(column, "unknown_column", detail))
        elif target not in TARGETS and target not in settings:
            known = ", ".join([*TARGETS, *settings])
            detail = _("“{target}” is nothing that a column can be. Use one of: {known}.").format(
                target=target, known=known
            )
            errors.append(MappingError(column, "unknown_target", detail))
        elif target != IGNORE and round_trip.is_ours(column):
            detail = _("We wrote this column ourselves, after an earlier run. Ignore it.")
            errors.append(MappingError(column, "own_column", detail))
        elif target != IGNORE and target in owners:
            detail = _("“{other}” is used for this already. Use one column only.").format(
                other=owners[target]
            )
            errors.append(MappingError(column, "target_taken", detail))
        else:
            owners[target] = column
    if URL not in owners:
        detail = _("No column has the addresses of the images. Choose the one that has.")
        errors.append(MappingError("", "no_url", detail))
    return errors


def rows(
    table_rows: Iterable[TableRow], columns: Sequence[str], mapping: Mapping[str, str], tool: Tool
) -> Iterator[Row]:
    """The rows of a batch, one for each of the table; those that are done already say so.

    Values of settings stay texts, which the tool's own settings judge; blank cells leave the
    batch's setting as it is.
    """
    places = {
        target: place
        for place, column in enumerate(columns)
        if (target := mapping.get(column, IGNORE)) != IGNORE
    }
    settings = {target: place for target, place in places.items() if target not in TARGETS}
    choices = _choices(tool)
    status = next((place for place, name in enumerate(columns) if _is_status(name)), None)
    for row in table_rows:
        cells = row.cells + [""] * (len(columns) - len(row.cells))
        url = _address(cells, row.links, places[URL]) if URL in places else ""
        own_id = cells[places[ID]].strip() if ID in places else ""
        yield Row(
            url=url,
            name=cells[places[NAME]].strip()[:LONGEST_NAME] if NAME in places else "",
            external_id=own_id[:LONGEST_ID],
            settings={
                name: choices.get(name, {}).get(value.casefold(), value)
                for name, place in settings.items()
                if (value := cells[place].strip())
            },
            problems=_problems(row, url, own_id),
            line=row.line,
            fields=dict(zip(columns, cells, strict=False)),
            is_done=status is not None and round_trip.is_done(cells[status]),
        )


def _problems(row: TableRow, url: str, own_id: str) -> tuple[tuple[str, str], ...]:
    if row.problem:
        return (("", messages.text(row.problem)),)
    problems = []
    if not url:
        problems.append((URL, _("There is no address in this row.")))
    if len(own_id) > LONGEST_ID:
        detail = _("An id has at most {max} characters.").format(max=LONGEST_ID)
        problems.append((ID, detail))
    return tuple(problems)


def _address(cells: Sequence[str], links: Mapping[int, str], place: int) -> str:
    """The address in a cell, or the one that it leads to."""
    text = cells[place].strip()
    return text if is_address(text) else links.get(place, text)


def _is_status(column: str) -> bool:
    return column.strip().casefold() == round_trip.STATUS


def _plain(name: str) -> str:
    """A column's name in words: `Image_URL*` is "image url"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"\w+", spaced.replace("_", " ").casefold()))


def _setting_names(tool: Tool) -> dict[str, str]:
    """What a column may be called to be a setting."""
    fields = tool.Settings().fields
    names = {_plain(str(field.label)): name for name, field in fields.items()}
    names |= {_plain(name): name for name in names.values()}
    for name in _PROMPTS:
        if name in fields:
            names.setdefault("prompt", name)
    return names


def _choices(tool: Tool) -> dict[str, dict[str, Any]]:
    """For each setting with choices, its values by what people may write for them."""
    return {
        name: {
            **{str(label).casefold(): value for value, label in field.choices.items()},
            **{str(value).casefold(): value for value in field.choices},
        }
        for name, field in tool.Settings().fields.items()
        if isinstance(field, serializers.ChoiceField)
    }


def _values(rows: Iterable[TableRow], place: int) -> list[str]:
    cells = (row.cells[place].strip() for row in rows if place < len(row.cells))
    return [cell for cell in cells if cell]


def _suits(tool: Tool, setting: str, values: Sequence[str]) -> bool:
    """Whether most of the values are such that the setting takes them."""
    field = tool.Settings().fields[setting]
    known = _choices(tool).get(setting, {})
    right = 0
    for value in values:
        try:
            field.run_validation(known.get(value.casefold(), value))
        except ValidationError:
            continue
        right += 1
    return right * 2 >= len(values)


def _address_column(open_: Mapping[str, int], rows: Sequence[TableRow]) -> str | None:
    """The column with the most addresses, those of images before others; else one called so."""
    scores: dict[str, tuple[int, int, bool]] = {}
    for name, place in open_.items():
        found = [_address(row.cells, row.links, place) for row in rows if place < len(row.cells)]
        addresses = [text for text in found if is_address(text)]
        pictures = sum(map(_is_picture, addresses))
        if addresses:
            scores[name] = (pictures, len(addresses), _plain(name) in _WORDS[URL])
    if scores:
        return max(scores, key=lambda name: scores[name])
    return next((name for name in open_ if _plain(name) in _WORDS[URL]), None)


def _is_picture(address: str) -> bool:
    try:
        return PurePosixPath(urlsplit(address).path).suffix.lower() in _PICTURES
    except ValueError:
        return False
