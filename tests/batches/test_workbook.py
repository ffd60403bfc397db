"""Our columns in a copy of a workbook: everything else in it stays as it was, to the byte."""

import io
import re
import zipfile
from functools import cache
from pathlib import Path

import openpyxl
import pytest
import python_calamine
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.drawing.image import Image
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.datavalidation import DataValidation

from batches.exports import workbook
from batches.exports.base import ExportError
from batches.sources import columns, tables
from tests import workbooks
from tests.factories import picture

OUR_CELL = r"<c r=\"[{letters}](?!1\")\d+\"[^>]*?(?:/>|>.*?</c>)"


def values(status: str, **more) -> dict:
    named = {f"studio_{name}": value for name, value in more.items()}
    return dict.fromkeys(columns.OURS, "") | {columns.STATUS: status} | named


def filled(data: bytes, rows, *, tab: str = "", header: int | None = 1) -> bytes:
    out = io.BytesIO()
    workbook.fill(io.BytesIO(data), out, tab=tab, header=header, names=columns.OURS, rows=rows)
    return out.getvalue()


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def seen(data: bytes, tab: str | int = 0) -> list[list]:
    """The cells as a spreadsheet program shows them."""
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    name = book.sheet_names[tab] if isinstance(tab, int) else tab
    return book.get_sheet_by_name(name).to_python(skip_empty_area=False)


def without_ours(sheet: bytes, letters: str) -> str:
    """A sheet's text without the cells of these columns."""
    return re.sub(OUR_CELL.format(letters=letters), "", sheet.decode(), flags=re.DOTALL)


@cache
def rich_workbook() -> bytes:
    """A workbook with all that people put in one; its table has columns A to E from row 3 on."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "Catalogue & more"
    page["A1"] = "Autumn catalogue"
    page.merge_cells("A1:H1")
    page.append([])
    page.append(["Image", "SKU", "Price", "With tax", "Note"])
    for number in range(1, 11):
        row = [f"https://a.example/{number}.jpg", f"00{number}", number / 3, None, "é ü 鞋"]
        page.append(row)
        page[f"D{number + 3}"] = f"=C{number + 3}*1.19"
        page[f"A{number + 3}"].hyperlink = f"https://a.example/{number}.jpg"
    page["C15"] = "=SUM(C4:C13)"
    for cell in page["A3:E3"][0]:
        cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor="FFEEAA")
    page["B5"].comment = Comment("Ask Zoë", "Alice")
    page.conditional_formatting.add("C4:C13", CellIsRule("lessThan", ["1"], font=Font(italic=True)))
    rule = DataValidation(type="list", formula1='"a,b"')
    rule.add("E4:E13")
    page.add_data_validation(rule)
    page.column_dimensions["B"].hidden = True
    page.auto_filter.ref = "A3:E13"
    page.freeze_panes = "A4"
    page.protection.sheet = True
    chart = BarChart()
    chart.add_data(Reference(page, min_col=3, min_row=3, max_row=13), titles_from_data=True)
    page.add_chart(chart, "M2")
    page.add_image(Image(io.BytesIO(picture())), "M20")
    book.create_sheet("Other")["A1"] = "untouched"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.fixture
def rich() -> bytes:
    return rich_workbook()


TEN = [
    (line, values("failed" if line in (6, 9) else "done", credits=2, result="https://s.example/1"))
    for line in range(4, 14)
]


def test_everything_else_in_a_rich_workbook_stays_as_it_was(rich):
    made = filled(rich, TEN, tab="Catalogue & more", header=3)

    before, after = parts(rich), parts(made)
    assert list(after) == list(before)
    assert [name for name in before if before[name] != after[name]] == ["xl/worksheets/sheet1.xml"]
    old, new = (each["xl/worksheets/sheet1.xml"].decode() for each in (before, after))
    assert '<dimension ref="A1:H15"/>' in old
    restored = without_ours(new.encode(), "F-K").replace("A1:K15", "A1:H15")
    assert restored == old
    assert {"xl/charts/chart1.xml", "xl/media/image1.png"} <= set(after)


def test_our_cells_hold_what_came_of_each_row(rich):
    made = filled(rich, TEN, tab="Catalogue & more", header=3)

    rows = seen(made)
    assert rows[2] == ["Image", "SKU", "Price", "With tax", "Note", *columns.OURS]
    assert rows[3][5:] == ["done", "https://s.example/1", "", "", 2.0, ""]
    assert [row[5] for row in rows[3:13]].count("done") == 8
    assert len(rows) == 13
    page = openpyxl.load_workbook(io.BytesIO(made))["Catalogue & more"]
    assert page["F3"].font.b
    assert page["F3"].fill.fgColor.rgb == "00FFEEAA"
    assert page["F4"].data_type == "s"


def test_a_second_round_fills_the_same_columns(rich):
    once = filled(rich, TEN, tab="Catalogue & more", header=3)

    twice = filled(
        once, [(6, values("done", credits=3, error=""))], tab="Catalogue & more", header=3
    )

    before, after = seen(once), seen(twice)
    assert after[5][5:] == ["done", "", "", "", 3.0, ""]
    assert [row for at, row in enumerate(after) if at != 5] == [
        row for at, row in enumerate(before) if at != 5
    ]


def test_the_same_columns_are_found_where_people_have_moved_them():
    names = "".join(
        workbooks.inline(f"{'CAB'[at]}1", n)
        for at, n in enumerate(["url", "STUDIO_STATUS ", "sku"])
    )
    row = '<row r="2"><c r="A2" s="4" t="s"><v>1</v></c><c r="B2"/><c r="C2"><v>5</v></c></row>'
    cells = sorted(re.findall(r"<c.*?</c>", names))
    data = workbooks.archive(
        workbooks.parts(workbooks.sheet(f'<row r="1">{"".join(cells)}</row>{row}'))
    )

    made = filled(data, [(2, values("done"))])

    text = parts(made)["xl/worksheets/sheet1.xml"].decode()
    assert '<c r="A2" s="4" t="inlineStr"><is><t>done</t></is></c><c r="B2"/>' in text
    assert seen(made)[0][3:] == list(columns.OURS[1:])


@pytest.mark.parametrize(
    ("data", "tab", "header", "letters"),
    [
        (workbooks.excel(), "Catalogue & more", 3, "H-M"),
        (workbooks.libreoffice(), "A", None, "D-I"),
    ],
)
def test_workbooks_of_both_programs_keep_every_other_byte(data, tab, header, letters):
    rows = [(line, values("done")) for line in (2, 3, 5)]

    made = filled(data, rows, tab=tab, header=header)

    before, after = parts(data), parts(made)
    (changed,) = [part for part in before if before[part] != after[part]]
    assert changed == "xl/worksheets/sheet1.xml"

    def bare(text: str) -> str:
        return re.sub(r' spans="[^"]*"|<dimension[^>]*>|<row r="5"></row>', "", text)

    assert bare(without_ours(after[changed], letters)) == bare(before[changed].decode())
    column = ord(letters[0]) - ord("A")
    assert [row[column] for row in seen(made, tab)[4:5]] == ["done"]


def test_a_workbook_that_libreoffice_wrote_comes_back_with_our_columns_only():
    """Ten rows with formulas, a link, a picture and a chart, saved by LibreOffice 7.4."""
    data = (Path(__file__).parents[1] / "files/made-by-libreoffice-7.4.xlsx").read_bytes()
    rows = [(line, values("done")) for line in range(2, 10)]
    rows += [(line, values("failed")) for line in (10, 11)]

    table, _rows = tables.look(io.BytesIO(data), name="autumn.xlsx")
    made = filled(data, rows, tab=table.tab, header=table.header)
    again, found = tables.look(io.BytesIO(made), name="autumn.xlsx")

    before, after = parts(data), parts(made)
    assert [part for part in before if before[part] != after[part]] == ["xl/worksheets/sheet1.xml"]
    assert list(before) == list(after)
    assert (table.columns, table.rows) == (["SKU", "Photo", "Name", "Price", "Net"], 10)
    assert again.columns == [*table.columns, *columns.OURS]
    assert [row.cells[5] for row in found] == ["done"] * 8 + ["failed"] * 2
    assert found[1].links == {1: "https://shop.example.com/linked.jpg"}
    assert seen(made)[1][:5] == seen(data)[1][:5]


def test_other_prefixes_missing_places_and_empty_rows_are_understood():
    sheet = (
        f"{workbooks.HEAD}<x:worksheet xmlns:x='{workbooks.MAIN}'><x:dimension ref='A1:B9'/>"
        "<x:cols><x:col min='3' max='16384' width='9' hidden='1'/></x:cols><x:sheetData>"
        "<x:row spans='1:2'><x:c t='inlineStr'><x:is><x:t>url</x:t></x:is></x:c><x:c t='str'>"
        "<x:v>sku</x:v></x:c></x:row><x:row r='2' ht='20'/><x:row r='4'><x:c r='A4'><x:v>1</x:v>"
        "</x:c><x:c r='H4' s='3'/><x:extLst><x:ext/></x:extLst></x:row></x:sheetData>"
        "</x:worksheet>"
    )
    data = workbooks.archive(workbooks.parts(sheet))

    made = filled(data, [(line, values("done", credits=1)) for line in (2, 3, 4, 6)])

    text = parts(made)["xl/worksheets/sheet1.xml"].decode()
    assert "<x:dimension ref='A1:H9'/>" in text
    assert (
        "<x:col min='3' max='8' width='9'/><x:col min='9' max='16384' width='9' hidden='1'/>"
    ) in text
    assert "<x:row spans='1:8'>" in text
    assert "<x:row r='2' ht='20'><x:c r=\"C2\"" in text
    assert '<x:row r="3"><x:c r="C3"' in text
    assert '<x:v>1</x:v></x:c><x:c r="H4" s="3"/><x:extLst>' in text
    assert [row[2] for row in seen(made)] == [
        *("studio_status", "done", "done", "done", "", "done"),
    ]


def test_columns_that_others_have_filled_further_right_are_left_to_them():
    row = '<row r="{0}"><c r="A{0}"><v>1</v></c>{1}</row>'
    data = workbooks.archive(
        workbooks.parts(
            workbooks.sheet(
                row.format(1, "") + row.format(2, '<c r="D2"><v>7</v></c>'),
                after='<mergeCells><mergeCell ref="F2:G2"/></mergeCells>',
            )
        )
    )

    made = filled(data, [(2, values("done"))])

    assert seen(made)[0][7:] == list(columns.OURS)
    assert seen(made)[1][3] == 7.0


def test_without_names_of_columns_there_are_only_values():
    data = workbooks.archive(
        workbooks.parts(workbooks.sheet('<row r="1"><c r="B1"><v>1</v></c></row>'))
    )

    made = filled(data, [(1, values("done"))], header=None)

    assert seen(made) == [["", 1.0, "done"]]


def test_values_are_texts_and_never_formulas_or_markup():
    data = workbooks.archive(
        workbooks.parts(workbooks.sheet('<row r="1"><c r="A1"><v>1</v></c></row>'))
    )
    words = '=HYPERLINK("http://evil")</t></is><f>1</f>& _x0041_ \x01 é\n 鞋 '

    made = filled(data, [(2, values("done", alt_text=words, error="y" * 40_000))])

    row = seen(made)[1]
    assert row[3].replace("_x005F_", "_") == words.replace("\x01", "")
    assert len(row[4]) == 32_767
    assert b"<f>" not in parts(made)["xl/worksheets/sheet1.xml"]


def test_macros_stay_in_the_workbook():
    extra = {"xl/vbaProject.bin": bytes(range(256)) * 9}
    cells = '<row r="1"><c r="A1"><v>1</v></c></row>'
    data = workbooks.archive(workbooks.parts(workbooks.sheet(cells), extra=extra))

    assert parts(filled(data, []))["xl/vbaProject.bin"] == extra["xl/vbaProject.bin"]


ONE = '<row r="1"><c r="A1"><v>1</v></c></row>'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no zip", "workbook_damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, "workbook_encrypted"),
        (workbooks.archive({"a": "b"}), "workbook_damaged"),
        (
            workbooks.archive(
                workbooks.parts(workbooks.sheet(ONE), extra={"_xmlsignatures/sig1.xml": ""})
            ),
            "workbook_signed",
        ),
        (
            workbooks.archive(workbooks.parts(workbooks.sheet(ONE), names="X")),
            "workbook_tab_missing",
        ),
        (workbooks.archive(workbooks.parts(workbooks.sheet(ONE)[:-20])), "workbook_damaged"),
        (workbooks.archive(workbooks.parts(workbooks.sheet(ONE * 2))), "workbook_damaged"),
        (
            workbooks.archive(
                workbooks.parts(
                    workbooks.sheet(ONE).replace(
                        "<worksheet", '<!DOCTYPE x [<!ENTITY a "b">]><worksheet', 1
                    )
                )
            ),
            "workbook_damaged",
        ),
        (
            workbooks.archive(
                workbooks.parts(
                    workbooks.sheet(
                        f'<row r="1">{workbooks.inline("A1", "studio_status")}</row>'
                        '<row r="2"><c r="A2"><f>B2</f></c></row>'
                    )
                )
            ),
            "workbook_formulas",
        ),
        (
            workbooks.archive(
                workbooks.parts(workbooks.sheet('<row r="1"><c r="XFB1"><v>1</v></c></row>'))
            ),
            "workbook_full",
        ),
    ],
)
def test_what_would_be_lost_or_can_not_be_read_is_refused(data, code):
    with pytest.raises(ExportError) as refused:
        filled(data, [(2, values("done"))], tab="A")

    assert refused.value.code == code


def test_a_part_that_is_damaged_is_refused():
    data = bytearray(workbooks.archive(workbooks.parts(workbooks.sheet(ONE))))
    at = data.index(b"xl/workbook.xml") + 40
    data[at : at + 8] = b"\xff" * 8

    with pytest.raises(ExportError, match="workbook_damaged"):
        filled(bytes(data), [])
