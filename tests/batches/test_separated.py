"""Our columns in a copy of a CSV file: every other byte stays as it was."""

import csv
import io
import random

import pytest

from batches.exports import separated
from batches.exports.base import ExportError
from batches.sources import columns, delimited


def values(status: str, **more) -> dict:
    named = {f"studio_{name}": value for name, value in more.items()}
    return dict.fromkeys(columns.OURS, "") | {columns.STATUS: status} | named


def filled(data: bytes, rows, *, header: int | None = 1) -> bytes:
    out = io.BytesIO()
    separated.fill(io.BytesIO(data), out, header=header, names=columns.OURS, rows=rows)
    return out.getvalue()


NAMES = ";".join(f'"{name}"' for name in columns.OURS)
DONE = '"done";"";"";"";"2";""'


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16-le", "utf-16-be", "utf-16"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_record_keeps_its_bytes_and_gets_ours(encoding, end):
    lines = [
        "url;name;",
        'http://a.example/1;"Sch""uh; blau\nund Zoë";',
        "",
        "http://a.example/2;é",
    ]
    data = end.join([*lines, ""]).encode(encoding)

    made = filled(data, [(2, values("done", credits=2)), (4, values("failed"))])

    wanted = [
        f"{lines[0]};{NAMES}",
        f"{lines[1]};{DONE}",
        "",
        f'{lines[3]};;"failed";"";"";"";"";""',
        "",
    ]
    assert made == end.join(wanted).encode(encoding)


def test_a_second_round_fills_the_same_columns():
    once = filled(b"url;name\na;b\nc;d", [(2, values("failed", error="x")), (3, values("done"))])

    twice = filled(once, [(2, values("done", credits=2))])

    assert twice.decode().splitlines() == [
        f"url;name;{NAMES}",
        f"a;b;{DONE}",
        'c;d;"done";"";"";"";"";""',
    ]


def test_rows_may_be_longer_and_shorter_than_the_names():
    made = filled(b"u,n\n1\n1,2,3\n", [(2, values("done")), (3, values("done"))])

    rows = list(csv.reader(io.StringIO(made.decode())))
    assert [row[3:] for row in rows] == [list(columns.OURS), *2 * [["done", *5 * [""]]]]


def test_the_line_that_names_the_delimiter_is_no_row():
    made = filled(b"sep=|\r\nurl|n\r\na|b\r\n", [(2, values("done"))])

    assert made.startswith(b'sep=|\r\nurl|n|"studio_status"')
    assert b'\r\na|b|"done"|' in made


def test_without_names_of_columns_there_are_only_values():
    made = filled(b"http://a.example/1.jpg,x\n", [(1, values("done"))], header=None)

    assert made == b'http://a.example/1.jpg,x,"done","","","","",""\n'


def test_values_are_no_formulas_and_what_the_encoding_lacks_is_a_question_mark():
    said = values("done", alt_text='=1+1 "鞋"', error="+x", result="@y")

    made = filled("url,näme\na,b\n".encode("cp1252"), [(2, said)])

    assert made.decode("cp1252").splitlines()[1] == (
        'a,b,"done","\'@y","\'=1+1 ""?""","\'+x","",""'
    )


@pytest.mark.parametrize("start", "=+-@\t\r＝＋－＠")  # noqa: RUF001
def test_nothing_begins_as_a_formula_does(start):
    made = filled(b"url,n\na,b\n", [(2, values("done", error=f"{start}cmd"))])

    (_names, row) = csv.reader(io.StringIO(made.decode(), newline=""))
    assert row[5] == f"'{start}cmd"


def test_a_record_whose_quotation_mark_is_never_closed_is_left_alone():
    data = b'url,n\na,b\nc,"d\ne,f\n'

    made = filled(data, [(2, values("done")), (3, values("done"))])

    assert made.endswith(b'"","","","",""\nc,"d\ne,f\n')


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\0\0\0", b"http://a/w_1,h_2\nhttp://a/w_3,h_4\n"]
)
def test_what_has_no_columns_is_refused(data):
    with pytest.raises(ExportError):
        filled(data, [])


def test_records_are_those_that_the_csv_module_sees(monkeypatch):
    """Whatever stands in a file, and wherever the pieces of it end that are read at once."""
    chance = random.Random(5)
    for _ in range(300):
        text = "a,b\n" + "".join(chance.choices('ab",\n\r;', k=chance.randrange(1, 60)))
        monkeypatch.setattr(separated, "_CHUNK", chance.choice([1, 2, 7, 1000]))
        dialect = delimited.Dialect("utf-8", ",")
        file = separated._File(io.BytesIO(text.encode()), dialect)

        found = list(file.records())

        wanted = list(csv.reader(io.StringIO(text, newline="")))
        assert [len(record.spans) for record in found] == [len(cells) for cells in wanted]
        assert "".join(record.text for record in found) == text
