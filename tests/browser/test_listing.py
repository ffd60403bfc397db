"""The list of batches in a real browser: found, watched, renamed and deleted, also by keyboard."""

import re

import pytest
from playwright.sync_api import expect

from batches import lifecycle
from batches.models import Batch, Item
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, make_batch

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fake_tool")]


def ended(owner, name: str, *states: str, state: str = BatchState.FINISHED) -> Batch:
    batch = bare_batch(owner, name=name, state=state)
    for position, item_state in enumerate(states):
        bare_item(batch, state=item_state, position=position)
    return batch


def row(page, name: str):
    return page.locator("#batches li", has=page.get_by_role("link", name=name, exact=True))


def names(page):
    return page.locator("#batches li a[id^=name-]")


def test_what_one_looks_for_is_found_while_typing_and_stays_in_the_address(
    signed_in, alice, complaints
):
    page = signed_in
    ended(alice, "Mugs", "done")
    ended(alice, "Mugs in blue", "failed")
    ended(alice, "Plates", "done")
    page.goto("/batches/")
    page.evaluate("window.same = true")

    page.get_by_role("searchbox").press_sequentially("mugs", delay=20)
    expect(names(page)).to_have_text(["Mugs in blue", "Mugs"])
    page.get_by_role("link", name="With problems 1").click()
    expect(names(page)).to_have_text(["Mugs in blue"])
    expect(page).to_have_url(re.compile(r"\?q=mugs&state=problems$"))
    assert page.evaluate("window.same")

    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("mugs")
    page.get_by_role("searchbox").fill("teapot")
    expect(page.locator("#batches")).to_contain_text("Nothing matches “teapot”")
    page.get_by_role("link", name="Show all batches").click()
    expect(names(page)).to_have_count(3)

    page.get_by_label("Order").select_option("name")
    expect(names(page)).to_have_text(["Mugs", "Mugs in blue", "Plates"])
    assert complaints == []


def test_live_batches_move_by_themselves_until_the_last_has_ended(signed_in, alice, complaints):
    page = signed_in
    ended(alice, "Old", "done")
    batch = ended(alice, "Mugs", "done", "running", "queued", state=BatchState.RUNNING)
    page.goto("/batches/")
    beats = []
    page.on("request", lambda request: beats.append(1) if "/pulse/" in request.url else None)
    bar = row(page, "Mugs").get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "1")
    row(page, "Mugs").get_by_label("More about Mugs").click()

    Item.objects.filter(batch=batch).update(state=ItemState.DONE)
    expect(bar).to_have_attribute("aria-valuenow", "3")
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.FINISHED)
    expect(row(page, "Mugs")).to_contain_text("Finished")
    expect(page.locator("#count-running")).to_have_text("0")
    expect(page.locator("#count-finished")).to_have_text("2")

    expect(row(page, "Mugs").get_by_role("link", name="Rename")).to_be_visible()
    asked = len(beats)
    page.wait_for_timeout(2500)  # longer than a beat: none may come
    assert len(beats) == asked > 0
    assert complaints == []


def test_a_batch_is_renamed_by_keyboard_alone(signed_in, alice, complaints):
    page = signed_in
    batch = ended(alice, "Mugs", "done")
    page.goto("/batches/")

    page.get_by_role("link", name="Mugs", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name of the batch")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Mugs", exact=True)).to_be_focused()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name of the batch")).to_be_focused()
    page.keyboard.type("Cups")  # over the old name, which is selected
    page.keyboard.press("Enter")

    expect(page.get_by_role("link", name="Cups", exact=True)).to_be_focused()
    batch.refresh_from_db()
    assert batch.name == "Cups"
    assert complaints == []


def test_a_batch_is_renamed_on_its_own_page(signed_in, alice, complaints):
    page = signed_in
    batch = ended(alice, "Mugs", "done")
    page.goto(batch.get_absolute_url())

    page.get_by_role("link", name="Rename").click()
    page.get_by_label("Name of the batch").fill("Cups")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("heading", name="Cups")).to_be_visible()
    expect(page).to_have_title("1/1 · Cups")
    assert complaints == []


def test_a_running_batch_is_deleted_in_its_place(signed_in, alice, complaints):
    page = signed_in
    ended(alice, "Plates", "done")
    batch = lifecycle.start(make_batch(alice, 2, name="Mugs"))
    page.goto("/batches/?sort=oldest")

    row(page, "Mugs").get_by_label("More about Mugs").click()
    row(page, "Mugs").get_by_role("link", name="Delete…").click()
    question = row(page, "Mugs").locator("form[data-delete]")
    expect(question).to_contain_text("It stops at once. 2 images will be deleted.")
    expect(question.get_by_role("link", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(page.get_by_label("More about Mugs")).to_be_focused()
    assert Batch.objects.filter(pk=batch.pk).exists()

    page.keyboard.press("Enter")
    row(page, "Mugs").get_by_role("link", name="Delete…").click()
    question.get_by_role("button", name="Cancel and delete").click()

    expect(names(page)).to_have_text(["Plates"])
    expect(page.locator("#messages")).to_contain_text("“Mugs” was deleted.")
    expect(page).to_have_url(re.compile(r"/batches/\?sort=oldest$"))
    assert not Batch.objects.filter(pk=batch.pk).exists()
    assert ledger.balance(alice).held == 0
    assert complaints == []


def test_without_javascript_the_list_is_searched_renamed_in_and_deleted_from(
    chromium, live_server, alice, client
):
    ended(alice, "Mugs", "done")
    ended(alice, "Plates", "done")
    client.force_login(alice)
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )
    page = context.new_page()

    page.goto("/batches/?q=x")
    page.get_by_role("searchbox").fill("mugs")
    page.get_by_role("button", name="Search").click()
    expect(names(page)).to_have_text(["Mugs"])
    page.get_by_label("More about Mugs").click()
    page.get_by_role("link", name="Rename").click()
    page.get_by_label("Name of the batch").fill("Cups")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("More about Cups").click()
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name="Delete the batch").click()

    expect(names(page)).to_have_text(["Plates"])
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_is_accessible_in_every_state(signed_in, alice, check_accessibility, scheme):
    page = signed_in
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto("/batches/")
    check_accessibility(page, "main")

    for state in sorted(set(BatchState.values) - {"draft", "importing"}):
        ended(alice, state, "done", "failed", "running", state=state)
    page.goto("/batches/")
    page.get_by_label("More about finished").click()
    check_accessibility(page, "main")
    row(page, "finished").get_by_role("link", name="Rename").click()
    expect(page.get_by_label("Name of the batch")).to_be_focused()
    page.get_by_label("More about paused").click()
    row(page, "paused").get_by_role("link", name="Delete…").click()
    expect(page.locator("form[data-delete]")).to_be_visible()
    check_accessibility(page, "main")
    page.goto("/batches/?q=teapot")
    check_accessibility(page, "main")
