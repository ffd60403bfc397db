"""Pictures that settings name: judged at the door, fetched once, and handed to the tool."""

import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image

from batches import intake, lifecycle, pipeline, setting_images, storage
from batches.models import Item, Original, SettingImage
from batches.sources.base import Row
from batches.states import ItemState
from credits import ledger
from tests import fakes
from tests.factories import give, make_original
from tools import registry
from tools.base import ImageSetting, ImageSettings, Note, Output, SettingsInvalid
from tools.engines import matting, weights

pytestmark = pytest.mark.usefixtures("rings_at_once", "no_welcome", "sound", "media", "paste")


class PasteTool(fakes.FakeTool):
    """Lays another picture over the corner."""

    slug = "paste"
    name = "Paste"
    min_side = 8

    class Settings(ImageSettings):
        sticker = ImageSetting(label="Sticker")

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.most = 10**9

    def run(self, image, settings):
        self.sizes.append(image.size)
        if image.width * image.height > self.most:
            raise weights.ModelOutOfMemory
        if settings["sticker"] == "":
            raise matting.NoSubject
        done = image.convert("RGB")
        done.paste(settings["sticker"].convert("RGB").resize((8, 8)), (0, 0))
        return [Output(image=done, notes=[Note("Stuck on {n} px.", n=8)])]

    def unavailable_reason(self, settings=None):
        return None


@pytest.fixture
def paste():
    with fakes.registered(PasteTool) as (tool,):
        yield tool


def sticker(owner, colour=(255, 0, 0), size=(64, 48)) -> Original:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return intake.receive(owner, out.getvalue(), name="sticker.png")[0]


def batch_of(owner, value, count=2, **options):
    rows = [Row(upload=str(make_original(owner, number).uid)) for number in range(count)]
    give(owner, 100)
    return lifecycle.create(
        owner, registry.get("paste"), rows, settings={"sticker": value}, **options
    )


def corner(item) -> tuple[int, ...]:
    made = Image.open(io.BytesIO(storage.read(storage.RESULTS, item.results.get().key)))
    return made.convert("RGB").getpixel((2, 2))


def run_all(batch) -> list[Item]:
    for item in batch.items.filter(state=ItemState.QUEUED):
        pipeline.fetch([item.pk])
    for item in batch.items.filter(state=ItemState.FETCHED):
        pipeline.run(item.pk)
    return list(batch.items.order_by("position"))


def test_an_upload_takes_the_place_of_its_id(alice):
    batch = lifecycle.start(batch_of(alice, str(sticker(alice).uid)))

    items = run_all(batch)

    assert [item.state for item in items] == [ItemState.DONE] * 2
    assert corner(items[0]) == (255, 0, 0)
    assert items[0].results.get().told == ["Stuck on 8 px."]


def test_an_address_is_fetched_once_for_all_items(alice, server):
    batch = lifecycle.start(batch_of(alice, server.url("/ok")))
    assert set(batch.items.values_list("state", flat=True)) == {ItemState.QUEUED}

    items = run_all(batch)

    assert [item.state for item in items] == [ItemState.DONE] * 2
    assert len(server.seen) == 1


def test_an_address_that_is_wrong_for_good_is_asked_once_and_costs_nothing(alice, server):
    batch = lifecycle.start(batch_of(alice, server.url("/status/404")))

    items = run_all(batch)

    assert [item.error_code for item in items] == ["source_not_found"] * 2
    assert items[1].error == "Sticker: There is nothing at this address (404)."
    assert len(server.seen) == 1
    assert ledger.balance(alice).available == 100


def test_a_retry_gives_a_bad_address_another_chance(alice, server):
    batch = lifecycle.start(batch_of(alice, server.url("/status/404"), count=1))
    run_all(batch)

    lifecycle.retry(batch, settings={"sticker": server.url("/ok")})

    (item,) = run_all(batch)
    assert item.state == ItemState.DONE


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("00000000-0000-4000-8000-000000000000", "source_missing"),
        ("http://127.0.0.1/mask.png", "source_not_allowed"),
        ("mask.png", "not_an_image"),
    ],
)
def test_what_can_be_no_picture_is_refused_at_the_door(alice, value, code):
    with pytest.raises(SettingsInvalid) as caught:
        batch_of(alice, value)

    (wrong,) = caught.value.errors
    assert (wrong.field, wrong.code) == ("sticker", code)
    assert caught.value.bound.errors["sticker"]
    assert not SettingImage.objects.exists()


def test_somebody_elses_upload_is_no_picture(alice, bob):
    with pytest.raises(SettingsInvalid, match="Upload the file again"):
        batch_of(alice, str(sticker(bob).uid))


def test_a_row_with_a_bad_picture_is_named_and_the_others_run(alice):
    good = str(sticker(alice).uid)
    rows = [
        Row(upload=str(make_original(alice, 0).uid)),
        Row(upload=str(make_original(alice, 1).uid), settings={"sticker": str(alice.uid)}),
    ]
    give(alice, 100)

    batch = lifecycle.create(
        alice, registry.get("paste"), rows, settings={"sticker": good}, skip_invalid=True
    )

    first, second = batch.items.order_by("position")
    assert (first.state, second.state) == (ItemState.PENDING, ItemState.FAILED)
    assert second.error == "Sticker: This upload isn't here any more. Upload the file again."


def test_deleting_the_batch_takes_its_pictures_along(alice):
    batch = batch_of(alice, str(sticker(alice).uid))

    lifecycle.delete(batch)

    assert not Original.objects.exists()


def test_without_a_subject_the_item_fails_and_costs_nothing(alice):
    batch = lifecycle.start(batch_of(alice, "", count=1))

    (item,) = run_all(batch)

    assert (item.state, item.error_code) == (ItemState.FAILED, "no_subject")
    assert ledger.balance(alice).available == 100


def test_out_of_memory_is_tried_once_at_half_the_pixels(alice, paste):
    paste.most = 64 * 48 // 2
    batch = lifecycle.start(batch_of(alice, str(sticker(alice).uid), count=1))

    (item,) = run_all(batch)

    assert item.state == ItemState.DONE
    assert len(paste.sizes) == 2
    assert paste.sizes[1][0] * paste.sizes[1][1] <= paste.most
    assert item.results.get().told[-1].startswith("Made from a smaller copy")


def test_out_of_memory_twice_is_a_failure_that_costs_nothing(alice, paste):
    paste.most = 1
    batch = lifecycle.start(batch_of(alice, str(sticker(alice).uid), count=1))

    (item,) = run_all(batch)

    assert (item.state, item.error_code, len(paste.sizes)) == (
        ItemState.FAILED,
        "model_out_of_memory",
        2,
    )
    assert ledger.balance(alice).available == 100


def test_an_upload_too_small_for_the_tool_is_refused_at_the_door(alice, monkeypatch):
    monkeypatch.setattr(PasteTool, "min_side", 60)

    with pytest.raises(intake.RowsInvalid) as caught:
        batch_of(alice, str(sticker(alice).uid), count=1)

    (wrong,) = caught.value.errors
    assert (wrong.pointer, wrong.code) == ("/images/0", "dimensions_too_small")
    assert "64 × 48 px" in wrong.detail


def test_one_upload_of_a_wrong_size_does_not_stop_the_others(alice, paste, monkeypatch):
    monkeypatch.setattr(PasteTool, "min_side", 60)
    rows = [
        Row(upload=str(make_original(alice, 0).uid)),
        Row(upload=str(sticker(alice, size=(90, 90)).uid)),
    ]
    give(alice, 100)

    batch = lifecycle.create(alice, paste, rows, skip_invalid=True)

    small, large = batch.items.order_by("position")
    assert (small.state, small.error_code) == (ItemState.FAILED, "dimensions_too_small")
    assert large.state == ItemState.PENDING


def test_what_is_fetched_and_too_small_fails_and_costs_nothing(alice, server, paste, monkeypatch):
    monkeypatch.setattr(PasteTool, "min_side", 60)
    give(alice, 100)
    batch = lifecycle.create(alice, paste, [Row(url=server.url("/ok"))])

    (item,) = run_all(lifecycle.start(batch))

    assert (item.state, item.error_code) == (ItemState.FAILED, "dimensions_too_small")
    assert paste.sizes == []
    assert ledger.balance(alice).available == 100


def test_a_mask_of_another_size_is_refused_at_the_door(alice):
    rows = [Row(upload=str(make_original(alice, 0).uid))]
    mask = str(sticker(alice, size=(30, 40)).uid)

    with pytest.raises(intake.RowsInvalid) as caught:
        lifecycle.create(alice, registry.get("object-removal"), rows, settings={"mask": mask})

    (wrong,) = caught.value.errors
    assert wrong.code == "mask_wrong_size"
    assert "30 × 40 px, the image 64 × 48 px" in wrong.detail


def test_sizes_are_looked_up_once_however_many_items(alice):
    value = str(sticker(alice).uid)

    def queries(count: int) -> int:
        rows = [Row(upload=str(make_original(alice, number).uid)) for number in range(count)]
        with CaptureQueriesContext(connection) as seen:
            lifecycle.create(alice, registry.get("paste"), rows, settings={"sticker": value})
        return len(seen)

    assert queries(2) == queries(12)


def test_a_picture_that_nobody_fetched_is_missing_and_not_a_crash(alice):
    batch = lifecycle.start(batch_of(alice, str(sticker(alice).uid), count=1))
    item = batch.items.get()
    SettingImage.objects.all().delete()

    with pytest.raises(KeyError):
        setting_images.resolve(item, registry.get("paste"))
    pipeline.run(item.pk)

    item.refresh_from_db()
    assert (item.state, item.error_code) == (ItemState.FAILED, "source_missing")
