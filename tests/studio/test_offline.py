"""What browsers are given to show without a connection. `tests/browser/test_shell.py` shows it."""

import json
import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from studio import views


@pytest.fixture
def shell():
    """What the service worker is told to keep."""
    code = Client().get("/sw.js").content.decode()
    return json.loads(re.match(r"self\.shell = (.*);\n", code)[1])


def test_the_worker_governs_the_whole_site_and_is_asked_for_every_time():
    response = Client().get("/sw.js")

    assert response["Content-Type"].startswith("text/javascript")
    assert response["Cache-Control"] == "no-cache"
    assert 'importScripts("/static/dist/sw.js");' in response.content.decode()


def test_all_that_the_page_needs_is_kept_and_nothing_else(shell):
    page = Client().get(shell["page"]).content.decode()

    needed = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page))

    assert needed <= set(shell["files"])
    assert set(shell["files"]) - needed == {"/static/dist/inter-latin.woff2"}  # the style sheet's
    assert all(finders.find(name) for name in views.SHELL)


def test_the_kept_page_is_the_same_for_everybody(alice, django_assert_num_queries):
    somebody = Client()
    somebody.force_login(alice)

    with django_assert_num_queries(1):  # the session: staff may be looking as somebody else
        page = somebody.get(reverse("offline"))

    assert page.content == Client().get(reverse("offline")).content
    assert alice.email not in page.content.decode()


def test_another_page_makes_another_worker(shell, monkeypatch):
    monkeypatch.setattr(views, "render_to_string", lambda _name: "other words")
    code = Client().get("/sw.js").content.decode()

    assert shell["version"] not in code


def test_the_manifest_names_the_site_and_a_picture_that_is_there():
    response = Client().get("/site.webmanifest")

    manifest = response.json()
    assert response["Content-Type"] == "application/manifest+json"
    assert manifest["start_url"] == "/"
    assert finders.find(manifest["icons"][0]["src"].removeprefix("/static/"))
