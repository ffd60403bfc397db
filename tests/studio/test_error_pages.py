"""Whatever goes wrong in a page is told in a page: cause, effect, next step, and an id."""

import re
from html import unescape

import pytest
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.http import HttpResponseNotAllowed
from django.test import Client
from django.urls import path, reverse

from accounts.limits import TooManyRequests
from studio import urls as site
from studio.problems import TRY_AGAIN_AFTER


def refuse(_request):
    raise PermissionDenied


def break_down(_request):
    raise RuntimeError("the password is hunter2")


def ask_too_often(request):
    raise TooManyRequests(retry_after=int(request.GET.get("seconds", 40)))


urlpatterns = [
    path("refuse/", refuse),
    path("break/", break_down),
    path("often/", ask_too_often),
    path("empty/", lambda _request: HttpResponseNotAllowed(["POST"])),
    *site.urlpatterns,
]
handler400, handler403 = site.handler400, site.handler403
handler404, handler500 = site.handler404, site.handler500


@pytest.fixture
def visitor(db, settings):
    settings.ROOT_URLCONF = __name__
    return Client(raise_request_exception=False)


@pytest.fixture
def no_database():
    """Every question to the database fails as it does when the server is gone."""

    def down(*_question):
        raise OperationalError("the server closed the connection")

    with connection.execute_wrapper(down):
        yield


def check_page(response, status: int, heading: str) -> str:
    """A page in the site's design with one heading, one way on, and the request's id."""
    text = response.content.decode()
    assert response.status_code == status
    assert response["Content-Type"].startswith("text/html")
    assert re.findall(r"<h1[^>]*>(.*?)</h1>", text) == [heading]
    assert len(re.findall(r'class="btn btn-primary mt-6"', text)) == 1
    assert f">{response['X-Request-Id']}</code>" in text
    return unescape(text)


@pytest.mark.parametrize(
    ("address", "status", "heading"),
    [
        ("/refuse/", 403, "You may not do that"),
        ("/nothing", 404, "There is nothing here"),
        ("/empty/", 405, "This address is a step, not a page"),
        ("/often/", 429, "That was often in a short time"),
        ("/break/", 500, "Something went wrong on our side"),
    ],
)
@pytest.mark.parametrize("signed_in", [False, True])
def test_each_failure_has_its_page(visitor, alice, address, status, heading, signed_in):
    if signed_in:
        visitor.force_login(alice)

    response = visitor.get(address)

    check_page(response, status, heading)


def test_a_request_that_cannot_be_read_has_a_page(visitor):
    response = visitor.get("/", headers={"host": "evil.example"})

    check_page(response, 400, "This request can't be read")


def test_an_old_form_leads_back_to_its_page(alice):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    page = "http://testserver/tools/remove-background/"

    response = browser.post(reverse("accounts:logout"), headers={"referer": page})

    text = check_page(response, 403, "This page is out of date")
    assert f'href="{page}"' in text


def test_nobody_is_led_back_to_another_site(alice):
    browser = Client(enforce_csrf_checks=True)

    response = browser.post(
        reverse("accounts:logout"), headers={"referer": "https://evil.example/x"}
    )

    assert b"evil.example" not in response.content


def test_who_tried_too_often_learns_when_to_try_again(visitor):
    soon, later = visitor.get("/often/?seconds=40"), visitor.get("/often/?seconds=1801")

    assert (soon["Retry-After"], later["Retry-After"]) == ("40", "1801")
    assert b"Try again in 40 seconds." in soon.content
    assert b"Try again in 31 minutes." in later.content


def test_a_failure_says_nothing_of_our_insides_and_asks_no_database(
    visitor, django_assert_num_queries, caplog
):
    with django_assert_num_queries(0):
        response = visitor.get("/break/")

    assert b"hunter2" not in response.content
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("address", ["/batches/", "/nothing", "/tools/remove-background/"])
def test_a_database_that_is_away_is_an_outage_that_passes(alice, visitor, no_database, address):
    visitor.cookies["sessionid"] = "x" * 32

    response = visitor.get(address)

    text = check_page(response, 503, "The studio catches its breath")
    assert response["Retry-After"] == str(TRY_AGAIN_AFTER)
    assert f'href="{address}"' in text


def test_the_api_tells_an_outage_before_its_views_as_a_problem(visitor, no_database):
    visitor.cookies["sessionid"] = "x" * 32

    response = visitor.get("/api/v1/me")

    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


def test_pages_that_stand_alone_keep_the_chosen_colours(visitor):
    visitor.cookies["theme"] = "dark"

    assert b'data-theme="studio-dark"' in visitor.get("/break/").content


def test_a_step_that_was_opened_as_a_page_still_says_how_it_may_be_asked(alice):
    browser = Client()
    browser.force_login(alice)

    response = browser.get(reverse("accounts:logout"))

    check_page(response, 405, "This address is a step, not a page")
    assert "POST" in response["Allow"]
