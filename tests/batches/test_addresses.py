"""Pasted addresses, judged by their shape and compared without what doesn't change the picture."""

import threading
import time

import pytest

from batches import addresses
from tests.batches.fetch_server import PNG


def judged(*lines: str) -> list[addresses.Line]:
    return list(addresses.judged("\n".join(lines)))


def test_an_address_is_put_in_normal_form_and_named():
    (line,) = judged(" HTTPS://Shop.Example.COM:443/pics/mug%20blue.jpg?size=2#top ")

    assert (line.line, line.url, line.name) == (
        1,
        "https://shop.example.com/pics/mug%20blue.jpg?size=2",
        "mug blue.jpg",
    )
    assert line.usable
    assert (line.problem, line.same_as, line.tracking) == (None, None, [])


def test_problems_are_told_by_line_and_blank_lines_count():
    first, second, third = judged("", "ftp://a.example.com/1.png", "words", "http://10.0.0.1/2.png")

    assert [line.line for line in (first, second, third)] == [2, 3, 4]
    assert {line.problem.code for line in (first, second, third)} == {"source_not_allowed"}
    assert first.problem.message.startswith("This address can't be used")
    assert not first.usable


@pytest.mark.parametrize(
    ("other", "tracking"),
    [
        ("https://A.example.com/1.png?v=2", []),
        ("https://a.example.com/1.png?v=2#zoom", []),
        ("https://a.example.com/1.png?utm_source=mail&v=2&gclid=x", ["utm_source", "gclid"]),
        ("https://a.example.com/1.png?v=2&FBCLID=x", ["FBCLID"]),
        ("https://a.example.com/1.png?%75tm_source=mail&v=2", ["utm_source"]),
    ],
)
def test_addresses_of_the_same_picture_are_one(other, tracking):
    first, second = judged("https://a.example.com/1.png?v=2", other)

    assert first.usable
    assert (second.same_as, list(second.tracking)) == (1, tracking)


@pytest.mark.parametrize(
    "other",
    [
        "https://a.example.com/1.png?v=3",
        "https://a.example.com/1.PNG?v=2",
        "http://a.example.com/1.png?v=2",
        "https://a.example.com/1.png?v=2&x-utm_source=1",
    ],
)
def test_addresses_of_other_pictures_are_others(other):
    assert judged("https://a.example.com/1.png?v=2", other)[1].same_as is None


def test_an_address_keeps_its_parameters_when_it_is_asked_for():
    signed = "https://a.example.com/1.png?utm_source=x&sig=abc"

    (line,) = judged(signed)

    assert line.url == signed
    assert line.tracking == ["utm_source"]


def test_a_wrong_address_that_comes_twice_is_said_once():
    first, second = judged("words", "words")

    assert (first.same_as, second.same_as) == (None, 1)


# --- A look ---------------------------------------------------------------------------


def test_a_look_says_what_is_there(server):
    found = addresses.probe([server.url("/ok"), server.url("/jpeg"), server.url("/chunked")])

    assert [one["ok"] for one in found] == [True] * 3
    assert [one["format"] for one in found] == ["png", "jpg", "png"]
    assert [one["bytes"] for one in found][::2] == [len(PNG), None]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/404", "source_not_found"),
        ("/status/403", "source_forbidden"),
        ("/status/500", "source_unreachable"),
        ("/html", "source_not_image"),
        ("/html-as-jpeg", "source_not_image"),
        ("/lie-big", "file_too_large"),
        ("/empty", "file_empty"),
        ("/svg", "format_unsupported"),
        ("/r-int", "source_redirects"),
        ("/r-loop", "source_redirects"),
        ("/goodbye", "source_unreachable"),
    ],
)
def test_a_look_says_why_it_would_fail(server, path, code):
    (found,) = addresses.probe([server.url(path)])

    assert (found["ok"], found["code"]) == (False, code)
    assert found["message"]


def test_a_look_reads_the_beginning_only(server):
    found = addresses.probe([server.url("/big")])

    assert (found[0]["ok"], found[0]["code"]) == (False, "format_unsupported")


def test_eight_that_hang_take_as_long_as_one(server, monkeypatch):
    monkeypatch.setattr(addresses, "PROBE_SECONDS", 1.0)
    began = time.monotonic()

    found = addresses.probe([server.url("/hang")] * 8)

    assert time.monotonic() - began < 4
    assert {one["code"] for one in found} == {"source_unreachable"}


def test_only_so_many_looks_are_taken_at_once(server, monkeypatch):
    monkeypatch.setattr(addresses, "_places", threading.BoundedSemaphore(1))
    monkeypatch.setattr(addresses, "PROBE_SECONDS", 2.0)
    slow = threading.Thread(target=addresses.probe, args=[[server.url("/hang")]])
    slow.start()
    while not any(seen.target == "/hang" for seen in server.seen):
        time.sleep(0.01)

    with pytest.raises(addresses.Busy):
        addresses.probe([server.url("/ok")])

    slow.join()
    assert addresses._places.acquire(blocking=False)
