"""Tables out of files as people have them, and out of files that mean harm."""

import io
import json
import struct
import subprocess
import sys
import zipfile

import openpyxl
import pytest
from openpyxl.drawing.image import Image as SheetImage
from PIL import Image

from batches import messages
from batches.sources import tables, tabular
from batches.sources.tables import TableError, TableRow
from tests import workbooks
from tests.workbooks import archive, inline, parts, plain, sheet

URL = "https://a.example.com/1.jpg"


def look(data: bytes, **options):
    return tables.look(io.BytesIO(data), name="file", **options)


def read(data: bytes, **options):
    return list(tables.read(io.BytesIO(data), name="file", **options))


def refusal(data: bytes, **options) -> str:
    with pytest.raises(TableError) as caught:
        look(data, **options)
    assert messages.text(caught.value.code, caught.value.params) != messages.text("unknown")
    return caught.value.code


# --- CSV ------------------------------------------------------------------------------

TEXT = "sku;photo;name\r\n1;https://a.example.com/ü.jpg;Süß\r\n2;https://a.example.com/2.jpg;\r\n"


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", b"\xff\xfe\0\0"),
        ("cp1252", b""),
    ],
)
def test_a_csv_is_read_in_whatever_encoding_it_comes(encoding, mark):
    table, rows = look(mark + TEXT.encode(encoding))

    assert table.columns == ["sku", "photo", "name"]
    assert rows == [
        TableRow(2, ["1", "https://a.example.com/ü.jpg", "Süß"]),
        TableRow(3, ["2", "https://a.example.com/2.jpg"]),
    ]


def test_a_wrong_byte_far_down_makes_it_windows_and_not_an_error():
    lines = b"url,name\n" + b"https://a.example.com/1.jpg,x\n" * 5000 + b"https://b.io,caf\xe9\n"

    assert read(lines)[-1].cells == ["https://b.io", "café"]


@pytest.mark.parametrize("delimiter", ",;\t|")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_and_the_line_ends_are_found_out(delimiter, end):
    lines = ["url{0}price{0}note", URL + '{0}"1,50"{0}"a; b|c"', URL + '{0}"2,50"{0}d']

    table, rows = look(end.join(lines).format(delimiter).encode())

    assert table.columns == ["url", "price", "note"]
    assert rows[0].cells == [URL, "1,50", "a; b|c"]


def test_unquoted_decimal_commas_do_not_make_columns():
    table, _rows = look(f"sku;url;price\n1;{URL};1,50\n2;{URL};2,50\n3;{URL};3,50\n".encode())

    assert table.columns == ["sku", "url", "price"]


def test_a_sep_line_is_obeyed_and_is_no_row():
    table, rows = look(b"sep=;\r\nurl;name\r\nhttps://a.io/1,2.jpg;a,b\r\n")

    assert (table.columns, table.header) == (["url", "name"], 1)
    assert rows == [TableRow(2, ["https://a.io/1,2.jpg", "a,b"])]


@pytest.mark.parametrize("header", ["", "Image\n"])
def test_a_list_of_addresses_may_have_commas_in_them(header):
    cloud = "https://res.example.com/w_100,h_200/shoe.jpg"

    table, rows = look(f"{header}{cloud}\n{URL}\n{cloud}\n".encode())

    assert [row.cells for row in rows] == [[cloud], [URL], [cloud]]
    assert table.header == (1 if header else None)


def test_addresses_with_columns_beside_them_and_no_header_are_columns():
    table, rows = look(b"https://a.io/1.jpg,Shoe\nhttps://a.io/2.jpg,Boot\n")

    assert table.columns == ["Column A", "Column B"]
    assert rows[1].cells == ["https://a.io/2.jpg", "Boot"]


def test_commas_in_addresses_do_not_hide_the_real_delimiter():
    lines = "https://a.io/w_1,h_2/a.jpg;front\nhttps://a.io/w_1,h_2/b.jpg;back\n"

    _table, rows = look(lines.encode())

    assert rows[1].cells == ["https://a.io/w_1,h_2/b.jpg", "back"]


def test_blank_lines_count_and_do_not_run():
    _table, rows = look(f"url\n\n{URL}\n , \n{URL}\n\n".encode())

    assert [row.line for row in rows] == [3, 5]


@pytest.mark.parametrize(
    "text",
    [
        f'name,url\n"5 inch,{URL}\nb,{URL}\nc,{URL}\n',
        f'url,name\n{URL},"5 inch\n{URL},b\n{URL},c\n',
        f'n,name,url\n1,"5 inch,{URL}\n2,"b",{URL}\n3,c,{URL}\n',
        f'url\n"{URL}\n{URL}\n',
    ],
)
def test_a_quotation_mark_that_swallows_rows_is_told(text):
    table, rows = look(text.encode())

    assert rows[0].problem == "sheet_quote_unclosed"
    assert [(note.code, note.params) for note in table.notes] == [
        ("sheet_quote_unclosed", {"rows": "2"})
    ]


def test_a_description_of_several_lines_is_just_that():
    text = f'url,about,sku\n{URL},"Warm.\nSee our page: https://a.io, or ask.\nDry.",7\n'

    table, rows = look(text.encode())

    assert rows[0].cells[1].count("\n") == 2
    assert (rows[0].problem, table.notes) == ("", [])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "sheet_empty"),
        (b" \r\n \n", "sheet_empty"),
        (b"url\0\0\0\0,name\nhttps://a.io/1.jpg,x", "sheet_not_a_table"),
        (b"url,name\nhttps://a.io/1.jpg,x\n" * 3000 + b"\0", "sheet_not_a_table"),
        (b"\x89PNG\r\n\x1a\n" + b"rest" * 50, "sheet_not_a_table"),
        (b"%PDF-1.7\nurl,name", "sheet_not_a_table"),
        (b"<!DOCTYPE html><table><tr><td>x", "sheet_not_a_table"),
        (b"\x01\x02\x03\x04\x05\x06", "sheet_not_a_table"),
        (b"url,name\nhttps://a.io/1.jpg," + b"x" * 140_000 + b"\n", "sheet_cell_too_long"),
        (b"url,name\nhttps://a.io/1.jpg," + b"x" * 70_000 + b"\n", "sheet_cell_too_long"),
        (b"url\n" + b"x" * 7_000_000, "sheet_cell_too_long"),
        (b"url" + b",x" * 100 + b"\nhttps://a.io/1.jpg\n", "sheet_too_many_columns"),
        (b"url\n" + b"\n" * 1_100_000 + b"https://a.io\n", "sheet_too_many_rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_csv_or_too_much_of_one_is_refused(data, code):
    assert refusal(data) == code


def test_a_hundred_thousand_rows_and_no_more():
    lines = b"url\n" + b"https://a.io/1.jpg\n" * tables.MOST_ROWS

    table, _rows = look(lines)

    assert table.rows == tables.MOST_ROWS
    assert refusal(lines + b"https://a.io/1.jpg\n") == "sheet_too_many_rows"


def test_a_file_is_refused_for_its_size_before_it_is_read():
    class Huge(io.BytesIO):
        def tell(self) -> int:
            return tables.MOST_BYTES + 1

    with pytest.raises(TableError) as caught:
        tables.look(Huge(b"url"), name="huge.csv")

    assert messages.text(caught.value.code, caught.value.params).startswith("51 MB; ")


# --- Where the names of the columns are -----------------------------------------------


@pytest.mark.parametrize(
    ("lines", "header", "columns"),
    [
        ([f"{URL},a", f"{URL},b"], None, ["Column A", "Column B"]),
        (["url,name", f"{URL},a"], 1, ["url", "name"]),
        (["Autumn,,", "url,sku,name", f"{URL},1,a"], 2, ["url", "sku", "name"]),
        (
            ["Autumn,,", "by Anna,,", "url,sku,name", ",2,b", f"{URL},1,a"],
            3,
            ["url", "sku", "name"],
        ),
        (["url,,name,url", f"{URL},x,a,b"], 1, ["url", "Column B", "name", "url (2)"]),
        (["url, URL ,name", f"{URL},x,a,more"], 1, ["url", "URL (2)", "name", "Column D"]),
        (["file,sku", "a.jpg,1", "b.jpg,2"], 1, ["file", "sku"]),
        (["https://acme.io,,", "url,sku,name", f"{URL},1,a"], 2, ["url", "sku", "name"]),
        (["url,sku,name", f"{URL},,", f"{URL},1,a"], 1, ["url", "sku", "name"]),
        (["My list", "url", URL], 2, ["url"]),
    ],
)
def test_the_names_stand_above_the_data_and_below_a_title(lines, header, columns):
    table, _rows = look("\n".join(lines).encode())

    assert (table.header, table.columns) == (header, columns)


def test_somebody_may_know_better_where_the_names_are():
    text = f"a,b\nc,d\n{URL},e\n".encode()

    table, rows = look(text, header=2)
    bare, all_rows = look(text, header=None)

    assert (table.columns, [row.line for row in rows]) == (["c", "d"], [3])
    assert (bare.columns, len(all_rows)) == (["Column A", "Column B"], 3)
    assert [row.line for row in read(text, header=2)] == [3]


def test_values_of_a_service_make_the_same_table():
    values = [["url", "n"], [], [URL, "1"], ["", ""]]

    table, rows = tables.from_values(values, tab="Tab")

    assert (table.columns, table.header, table.rows, table.tab) == (["url", "n"], 1, 1, "Tab")
    assert rows == [TableRow(3, [URL, "1"])]


# --- XLSX -----------------------------------------------------------------------------


def saved(book: openpyxl.Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_workbook_of_excels_is_read_as_people_see_it():
    table, rows = look(workbooks.excel())

    assert [(tab.name, tab.rows, tab.is_hidden) for tab in table.tabs] == [
        ("Catalogue & more", 4, False),
        ("Notes", None, False),
        ("Old", None, True),
    ]
    assert (table.tab, table.header) == ("Catalogue & more", 3)
    assert table.columns == ["SKU", "Image", "Name", "Price", "Photographed", "Stock", "Sale"]
    assert rows == [
        TableRow(
            4,
            [
                *("00123", "https://cdn.example.com/a.jpg", "Shoe"),
                *("49.9", "2024-11-04", "12", "TRUE"),
            ],
        ),
        TableRow(
            5,
            ["00124", "see photo", "Boot", "99.8", "2024-11-04 12:00"],
            {1: "https://cdn.example.com/b.jpg"},
        ),
        TableRow(
            6,
            ["00125", "photo", "Sandal", "4006381333931"],
            {1: "https://cdn.example.com/c.jpg"},
        ),
        TableRow(7, ["126", "https://cdn.example.com/d.jpg"]),
    ]
    assert table.notes == []


def test_a_workbook_of_libreoffices_is_read_to_its_end_and_not_to_row_1048576():
    table, rows = look(workbooks.libreoffice())

    assert (table.columns, table.rows) == (["Bild", "Artikelnummer", "Preis"], 2)
    assert rows[0] == TableRow(2, ["Schuh", "7", "1.5"], {0: "https://cdn.example.com/eins.jpg"})


def test_what_openpyxl_writes_is_read_with_all_that_is_lost_told():
    book = openpyxl.Workbook()
    book.active.append(["url", "name", "sum"])
    book.active.append([URL, "a", "=1+1"])
    book.active.append([URL, None, 1.0])
    book.active.append([URL, None, "=SUM(C2:C3)"])
    book.active.merge_cells("B2:B4")
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    book.active.add_image(SheetImage(picture), "D2")

    table, rows = look(saved(book))

    assert [row.cells for row in rows] == [[URL, "a"], [URL, "", "1"], [URL]]
    assert [(note.code, note.params) for note in table.notes] == [
        ("sheet_pictures", {}),
        ("sheet_formulas", {"n": 2}),
        ("sheet_merged", {"n": 1}),
    ]


def test_a_table_may_stand_anywhere_and_keeps_its_places():
    data = f'<row r="9">{inline("C9", "url")}</row><row r="10">{inline("C10", URL)}</row>'

    table, rows = look(archive(parts(sheet(data))))

    assert (table.columns, table.header) == (["Column A", "Column B", "url"], 9)
    assert rows == [TableRow(10, ["", "", URL])]


def test_another_tab_is_read_when_it_is_asked_for_and_an_empty_one_passed_over():
    book = archive(parts(sheet(""), plain("url", URL), plain("hidden", URL), states="--h"))

    first, _rows = look(book)
    hidden, _rows = look(book, tab="C")

    assert (first.tab, first.columns) == ("B", ["url"])
    assert hidden.columns == ["hidden"]
    assert refusal(book, tab="D") == "sheet_tab_missing"
    assert refusal(book, tab="A") == "sheet_empty"


def test_an_address_that_a_formula_puts_together_is_not_taken_in_part():
    cells = '<c r="A2" t="str"><f>HYPERLINK("https://a.io/"&amp;B2,"x")</f><v>x</v></c>'

    _table, rows = look(archive(parts(sheet(f'<row r="2">{cells}</row>'))), header=None)

    assert rows == [TableRow(2, ["x"])]


def lying_about_its_size() -> bytes:
    """A part of 16 MB that says of itself that it has one."""
    made = bytearray(archive(parts(plain("x" * 16 * 2**20))))
    true, false = struct.pack("<I", 16 * 2**20 + 300), struct.pack("<I", 2**20)
    for at in range(len(made) - 4):
        if 16 * 2**20 <= struct.unpack_from("<I", made, at)[0] <= 16 * 2**20 + 1000:
            made[at : at + 4] = false
    assert true not in made
    return bytes(made)


CORNERS = sheet(
    f'<row r="1">{inline("A1", URL)}</row><row r="1048576">{inline("XFD1048576", "x")}</row>'
)
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)

HOSTILE = {
    "one cell of 16 MB": (lambda: archive(parts(plain("x" * 16 * 2**20))), "sheet_too_complex"),
    "a size that is a lie": (lying_about_its_size, "sheet_damaged"),
    "a part beside the sheets": (
        lambda: archive(parts(plain(URL), extra={"xl/media/a.emf": bytes(30 * 2**20)})),
        "sheet_too_complex",
    ),
    "one cell in the last corner": (
        lambda: archive(parts(sheet(f'<row r="1048576">{inline("XFD1048576", "x")}</row>'))),
        "sheet_too_many_columns",
    ),
    "two opposite corners": (lambda: archive(parts(CORNERS)), "sheet_too_complex"),
    "a cell at the very bottom": (
        lambda: archive(parts(sheet(f'<row r="1048576">{inline("CV1048576", "x")}</row>'))),
        "sheet_too_many_rows",
    ),
    "three thousand members": (
        lambda: archive(parts(plain(URL), extra={f"xl/x{n}": "" for n in range(3000)})),
        "sheet_too_complex",
    ),
    "no ZIP": (lambda: b"PK\x03\x04" + b"x" * 2000, "sheet_damaged"),
    "a ZIP cut short": (lambda: workbooks.excel()[:1500], "sheet_damaged"),
    "another ZIP": (lambda: archive({"a.txt": "x"}), "sheet_not_a_table"),
    "no sheet where one should be": (
        lambda: archive({**parts(plain(URL)), "xl/worksheets/sheet1.xml": "<html>"}),
        "sheet_empty",
    ),
    "a password": (lambda: OLE + "EncryptedPackage".encode("utf-16-le"), "sheet_encrypted"),
    "an old Excel file": (lambda: OLE + "Workbook".encode("utf-16-le"), "sheet_kind"),
    "OpenDocument": (lambda: archive({"mimetype": "x", "content.xml": "<x/>"}), "sheet_kind"),
    "Apple's": (lambda: archive({"Index/Document.iwa": "x"}), "sheet_kind"),
    "Excel's binary one": (lambda: archive({"xl/workbook.bin": "x"}), "sheet_kind"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_workbook_that_means_harm_is_refused(name):
    make, code = HOSTILE[name]

    assert refusal(make()) == code


def test_entities_are_never_resolved():
    doctype = f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    laughing = plain("&l9;", URL).replace("<worksheet", f"{doctype}<worksheet", 1)
    reading = plain("&f;", URL).replace("<worksheet", f"{doctype}<worksheet", 1)

    assert refusal(archive(parts(laughing))) == "sheet_damaged"
    assert refusal(archive(parts(reading))) == "sheet_damaged"


def test_a_doctype_is_refused_where_we_read_the_xml_ourselves():
    book = parts(plain(URL))
    book["xl/workbook.xml"] = str(book["xl/workbook.xml"]).replace(
        "<workbook", f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><workbook', 1
    )

    assert refusal(archive(book)) == "sheet_damaged"


def test_a_text_in_a_cell_that_should_be_a_number_harms_nobody():
    book = archive(parts(sheet(f'<row r="1"><c r="A1"><v>oops</v></c>{inline("B1", URL)}</row>')))

    _table, rows = look(book)

    assert rows[0].cells == ["oops", URL]


def test_a_workbook_has_no_more_rows_than_any_table(monkeypatch):
    monkeypatch.setattr(tabular, "MOST_ROWS", 500)
    book = archive(parts(plain("url", *[URL] * 500)))
    longer = archive(parts(plain("url", *[URL] * 501)))

    assert look(book)[0].rows == 500
    assert refusal(longer) == "sheet_too_many_rows"


def test_a_csv_that_calls_itself_a_workbook_is_read_all_the_same():
    table, _rows = tables.look(io.BytesIO(f"url\n{URL}\n".encode()), name="list.xlsx")

    assert table.columns == ["url"]


def test_the_child_has_nothing_that_it_does_not_need():
    script = """
import io, json, os, resource, sys
from batches.sources import workbooks
def tell(out, *_):
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
              for name in ("AS", "CPU", "NOFILE", "NPROC", "CORE")}
    out.write(json.dumps(limits | {"root": os.getuid() == 0}))
workbooks._write = tell
workbooks._main("")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], input=b"", capture_output=True, check=True, timeout=60
    )

    limits = json.loads(done.stdout)
    assert 0 < limits.pop("AS") <= 2 * 2**30
    assert 0 < limits.pop("CPU") <= 30
    assert limits == {"NOFILE": 0, "NPROC": 0, "CORE": 0, "root": False}


@pytest.mark.parametrize(
    ("ending", "error", "runs"),
    [("kill -9 $$", TableError, 2), ("kill -ABRT $$", TableError, 1), ("exit 3", RuntimeError, 1)],
)
def test_how_the_child_ends_says_whose_fault_it_is(tmp_path, monkeypatch, ending, error, runs):
    ran = tmp_path / "ran"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho >> {ran}\nulimit -c 0\n{ending}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    with pytest.raises(error):
        look(archive(parts(plain("url", URL))))

    assert len(ran.read_text().splitlines()) == runs


def test_a_workbook_with_macros_is_read_without_them():
    book = archive(parts(plain("url", URL), extra={"xl/vbaProject.bin": b"\xd0\xcf\x11\xe0"}))

    assert look(book)[0].rows == 1


def test_the_members_of_a_zip_may_be_called_anything():
    book = archive({**parts(plain("url", URL)), "../../etc/passwd": "x", "docProps/é.xml": "x"})

    assert zipfile.is_zipfile(io.BytesIO(book))
    assert look(book)[0].rows == 1
