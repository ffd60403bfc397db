"""Watching a batch: its states, its causes of failure, the drawer, keys, 500 cards."""

import io
import re
import signal
import time
from itertools import islice

import numpy as np
import pytest
from django.utils import timezone
from PIL import Image
from playwright.sync_api import expect

from batches import intake, lifecycle, samples
from batches.models import Item
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from tests.browser.conftest import PATIENCE
from tests.factories import bare_batch, bare_item, give
from tools import registry

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick")]


@pytest.fixture
def quick(signed_in, complaints):
    """Whatever happens, the content policy is kept and no script breaks."""
    yield
    assert complaints == []


def ready(owner, count: int = 3):
    """A batch of real photos for the real tool, on its small model."""
    give(owner, count)
    rows = []
    for path in islice(samples.photos(), count):
        original, _new = intake.receive(owner, path.read_bytes(), name=path.name)
        rows.append(Row(upload=str(original.uid)))
    tool = registry.get("remove-background")
    return lifecycle.create(owner, tool, rows, settings={"model": "u2netp"})


def finished(owner, start, **options):
    """A batch whose images a real worker has done."""
    batch = lifecycle.start(ready(owner, **options))
    start("worker", "cpu")
    return batch


def with_problems(owner):
    give(owner, 50)
    batch = bare_batch(owner, state=BatchState.FINISHED, name="Autumn")
    batch.tool = "remove-background"
    batch.started_at = batch.finished_at = timezone.now()
    batch.save()
    bare_item(batch, state=ItemState.DONE, position=0, price=1)
    for position, code in enumerate(
        ["source_forbidden", "source_forbidden", "file_too_large", "no_subject"], 1
    ):
        bare_item(batch, state=ItemState.FAILED, position=position, error_code=code)
    refused = bare_item(batch, state=ItemState.FAILED, position=5, error_code="file_empty")
    Item.objects.filter(pk=refused.pk).update(source_url="")
    return batch


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_causes_are_grouped_and_readable_in_both_colours(
    signed_in, alice, check_accessibility, colours
):
    page = signed_in
    page.emulate_media(color_scheme=colours)
    page.goto(with_problems(alice).get_absolute_url())

    expect(page.get_by_role("heading", name="5 images failed, for 4 reasons")).to_be_visible()
    for summary in page.locator("#triage summary").all():
        summary.click()

    check_accessibility(page)


def test_an_address_prefix_is_changed_with_a_preview(signed_in, alice):
    page = signed_in
    batch = with_problems(alice)
    page.goto(batch.get_absolute_url())

    page.get_by_text("Change address prefix").click()
    page.get_by_label("They should begin with").fill("https://cdn.shop.com/")
    expect(page.locator("[data-address]").first).to_have_text("https://cdn.shop.com/")
    page.get_by_role("button", name="Change and retry").click()

    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    moved = batch.items.filter(state=ItemState.QUEUED)
    assert {item.source_url for item in moved} == {"https://cdn.shop.com/"}


def test_the_drawer_opens_moves_by_keys_and_gives_the_focus_back(
    signed_in, alice, start, check_accessibility
):
    page = signed_in
    batch = finished(alice, start)
    page.goto(batch.get_absolute_url())
    expect(page.get_by_role("heading", name="Finished", exact=True)).to_be_visible(timeout=PATIENCE)
    first = page.locator("#cards .card-open").first

    # By keyboard alone: open, compare, go on, close.
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Image")
    expect(drawer.get_by_role("heading", name="coffee.png")).to_be_focused()
    expect(page).to_have_url(re.compile("item="))
    drawer.get_by_role("slider").focus()
    page.keyboard.down("ArrowRight")
    # Not by `wait_for_function`, which the content policy forbids: it evaluates a string.
    moved = re.compile(r"^(5[3-9]|[6-9]\d|100)")
    expect(drawer.get_by_role("slider")).to_have_attribute("aria-valuenow", moved)
    page.keyboard.up("ArrowRight")
    drawer.get_by_role("button", name="Side by side").click()
    expect(drawer.locator(".viewer-side")).to_have_count(2)
    drawer.get_by_role("button", name="Black").click()
    check_accessibility(page, "#drawer")
    page.locator("#item-title").focus()
    page.keyboard.press("j")
    expect(drawer.get_by_role("heading", name="astronaut.png")).to_be_focused()
    shown = batch.items.get(name="astronaut.png").uid
    expect(page).to_have_url(re.compile(str(shown)))
    page.reload()
    expect(drawer.get_by_role("heading", name="astronaut.png")).to_be_visible()
    expect(drawer.locator(".viewer")).to_have_attribute("data-backdrop", "black")
    page.keyboard.press("Escape")

    second = page.locator("#cards > li", has_text="astronaut.png").locator(".card-open")
    expect(second).to_be_focused()
    expect(page).not_to_have_url(re.compile("item="))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_a_failed_image_is_retried_from_the_drawer_with_other_settings(signed_in, alice):
    page = signed_in
    batch = with_problems(alice)
    page.goto(batch.get_absolute_url())

    page.locator("#cards > li", has_text="No subject").get_by_role("link").first.click()
    drawer = page.get_by_role("dialog", name="Image")
    drawer.get_by_text("Other settings").click()
    drawer.get_by_label("Model").select_option("u2netp")
    drawer.get_by_role("button", name="Retry with these settings").click()

    expect(drawer).to_be_hidden()
    expect(page.locator("#cards > li", has_text="4.png")).to_contain_text("Waiting")
    assert batch.items.get(position=4).settings["model"] == "u2netp"


def heavy_photo() -> bytes:
    """A photo of a cup of more than 20 MB: large, and with the noise of a camera."""
    with Image.open(next(samples.photos())) as cup:
        large = np.asarray(cup.convert("RGB").resize((4800, 3200))).astype(np.int16)
    large += np.random.default_rng(1).integers(-24, 25, large.shape, dtype=np.int16)
    file = io.BytesIO()
    Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=99, subsampling=0
    )
    return file.getvalue()


def test_what_failed_is_shrunk_and_replaced_in_its_own_card(signed_in, alice, shop, start):
    page = signed_in
    shop.content = ("image/jpeg", heavy_photo())
    assert len(shop.content[1]) > 20 * 2**20
    give(alice, 5)
    rows = [
        Row(url=f"http://{shop.host}/mug.jpg"),
        Row(name="cup.png", refusal=("file_empty", {})),
    ]
    tool = registry.get("remove-background")
    settings = {"model": "u2netp"}
    batch = lifecycle.create(alice, tool, rows, settings=settings, skip_invalid=True)
    lifecycle.start(batch)
    start("worker", "io", STUDIO_FETCH_ALLOW=shop.host)
    start("worker", "cpu")
    page.goto(batch.get_absolute_url())
    expect(page.get_by_role("heading", name="All failed")).to_be_visible(timeout=PATIENCE)

    page.get_by_role("button", name="Shrink and retry").click()
    mug = page.locator("#cards > li", has=page.get_by_title(re.compile("mug.jpg$")))
    expect(mug).to_contain_text("Done", timeout=PATIENCE)

    page.locator("#triage").get_by_text("Replace files…").click()
    photo = next(samples.photos()).read_bytes()
    page.get_by_label("New files").set_input_files(
        {"name": "another name.png", "mimeType": "image/png", "buffer": photo}
    )
    page.get_by_role("button", name="Replace and retry").click()

    expect(page.get_by_role("heading", name="Finished", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#cards > li")).to_have_count(2)
    assert set(batch.items.values_list("state", "price")) == {("done", 1)}


def test_one_failed_image_or_all_of_them_are_retried(signed_in, alice, shop, start):
    page = signed_in  # the shop has a web page where the images should be
    give(alice, 5)
    rows = [Row(url=f"http://{shop.host}/mug.png?{n}") for n in range(3)]
    tool = registry.get("remove-background")
    batch = lifecycle.start(lifecycle.create(alice, tool, rows, settings={"model": "u2netp"}))
    start("worker", "io", STUDIO_FETCH_ALLOW=shop.host)
    start("worker", "cpu")
    page.goto(batch.get_absolute_url())
    expect(page.get_by_role("heading", name="All failed")).to_be_visible(timeout=PATIENCE)
    shop.content = ("image/png", next(samples.photos()).read_bytes())

    cards = page.locator("#cards > li")
    cards.first.get_by_role("button", name=re.compile("^Retry")).click()
    expect(cards.filter(has_text="Done")).to_have_count(1, timeout=PATIENCE)
    expect(cards.filter(has_text="Failed")).to_have_count(2)
    page.get_by_role("button", name="Retry all 2").click()

    expect(cards.filter(has_text="Done")).to_have_count(3, timeout=PATIENCE)
    assert set(batch.items.values_list("attempt", flat=True)) == {2}


def test_pausing_in_one_tab_shows_in_the_other(signed_in, alice):
    page = signed_in
    batch = lifecycle.start(ready(alice))
    page.goto(batch.get_absolute_url())
    other = page.context.new_page()
    other.goto(batch.get_absolute_url())

    page.get_by_role("button", name="Pause").click()

    expect(other.get_by_role("heading", name="Paused")).to_be_visible()
    expect(other.get_by_role("button", name="Resume")).to_be_visible()


def kill_within_an_item(worker):
    """Stop the worker until one is seen in its hand: what a page shows is a moment old."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        worker.send_signal(signal.SIGSTOP)
        if Item.objects.filter(state=ItemState.RUNNING).exists():
            break
        worker.send_signal(signal.SIGCONT)
    worker.kill()
    worker.wait()


def test_a_worker_that_is_killed_while_one_watches_costs_nothing(signed_in, alice, start):
    page = signed_in
    batch = lifecycle.start(ready(alice, 6))
    page.goto(batch.get_absolute_url())
    worker = start("worker", "cpu")
    running = page.locator('#cards > li[data-state="running"]')
    expect(running.first).to_be_visible(timeout=PATIENCE)
    kill_within_an_item(worker)

    Item.objects.filter(state=ItemState.RUNNING).update(lease_until=timezone.now())
    lifecycle.end_leases(now=timezone.now())
    start("worker", "cpu")

    expect(page.get_by_role("heading", name="Finished", exact=True)).to_be_visible(timeout=PATIENCE)
    histories = [item.history for item in batch.items.all()]
    assert [entry["code"] for history in histories for entry in history] == ["worker_lost"]


def test_500_cards_are_scrolled_without_long_tasks_or_jumps(signed_in, alice):
    page = signed_in
    batch = bare_batch(alice, state=BatchState.RUNNING)
    Item.objects.bulk_create(
        Item(batch=batch, position=n, name=f"{n}.png", source_url="http://a.example/",
             state=ItemState.QUEUED)
        for n in range(500)
    )  # fmt: skip
    page.goto(batch.get_absolute_url())
    page.evaluate(
        """() => {
            window.seen = {shift: 0, longest: 0};
            new PerformanceObserver(list => list.getEntries().forEach(
                entry => { if (!entry.hadRecentInput) seen.shift += entry.value; }
            )).observe({type: "layout-shift"});
            new PerformanceObserver(list => list.getEntries().forEach(
                entry => { seen.longest = Math.max(seen.longest, entry.duration); }
            )).observe({type: "longtask"});
        }"""
    )

    cards = page.locator("#cards > li[data-state]")
    for loaded in (200, 300, 400, 500):
        page.locator("#next-cards").scroll_into_view_if_needed()
        expect(cards).to_have_count(loaded)
    Item.objects.filter(batch=batch, position=499).update(state=ItemState.RUNNING)
    expect(cards.last).to_contain_text("Processing")

    found = page.evaluate("seen")
    assert found["shift"] < 0.1
    assert found["longest"] < 1000
