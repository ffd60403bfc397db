"""The start page and the gallery of tools."""

import re

import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse

from batches.views import gallery
from tests import fakes
from tools import registry
from tools.engines import weights

GALLERY = "/tools/"


def cards(page: str) -> list[str]:
    """The slugs of the tools that are shown, in order."""
    return re.findall(r'href="/tools/([a-z-]+)/single/"', page)


def pictures(page: str) -> list[str]:
    return re.findall(r'src="/static/(img/tools/[^"]+)"', page)


def test_strangers_are_told_what_this_is(client, db):
    page = client.get("/").content.decode()

    assert "Hundreds of photos" in page
    assert f'href="{reverse("accounts:login")}"' in page
    assert set(cards(page)) == {tool.slug for tool in registry.all()}


def test_the_start_page_shows_what_a_tool_really_made(client, db):
    page = client.get("/").content.decode()

    before, after = pictures(page)[:2]
    assert before.endswith("-before.webp")
    assert after == before.replace("before", "after")
    assert finders.find(before)
    assert finders.find(after)


def test_people_who_are_signed_in_go_to_the_tools(client, alice):
    client.force_login(alice)

    assert client.get("/").url == GALLERY


def test_the_gallery_opens_signed_out(client, db):
    page = client.get(GALLERY).content.decode()

    assert 'href="/tools/remove-background/"' in page
    assert 'href="/tools/remove-background/single/"' in page
    assert "From 1 credit per image" in page


def test_a_tool_without_an_example_shows_its_icon(client, db, fake_tool):
    page = client.get(GALLERY).content.decode()
    card = page.split("Inverts the picture")[0].rsplit("<li", 1)[1]

    assert "#wand-sparkles" in card
    assert not pictures(card)


def test_a_tool_that_cannot_run_says_why_and_comes_last(
    client, db, fake_tool, tmp_path, monkeypatch
):
    monkeypatch.setattr(weights, "_folder", tmp_path)

    page = client.get(GALLERY).content.decode()

    assert "Not available here." in page
    assert "manage.py fetchweights u2net" in page
    shown = cards(page)
    missing = [tool.slug for tool in registry.all() if tool.unavailable_reason()]
    assert sorted(shown[-len(missing) :]) == sorted(missing)


def test_a_free_tool_says_so(client, db, monkeypatch):
    monkeypatch.setattr(fakes.FakeTool, "price", 0)

    with fakes.registered(fakes.FakeTool):
        assert ">Free<" in client.get(GALLERY).content.decode()


@pytest.mark.parametrize(
    ("words", "found"),
    [("invert", ["fake"]), ("PICTURE says", ["fake-text"]), ("fake", ["fake", "fake-text"])],
)
def test_tools_are_found_by_their_words(client, db, fake_tool, words, found):
    page = client.get(GALLERY, {"q": words}).content.decode()

    assert cards(page) == found


def test_words_that_no_tool_has_are_answered(client, db):
    page = client.get(GALLERY, {"q": "<b>teleport"}).content.decode()

    assert "No tool answers to “&lt;b&gt;teleport”." in page
    assert cards(page) == []


def test_a_few_tools_need_no_search(client, db, monkeypatch):
    monkeypatch.setattr(gallery, "WORTH_SEARCHING", len(registry.all()) + 1)

    assert 'type="search"' not in client.get(GALLERY).content.decode()


def test_the_gallery_asks_the_database_nothing(client, db, django_assert_num_queries):
    with django_assert_num_queries(0):
        client.get(GALLERY)
