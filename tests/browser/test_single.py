"""Single mode in a real browser: from a dropped image to its download."""

import base64
import io
import re
from pathlib import Path

import pytest
from django.conf import settings
from PIL import Image
from playwright.sync_api import Page, expect

from batches.models import Batch, Item
from batches.states import ItemState
from tests import fakes
from tests.browser.conftest import PATIENCE
from tests.factories import picture

pytestmark = pytest.mark.browser

SINGLE = "/tools/remove-background/single/"
ONE = re.compile(r"/single/[0-9a-f-]{36}/$")


def photo(name: str) -> Path:
    """A real photo, from scikit-image's package."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name


def png(size: tuple[int, int] = (400, 300)) -> bytes:
    """A wall: nothing that a model could find on it."""
    out = io.BytesIO()
    Image.new("RGB", size, (205, 210, 214)).save(out, "PNG")
    return out.getvalue()


def hand_over(page: Page, event: str, data: bytes, name: str) -> None:
    """Drop or paste a file on the page, as the system would."""
    encoded = base64.b64encode(data).decode()
    page.evaluate(
        """([event, encoded, name]) => {
            const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: "image/png" }));
            const how = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(
                event === "paste"
                    ? new ClipboardEvent("paste", { ...how, clipboardData: data })
                    : new DragEvent(event, { ...how, dataTransfer: data }),
            );
        }""",
        [event, encoded, name],
    )


def ready(page: Page) -> None:
    expect(page.locator("#start-status")).to_have_text("Ready.")


def choose(page: Page, name: str = "coffee.png") -> None:
    page.get_by_label("Choose an image").set_input_files(photo(name))
    ready(page)


def go(page: Page) -> None:
    """Press the button, and come to the image's own page."""
    page.locator("#start").click()
    page.wait_for_url(ONE)


def test_from_drop_to_download_and_on_to_a_batch(signed_in, start, complaints, check_accessibility):
    page = signed_in
    page.goto(SINGLE)
    expect(page.locator("#start")).to_be_disabled()
    expect(page.locator("#start-status")).to_have_text("Add an image to start.")

    # Dropped anywhere, it goes up at once and shows on the stage.
    hand_over(page, "dragenter", photo("coffee.png").read_bytes(), "coffee.png")
    expect(page.locator("#drop")).to_have_attribute("data-over", "")
    hand_over(page, "drop", photo("coffee.png").read_bytes(), "coffee.png")
    ready(page)
    expect(page.get_by_text("coffee.png")).to_be_visible()
    assert page.locator("#preview").evaluate("image => image.naturalWidth") == 600
    check_accessibility(page, "main")

    # It waits while nobody works, and says so; a reload shows the same.
    page.get_by_label("Model").select_option("u2netp")
    expect(page.locator("#start")).to_have_text("Remove background · 1 credit")
    go(page)
    expect(page.locator("#stage")).to_contain_text("No worker that can run this is connected")
    check_accessibility(page, "main")
    page.reload()
    expect(page.get_by_label("Model")).to_have_value("u2netp")
    expect(page.locator("#steps")).to_contain_text("1 credit on hold")
    height = page.locator(".viewer-stage").bounding_box()["height"]

    # The result takes the place of the original, without a reload and without a jump.
    page.evaluate("window.same = true")
    start("worker", "cpu")
    download = page.get_by_role("link", name="Download")
    expect(download).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("window.same")
    expect(page).to_have_title("Done · Remove background")
    expect(page.locator("#announcement")).to_have_text("Done")
    assert page.locator(".viewer-stage").bounding_box()["height"] == height
    slider = page.get_by_role("slider", name="Before and after: coffee.png")
    expect(slider).to_be_visible()
    for shown in page.locator(".viewer-layer img").all():
        expect(shown).to_have_js_property("naturalWidth", 600)
        box, frame = shown.bounding_box(), page.locator(".viewer-stage").bounding_box()
        assert box["height"] <= frame["height"]
    expect(page.locator("#history li")).to_have_count(1)
    check_accessibility(page, "main")

    # What is downloaded is the cut-out.
    with page.expect_download() as waiting:
        download.click()
    with Image.open(waiting.value.path()) as image:
        assert image.size == (600, 400)
        assert image.getchannel("A").getextrema() == (0, 255)

    # On with these settings and many images.
    page.get_by_role("radio", name="White").check(force=True)
    page.get_by_role("button", name="Use these settings for a batch").click()
    page.wait_for_url("**/tools/remove-background/")
    expect(page.get_by_label("Model")).to_have_value("u2netp")
    expect(page.get_by_role("radio", name="White")).to_be_checked()
    assert complaints == []


def test_a_pasted_image_runs_by_keyboard_alone(signed_in, start):
    page = signed_in
    page.goto(SINGLE)
    start("worker", "cpu")

    hand_over(page, "paste", photo("coffee.png").read_bytes(), "image.png")
    expect(page.locator("#start")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(ONE)

    download = page.get_by_role("link", name="Download")
    expect(download).to_be_visible(timeout=PATIENCE)
    slider = page.get_by_role("slider")
    slider.focus()
    before = slider.get_attribute("aria-valuenow")
    page.keyboard.press("ArrowRight", delay=300)
    expect(slider).not_to_have_attribute("aria-valuenow", before)
    download.focus()
    with page.expect_download():
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Run again with other settings")).to_be_focused()


def test_a_pasted_address_lands_in_its_field(signed_in, complaints):
    page = signed_in
    page.goto(SINGLE)

    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/plain", " https://example.com/mug.png ");
            document.body.dispatchEvent(
                new ClipboardEvent("paste", { bubbles: true, clipboardData: data }),
            );
        }"""
    )

    expect(page.locator("#url")).to_have_value("https://example.com/mug.png")
    ready(page)
    expect(page.locator("#start")).to_be_enabled()
    assert complaints == []


def test_files_that_cannot_be_used_are_refused_where_they_were_chosen(signed_in, tmp_path):
    page = signed_in
    page.goto(SINGLE)
    sent = []
    page.on("request", lambda request: sent.append(1) if request.method == "POST" else None)
    field = page.get_by_label("Choose an image")

    # Too large is not even sent.
    large = tmp_path / "huge.png"
    with large.open("wb") as file:
        file.truncate(20 * 2**20 + 1)
    field.set_input_files(large)
    expect(page.locator("#trouble")).to_have_text(
        "huge.png: 20.1 MB; the limit is 20 MB. Make it smaller, or choose another one."
    )
    assert not sent

    field.set_input_files({"name": "notes.png", "mimeType": "image/png", "buffer": b"only words"})
    expect(page.locator("#trouble")).to_contain_text("notes.png: This is a text file.")
    expect(page.locator("#start")).to_be_disabled()

    # A good one makes it forgotten, and can be taken off again.
    choose(page)
    expect(page.locator("#trouble")).to_be_empty()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Choose an image, or drop it here")).to_be_visible()
    expect(page.locator("#start")).to_be_disabled()


def test_a_failure_can_be_run_again_and_a_run_cancelled(
    signed_in, alice, start, check_accessibility
):
    page = signed_in
    start("worker", "cpu")
    page.goto(SINGLE)
    page.get_by_label("Choose an image").set_input_files(
        {"name": "wall.png", "mimeType": "image/png", "buffer": png()}
    )
    ready(page)
    page.get_by_label("Model").select_option("u2netp")
    go(page)

    failed = page.locator("#stage[data-state=failed]")
    expect(failed).to_contain_text("No subject was found.", timeout=PATIENCE)
    expect(failed).to_contain_text("No credits used.")
    check_accessibility(page, "main")
    expect(page.locator("#balance")).to_contain_text("25")

    # Again is a new run of the same original.
    first = page.url
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: ONE.search(url) and url != first)
    expect(failed).to_be_visible(timeout=PATIENCE)
    assert Item.objects.count() == 2
    assert len(set(Item.objects.values_list("original", flat=True))) == 1

    # Deleted from the history after a question, with the keyboard.
    page.get_by_label("Delete wall.png…").last.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Delete wall.png and its result?").last).to_be_visible()
    check_accessibility(page, "main")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#history li")).to_have_count(1)
    assert Batch.objects.count() == 1


def test_cancel_takes_effect_at_once(signed_in):
    page = signed_in  # and nobody works
    page.goto(SINGLE)
    choose(page)
    go(page)

    page.get_by_role("button", name="Cancel").click()

    expect(page.locator("#stage")).to_contain_text("Cancelled. No credits used.")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert Item.objects.get().state == ItemState.CANCELLED


def test_another_image_can_be_dropped_on_a_finished_one(signed_in):
    page = signed_in
    page.goto(SINGLE)
    choose(page)
    page.get_by_label("Model").select_option("u2netp")
    go(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#stage")).to_contain_text("Cancelled.")

    hand_over(page, "drop", picture(7), "next.png")

    page.wait_for_url("**/single/?upload=*")
    expect(page.locator("#chosen-name")).to_have_text("next.png")
    expect(page.get_by_label("Model")).to_have_value("u2netp")
    ready(page)


def test_the_price_follows_the_settings_and_the_credits(signed_in, alice, monkeypatch):
    page = signed_in
    monkeypatch.setattr(fakes.FakeTool, "price_for", _dear_in_grey)
    monkeypatch.setattr(
        fakes.FakeTool,
        "price_rules",
        lambda _self: [{"when": {"style": "grey"}, "credits": 40}],
    )
    with fakes.registered(fakes.FakeTool):
        page.goto("/tools/fake/single/")
        page.get_by_label("Choose an image").set_input_files(photo("coffee.png"))
        ready(page)
        expect(page.locator("#start")).to_have_text("Fake · 2 credits")

        page.get_by_label("Style").select_option("grey")

        expect(page.locator("#start")).to_have_text("Fake · 40 credits")
        expect(page.locator("#short")).to_have_text("Not enough credits: 40 needed, 25 there.")

        # The server says the same, and keeps the image.
        page.locator("#start").click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was started")
        expect(page.locator("#chosen-name")).to_have_text("coffee.png")
        assert not Batch.objects.exists()


def _dear_in_grey(_self, settings, **_size) -> int:
    return 40 if settings["style"] == "grey" else 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_gallery_home_and_stage_are_accessible_on_a_phone(page, check_accessibility, scheme):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for address in ("/", "/tools/", SINGLE):
        page.goto(address)
        check_accessibility(page, "main")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_card_shows_the_photo_while_one_points_at_it_and_nothing_moves(page):
    page.emulate_media(reduced_motion="reduce")
    page.goto("/tools/")
    card = page.locator(".tool-card", has_text="Remove background")
    before = card.locator(".tool-before")
    card.scroll_into_view_if_needed()
    size = card.bounding_box()
    expect(before).to_have_css("opacity", "0")

    card.hover()
    expect(before).to_have_css("opacity", "1")
    assert card.bounding_box() == size

    page.mouse.move(0, 0)
    expect(before).to_have_css("opacity", "0")
    card.get_by_role("link").first.focus()
    expect(before).to_have_css("opacity", "1")


def test_the_start_page_compares_by_keyboard(page, complaints):
    page.goto("/")
    reveal = page.locator("[data-reveal]")
    expect(reveal.locator("img").first).to_have_js_property("naturalWidth", 560)

    page.get_by_role("slider", name="Compare before and after").focus()
    page.keyboard.press("Home")

    assert reveal.evaluate("place => place.style.getPropertyValue('--at')") == "0%"
    assert complaints == []


def test_without_javascript_a_file_becomes_a_result(chromium, live_server, alice, start):
    start("worker", "cpu")
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/accounts/login/?next={SINGLE}")
    page.get_by_label("E-mail address").fill(alice.email)
    page.get_by_label("Password").fill("alice's password")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.get_by_label("Choose an image").set_input_files(photo("coffee.png"))
    page.get_by_label("Model").select_option("u2netp")
    page.get_by_role("button", name="Remove background").click()
    page.wait_for_url(ONE)

    download = page.get_by_role("link", name="Download")
    for _look in range(60):
        if download.is_visible():
            break
        page.get_by_role("link", name="Refresh").click()
        page.wait_for_timeout(500)

    with page.expect_download() as waiting:
        download.click()
    with Image.open(waiting.value.path()) as image:
        assert image.mode == "RGBA"
    context.close()


def test_the_scripts_of_these_pages_stay_small():
    folder = settings.BASE_DIR / "static/dist"

    assert (folder / "home.js").stat().st_size < 2_000
    assert (folder / "single.js").stat().st_size < 40_000
