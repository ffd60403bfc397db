"""What a script is told about pasted addresses while somebody types."""

import pytest
from django.test import Client

from batches import addresses
from batches.views import pasting

JUDGE = "/tools/fake/addresses/"
PROBE = "/addresses/probe/"

pytestmark = pytest.mark.usefixtures("fake_tool", "valkey")


@pytest.fixture
def browser(client, alice) -> Client:
    client.force_login(alice)
    return client


def probe(browser: Client, urls: object) -> object:
    return browser.post(PROBE, {"urls": urls}, content_type="application/json")


def test_lines_are_judged_for_anybody(client, db):
    answer = client.post(
        JUDGE,
        {"urls": "https://a.example.com/mug.jpg?utm_source=x\nhttps://a.example.com/mug.jpg\nx"},
    )

    first, second, third = answer.json()["lines"]
    assert answer.json()["count"] == 1
    assert first == {
        "line": 1,
        "url": "https://a.example.com/mug.jpg?utm_source=x",
        "name": "mug.jpg",
        "problem": None,
        "same_as": None,
        "tracking": ["utm_source"],
    }
    assert second["same_as"] == 1
    assert third["problem"]["code"] == "source_not_allowed"
    assert third["problem"]["message"]


def test_more_lines_than_anybody_pastes_are_refused(client, db):
    answer = client.post(JUDGE, {"urls": "x\n" * addresses.MOST_LINES})

    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_lines")


def test_lines_for_a_tool_that_does_not_exist_are_not_judged(client, db):
    assert client.post("/tools/nothing/addresses/", {"urls": "x"}).status_code == 404


def test_addresses_are_looked_at(browser, server):
    answer = probe(browser, [server.url("/ok"), server.url("/html")])

    good, bad = answer.json()["results"]
    assert (good["ok"], good["format"]) == (True, "png")
    assert (bad["url"], bad["ok"], bad["code"]) == (server.url("/html"), False, "source_not_image")


@pytest.mark.parametrize("urls", [None, "x", [1], ["x"] * 9])
def test_what_is_no_short_list_of_addresses_is_refused(browser, urls):
    assert probe(browser, urls).status_code == 400


def test_strangers_can_not_make_the_site_look(client, db, server):
    answer = probe(client, [server.url("/ok")])

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert not server.seen


def test_when_enough_looks_are_taken_one_is_asked_to_wait(browser, monkeypatch):
    def busy(_urls):
        raise addresses.Busy

    monkeypatch.setattr(addresses, "probe", busy)

    answer = probe(browser, ["x"])

    assert (answer.status_code, answer["Retry-After"]) == (503, "2")


def test_one_person_may_look_at_so_many_an_hour(browser, bob, monkeypatch):
    monkeypatch.setattr(pasting, "PROBES_PER_HOUR", 9)
    first = probe(browser, ["x"] * 8)

    second = probe(browser, ["x"] * 8)
    browser.force_login(bob)

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["code"] == "rate_limited"
    assert 0 < int(second["Retry-After"]) <= 3600
    assert probe(browser, ["x"]).status_code == 200
