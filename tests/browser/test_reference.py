"""The reference of the API in a real browser: finding, copying, jumping."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_an_entry_is_found_copied_and_jumped_to(page, db, complaints):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(reverse("reference"))
    entries = page.get_by_role("article")
    total = entries.count()
    menu = page.get_by_role("navigation", name="On this page")

    page.get_by_label("Find in the API").fill("batches import")

    wanted = page.locator("#batches_import")
    expect(wanted).to_be_visible()
    expect(page.locator("#uploads_create")).to_be_hidden()
    expect(menu.get_by_role("link", name="uploads", exact=False)).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text=f"of {total} match")).to_be_visible()

    entry = entries.filter(has=wanted)
    entry.get_by_role("button", name="Copy").click()
    expect(entry.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "/api/v1/batches/import" in copied

    page.get_by_label("Find in the API").fill("zebra")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    page.get_by_label("Find in the API").fill("")
    menu.locator('a[href="#uploads_create"]').click()
    expect(page.locator("#uploads_create")).to_be_in_viewport()
    expect(menu.locator("[aria-current]")).to_have_attribute("href", "#uploads_create")
    assert complaints == []


def test_without_scripts_everything_is_there_but_what_needs_them(chromium, live_server):
    context = chromium.new_context(
        base_url=live_server.url, java_script_enabled=False, viewport={"width": 390, "height": 844}
    )
    page = context.new_page()

    page.goto(reverse("reference"))

    expect(page.get_by_label("Find in the API")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    page.get_by_text("On this page").first.click()
    page.locator('a.api-nav[href="#batches_create"]').first.click()
    expect(page.locator("#batches_create")).to_be_in_viewport()
    context.close()
