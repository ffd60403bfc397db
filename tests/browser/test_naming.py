"""What the page of a new batch says of names and of what was done before, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from accounts.models import User
from batches import reuse
from batches.models import Batch, Item
from batches.states import BatchState, ItemState
from tests import fakes
from tests.factories import bare_batch, give, make_original, picture

pytestmark = pytest.mark.browser


class Plain(fakes.FakeTool):
    """One without a model, for pages."""

    slug = "plain"
    name = "Plain"


def done_before(owner: User, tool: fakes.FakeTool) -> Item:
    """An item as the pipeline leaves it, of the first picture."""
    batch = bare_batch(owner, state=BatchState.FINISHED)
    item = Item(
        batch=batch,
        position=0,
        name="old.png",
        original=make_original(owner, 0, name="front.png"),
        settings=tool.clean({}),
        state=ItemState.DONE,
    )
    item.work_key = reuse.work_key(item, tool)
    item.save()
    return item


def test_a_folder_keeps_its_tree_names_are_shown_and_known_images_are_free(
    signed_in, tmp_path: Path, check_accessibility, complaints
):
    page, owner = signed_in, User.objects.get()
    give(owner, 50)
    (tmp_path / "shoes/left").mkdir(parents=True)
    (tmp_path / "shoes/left/front.png").write_bytes(picture(0))
    (tmp_path / "shoes/back.png").write_bytes(picture(1))
    with fakes.registered(Plain) as (tool,):
        done_before(owner, tool)
        page.goto("/tools/plain/")
        page.locator("#new-batch[data-ready]").wait_for()
        page.locator("#folder").set_input_files(tmp_path / "shoes")
        expect(page.locator("#upload-status")).to_have_text("2 images ready")

        expect(page.locator("#free")).to_contain_text("1 was done before, and costs nothing")
        expect(page.locator("#cost dd")).to_have_text("2")
        expect(page.get_by_label("Run everything anew")).to_be_hidden()
        page.get_by_text("Output").click()
        page.get_by_label("Run everything anew").check()
        expect(page.locator("#cost dd")).to_have_text("4")
        page.get_by_label("Run everything anew").uncheck()
        expect(page.locator("#cost dd")).to_have_text("2")

        pattern = page.get_by_label("Names of the results")
        pattern.fill("x-{nmae}")
        expect(page.locator("#name-example")).to_contain_text("There is no {nmae}")
        pattern.fill("x-")
        page.get_by_role("group", name="Put into the name").get_by_text("n", exact=True).click()
        expect(pattern).to_have_value("x-{n}")
        expect(page.locator("#name-example")).to_have_text("The first one: x-1.png")
        check_accessibility(page, "main")

        page.locator("#start").click()
        page.wait_for_url("**/batches/**")

    stems = Batch.objects.latest("pk").items.values_list("stem", "held_price")
    assert {folder.rpartition("/")[0] for folder, _price in stems} == {"shoes", "shoes/left"}
    assert sorted(price for _stem, price in stems) == [0, 2]
    assert complaints == []
