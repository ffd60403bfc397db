"""Adding images to a new batch, in a real browser: what goes up, what survives, what it costs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, Request, Route, expect

from accounts import plans
from batches.models import Batch, DraftImage, Item, Original
from tests import fakes
from tests.browser.test_batch import sample_photos
from tests.factories import give, make_original, picture

pytestmark = pytest.mark.browser

MEGABYTE = 2**20


def png(name: str, number: int = 0) -> dict:
    """A small picture for a file input."""
    return {"name": name, "mimeType": "image/png", "buffer": picture(number)}


@pytest.fixture
def heavy(tmp_path) -> Callable[..., Path]:
    """Pictures that take several requests: what follows a picture's end is not looked at."""

    def make(name: str, megabytes: int = 6) -> Path:
        path = tmp_path / name
        path.write_bytes(picture(len(name)) + bytes(megabytes * MEGABYTE))
        return path

    return make


def ready(page: Page) -> Page:
    """The page after its script has taken over."""
    page.locator("#new-batch[data-ready]").wait_for()
    return page


def choose(page: Page, *files) -> None:
    page.get_by_label("choose images").set_input_files(list(files))


def card(page: Page, name: str):
    return page.locator("#uploads > li", has=page.get_by_title(name, exact=True))


def status(page: Page):
    return page.locator("#upload-status")


def start_button(page: Page):
    return page.locator("#start")


class Held:
    """Holds some requests back until it is let go."""

    def __init__(self, which: Callable[[Request], bool] = lambda _request: True) -> None:
        self.which = which
        self.routes: list[Route] = []
        self.is_open = False

    def __call__(self, route: Route) -> None:
        if self.is_open or not self.which(route.request):
            route.continue_()
        else:
            self.routes.append(route)

    def let_go(self) -> None:
        self.is_open = True
        for route in self.routes:
            route.continue_()


def expect_soon(page: Page, condition: Callable[[], object]) -> None:
    """Let the browser work until something has happened here."""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(50)
    pytest.fail("It did not happen.")


@pytest.fixture
def calm(page) -> None:
    """Nothing glides: what is measured or pressed is where it will be."""
    page.emulate_media(reduced_motion="reduce")


@pytest.fixture
def tool(calm, signed_in) -> Page:
    """A tool's page, ready, for somebody who is signed in."""
    return ready(signed_in)


# --- States -----------------------------------------------------------------------------


def test_an_empty_page_says_what_to_do(tool, check_accessibility, complaints):
    page = tool

    expect(start_button(page)).to_be_disabled()
    expect(start_button(page)).to_have_accessible_description("Add images to start.")
    expect(page.get_by_role("tab", name="Batch")).to_have_count(
        page.get_by_role("tab", name="Single").count()
    )
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => Promise.allSettled(document.getAnimations().map((a) => a.finished))")
        check_accessibility(page, "main")
    assert complaints == []


def test_files_that_are_in_can_be_started_at_their_price(tool, check_accessibility, complaints):
    page = tool

    choose(page, *sample_photos("coffee.png", "rocket.jpg"))

    expect(status(page)).to_have_text("2 images ready")
    expect(page.locator("#cost")).to_contain_text("2 images × 1 credit")
    expect(page.locator("#after dd")).to_have_text(str(settings.WELCOME_CREDITS - 2))
    for name in ("coffee.png", "rocket.jpg"):
        expect(card(page, name)).to_contain_text("Ready")
        expect(card(page, name).locator("img")).to_have_attribute("src", re.compile("/thumbnail/"))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => Promise.allSettled(document.getAnimations().map((a) => a.finished))")
        check_accessibility(page, "main")
    page.get_by_role("button", name="Start batch · 2 images · 2 credits").click()
    page.wait_for_url("**/batches/**")
    assert Batch.objects.get().items.count() == 2
    assert complaints == []


def test_four_files_go_up_at_a_time(tool, complaints):
    page = tool
    held = Held()
    page.route("**/uploads/tus/", held)

    choose(page, *(png(f"{n}.png", n) for n in range(6)))

    expect(status(page)).to_have_text("Uploading 0 of 6")
    expect(start_button(page)).to_have_accessible_description("Uploading 0 of 6")
    expect(page.locator("#uploads > li[data-state=uploading]")).to_have_count(4)
    expect(page.locator("#uploads > li[data-state=waiting]")).to_have_count(2)
    assert len(held.routes) == 4
    expect(start_button(page)).to_be_disabled()

    held.let_go()

    expect(status(page)).to_have_text("6 images ready")
    expect(start_button(page)).to_be_enabled()
    assert complaints == []


def test_a_file_that_is_no_image_says_so_and_costs_nothing(tool, check_accessibility, complaints):
    page = tool

    choose(page, png("mug.png"), {**png("notes.png"), "buffer": b"only words"})

    expect(status(page)).to_have_text("1 image ready · 1 with a problem")
    expect(card(page, "notes.png")).to_contain_text("This is a text file.")
    expect(card(page, "notes.png")).to_contain_text("No credits used.")
    expect(page.locator("#cost dd")).to_have_text("1")
    check_accessibility(page, "main")
    with page.expect_response("**/draft/remove/"):
        page.get_by_role("button", name="Remove notes.png").click()
    expect(status(page)).to_have_text("1 image ready")
    page.reload()
    expect(page.locator("#uploads > li")).to_have_count(1)
    assert complaints == []


def test_a_file_that_is_too_large_is_shrunk_in_the_browser(tool, heavy, complaints):
    page = tool
    sent = []
    page.on("request", lambda request: sent.append(request.method) if "/tus/" in request.url else 0)

    choose(page, heavy("huge.png", 21))

    expect(card(page, "huge.png")).to_contain_text("the limit is 20 MB")
    expect(card(page, "huge.png")).to_contain_text("No credits used.")
    assert "PATCH" not in sent

    page.get_by_role("button", name="Shrink: huge.png").click()

    expect(card(page, "huge.webp")).to_contain_text("Ready")
    expect(status(page)).to_have_text("1 image ready")
    assert Original.objects.get().bytes < 20 * MEGABYTE
    assert DraftImage.objects.count() == 1
    assert complaints == []


def test_identical_files_are_sent_once(tool, alice, complaints):
    page = tool
    make_original(alice, 7)
    created = []
    page.on("request", lambda request: created.append(1) if request.url.endswith("/tus/") else None)

    choose(page, png("a.png", 1), png("b.png", 1), png("known.png", 7), png("c.png", 2))

    expect(status(page)).to_have_text("3 images ready · 1 duplicate joined")
    expect(page.locator("#uploads > li")).to_have_count(3)
    expect(card(page, "known.png")).to_contain_text("Ready")
    assert len(created) == 2
    choose(page, png("again.png", 2))
    expect(status(page)).to_have_text("3 images ready · 2 duplicates joined")
    assert complaints == []


def test_a_folder_gives_its_images_and_leaves_the_rest(tool, tmp_path, complaints):
    page = tool
    (tmp_path / "shop" / "mugs").mkdir(parents=True)
    (tmp_path / "shop" / "front.png").write_bytes(picture(1))
    (tmp_path / "shop" / "mugs" / "front.png").write_bytes(picture(2))
    (tmp_path / "shop" / "prices.txt").write_text("words")
    (tmp_path / "shop" / ".hidden.png").write_bytes(picture(3))

    page.get_by_label("a folder").set_input_files(tmp_path / "shop")

    expect(status(page)).to_have_text("2 images ready · 2 files left out: not images")
    expect(page.get_by_title("front.png")).to_have_count(2)
    assert complaints == []


def test_newcomers_try_it_with_samples(tool, complaints):
    page = tool

    page.get_by_role("button", name="Try with 3 sample images").click()

    expect(status(page)).to_have_text("3 images ready")
    expect(page.get_by_role("button", name="Try with 3 sample images")).to_be_hidden()
    expect(start_button(page)).to_have_text("Start batch · 3 images · 3 credits")
    page.reload()
    expect(status(page)).to_have_text("3 images ready")
    assert complaints == []


class Dear(fakes.FakeTool):
    """Ten credits an image."""

    slug = "dear"
    name = "Dear"
    price = 10


def test_too_few_credits_offer_as_many_as_there_are(tool, complaints):
    page = tool
    have = settings.WELCOME_CREDITS
    fitting = have // 10
    with fakes.registered(Dear):
        page.goto("/tools/dear/")
        ready(page)
        choose(page, *(png(f"{n}.png", n) for n in range(fitting + 1)))
        expect(status(page)).to_have_text(f"{fitting + 1} images ready")

        expect(page.locator("#short")).to_have_text(
            f"Not enough credits: {10 * (fitting + 1)} are needed, {have} are there."
        )
        start_button(page).click()

        page.wait_for_url("**/batches/**")
        assert Batch.objects.get().items.count() == fitting
        page.goto("/tools/dear/")
        expect(status(page)).to_have_text("1 image ready")
    assert complaints == []


def test_one_image_too_many_is_asked_about(tool, alice, settings, complaints, monkeypatch):
    page = tool
    give(alice, 100)
    monkeypatch.setattr("batches.views.tool_page.limit_of", lambda _request: 5)
    small = plans.replace(plans.STANDARD, batch_images=5)
    monkeypatch.setattr(plans, "plan_for", lambda _user: small)
    page.reload()
    ready(page)

    choose(page, *(png(f"{n}.png", n) for n in range(6)))

    expect(page.locator("#over")).to_contain_text("You have added 6 images; one batch takes 5.")
    start_button(page).click()
    page.wait_for_url("**/batches/**")
    assert Batch.objects.get().items.count() == 5
    page.goto("/tools/remove-background/")
    expect(status(page)).to_have_text("1 image ready")
    assert complaints == []


# --- What survives ----------------------------------------------------------------------


def test_a_reload_in_mid_upload_goes_on_where_it_was(tool, heavy, complaints):
    page = tool
    sent = []
    held = Held(lambda request: request.headers.get("upload-offset", "0") != "0")
    page.route("**/uploads/tus/*/", held)
    choose(page, heavy("poster.png"))
    choose(page, png("mug.png", 1))
    expect(card(page, "mug.png")).to_contain_text("Ready")
    expect(status(page)).to_have_text("Uploading 1 of 2")
    expect_soon(page, lambda: held.routes)
    page.wait_for_timeout(700)  # the browser's own list is written with a delay
    held.is_open = True  # for the next page: what is held is never answered
    page.on(
        "request",
        lambda request: (
            sent.append(request.headers["upload-offset"]) if request.method == "PATCH" else None
        ),
    )

    page.reload()

    expect(status(page)).to_have_text("2 images ready")
    expect(page.locator("#uploads > li")).to_have_count(2)
    assert sent == [str(4 * MEGABYTE)]
    assert complaints == []


def test_a_lost_connection_goes_on_by_itself(tool, heavy, complaints):
    page = tool
    held = Held(lambda request: request.method == "PATCH")
    page.route("**/uploads/tus/*/", held)
    choose(page, *(heavy(f"poster-{'x' * n}.png") for n in range(3)))
    expect_soon(page, lambda: len(held.routes) == 3)

    page.context.set_offline(True)
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    held.is_open = True
    for route in held.routes:
        route.abort("internetdisconnected")
    expect(start_button(page)).to_be_disabled()
    page.context.set_offline(False)

    expect(status(page)).to_have_text("3 images ready")
    expect(page.get_by_text("The connection is lost.")).to_be_hidden()
    assert complaints == []


def test_a_server_that_stumbles_is_asked_again(tool, complaints):
    page = tool
    broken = []

    def stumble(route):
        if len(broken) < 2:
            broken.append(1)
            route.fulfill(status=502, body="Bad gateway")
        else:
            route.continue_()

    page.route("**/uploads/tus/", stumble)

    choose(page, png("mug.png"))

    expect(status(page)).to_have_text("1 image ready")
    assert len(broken) == 2
    assert complaints == []


def test_pausing_holds_all_and_resuming_sends_the_rest(tool, heavy, complaints):
    page = tool
    patches = []
    held = Held(lambda request: request.method == "PATCH" and not held.routes)
    page.route("**/uploads/tus/*/", held)
    choose(page, heavy("poster.png"))
    choose(page, *(png(f"{n}.png", n) for n in range(8)))
    expect_soon(page, lambda: held.routes)

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    held.routes[0].abort()
    expect(card(page, "poster.png")).to_contain_text("Paused")
    page.wait_for_timeout(300)  # for what was on its way
    page.on("request", lambda request: patches.append(1) if request.method == "PATCH" else None)
    page.wait_for_timeout(500)
    assert patches == []
    page.get_by_role("button", name="Resume").click()

    expect(status(page)).to_have_text("9 images ready")
    assert patches
    assert complaints == []


def test_an_expired_session_loses_nothing(tool, alice, complaints):
    page = tool
    page.get_by_label("Name of the batch").fill("Spring mugs")
    Session.objects.all().delete()

    choose(page, *(png(f"{n}.png", n) for n in range(3)))

    expect(page.get_by_text("You are signed out, so sending has paused.")).to_be_visible()
    expect(start_button(page)).to_be_disabled()
    page.wait_for_timeout(1000)  # for the browser's list of files
    page.locator("#signed-out").get_by_role("link", name="Sign in").click()
    sign_in(page, alice)

    expect(status(page)).to_have_text("3 images ready")
    expect(page.get_by_label("Name of the batch")).to_have_value("Spring mugs")
    assert complaints == []


def test_what_a_stranger_drops_and_types_is_there_after_signing_in(calm, page, alice, complaints):
    page.goto("/tools/remove-background/")
    ready(page)
    choose(page, png("mug.png"), png("cup.png", 1))
    page.get_by_label("Name of the batch").fill("Spring mugs")
    expect(page.get_by_text("Sign in to send these images.")).to_be_visible()
    expect(page.locator("#uploads > li[data-state=waiting]")).to_have_count(2)
    page.wait_for_timeout(1200)  # for the browser's list, and the pause after the last key

    page.get_by_role("link", name="Sign in to start").click()
    sign_in(page, alice)

    expect(status(page)).to_have_text("2 images ready")
    expect(page.get_by_label("Name of the batch")).to_have_value("Spring mugs")
    assert complaints == []


def sign_in(page: Page, user) -> None:
    page.get_by_label("E-mail address").fill(user.email)
    page.get_by_label("Password").fill("alice's password")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/tools/remove-background/")
    ready(page)


def test_two_tabs_add_at_once(tool, complaints):
    page = tool
    other = page.context.new_page()
    other.goto(page.url)
    ready(other)

    choose(page, *(png(f"left-{n}.png", n) for n in range(4)))
    choose(other, *(png(f"right-{n}.png", 10 + n) for n in range(4)))

    for tab in (page, other):
        expect(status(tab)).to_have_text("4 images ready")
        tab.reload()
        expect(status(tab)).to_have_text("8 images ready")
    assert complaints == []


def test_a_file_that_the_browser_could_not_keep_is_asked_for_again(tool, complaints):
    page = tool
    held = Held()
    page.route("**/uploads/tus/", held)
    choose(page, png("mug.png"))
    expect(card(page, "mug.png")).to_contain_text("Uploading")
    page.wait_for_timeout(700)
    page.evaluate(
        """() => new Promise((done, failed) => {
            const request = indexedDB.open('uppy-blobs');
            request.onsuccess = () => {
                const all = request.result.transaction('files', 'readwrite').objectStore('files');
                all.clear().onsuccess = done;
            };
            request.onerror = failed;
        })"""
    )
    held.is_open = True

    page.reload()
    ready(page)

    expect(card(page, "mug.png")).to_contain_text("Your browser did not keep this file.")
    expect(start_button(page)).to_have_accessible_description(
        "1 file has to be chosen again, or removed."
    )
    choose(page, png("mug.png"))
    expect(status(page)).to_have_text("1 image ready")
    expect(page.locator("#uploads > li")).to_have_count(1)
    assert complaints == []


# --- Addresses --------------------------------------------------------------------------


def test_addresses_are_judged_while_one_pastes(tool, shop, check_accessibility, complaints):
    page = tool
    shop.content = ("image/png", picture())
    mug = f"http://{shop.host}/mug.png"
    page.get_by_text("URLs", exact=True).click()

    page.get_by_label("Paste addresses").fill(f"{mug}\nnot an address\n{mug}?utm_source=mail")

    notes = page.locator("#address-notes")
    expect(notes).to_contain_text("Line 2")
    expect(notes).to_contain_text("Line 3 is the same as line 1: processed once.")
    expect(page.locator("#uploads > li")).to_have_count(1)
    expect(card(page, mug)).to_contain_text("Ready")
    expect(status(page)).to_have_text("1 image ready · 1 with a problem · 1 duplicate joined")
    check_accessibility(page, "main")
    page.get_by_role("button", name="Line 2").click()
    assert (
        page.evaluate(
            "() => { const at = document.getElementById('urls');"
            " return at.value.slice(at.selectionStart, at.selectionEnd) }"
        )
        == "not an address"
    )
    page.wait_for_timeout(1000)
    page.reload()
    expect(page.get_by_label("Paste addresses")).to_have_value(re.compile("not an address"))
    assert complaints == []


def test_an_address_with_a_problem_can_be_started_or_removed(tool, shop, complaints):
    page = tool
    page.get_by_text("URLs", exact=True).click()
    page.get_by_label("Paste addresses").fill(
        f"http://{shop.host}/mug.png\nhttp://{shop.host}/cup.png"
    )
    expect(page.locator("#uploads > li[data-state=problem]")).to_have_count(2)
    expect(page.locator("#uploads > li").first).to_contain_text("not an image")

    page.get_by_role("button", name="Remove cup.png").click()

    expect(page.get_by_label("Paste addresses")).to_have_value(f"http://{shop.host}/mug.png")
    start_button(page).click()
    page.wait_for_url("**/batches/**")
    assert Item.objects.get().source_url.endswith("/mug.png")
    assert complaints == []


# --- Keyboard, and many -----------------------------------------------------------------


def test_all_is_done_with_the_keyboard(tool, complaints):
    page = tool
    page.bring_to_front()
    choose = page.get_by_label("choose images")
    choose.focus()
    expect(choose).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files([png(f"{n}.png", n) for n in range(4)])
    expect(status(page)).to_have_text("4 images ready")

    page.get_by_label("a folder").focus()
    page.keyboard.press("Tab")
    expect(card(page, "0.png")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(card(page, "2.png")).to_be_focused()
    page.keyboard.press("Delete")
    expect(card(page, "3.png")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Remove 0.png")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card(page, "1.png")).to_be_focused()
    expect(status(page)).to_have_text("2 images ready")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "start":
            break
    page.keyboard.press("Enter")

    page.wait_for_url("**/batches/**")
    assert Batch.objects.get().items.count() == 2
    assert complaints == []
