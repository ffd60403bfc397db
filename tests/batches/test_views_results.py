"""What came of an image, on its pages: several results, reports, what the tool told."""

import json

import pytest
from django.test import Client

from batches import lifecycle, pipeline
from batches.models import Batch, Item
from tests import clients, fakes
from tests.factories import make_batch
from tools import registry
from tools.base import Note, Output, ToolSettings

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "media")

REPORT = {
    "passed": False,
    "score": 50,
    "rules": [
        {"rule": "size", "passed": True, "reason": "It is large enough."},
        {"rule": "background", "passed": False, "reason": "The background is not white."},
    ],
}


class ReviewTool(fakes.FakeTool):
    slug = "review"
    name = "Review"
    output = "json"
    Settings = ToolSettings

    def run(self, image, settings):
        return [Output(data=REPORT, notes=[Note("Looked at {n} rules.", n=2)])]

    def notice(self, settings):
        return "Rules change now and then."

    def unavailable_reason(self, settings=None):
        return None


@pytest.fixture
def review():
    with fakes.registered(ReviewTool) as (tool,):
        yield tool


@pytest.fixture
def browser(client, alice) -> Client:
    client.force_login(alice)
    return client


def finished(alice, **options) -> tuple[Batch, Item]:
    batch = lifecycle.start(make_batch(alice, 1, **options))
    item = batch.items.get()
    pipeline.run(item.pk)
    return batch, item


def test_each_of_several_results_is_shown_and_downloaded(browser, alice):
    batch, item = finished(alice, settings={"copies": 3})

    first = browser.get(f"/items/{item.uid}/").content.decode()
    third = browser.get(f"/items/{item.uid}/?result=3").content.decode()

    assert first.count("result-thumb") == 3
    assert f"/items/{item.uid}/result/?position=2" not in first
    assert f'src="/items/{item.uid}/result/?position=2"' in third
    assert f"/items/{item.uid}/result/?position=2&amp;download=1" in third
    assert "3 results" in browser.get(batch.get_absolute_url()).content.decode()
    picture = browser.get(f"/items/{item.uid}/result/?position=2")
    assert picture["Content-Type"] == "image/png"
    picture.close()


@pytest.mark.parametrize("query", ["position=3", "position=-1", "position=x", "position=99999999"])
def test_a_result_that_is_not_there_is_not_found(browser, alice, query):
    _batch, item = finished(alice, settings={"copies": 3})

    assert browser.get(f"/items/{item.uid}/result/?{query}").status_code == 404
    assert browser.get(f"/items/{item.uid}/thumbnail/?{query}").status_code == 404


def test_any_number_in_the_address_shows_a_result(browser, alice):
    _batch, item = finished(alice, settings={"copies": 2})

    for wanted in ("0", "9", "x", "-1", "9" * 500):
        page = browser.get(f"/items/{item.uid}/", {"result": wanted}).content.decode()
        assert f'src="/items/{item.uid}/result/"' in page


def test_a_report_lists_what_is_broken_first(browser, alice, review):
    batch, item = finished(alice, tool="review")

    for address in (f"/items/{item.uid}/", batch.get_absolute_url()):
        page = browser.get(address).content.decode()
        assert page.index("The background is not white.") < page.index("It is large enough.")
        assert "Not passed" in page
        assert "50 of 100" in page
    assert "Looked at 2 rules." in browser.get(f"/items/{item.uid}/").content.decode()


def test_a_report_is_downloaded_as_json(browser, alice, review):
    _batch, item = finished(alice, tool="review")

    file = browser.get(f"/items/{item.uid}/result/?download=1")

    assert file["Content-Type"] == "application/json"
    assert "photo-1.json" in file["Content-Disposition"]
    assert json.loads(file.content) == REPORT


def test_the_api_gives_the_report_and_what_the_tool_told(alice, review):
    batch, _item = finished(alice, tool="review")
    alices = clients.with_key(alice)

    (item,) = alices.get(f"/api/v1/batches/{batch.uid}/items").json()["results"]

    assert item["result"]["report"] == REPORT
    assert json.loads(item["result"]["text"]) == REPORT
    assert item["result"]["notes"] == ["Looked at 2 rules."]
    notice = alices.get(f"/api/v1/batches/{batch.uid}").json()["notice"]
    assert notice == "Rules change now and then."


def test_the_notice_follows_the_settings(client, review):
    page = client.get("/tools/review/notice/").content.decode()

    assert "Rules change now and then." in page
    assert 'hx-trigger="change' in page
    quiet = client.get("/tools/fake/notice/?trouble=none").content.decode()
    assert "hidden" in quiet
    away = client.get("/tools/fake/notice/?trouble=unavailable").content.decode()
    assert "The fake model is away." in away
    assert "hidden" in client.get("/tools/fake/notice/?copies=many").content.decode()


def test_the_page_of_a_tool_asks_for_its_notice(client, review):
    for address in ("/tools/review/", "/tools/review/single/"):
        page = client.get(address).content.decode()
        assert 'hx-trigger="load, change from:#tool-settings delay:150ms"' in page
        assert 'id="tool-settings"' in page
    assert registry.get("review").notice({}) in client.get("/tools/review/notice/").content.decode()
