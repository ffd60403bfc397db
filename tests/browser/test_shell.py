"""What is around every page: failures that are told, the page without a connection, the header."""

import re

import pytest
from playwright.sync_api import expect

from batches.models import Batch
from batches.states import BatchState
from tests import pages
from tests.browser.test_every_page import problems_of

pytestmark = pytest.mark.browser


@pytest.fixture
def world(transactional_db):
    return pages.build()


@pytest.fixture
def person(page, live_server, world):
    """The page of somebody who is signed in and has batches."""
    page.context.add_cookies([{**pages.session_cookie(world.person), "url": live_server.url}])
    return page


@pytest.fixture
def visitor(chromium, live_server, complaints):
    """A page whose service worker may do its work."""
    context = chromium.new_context(base_url=live_server.url)
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if "Content Security" in said.text else None,
    )
    page.goto("/")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    yield page
    context.close()


def notices(page):
    return page.locator("#notices > *")


def test_without_a_connection_there_is_a_page_that_comes_back_by_itself(visitor, world, complaints):
    visitor.context.set_offline(True)
    expect(notices(visitor)).to_have_text(re.compile("You are offline"))

    visitor.get_by_role("link", name="Sign in").first.click()

    expect(visitor.get_by_role("heading", level=1)).to_have_text("You are offline")
    assert visitor.url.endswith("/accounts/login/")
    assert visitor.evaluate(
        "document.fonts.ready.then((all) => [...all].some(({status}) => status === 'loaded'))"
    )
    icon = visitor.locator("main .icon").first.bounding_box()
    assert icon["width"] > 10
    assert problems_of(visitor) == []

    visitor.context.set_offline(False)

    expect(visitor.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert complaints == []


def test_the_kept_page_wears_the_colours_that_were_chosen_since(visitor, world):
    visitor.get_by_role("button", name="Dark colours").click()
    visitor.context.set_offline(True)

    visitor.goto("/accounts/login/", wait_until="load")

    expect(visitor.locator("html")).to_have_attribute("data-theme", "studio-dark")


def test_nothing_of_anybody_is_kept(visitor, live_server, world):
    visitor.context.add_cookies([{**pages.session_cookie(world.person), "url": live_server.url}])
    batch = world.batches["problems"]

    visitor.goto(batch.get_absolute_url())
    visitor.goto("/batches/")

    kept = visitor.evaluate(
        """async () => {
          const found = [];
          for (const name of await caches.keys())
            for (const request of await (await caches.open(name)).keys())
              found.push(new URL(request.url).pathname);
          return found;
        }"""
    )
    assert "/offline/" in kept
    assert all(path == "/offline/" or path.startswith("/static/") for path in kept)


def test_a_download_goes_through_the_worker(visitor, live_server, world):
    visitor.context.add_cookies([{**pages.session_cookie(world.person), "url": live_server.url}])
    visitor.goto(world.batches["finished"].get_absolute_url())

    with visitor.expect_download() as download:
        visitor.get_by_role("link", name="Download ZIP").click()

    assert download.value.path().read_bytes()[:2] == b"PK"


def test_going_offline_is_said_and_taken_back(person, world, complaints):
    person.goto("/batches/")
    expect(notices(person)).to_have_count(0)

    person.context.set_offline(True)
    expect(notices(person)).to_contain_text("Uploads and progress go on")

    person.context.set_offline(False)
    expect(notices(person)).to_have_count(0)
    assert complaints == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 403}, "This page is out of date"),
        ({"status": 404}, "This is not here any more."),
        ({"status": 429, "headers": {"Retry-After": "40"}}, "Try again in 40 seconds."),
        ({"status": 500}, "Something went wrong on our side"),
        (None, "The connection broke"),
    ],
    ids=lambda value: str(value and value.get("status")) if not isinstance(value, str) else "",
)
def test_a_step_that_fails_says_so(person, world, answer, words):
    batch = world.batches["ready"]
    person.goto(batch.get_absolute_url())
    person.route("**/start/", lambda r: r.fulfill(**answer) if answer else r.abort())

    person.get_by_role("button", name=re.compile("Start batch")).click()

    expect(notices(person)).to_contain_text(words)
    assert problems_of(person) == []
    person.get_by_role("button", name="Close").click()
    expect(notices(person)).to_have_count(0)


def test_a_page_that_asks_by_itself_goes_on_and_takes_its_words_back(person, world):
    person.goto(world.batches["running"].get_absolute_url())
    person.route("**/progress/**", lambda route: route.fulfill(status=503))
    expect(notices(person)).to_contain_text("this page goes on asking")
    expect(notices(person)).to_have_count(1)

    person.unroute("**/progress/**")

    expect(notices(person)).to_have_count(0)


def test_after_signing_out_the_back_button_shows_nothing(person, world):
    person.goto(world.batches["problems"].get_absolute_url())
    person.goto("/batches/")
    person.locator("header details summary").click()
    person.get_by_role("button", name="Sign out").click()
    expect(person.get_by_role("link", name="Sign in").first).to_be_visible()

    person.go_back()

    expect(person.get_by_role("heading", level=1)).to_have_text("Sign in")
    person.go_back()
    expect(person.locator("main")).not_to_contain_text("mug-")


def test_the_keyboard_reaches_the_content_and_the_colours(person, world):
    person.goto("/batches/")

    person.keyboard.press("Tab")
    expect(person.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(person.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    person.keyboard.press("Enter")
    expect(person.locator("main")).to_be_focused()

    switch = person.get_by_role("button", name="Dark colours")
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.focus()
    person.keyboard.press("Space")
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(person.locator("html")).to_have_attribute("data-theme", "studio-dark")


def test_messages_can_be_put_away(person, world):
    batch = world.batches["ready"]
    person.goto(batch.get_absolute_url())
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.CANCELLED)  # in another tab
    person.get_by_role("button", name=re.compile("Start batch")).click()
    message = person.locator("#messages > *")
    expect(message).to_be_visible()

    message.get_by_role("button", name="Close").click()

    expect(message).to_have_count(0)


def test_a_second_language_brings_a_switch(person, world, settings):
    settings.LANGUAGES = [("en", "English"), ("de", "German"), ("ar", "Arabic")]
    person.goto("/batches/")

    person.get_by_label("Language").select_option("ar")
    person.get_by_role("button", name="Change").click()

    expect(person.locator("html")).to_have_attribute("dir", "rtl")
    expect(person).to_have_url(re.compile("/batches/$"))


def test_the_id_of_a_failure_can_be_copied(person, live_server, world):
    person.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server.url)
    answer = person.goto("/nothing")

    person.get_by_role("button", name="Copy").click()

    expect(person.get_by_role("button", name="Copied")).to_be_visible()
    copied = person.evaluate("navigator.clipboard.readText()")
    assert copied == answer.headers["x-request-id"]


def test_the_header_of_forced_colours_still_tells_states_apart(chromium, live_server, world):
    context = chromium.new_context(
        base_url=live_server.url, forced_colors="active", service_workers="block"
    )
    context.add_cookies([{**pages.session_cookie(world.person), "url": live_server.url}])
    page = context.new_page()
    page.goto(world.batches["problems"].get_absolute_url())

    colours = page.locator("#cards .dot").evaluate_all(
        "dots => [...new Set(dots.map((dot) => getComputedStyle(dot).backgroundColor))]"
    )

    assert len(colours) == 2
    context.close()
