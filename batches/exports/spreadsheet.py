"""Results as a spreadsheet: written into a copy of the file that the batch came from.

Where the batch came from somewhere else (addresses, uploads, a Google Sheet, a file of the other
kind), a new file lists its images. Either can be imported again: what is done stays done.
"""

from collections.abc import Iterator
from io import TextIOWrapper
from itertools import groupby, takewhile
from typing import IO, BinaryIO, cast

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from rest_framework import serializers

from batches import sheets
from batches.exports import archive, report, separated, workbook
from batches.exports.base import ExportError, MadeFile
from batches.formats import XLSM, XLSX
from batches.models import Batch, Delivery, Item, Sheet, SheetKind
from batches.names import clean_name, split_name
from batches.sources import columns

CSV = "text/csv; charset=utf-8"


class NoOptions(serializers.Serializer):
    """There is nothing to choose."""


class XlsxExporter:
    """A copy of the batch's workbook, or a new one."""

    slug = "xlsx"
    Options = NoOptions

    def make(self, delivery: Delivery, into: IO[bytes]) -> MadeFile:
        """Write the file. Raises `ExportError` when something in the workbook would be lost."""
        batch = delivery.batch
        sheet = batch.sheet
        if not sheet or sheet.kind != SheetKind.XLSX:
            _new_workbook(batch, into)
            return MadeFile(filename=archive.filename(batch, ".xlsx"), content_type=XLSX)
        with _opened(sheet) as source:
            workbook.fill(
                source,
                into,
                tab=sheet.tab,
                header=sheet.header,
                names=columns.OURS,
                rows=_rows(batch),
            )
        has_macros = split_name(sheet.name)[1].casefold() == ".xlsm"
        return MadeFile(filename=clean_name(sheet.name), content_type=XLSM if has_macros else XLSX)


class CsvExporter:
    """A copy of the batch's CSV file, or a new one."""

    slug = "csv"
    Options = NoOptions

    def make(self, delivery: Delivery, into: IO[bytes]) -> MadeFile:
        """Write the file."""
        batch = delivery.batch
        sheet = batch.sheet
        if sheet and sheet.kind == SheetKind.CSV:
            with _opened(sheet) as source:
                if separated.has_columns(source):
                    separated.fill(
                        source, into, header=sheet.header, names=columns.OURS, rows=_rows(batch)
                    )
                    return MadeFile(filename=clean_name(sheet.name), content_type="text/csv")
        lines = TextIOWrapper(cast("BinaryIO", into), encoding="utf-8", newline="")
        table = report.Table(lines)
        for item in report.items(batch, by_line=True):
            table.add(report.row(item))
        lines.flush()
        lines.detach()
        return MadeFile(filename=archive.filename(batch, ".csv"), content_type=CSV)


def _opened(sheet: Sheet) -> IO[bytes]:
    try:
        return sheets.open_file(sheet)
    except FileNotFoundError:
        raise ExportError("sheet_file_missing", name=sheet.name) from None


def _rows(batch: Batch) -> Iterator[report.Row]:
    """What our columns say of each row that became an image, in the order of the sheet."""

    def line(item: Item) -> int:
        return item.line or 0

    for number, items in groupby(takewhile(line, report.items(batch, by_line=True)), line):
        *_, last = items
        yield number, report.values(last)


def _new_workbook(batch: Batch, into: IO[bytes]) -> None:
    book = Workbook(write_only=True)
    page = book.create_sheet("Results")
    page.freeze_panes = "A2"
    page.append(report.COLUMNS)

    def cell(value: str | int) -> object:
        if isinstance(value, int):
            return value
        text = workbook.cell_text(value)
        if not text.startswith("="):
            return text
        plain = WriteOnlyCell(page, text)
        plain.data_type = "s"  # else it would be a formula
        return plain

    for item in report.items(batch, by_line=True):
        page.append([cell(value) for value in report.row(item)])
    book.save(into)
