"""What a person gave becomes rows, and nothing is judged on the way."""

from batches.sources import url_list
from batches.sources.base import Row


def test_each_line_is_an_address_with_its_number():
    rows = list(url_list.rows("https://a.example.com/1.png\nhttps://b.example.com/2.png"))

    assert rows == [
        Row(url="https://a.example.com/1.png", line=1),
        Row(url="https://b.example.com/2.png", line=2),
    ]


def test_blank_lines_are_passed_over_and_still_counted():
    rows = list(url_list.rows("\n  \nhttps://a.example.com/\r\n\t\r\nhttps://b.example.com/\n\n"))

    assert [(row.url, row.line) for row in rows] == [
        ("https://a.example.com/", 3),
        ("https://b.example.com/", 5),
    ]


def test_what_stands_around_an_address_is_cut_off():
    (row,) = url_list.rows("\t https://a.example.com/a b.png  ")

    assert row.url == "https://a.example.com/a b.png"


def test_an_empty_text_has_no_rows():
    assert list(url_list.rows(" \n ")) == []


def test_nonsense_is_a_row_like_any_other():
    assert [row.url for row in url_list.rows("file:///etc/passwd\nhello")] == [
        "file:///etc/passwd",
        "hello",
    ]
