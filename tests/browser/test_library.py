"""The library in a real browser: ticked with Shift, filled by a drop, and picked from."""

import pytest
from playwright.sync_api import expect

from batches import library
from batches.models import Asset, Result
from tests import pages
from tests.factories import make_original, picture

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fake_tool")]


def keep(owner, count: int) -> list[Asset]:
    return [library.add(owner, make_original(owner, n, name=f"cup-{n}.png")) for n in range(count)]


def box(page, name: str):
    return page.get_by_label(f"Choose {name}")


def test_a_stretch_is_ticked_with_shift_and_a_button_does_its_work(signed_in, alice, complaints):
    page = signed_in
    keep(alice, 5)
    page.goto("/library/?sort=name")
    favourite = page.get_by_role("button", name="Favourite", exact=True)
    expect(favourite).to_be_disabled()

    box(page, "cup-1.png").click()
    box(page, "cup-3.png").click(modifiers=["Shift"])
    expect(page.locator("#count")).to_have_text("3 chosen")
    page.keyboard.press("Escape")
    expect(page.locator("#count")).to_have_text("Choose all")
    page.get_by_label("Choose all").check()
    box(page, "cup-0.png").uncheck()
    favourite.click()

    expect(page.locator("#messages")).to_contain_text("4 images are favourites now.")
    assert Asset.objects.filter(favourite=True).count() == 4
    page.get_by_role("searchbox").press_sequentially("cup-2", delay=10)
    expect(page.locator("#assets li")).to_have_count(1)
    expect(page).to_have_url("/library/?q=cup-2&sort=name")
    expect(favourite).to_be_disabled()
    assert complaints == []


def test_files_come_in_by_hand_and_an_image_leads_to_the_next_by_keys(signed_in, alice, complaints):
    page = signed_in
    keep(alice, 1)
    page.goto("/library/")

    files = [
        {"name": f"new-{n}.png", "mimeType": "image/png", "buffer": picture(50 + n)}
        for n in range(2)
    ]
    bad = {"name": "bad.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.locator("#bring-files").set_input_files([*files, bad])
    expect(page.locator("#bring-status")).to_contain_text("bad.png: ")
    expect(page.locator("#assets li")).to_have_count(3)

    page.goto("/library/?sort=name")
    page.get_by_role("link", name="cup-0.png").click()
    expect(page.get_by_role("heading", name="cup-0.png")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="new-0.png")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", name="cup-0.png")).to_be_visible()
    assert complaints == []


def test_a_result_is_kept_in_the_drawer_and_picked_for_the_next_batch(
    page, live_server, transactional_db, complaints
):
    world = pages.build()
    owner = world.person
    page.context.add_cookies([{**pages.session_cookie(owner), "url": live_server.url}])
    batch = world.batches["finished"]
    last = Result.objects.filter(item__batch=batch).order_by("item__position").last()
    assert last
    page.goto(batch.get_absolute_url())
    page.locator(f"#item-{last.item.uid} .card-open").click()
    page.get_by_role("button", name="Save to library").click()
    expect(page.get_by_role("link", name="In your library")).to_be_visible()
    name = Asset.objects.latest("pk").name

    page.goto("/tools/remove-background/")
    page.locator(".way", has_text="Library").click()
    page.locator("#pick-q").fill("no such thing")
    expect(page.locator("#picker")).to_contain_text("Nothing here.")
    page.locator("#pick-q").fill("")
    page.locator("#picker").get_by_label(name).check()
    page.locator("#picker").get_by_label("mug-1.png").check()
    page.get_by_role("button", name="Add 2 images").click()

    expect(page.locator("#uploads li")).to_have_count(2)
    expect(page.locator("#upload-status")).to_contain_text("2 images")
    page.reload()
    expect(page.locator("#uploads li")).to_have_count(2)
    assert complaints == []
