"""A batch from the first click to the ZIP, in a real browser."""

import io
import re
import zipfile
from pathlib import Path

import pytest
from django.conf import settings
from PIL import Image
from playwright.sync_api import expect

from batches import lifecycle
from batches.models import Batch, Item
from batches.states import ItemState
from credits import ledger
from tests import fakes
from tests.browser.conftest import PATIENCE
from tests.factories import give, picture

pytestmark = pytest.mark.browser


def sample_photos(*names: str) -> list[Path]:
    """Real photos, from scikit-image's package."""
    import skimage

    return [Path(skimage.__file__).parent / "data" / name for name in names]


def card(page, name: str):
    """The card of the image of this name."""
    return page.locator("#cards > li", has=page.get_by_title(re.compile(f"{name}$")))


def test_photos_lose_their_backgrounds_while_one_watches(signed_in, alice, shop, start, complaints):
    page = signed_in
    start("worker", "io", STUDIO_FETCH_ALLOW=shop.host)
    start("worker", "cpu")
    give(alice, 10)
    page.reload()
    polls = []
    page.on("request", lambda request: polls.append(1) if "/progress/" in request.url else None)

    # Choose photos, paste the address of what is no image, take the fast model, start.
    page.get_by_label("Choose images").set_input_files(
        sample_photos("coffee.png", "astronaut.png", "rocket.jpg")
    )
    page.get_by_text("URLs", exact=True).click()
    page.get_by_label("Paste addresses").fill(f"http://{shop.host}/mug.png")
    page.get_by_label("Model").select_option("u2netp")
    expect(page.locator("#upload-status")).to_have_text("4 images ready · 1 with a problem")
    expect(page.locator("#cost dd")).to_have_text("4")
    page.get_by_role("button", name="Start batch").click()
    page.wait_for_url("**/batches/**")
    page.evaluate("window.same = true")

    # Results come in without a reload.
    for name in ("coffee.png", "astronaut.png", "rocket.jpg"):
        expect(card(page, name)).to_contain_text("Done", timeout=PATIENCE)
        thumbnail = card(page, name).get_by_role("img", name=f"Result of {name}")
        thumbnail.scroll_into_view_if_needed()
        expect(thumbnail).to_have_js_property("complete", True)
        assert thumbnail.evaluate("image => image.naturalWidth") > 100
    expect(card(page, "mug.png")).to_contain_text(
        "This address gives a web page, not an image. No credits used.", timeout=PATIENCE
    )
    expect(page.get_by_role("heading", name="Finished with problems")).to_be_visible(
        timeout=PATIENCE
    )
    expect(page).to_have_title(re.compile("^4/4 · "))
    bar = page.get_by_role("progressbar", name="Progress")
    expect(bar).to_have_attribute("aria-valuenow", "4")
    expect(page.locator("#announcement")).to_contain_text("4 of 4 finished.")
    assert page.evaluate("window.same")

    # And the asking has ended.
    asked = len(polls)
    page.wait_for_timeout(3000)
    assert len(polls) == asked > 0

    with page.expect_download() as download:
        page.get_by_role("link", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert sorted(pictures) == ["astronaut.png", "coffee.png", "rocket.png"]
        for name in pictures:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                assert image.mode == "RGBA"
                assert image.getchannel("A").getextrema() == (0, 255)

    # The shop mends its page, and the failed one runs again, in its own card.
    shop.content = ("image/png", sample_photos("chelsea.png")[0].read_bytes())
    page.get_by_role("button", name="Retry it").click()
    expect(card(page, "mug.png")).to_contain_text("Done", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Finished", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#cards > li")).to_have_count(4)
    assert page.evaluate("window.same")
    assert Item.objects.get(source_url__endswith="/mug.png").attempt == 2
    assert ledger.balance(alice) == (settings.WELCOME_CREDITS + 10 - 4, 0)
    assert complaints == []


def test_pausing_resuming_and_cancelling_in_the_page(signed_in, alice, complaints):
    page = signed_in
    page.get_by_label("Choose images").set_input_files(
        [{"name": f"{n}.png", "mimeType": "image/png", "buffer": picture(n)} for n in range(3)]
    )
    page.get_by_role("button", name="Start batch").click()
    page.wait_for_url("**/batches/**")
    expect(page.locator("#balance")).to_contain_text(str(settings.WELCOME_CREDITS - 3))

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="Running")).to_be_visible()

    # Cancelling asks first, in place, and the question stays while other steps come and go.
    page.get_by_text("Cancel…").click()
    one = Item.objects.order_by("position").first()
    Item.objects.filter(pk=one.pk).advance(ItemState.RUNNING)
    lifecycle.fail_item(one, "file_damaged", {}, token=None)
    expect(page.get_by_role("button", name="Retry what failed")).to_be_visible()
    page.get_by_role("button", name="Cancel the batch").click()

    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    expect(page.locator("#cards > li", has_text="Not run")).to_have_count(2)
    expect(page.locator("#balance")).to_contain_text(str(settings.WELCOME_CREDITS))
    assert Batch.objects.get().state == "cancelled"
    assert complaints == []


class Priced(fakes.FakeTool):
    """Mirroring costs more."""

    slug = "priced"
    name = "Priced"

    def price_for(self, settings, *, width=None, height=None) -> int:
        return 5 if settings["mirrored"] else 2

    def price_rules(self) -> list[dict]:
        return [{"when": {"mirrored": True}, "credits": 5}]


def test_the_price_follows_the_settings(signed_in, complaints):
    page = signed_in
    with fakes.registered(Priced):
        page.goto("/tools/priced/")
        page.get_by_text("URLs", exact=True).click()
        page.get_by_label("Paste addresses").fill(
            "https://example.com/a.png\nhttps://example.com/b.png\nhttps://example.com/a.png"
        )
        expect(page.locator("#cost dd")).to_have_text("4")

        page.get_by_label("Mirrored").check()

    expect(page.locator("#cost dd")).to_have_text("10")
    expect(page.locator("#after dd")).to_have_text(str(settings.WELCOME_CREDITS - 10))
    assert complaints == []
