"""A batch's results in the file that it came from, and that file taken in again."""

import csv
import io
from datetime import UTC, datetime
from urllib.parse import urlsplit

import openpyxl
import pytest
import python_calamine
from django.urls import resolve
from django.utils import timezone

from batches import links, sheets
from batches.exports.base import ExportError, FileExporter
from batches.exports.spreadsheet import XLSM, CsvExporter, XlsxExporter
from batches.models import Delivery, Item, Result
from batches.sources import columns, mapping, tables
from batches.states import BatchState, ItemState
from tests.batches.test_workbook import parts, rich_workbook
from tests.factories import bare_batch, bare_item
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool")

EXPORTERS = {exporter.slug: exporter for exporter in (XlsxExporter(), CsvExporter())}


@pytest.fixture
def rich() -> bytes:
    return rich_workbook()


TABLE = "url,sku\n" + "".join(f"https://a.example/{n}.jpg,00{n}\n" for n in range(1, 11))


def made_of(owner, data: bytes, name: str, *, header: int, tab: str = "", line: int = 2):
    """A batch of the ten rows of a file, of which the third and the sixth have failed."""
    sheet = sheets.keep(owner, io.BytesIO(data), name)
    sheet.tab, sheet.header = tab, header
    sheet.save()
    batch = bare_batch(owner, state=BatchState.FINISHED, name="Autumn", sheet=sheet)
    for number in range(10):
        has_failed = number in (2, 5)
        item = bare_item(
            batch,
            state=ItemState.FAILED if has_failed else ItemState.DONE,
            position=9 - number,  # the file's order counts, not the batch's
            line=line + number,
            error_code="source_not_found" if has_failed else "",
            price=None if has_failed else 2,
            finished_at=datetime(2026, 11, 27, 9, 30, tzinfo=UTC),
        )
        if not has_failed:
            Result.objects.create(item=item, key="x", format="png", bytes=1, sha256="0" * 64)
    return batch


def exported(batch, to: str):
    exporter: FileExporter = EXPORTERS[to]
    out = io.BytesIO()
    made = exporter.make(Delivery(batch=batch, to=to), out)
    return made, out.getvalue()


def taken_in(data: bytes, name: str, *, header: int, tab: str = "") -> list:
    """The rows of a file, as an import has them."""
    tool = registry.get("fake")
    table, first = tables.look(io.BytesIO(data), name=name, tab=tab, header=header)
    told = mapping.guess(table, first, tool)
    read = tables.read(io.BytesIO(data), name=name, tab=tab, header=header)
    return list(mapping.rows(read, table.columns, told, tool))


def test_a_workbook_comes_back_with_eight_done_and_two_to_do(alice, rich):
    tab = "Catalogue & more"
    batch = made_of(alice, rich, "Autumn.xlsx", header=3, tab=tab, line=4)

    made, data = exported(batch, "xlsx")

    before, after = parts(rich), parts(data)
    assert [name for name in before if before[name] != after[name]] == ["xl/worksheets/sheet1.xml"]
    assert made.filename == "Autumn.xlsx"
    rows = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_name(tab)
    first, third = (rows.to_python(skip_empty_area=False)[at][5:] for at in (3, 5))
    item = Item.objects.get(line=4)
    assert first[0] == "done"
    token = resolve(urlsplit(first[1]).path).kwargs["token"]
    assert links.opened(token, now=timezone.now()).item == item
    assert first[2:] == ["", "", 2.0, "2026-11-27T09:30:00Z"]
    assert third == ["failed", "", "", "There is nothing at this address (404).", 0.0, third[5]]
    again = taken_in(data, "Autumn.xlsx", header=3, tab=tab)
    assert [row.line for row in again if not row.is_done] == [6, 9]
    assert len(again) == 10


def test_a_csv_file_comes_back_with_eight_done_and_two_to_do(alice):
    batch = made_of(alice, TABLE.encode(), "autumn.csv", header=1)

    made, data = exported(batch, "csv")

    assert made.filename == "autumn.csv"
    ours = len(columns.OURS)
    bare = [",".join(row[:-ours]) for row in csv.reader(io.StringIO(data.decode()))]
    assert "\n".join([*bare, ""]) == TABLE
    again = taken_in(data, "autumn.csv", header=1)
    assert [row.line for row in again if not row.is_done] == [4, 7]
    assert len(again) == 10


def test_rows_that_were_not_run_keep_what_they_had(alice):
    data = b"url,n,studio_status\nhttps://a.example/1.jpg,1,done\nhttps://a.example/2.jpg,2,\n"
    batch = made_of(alice, data, "a.csv", header=1)
    batch.items.exclude(line=3).delete()

    _made, out = exported(batch, "csv")

    lines = out.decode().splitlines()
    assert lines[1] == "https://a.example/1.jpg,1,done"
    assert lines[2].startswith('https://a.example/2.jpg,2,"done","http')


def test_a_batch_of_another_kind_gets_a_new_file(alice):
    batch = bare_batch(alice, name="Spring/1", state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.DONE, price=1, external_id="=1+1")
    for position, text in enumerate(["=A red shoe", "\x01A boot"]):
        Result.objects.create(
            item=item, position=position, format="txt", text=text, bytes=1, sha256="0" * 64
        )
    bare_item(batch, state=ItemState.RUNNING, position=1)

    (workbook, xlsx), (table, plain) = exported(batch, "xlsx"), exported(batch, "csv")

    assert (workbook.filename, table.filename) == ("Spring-1.xlsx", "Spring-1.csv")
    page = openpyxl.load_workbook(io.BytesIO(xlsx)).active
    rows = [[cell.value for cell in row] for row in page.iter_rows()]
    assert rows[0] == ["name", "id", "source", *columns.OURS]
    assert rows[1][1:4] == ["=1+1", "http://a.example/", "done"]
    assert page["B2"].data_type == "s"
    assert len(rows[1][4].split(" ")) == 2
    assert rows[1][5] == "=A red shoe\nA boot"
    assert rows[1][7] == 1
    assert rows[2][3] == "waiting"
    lines = list(csv.reader(io.StringIO(plain.decode("utf-8-sig"), newline="")))
    assert lines[1][1] == "'=1+1"
    assert lines[1][5] == "'=A red shoe\n\x01A boot"
    assert [row.is_done for row in taken_in(xlsx, "a.xlsx", header=1)] == [True, False]


def test_either_kind_of_file_is_offered_for_either(alice):
    batch = made_of(alice, TABLE.encode(), "autumn.csv", header=1)

    made, data = exported(batch, "xlsx")

    assert made.filename == "Autumn.xlsx"
    page = openpyxl.load_workbook(io.BytesIO(data)).active
    assert [cell.value for cell in page["D"]].count("done") == 8


def test_a_mere_list_of_addresses_gets_a_new_table(alice):
    lines = b"http://a.example/w_1,h_2\nhttp://a.example/w_3,h_4\n"
    batch = made_of(alice, lines, "list.csv", header=1)

    made, _data = exported(batch, "csv")

    assert made.filename == "Autumn.csv"


def test_a_workbook_with_macros_says_so(alice, rich):
    batch = made_of(alice, rich, "a.xlsm", header=3, tab="Catalogue & more", line=4)

    made, _data = exported(batch, "xlsx")

    assert (made.filename, made.content_type) == ("a.xlsm", XLSM)


def test_a_file_that_is_gone_is_said_to_be(alice):
    batch = made_of(alice, TABLE.encode(), "autumn.csv", header=1)
    batch.sheet.key = "gone"

    with pytest.raises(ExportError) as refused:
        exported(batch, "csv")

    assert refused.value.code == "sheet_file_missing"
