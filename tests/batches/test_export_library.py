"""Results that are delivered to the library, and taken back."""

import pytest

from accounts import plans
from batches import library, lifecycle
from batches.exports.base import ExportError
from batches.exports.library import LibraryExporter, Options
from batches.models import Asset, Delivery, Parcel, Result
from tests.factories import make_batch

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "media")


@pytest.fixture
def batch(alice, run_jobs):
    """A finished batch of two images."""
    done = lifecycle.start(make_batch(alice, 2, name="Mugs"))
    run_jobs()
    done.refresh_from_db()
    return done


@pytest.fixture
def results(batch):
    return list(Result.objects.filter(item__batch=batch).order_by("item__position"))


@pytest.fixture
def text(alice, run_jobs):
    """What a tool says about a picture."""
    made = lifecycle.start(make_batch(alice, 1, tool="fake-text"))
    run_jobs()
    return Result.objects.get(item__batch=made)


def tight(monkeypatch, size):
    plan = plans.replace(plans.STANDARD, library_bytes=size)
    monkeypatch.setattr(plans, "STANDARD", plan)


def send(batch, result, name, **options):
    given = Options(data=options)
    given.is_valid(raise_exception=True)
    delivery = Delivery.objects.create(batch=batch, to="library", options=given.validated_data)
    sent = LibraryExporter().send(delivery, result, name=name)
    return delivery, sent


def test_a_delivery_keeps_the_folders_of_names(alice, batch, results):
    _delivery, sent = send(
        batch, results[0], "left/front.png", folder="Shop/../ new ", tags=["Sale"]
    )

    asset = Asset.objects.get()
    assert sent.place == "Shop/new/left/front.png"
    assert sent.url.endswith(f"/library/{asset.uid}/")
    assert [tag.name for tag in asset.tags.all()] == ["sale"]


def test_an_undone_delivery_leaves_its_asset_in_the_trash_and_others_alone(batch, results, alice):
    mine = library.add(alice, results[1])
    delivery, sent = send(batch, results[0], "a.png")
    again = LibraryExporter().send(delivery, results[0], name="a.png")
    _delivery, found = send(batch, results[1], "b.png")

    assert again.undo == sent.undo
    for it, result, out in ((delivery, results[0], sent), (_delivery, results[1], found)):
        LibraryExporter().undo(it, Parcel(delivery=it, result=result, undo=out.undo))

    assert list(Asset.objects.kept()) == [mine]
    assert Asset.objects.count() == 2


def test_an_undone_alt_text_is_the_old_one_again(alice, text):
    picture = library.add(alice, text.item.original)
    library.edit(picture, alt_text="old words")
    delivery, sent = send(text.item.batch, text, "photo-1.txt")

    LibraryExporter().undo(delivery, Parcel(delivery=delivery, result=text, undo=sent.undo))

    picture.refresh_from_db()
    assert (picture.alt_text, picture.trashed_at) == ("old words", None)


def test_a_full_library_fails_a_delivery_for_good(batch, results, monkeypatch):
    tight(monkeypatch, 1)

    with pytest.raises(ExportError) as failed:
        send(batch, results[0], "a.png")

    assert (failed.value.code, failed.value.transient) == ("library_full", False)
