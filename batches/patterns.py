"""How results are named: a pattern of words and placeholders, or after their images.

    {name}-{n:03}          front-001
    {Category}/{sku}       Shoes/A-17

A name here is a stem: a path without its ending, which comes with the result. Whatever a value
holds, it makes no folder and nothing that a file system trips over.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.utils.translation import gettext as _

from batches.names import Names, clean_name, folded, split_name

PLACEHOLDERS = ("name", "id", "sku", "n", "tool", "date", "ext")
"""What every pattern may hold; the columns of a sheet come on top."""
LONGEST = 255
MOST_FOLDERS = 8

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"n:0?([1-9])")
_ENDING = re.compile(r"\.?\{ext\}$")
_SEPARATORS = "[-_ .]"
_GAP = "\0"
"""Stands for a placeholder without a value, until the separators around it are tidied."""
_GAP_AT_EDGE = re.compile(
    f"^(?:{_SEPARATORS}*{_GAP})+{_SEPARATORS}*|{_SEPARATORS}*(?:{_GAP}{_SEPARATORS}*)+$"
)
_GAP_INSIDE = re.compile(f"({_SEPARATORS}?){_SEPARATORS}*{_GAP}{_SEPARATORS}*")


class PatternInvalid(Exception):
    """A pattern that nothing can be named by; ``detail`` says why, for people."""

    code = "pattern_invalid"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NameTaken(Exception):
    """Two images whose results would be saved as one file."""

    code = "name_conflict"

    def __init__(self, stem: str, *, first: int, second: int) -> None:
        super().__init__(f"rows {first} and {second}: {stem}")
        self.params: dict[str, Any] = {"name": stem, "first": first, "second": second}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one image when its result is named."""

    name: str
    """Its own, with or without an ending."""
    number: int
    """1-based place in the batch."""
    tool: str
    day: date
    external_id: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The cells of its row, by column."""
    folder: str = ""
    """Where it lay below what was chosen."""


class Pattern:
    """A pattern that makes sense. Raises `PatternInvalid`.

    `columns` are those of the sheet; upper and lower case are the same.
    """

    def __init__(self, text: str, columns: Collection[str] = ()) -> None:
        text = text.strip().replace("\\", "/")
        if len(text) > LONGEST:
            raise PatternInvalid(_("A name pattern has at most {n} characters.").format(n=LONGEST))
        self._columns = {column.strip().casefold() for column in columns}
        body = _ENDING.sub("", text)
        for inside in _PLACEHOLDER.findall(body):
            self._check(inside.strip(), columns)
        if set("{}") & set(_PLACEHOLDER.sub("", body)):
            raise PatternInvalid(_("A brace is left over. Write placeholders as {name}."))
        self._parts = [part for part in body.split("/") if part.strip(" .")]
        if not self._parts:
            raise PatternInvalid(_("The pattern is empty. Use {name}, for example."))
        if len(self._parts) > MOST_FOLDERS + 1:
            raise PatternInvalid(_("At most {n} folders, one in the other.").format(n=MOST_FOLDERS))

    def stem(self, facts: Facts) -> str:
        """The path of one result, without its ending."""
        *folders, name = (self._filled(part, facts) for part in self._parts)
        places = [folder for folder in folders if folder] if folders else _folders(facts.folder)
        return "/".join([*places, name or str(facts.number)])

    def _check(self, inside: str, columns: Collection[str]) -> None:
        if inside.casefold() == "ext":
            raise PatternInvalid(_("{ext} belongs at the end: results get their ending there."))
        if inside.casefold() in {*PLACEHOLDERS, *self._columns} or _NUMBER.fullmatch(inside):
            return
        own = [name for name in sorted(columns) if name.strip().casefold() not in PLACEHOLDERS]
        known = ", ".join(f"{{{name}}}" for name in [*PLACEHOLDERS, *own])
        raise PatternInvalid(
            _("There is no {unknown}. Use one or more of: {known}.").format(
                unknown=f"{{{inside}}}", known=known
            )
        )

    def _filled(self, part: str, facts: Facts) -> str:
        def value(match: re.Match[str]) -> str:
            text = _value(match[1].strip(), facts)
            return re.sub(r"[/\\\s]+", lambda gap: " " if gap[0].isspace() else "-", text) or _GAP

        filled = _PLACEHOLDER.sub(value, part.replace(_GAP, ""))
        filled = _GAP_AT_EDGE.sub("", filled)
        return _clean(_GAP_INSIDE.sub(r"\1", filled))


class Namer:
    """Names the results of one batch, one after the other. Raises `PatternInvalid`.

    What somebody has named, by a pattern or in a sheet, must not fall on one name; what is named
    after its image is numbered where it does.
    """

    def __init__(self, pattern: str, *, columns: Collection[str] = ()) -> None:
        self._pattern = Pattern(pattern, columns) if pattern.strip() else None
        self._names = Names()
        self._given: dict[str, int] = {}

    def meet(self, stem: str, *, row: int) -> None:
        """Know of a name that was given before."""
        self._given.setdefault(folded(stem), row)
        self._names.unique_path(f"{stem}.x")

    def stem(self, facts: Facts, *, row: int, is_given: bool = False) -> str:
        """The path of one result, without its ending.

        `row` is where people find the image; `is_given` says that somebody has chosen its name.
        Raises `NameTaken`.
        """
        if self._pattern:
            stem = self._pattern.stem(facts)
        else:
            own = _clean(split_name(facts.name)[0]) or str(facts.number)
            stem = "/".join([*_folders(facts.folder), own])
        if self._pattern or is_given:
            first = self._given.setdefault(folded(stem), row)
            if first != row:
                raise NameTaken(stem, first=first, second=row)
        # With an ending, as the file will have one: what is after a dot in a stem is none.
        return self._names.unique_path(f"{stem}.x").removesuffix(".x")


def _value(placeholder: str, facts: Facts) -> str:
    """What stands for a placeholder. A sheet's column goes before what is meant by its name."""
    wanted = placeholder.casefold()
    cells = {column.strip().casefold(): cell for column, cell in facts.fields.items()}
    if wanted in cells:
        return str(cells[wanted]).strip()
    if number := _NUMBER.fullmatch(placeholder):
        return f"{facts.number:0{number[1]}}"
    return {
        "name": split_name(facts.name)[0],
        "id": facts.external_id,
        "sku": facts.external_id,
        "n": str(facts.number),
        "tool": facts.tool,
        "date": facts.day.isoformat(),
    }.get(wanted, "")


def _folders(path: str) -> list[str]:
    parts = [_clean(part) for part in path.replace("\\", "/").split("/")]
    return [part for part in parts if part][:MOST_FOLDERS]


def _clean(part: str) -> str:
    """One part of a path, safe everywhere; empty where nothing is left of it."""
    return clean_name(part) if part.strip(" .") else ""
