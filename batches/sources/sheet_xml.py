"""What the XML inside an XLSX says of a sheet besides its values. For the guarded child only."""

import posixpath
import re
import zipfile
from collections.abc import Callable
from typing import Final
from xml.parsers import expat

from batches.sources.tabular import is_address

_ADDRESS: Final = re.compile(
    r'^\s*=?\s*(?:_xlfn\.)?(?:HYPERLINK|IMAGE)\(\s*"((?:[^"]|"")*)"\s*[,;)]', re.IGNORECASE
)
"""A formula that begins with a whole literal; one that puts an address together does not."""
_CELL: Final = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
_OF_INTEREST: Final = re.compile(rb"hyperlinks|<f[\s/>]|:f[\s/>]")

Start = Callable[[str, dict[str, str]], None]


class Parts:
    """One sheet's relations, hyperlinks and formulas. Raises what expat and zipfile raise."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.links: dict[int, dict[int, str]] = {}
        """Row (1-based) and column (from 0) to where the cell leads."""
        self.without_value = 0
        """Formulas that no program has calculated."""
        self.has_pictures = False
        self._archive = archive
        self._names = set(archive.namelist())
        path = self._path(name)
        if path is None:
            return
        folder, file = posixpath.split(path)
        relations = self._relations(f"{folder}/_rels/{file}.rels")
        media = any(one.lower().startswith("xl/media/") for one in self._names)
        drawn = any(kind == "drawing" for kind, _id, _target in relations)
        in_cells = any("richvaluerel" in one.lower() for one in self._names)
        self.has_pictures = media and (drawn or in_cells)
        if self._is_of_interest(path):
            targets = {own: target for kind, own, target in relations if kind == "hyperlink"}
            cells = _Cells(targets)
            self._parse(path, cells.start, cells.end, cells.characters)
            self.links, self.without_value = cells.links, cells.without_value

    def _path(self, name: str) -> str | None:
        """The part that holds a sheet."""
        wanted: list[str] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            if _local(tag) == "sheet" and attributes.get("name") == name:
                wanted.append(_own_id(attributes))

        self._parse("xl/workbook.xml", start)
        for _kind, own, target in self._relations("xl/_rels/workbook.xml.rels"):
            path = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
            if own in wanted and path in self._names:
                return path
        return None

    def _relations(self, path: str) -> list[tuple[str, str, str]]:
        """Kind, id and target of each relation that a part has."""
        found: list[tuple[str, str, str]] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            if _local(tag) == "Relationship":
                kind = attributes.get("Type", "").rsplit("/", 1)[-1]
                found.append((kind, attributes.get("Id", ""), attributes.get("Target", "")))

        if path in self._names:
            self._parse(path, start)
        return found

    def _is_of_interest(self, path: str) -> bool:
        """Whether there are hyperlinks or formulas at all; most sheets have none."""
        tail = b""
        with self._archive.open(path) as part:
            while block := part.read(2**20):
                if _OF_INTEREST.search(tail + block):
                    return True
                tail = block[-16:]
        return False

    def _parse(
        self,
        path: str,
        start: Start,
        end: Callable[[str], None] | None = None,
        characters: Callable[[str], None] | None = None,
    ) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = characters
        parser.StartDoctypeDeclHandler = _refuse_doctype
        with self._archive.open(path) as part:
            parser.ParseFile(part)


class _Cells:
    """Listens to a sheet's XML for hyperlinks and formulas."""

    def __init__(self, targets: dict[str, str]) -> None:
        self.links: dict[int, dict[int, str]] = {}
        self.without_value = 0
        self._targets = targets
        self._cell = ""
        self._formula: list[str] | None = None
        self._has_formula = self._has_value = self._inside_value = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        if name == "c":
            self._cell = attributes.get("r", "")
            self._has_formula = self._has_value = False
        elif name == "f":
            self._formula, self._has_formula = [], True
        elif name in {"v", "t"}:
            self._inside_value = True
        elif name == "hyperlink":
            self._link(attributes.get("ref", ""), self._targets.get(_own_id(attributes), ""))

    def end(self, tag: str) -> None:
        name = _local(tag)
        if name == "f":
            literal = _ADDRESS.match("".join(self._formula or ()))
            self._formula = None
            if literal and self._link(self._cell, literal[1].replace('""', '"')):
                self._has_value = True
        elif name in {"v", "t"}:
            self._inside_value = False
        elif name == "c" and self._has_formula and not self._has_value:
            self.without_value += 1

    def characters(self, text: str) -> None:
        if self._formula is not None:
            self._formula.append(text)
        elif self._inside_value:
            self._has_value = True

    def _link(self, ref: str, target: str) -> bool:
        """Note where a cell, or the first of a range, leads; only the web is of interest."""
        place = _CELL.match(ref)
        if not place or not is_address(target):
            return False
        column = 0
        for letter in place[1]:
            column = column * 26 + ord(letter) - ord("A") + 1
        self.links.setdefault(int(place[2]), {})[column - 1] = target.strip()
        return True


def _own_id(attributes: dict[str, str]) -> str:
    return next((value for key, value in attributes.items() if _local(key) == "id"), "")


def _refuse_doctype(*_: object) -> None:
    raise ValueError("A sheet has no document type.")


def _local(name: str) -> str:
    return name.rpartition(":")[2]
