"""Images of a connected account on a tool's page, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from batches.models import Batch, Draft
from tests.connecting import connected_sirv
from tests.factories import give, picture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_folder_is_found_counted_kept_and_started(
    signed_in, alice, sirv, complaints, check_accessibility
):
    page = signed_in
    give(alice, 100)
    for number in range(12):
        sirv.put(f"/shop/shoes/{number}.png", picture(number))
    sirv.put("/shop/a.png", picture())
    connected_sirv(alice, sirv)
    page.reload()
    page.locator("#new-batch[data-ready]").wait_for()

    page.locator(".way", has_text="Connected").click()
    panel = page.locator("#connected")
    panel.get_by_role("button", name="Look inside").click()
    panel.get_by_role("button", name="shop", exact=True).click()
    expect(panel.get_by_text("a.png")).to_be_visible()
    panel.get_by_label("a.png").check()
    panel.get_by_role("button", name="Add the ticked images").click()
    expect(panel.get_by_role("button", name="Take back: shop/a.png")).to_be_visible()
    panel.get_by_role("button", name="shoes", exact=True).click()
    expect(panel.get_by_label("11.png")).to_be_visible()
    panel.get_by_role("button", name="Add this folder").click()

    expect(panel.get_by_text("12 images")).to_be_visible()
    expect(page.locator("#start")).to_contain_text("13")
    check_accessibility(page, "#connected")
    page.reload()
    expect(page.locator("#connected").get_by_text("12 images")).to_be_visible()
    page.locator("#start").click()

    page.wait_for_url(re.compile(r"/batches/[0-9a-f-]{36}/"))
    assert Batch.objects.get().items.count() == 13
    assert Draft.objects.get().fields["connected"] == []
    assert complaints == []
