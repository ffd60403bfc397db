"""The library: what comes in stays, whatever becomes of its batch, and goes as it is told to."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import plans
from batches import erasure, folders, library, lifecycle, storage
from batches.folders import LibraryRefused
from batches.models import (
    Asset,
    Folder,
    Result,
    Tag,
    WebhookEndpoint,
    WebhookMessage,
)
from batches.reconcile import sweep_orphans
from tests.batches.races import at_once
from tests.factories import make_batch, make_original

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
def asset(alice, results):
    return library.add(alice, results[0])


def files(media):
    return sorted(path.name for path in (media / "results" / "library").rglob("*.*"))


def uids(*assets):
    return [asset.uid for asset in assets]


# --- In ---------------------------------------------------------------------------------


def test_an_asset_knows_where_it_comes_from(alice, results, asset, batch):
    item = results[0].item

    assert (asset.name, asset.format, asset.tool) == ("photo-1.png", "png", "fake")
    assert (asset.width, asset.height, asset.bytes) == (64, 48, results[0].bytes)
    assert asset.source_sha256 == item.original.sha256
    assert asset.origin["batch"] == {"uid": str(batch.uid), "name": "Mugs"}
    assert asset.origin["settings"] == item.settings
    assert asset.origin["model_version"] == "fake 1"


@pytest.mark.django_db(transaction=True)
def test_an_asset_outlives_its_batch_and_the_sweeper(alice, results, asset, batch, media):
    content = storage.read(storage.RESULTS, results[0].key)

    lifecycle.delete(batch)
    removed = sweep_orphans(now=timezone.now() + timedelta(days=2))

    asset.refresh_from_db()
    assert removed == 0
    assert storage.read(storage.RESULTS, asset.key) == content
    assert len(files(media)) == 2


def test_the_same_result_is_in_a_folder_once(alice, results, asset, media):
    folder = folders.make(alice, "Shop")
    library.trash(alice, uids(asset))

    again = library.add(alice, results[0], tags=["blue"])
    elsewhere = library.add(alice, results[0], folder=folder)

    assert again.pk == asset.pk
    assert again.trashed_at is None
    assert [tag.name for tag in again.tags.all()] == ["blue"]
    assert elsewhere.pk != asset.pk
    assert len(files(media)) == 4


def test_two_images_with_the_same_result_are_two_assets(alice, run_jobs):
    made = lifecycle.start(make_batch(alice, 1))
    other = lifecycle.start(make_batch(alice, 1))
    run_jobs()
    first, second = (Result.objects.get(item__batch=it) for it in (made, other))

    assert first.sha256 == second.sha256
    assert library.add(alice, first).pk != library.add(alice, second).pk


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_of_two_who_add_the_same_at_once_one_does(alice, results, media):
    added = at_once(*[lambda: library.add(alice, results[0])] * 4)

    assert len({asset.pk for asset in added}) == 1
    assert len(files(media)) == 2


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_pass_the_quota_together(alice, results, monkeypatch, media):
    tight(monkeypatch, results[0].bytes + results[1].bytes - 1)

    def add(result):
        try:
            return library.add(alice, result)
        except LibraryRefused as refused:
            return refused.code

    added = at_once(lambda: add(results[0]), lambda: add(results[1]))

    assert added.count("library_full") == 1
    assert Asset.objects.count() == 1
    assert len(files(media)) == 2


def tight(monkeypatch, size):
    plan = plans.replace(plans.STANDARD, library_bytes=size)
    monkeypatch.setattr(plans, "STANDARD", plan)


def test_a_full_library_says_so_and_keeps_nothing(alice, results, monkeypatch, media):
    tight(monkeypatch, results[0].bytes)
    library.add(alice, results[0])

    with pytest.raises(LibraryRefused) as refused:
        library.add(alice, results[1])

    assert refused.value.code == "library_full"
    assert "Empty the trash" in refused.value.detail
    assert library.used(alice) == results[0].bytes
    assert len(files(media)) == 2


def test_what_lies_in_the_trash_takes_room_too(alice, results, monkeypatch):
    tight(monkeypatch, results[0].bytes)
    library.trash(alice, uids(library.add(alice, results[0])))

    with pytest.raises(LibraryRefused):
        library.add(alice, results[1])

    library.empty_trash(alice)
    assert library.add(alice, results[1]).pk


def test_a_result_whose_file_is_gone_is_refused(alice, results, media):
    storage.delete(storage.RESULTS, results[0].thumbnail_key)

    with pytest.raises(LibraryRefused) as refused:
        library.add(alice, results[0])

    assert refused.value.code == "asset_source_gone"
    assert files(media) == []


def test_whoever_asked_is_told_of_a_new_asset_once(alice, results):
    WebhookEndpoint.objects.create(
        owner=alice, url="https://shop.example/hook", events=["asset.created"]
    )

    library.add(alice, results[0])
    library.add(alice, results[0])

    payload = WebhookMessage.objects.get().payload
    assert payload["name"] == "photo-1.png"
    assert payload["batch"] == str(results[0].item.batch.uid)


def test_an_original_is_kept_as_it_is(alice):
    original = make_original(alice, 5, name="cup.png")

    asset = library.add(alice, original)

    assert (asset.name, asset.tool) == ("cup.png", "")
    assert storage.read(storage.RESULTS, asset.key) == storage.read("originals", original.key)
    assert library.add(alice, original).pk == asset.pk


def test_versions_of_one_picture_belong_together(alice, results, asset):
    original = library.add(alice, results[0].item.original)
    library.add(alice, results[1])
    gone = library.add(alice, results[0], folder=folders.make(alice, "Old"))
    library.trash(alice, uids(gone))

    assert library.versions(asset) == [original, asset]


# --- Words about pictures ----------------------------------------------------------------


@pytest.fixture
def text(alice, run_jobs):
    """What a tool says about a picture."""
    made = lifecycle.start(make_batch(alice, 1, tool="fake-text"))
    run_jobs()
    return Result.objects.get(item__batch=made)


def test_words_become_the_alt_text_of_the_picture_that_is_there(alice, text):
    picture = library.add(alice, text.item.original)
    library.edit(picture, alt_text="old words")

    kept = library.save(alice, text)

    assert (kept.asset.pk, kept.alt_text_before) == (picture.pk, "old words")
    assert kept.asset.alt_text == "64 × 48 pixels"
    assert Asset.objects.count() == 1


def test_words_without_their_picture_bring_it_along(alice, text):
    kept = library.save(alice, text, name="blue mug.txt", tags=["new"])

    assert kept.asset.name == "blue mug.png"
    assert kept.asset.alt_text == "64 × 48 pixels"
    assert [tag.name for tag in kept.asset.tags.all()] == ["new"]
    assert library.save(alice, text).asset.pk == kept.asset.pk


def test_words_about_a_result_that_was_used_again_go_to_that_result(alice, asset, run_jobs):
    made = lifecycle.start(make_batch(alice, 1, tool="fake-text"))
    run_jobs()
    text = Result.objects.get(item__batch=made)
    Asset.objects.update(sha256=text.item.original.sha256, source_sha256="0" * 64)

    assert library.save(alice, text).asset.pk == asset.pk


# --- Folders -----------------------------------------------------------------------------


def test_a_folder_is_found_by_its_way_and_made_where_it_is_missing(alice):
    left = folders.ensure(alice, ["Shoes", "left"])

    assert folders.ensure(alice, ["shoes", "LEFT"]) == left
    assert folders.ensure(alice, []) is None
    assert [at.path for at in folders.tree(alice).walk()] == ["Shoes", "Shoes/left"]


def test_a_way_that_is_too_long_ends_at_the_deepest_folder(alice):
    folder = folders.ensure(alice, [str(n) for n in range(12)])

    assert folder.name == "7"
    with pytest.raises(LibraryRefused, match="folder_too_deep"):
        folders.make(alice, "8", parent=folder)


def test_names_are_clean_and_taken_as_disks_take_them(alice):
    folder = folders.make(alice, "../Shöp")

    assert folder.name == "Shöp"
    with pytest.raises(LibraryRefused, match="folder_taken"):
        folders.make(alice, "SHÖP")
    folders.make(alice, "SHÖP", parent=folder)
    other = folders.make(alice, "Other")
    with pytest.raises(LibraryRefused, match="folder_taken"):
        folders.rename(other, "shöp")
    folders.rename(folder, "SHÖP")  # its own name, in other letters
    assert Folder.objects.get(pk=folder.pk).name == "SHÖP"


def test_a_folder_moves_but_not_into_itself_nor_too_deep(alice):
    top = folders.make(alice, "top")
    inner = folders.make(alice, "inner", parent=top)
    deep = folders.ensure(alice, [str(n) for n in range(7)])

    with pytest.raises(LibraryRefused, match="folder_inside_itself"):
        folders.move(top, inner)
    with pytest.raises(LibraryRefused, match="folder_too_deep"):
        folders.move(top, deep)
    folders.move(inner, deep)
    folders.move(inner, None)

    assert {at.path for at in folders.tree(alice).roots} == {"top", "inner", "0"}


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_who_move_folders_into_each_other_make_no_circle(alice):
    a, b = folders.make(alice, "a"), folders.make(alice, "b")

    def move(folder, to):
        try:
            folders.move(folder, to)
        except LibraryRefused as refused:
            return refused.code
        return "moved"

    moved = at_once(lambda: move(a, b), lambda: move(b, a))

    assert sorted(moved) == ["folder_inside_itself", "moved"]
    assert len(list(folders.tree(alice).walk())) == 2


def test_only_an_empty_folder_goes_unless_all_is_meant(alice, results):
    folder = folders.make(alice, "Shop")
    inner = folders.make(alice, "inner", parent=folder)
    asset = library.add(alice, results[0], folder=inner)

    with pytest.raises(LibraryRefused, match="folder_not_empty"):
        folders.delete(folder)
    trashed = folders.delete(folder, with_contents=True)

    assert trashed == 1
    assert Folder.objects.count() == 0
    library.restore(alice, uids(asset))
    asset.refresh_from_db()
    assert (asset.folder, asset.trashed_at) == (None, None)


# --- Many at once ------------------------------------------------------------------------


def test_each_verb_says_how_many_it_moved_and_leaves_others_alone(alice, bob, results):
    first, second = (library.add(alice, result) for result in results)
    theirs = library.add(bob, make_original(bob))
    chosen = uids(first, second, theirs)
    folder = folders.make(alice, "Shop")

    assert library.move(alice, chosen, folder) == 2
    assert library.favourite(alice, chosen[:1], on=True) == 1
    assert library.favourite(alice, chosen, on=True) == 1
    assert library.tag(alice, chosen, ["Blue,  Mug", "blue mug"]) == 2
    assert library.untag(alice, chosen[:1], ["blue mug"]) == 1
    assert library.delete(alice, chosen) == 0  # only from the trash
    assert library.trash(alice, chosen) == 2
    assert library.trash(alice, chosen) == 0
    assert library.restore(alice, chosen[:1]) == 1
    assert library.delete(alice, chosen) == 1
    assert list(Asset.objects.visible_to(alice)) == [first]
    theirs.refresh_from_db()
    assert (theirs.folder, theirs.favourite, theirs.trashed_at) == (None, False, None)
    assert not Tag.objects.exists()  # on nothing any more


def test_a_folder_of_somebody_else_takes_nothing(alice, bob, asset):
    with pytest.raises(LibraryRefused, match="folder_missing"):
        library.move(alice, uids(asset), folders.make(bob, "Theirs"))


def test_more_than_five_hundred_at_once_are_refused(alice):
    with pytest.raises(LibraryRefused, match="too_many_chosen"):
        library.trash(alice, [*range(501)])


def test_an_asset_has_at_most_fifty_tags(alice, asset):
    library.tag(alice, uids(asset), [f"t{n}" for n in range(50)])

    assert library.tag(alice, uids(asset), ["one more"]) == 0
    with pytest.raises(LibraryRefused, match="tags_full"):
        library.edit(asset, tags=[f"t{n}" for n in range(51)])
    assert asset.tags.count() == 50


def test_tags_are_cleaned():
    assert library.clean_tags(["  New\tSeason ", "new season", "", "a,b", "x" * 99]) == [
        "new season",
        "a b",
        "x" * 64,
    ]


@pytest.mark.django_db(transaction=True)
def test_deleting_for_good_takes_the_files(alice, asset, media):
    library.trash(alice, uids(asset))

    assert library.delete(alice, uids(asset)) == 1
    assert files(media) == []


@pytest.mark.django_db(transaction=True)
def test_the_trash_is_kept_for_a_month(alice, results, media):
    old, young = (library.add(alice, result) for result in results)
    now = timezone.now()
    library.trash(alice, uids(old, young))
    Asset.objects.filter(pk=old.pk).update(trashed_at=now - timedelta(days=30, seconds=1))
    Asset.objects.filter(pk=young.pk).update(trashed_at=now - timedelta(days=29, hours=1))
    young.refresh_from_db()

    assert library.days_left(young, now=now) == 0
    assert library.prune(now=now) == 1
    assert list(Asset.objects.all()) == [young]
    assert len(files(media)) == 2


def test_a_name_keeps_the_ending_of_what_is_inside(asset):
    library.edit(asset, name="../front.jpg")
    assert asset.name == "front.jpg.png"
    library.edit(asset, name="front.PNG")
    assert asset.name == "front.png"


# --- Found again -------------------------------------------------------------------------


def test_each_word_has_to_occur_somewhere(alice, results):
    first, second = (library.add(alice, result) for result in results)
    library.edit(first, alt_text="A Blue mug")
    library.edit(second, tags=["sale"])

    def found(words):
        return [asset.name for asset in Asset.objects.visible_to(alice).matching(words)]

    assert found("BLUE photo") == ["photo-1.png"]
    assert found("sal FAKE") == ["photo-2.png"]
    assert found("blue sale") == []
    assert len(found("")) == 2


# --- Bounds ------------------------------------------------------------------------------


def test_many_assets_cost_as_many_queries_as_few(alice, asset):
    def cost(n):
        chosen = [*Asset.objects.values_list("uid", flat=True)[:n]]
        with CaptureQueriesContext(
            connection,
        ) as asked:
            library.tag(alice, chosen, ["a", "b"])
            library.move(alice, chosen, None)
            library.trash(alice, chosen)
            library.delete(alice, chosen)
        return len(asked)

    copies(asset, 60)
    few = cost(2)
    many = cost(50)

    assert few == many


def copies(asset, count):
    made = {"owner": asset.owner, "format": "png"}
    return Asset.objects.bulk_create(
        Asset(name=f"{n}.png", key=f"library/{n}", bytes=n, sha256=f"{n:064}", **made)
        for n in range(count)
    )


@pytest.mark.django_db(transaction=True)
def test_a_library_goes_with_its_owner(alice, results, media):
    asset = library.add(alice, results[0], folder=folders.make(alice, "Shop"), tags=["blue"])
    alice.refresh_from_db()

    assert erasure.losses(alice, now=timezone.now()).assets == 1
    assert erasure.leave(alice, now=timezone.now())

    assert not Asset.objects.filter(pk=asset.pk).exists()
    assert not Folder.objects.exists()
    assert not Tag.objects.exists()
    assert files(media) == []
