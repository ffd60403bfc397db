"""XLSX, read in a child process that can do no harm.

A workbook is a ZIP of XML: thirty kilobytes can unpack to more than a machine holds, and a sheet
with two cells in opposite corners is a table of seventeen billion. So a child (this module, run
as a program) with little memory and time, no privileges and nothing else open reads it from its
standard input and writes rows as lines of JSON to a temporary file; what it breaks is itself.

Values come from python-calamine, which reads what programs have cached of formulas and never
evaluates one. What it doesn't tell (where hyperlinks lead, which formulas have no value, whether
there are pictures) is taken from the sheet's own XML in one pass of expat: openpyxl tells it, but
builds an object for every cell, which for large sheets takes a gigabyte and a minute.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from batches.sources.sheet_xml import Parts
from batches.sources.tabular import (
    MOST_COLUMNS,
    MOST_ROWS,
    Note,
    Tab,
    TableError,
    TableRow,
    is_address,
)
from tools.engines import confinement

_MEMORY: Final = 1536 * 2**20
_CPU_SECONDS: Final = 25
_SECONDS: Final = 60
_MOST_WRITTEN: Final = 512 * 2**20

_MOST_MEMBERS: Final = 2000
_MOST_XML: Final = 256 * 2**20
"""Bytes of unpacked XML: a hundred thousand rows of twenty columns take about a half."""
_MOST_RATIO: Final = 200
_PLAIN: Final = 2**20
"""Bytes up to which a part may be packed as tightly as it likes."""
_MOST_CELLS: Final = 40_000_000
_ROOT: Final = Path(__file__).resolve().parents[2]
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "LANG")

_slots = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))


@dataclass(frozen=True)
class Found:
    """What is known of a file before its rows are read."""

    tabs: list[Tab] = field(default_factory=list)
    tab: str = ""
    notes: list[Note] = field(default_factory=list)


def of_ole(file: IO[bytes]) -> TableError:
    """What to say of a file in Microsoft's old container: encrypted, or from before 2007."""
    file.seek(0)
    if "EncryptedPackage".encode("utf-16-le") in file.read():
        return TableError("sheet_encrypted")
    return TableError("sheet_kind", {"kind": "XLS (Excel 97–2003)"})


@contextmanager
def opened(file: BinaryIO | IO[bytes], *, tab: str) -> Iterator[tuple[Found, Iterator[TableRow]]]:
    """Have a workbook read; `tab` is the first visible one with something in it unless given.

    Raises `TableError`. The file must have a descriptor.
    """
    with tempfile.TemporaryFile() as answer:
        with _slots:
            _run(file, answer, tab=tab)
        answer.seek(0)
        found = json.loads(answer.readline())
        if "problem" in found:
            raise TableError(found["problem"], found["params"])
        yield (
            Found(
                [Tab(name, is_hidden=hidden) for name, hidden in found["tabs"]],
                found["tab"],
                [Note(code, params) for code, params in found["notes"]],
            ),
            _rows(answer),
        )


def _rows(answer: IO[bytes]) -> Iterator[TableRow]:
    for text in answer:
        line, cells, links = json.loads(text)
        yield TableRow(line, cells, {int(place): target for place, target in links.items()})


def _run(file: IO[bytes], answer: IO[bytes], *, tab: str) -> None:
    """Run the child; what ends it speaks against the file, but for once somebody else's hand."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    for _ in range(2):
        file.seek(0)
        answer.seek(0)
        answer.truncate()
        process = subprocess.Popen(
            [sys.executable, "-m", "batches.sources.workbooks", tab],
            stdin=file,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env=environment,
        )
        try:
            ended = process.wait(timeout=_SECONDS + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise TableError("sheet_too_complex") from None
        if ended == 0:
            return
        if ended > 0:
            raise RuntimeError(f"The reader of workbooks ended with {ended}.")
        if -ended in confinement.OWN_SIGNALS:
            break
    raise TableError("sheet_too_complex")


# --- the child's side -------------------------------------------------------------------------


class _Refused(Exception):
    """What is said of a workbook instead of its rows."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


def _main(tab: str) -> None:
    """Read the workbook on standard input, write what it holds to standard output."""
    import python_calamine as calamine

    "".encode("cp437")  # names in a ZIP: after this nothing can be imported
    confinement.confine(
        memory=_MEMORY, cpu_seconds=_CPU_SECONDS, seconds=_SECONDS, written=_MOST_WRITTEN
    )
    out = sys.stdout
    try:
        with open(0, "rb", closefd=False) as file:
            _write(out, cast("BinaryIO", file), calamine, tab)
    except _Refused as refused:
        problem = {"problem": refused.code, "params": refused.params}
    except MemoryError:
        problem = {"problem": "sheet_too_complex", "params": {}}
    except calamine.PasswordError:
        problem = {"problem": "sheet_encrypted", "params": {}}
    except BaseException:  # noqa: BLE001 - damaged files raise anything, and Rust its panics
        problem = {"problem": "sheet_damaged", "params": {}}
    else:
        return
    out.seek(0)
    out.truncate()
    out.write(json.dumps(problem) + "\n")
    out.flush()


def _write(out: IO[str], file: BinaryIO, calamine: Any, tab: str) -> None:
    with zipfile.ZipFile(file) as archive:
        _check(archive)
        file.seek(0)
        workbook = calamine.CalamineWorkbook.from_filelike(file)
        known = [
            one for one in workbook.sheets_metadata if one.typ == calamine.SheetTypeEnum.WorkSheet
        ]
        hidden = {one.name: one.visible != calamine.SheetVisibleEnum.Visible for one in known}
        sheet = _chosen(workbook, hidden, tab)
        parts = Parts(archive, sheet.name)
        notes: list[tuple[str, Mapping[str, Any]]] = []
        if parts.has_pictures:
            notes.append(("sheet_pictures", {}))
        if parts.without_value:
            notes.append(("sheet_formulas", {"n": parts.without_value}))
        merged = sum(1 for first, last in sheet.merged_cell_ranges or () if last[0] > first[0])
        if merged:
            notes.append(("sheet_merged", {"n": merged}))
    tabs = sorted(hidden.items(), key=lambda item: item[1])
    out.write(json.dumps({"tabs": tabs, "tab": sheet.name, "notes": notes}) + "\n")
    before = [""] * sheet.start[1]  # calamine begins with the first column that has anything
    for line, values in enumerate(sheet.iter_rows(), 1):
        cells = before + [_text(value) for value in values]
        targets = parts.links.get(line, {})
        links = {}
        for place, target in targets.items():
            if place < MOST_COLUMNS:
                cells += [""] * (place + 1 - len(cells))
                if not cells[place]:
                    cells[place] = target
                elif not is_address(cells[place]):
                    links[place] = target
        if any(cells):
            out.write(json.dumps([line, cells, links]) + "\n")
    out.flush()


def _chosen(workbook: Any, hidden: Mapping[str, bool], tab: str) -> Any:
    """The sheet that was asked for, or the first visible one that is not empty."""
    if tab and tab not in hidden:
        raise _Refused("sheet_tab_missing", tab=tab, tabs=", ".join(hidden))
    names = [tab] if tab else sorted(hidden, key=lambda name: hidden[name])
    for name in names:
        sheet = workbook.get_sheet_by_name(name)
        if sheet.start is not None:
            bottom, right = sheet.end
            if right >= MOST_COLUMNS:
                raise _Refused("sheet_too_many_columns", n=right + 1, max=MOST_COLUMNS)
            if (bottom + 1) * (right + 1) > _MOST_CELLS:
                raise _Refused("sheet_too_many_rows", max=MOST_ROWS)
            return sheet
    raise _Refused("sheet_empty")


_KINDS: Final = (
    ("xl/workbook.bin", "XLSB (Excel Binary)"),
    ("Index/Document.iwa", "Numbers (Apple)"),
    ("Index.zip", "Numbers (Apple)"),
    ("content.xml", "ODS (OpenDocument)"),
)


def _check(archive: zipfile.ZipFile) -> None:
    """Refuse what is no XLSX, and what would unpack to more than it should."""
    members = archive.infolist()
    names = {member.filename for member in members}
    for name, kind in _KINDS:
        if name in names:
            raise _Refused("sheet_kind", kind=kind)
    if "xl/workbook.xml" not in {name.lower().lstrip("/") for name in names}:
        raise _Refused("sheet_not_a_table")
    if any(member.flag_bits & 1 for member in members):
        raise _Refused("sheet_encrypted")
    xml = [one for one in members if one.filename.lower().endswith((".xml", ".rels", ".vml"))]
    if (
        len(members) > _MOST_MEMBERS
        or sum(member.file_size for member in xml) > _MOST_XML
        or any(
            member.file_size > max(_PLAIN, member.compress_size * _MOST_RATIO) for member in members
        )
    ):
        raise _Refused("sheet_too_complex")


def _text(value: Any) -> str:
    """A value as people see it, dates as in ISO 8601."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else f"{value:.15g}"
    if isinstance(value, datetime) and value.time() == time.min:
        value = value.date()
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds" if value.second else "minutes")
    if isinstance(value, time):
        return value.isoformat("seconds" if value.second else "minutes")
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return str(value)


if __name__ == "__main__":
    _main(sys.argv[1])
