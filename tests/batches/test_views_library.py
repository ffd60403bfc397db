"""The library's pages: the grid, what its buttons do, an asset's own page, and files in and out."""

import io
import re
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from batches import drafts, folders, intake, library, storage
from batches.models import Asset, Folder, Original, Result
from batches.states import ItemState
from tests.factories import bare_batch, bare_item, make_original, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey")

LIBRARY = reverse("batches:library")
ACT = reverse("batches:library_act")
PICK = reverse("batches:pick", args=["fake"])
HTMX = {"headers": {"HX-Request": "true"}}
SCRIPT = {"headers": {"X-CSRFToken": "x"}}


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


@pytest.fixture
def result(alice):
    """A result with its files, as a worker leaves it."""
    batch = bare_batch(alice, name="Mugs", state="finished")
    item = bare_item(batch, state=ItemState.DONE, original=make_original(alice, 7))
    content = picture(8)
    for key in ("made.png", "made.thumb.webp"):
        storage.save(storage.RESULTS, key, content)
    return Result.objects.create(
        item=item,
        key="made.png",
        thumbnail_key="made.thumb.webp",
        format="png",
        width=64,
        height=48,
        bytes=len(content),
        sha256="8" * 64,
    )


def kept(owner, number=0, name="", **options) -> Asset:
    name = name or f"photo-{number}.png"
    return library.add(owner, make_original(owner, number, name=name), **options)


def listed(answer) -> list[str]:
    return [asset.name for asset, _days in answer.context["assets"]]


def said(answer) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def do(browser, verb, *assets, **more):
    data = {"verb": verb, "asset": [asset.uid for asset in assets], **more}
    return browser.post(ACT, data, follow=True)


# --- The grid ----------------------------------------------------------------------------


def test_an_empty_library_says_what_it_is_for(browser):
    assert "Nothing kept yet" in browser.get(LIBRARY).content.decode()


def test_it_holds_ones_own_assets_outside_of_the_trash(browser, alice, bob):
    kept(alice, 1)
    kept(bob, 2)
    gone = kept(alice, 3)
    library.trash(alice, [gone.uid])

    assert listed(browser.get(LIBRARY)) == ["photo-1.png"]
    answer = browser.get(LIBRARY, {"trash": 1})
    assert listed(answer) == ["photo-3.png"]
    assert "29 days left" in answer.content.decode()


def test_a_folder_shows_what_is_right_in_it_and_finds_what_is_below(browser, alice):
    top = folders.make(alice, "Top")
    below = folders.make(alice, "Below", parent=top)
    kept(alice, 1, folder=top)
    kept(alice, 2, folder=below)
    kept(alice, 3)

    def names(**query):
        return listed(browser.get(LIBRARY, {"sort": "name", **query}))

    assert names() == ["photo-1.png", "photo-2.png", "photo-3.png"]
    assert names(folder=top.uid) == ["photo-1.png"]
    assert names(folder=top.uid, q="photo") == ["photo-1.png", "photo-2.png"]
    assert names(folder="none") == ["photo-3.png"]
    assert names(folder="nonsense") == names()
    page = browser.get(LIBRARY, {"folder": below.uid}).content.decode()
    assert re.search(r'aria-current="page"[^>]*>Below', page)


def test_it_is_narrowed_by_tag_favourite_tool_and_format(browser, alice, result):
    plain = kept(alice, 1, tags=["sale"])
    library.favourite(alice, [plain.uid], on=True)
    made = library.add(alice, result)

    for query, name in [
        ({"tag": "sale"}, plain.name),
        ({"favourites": 1}, plain.name),
        ({"tool": "fake"}, made.name),
        ({"q": "photo sale"}, plain.name),
    ]:
        assert listed(browser.get(LIBRARY, query)) == [name], query
    assert listed(browser.get(LIBRARY, {"type": "jpg"})) == []
    assert len(listed(browser.get(LIBRARY, {"type": "png"}))) == 2


@pytest.mark.parametrize("order", ["", "oldest", "name", "size"])
def test_next_and_previous_follow_the_order_of_the_grid(browser, alice, order):
    for number, size in enumerate([(64, 48), (640, 480), (64, 48)]):
        data = picture(number, size=size)
        original, _new = intake.receive(alice, data, name=f"{'bac'[number]}.png")
        library.add(alice, original)
    grid = [asset.uid for asset, _days in browser.get(LIBRARY, {"sort": order}).context["assets"]]

    def page(uid):
        return browser.get(reverse("batches:asset", args=[uid]), {"sort": order}).context

    assert [page(uid)["next"] for uid in grid] == [*grid[1:], None]
    assert [page(uid)["previous"] for uid in grid] == [None, *grid[:-1]]


def test_a_page_costs_the_same_for_few_and_for_many(browser, alice, result):
    asset = library.add(alice, result, folder=folders.make(alice, "Top"), tags=["a"])

    def cost(address):
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(address).status_code == 200
        return len(asked)

    addresses = [LIBRARY, PICK, reverse("batches:asset", args=[asset.uid])]
    cost(LIBRARY)  # the first page of all gives the welcome credits
    few = [cost(address) for address in addresses]
    Asset.objects.bulk_create(
        Asset(
            owner=alice,
            name=f"{n}.png",
            key=f"library/{n}",
            thumbnail_key=f"library/t{n}",
            format="png",
            bytes=n,
            sha256=f"{n:064}",
            source_sha256=asset.source_sha256,
            tool="fake",
        )
        for n in range(500)
    )
    for n in range(20):
        folders.make(alice, f"Folder {n}")

    assert [cost(address) for address in addresses] == few
    assert max(few) < 20
    assert len(listed(browser.get(LIBRARY))) == 100


# --- Its buttons -------------------------------------------------------------------------


def test_each_button_does_what_it_says_and_says_how_many(browser, alice):
    first, second = kept(alice, 1), kept(alice, 2)
    folder = folders.make(alice, "Shop")

    assert "2 images were moved." in said(do(browser, "move", first, second, to=folder.uid))
    assert "1 image is a favourite now." in said(do(browser, "favourite", first))
    assert "1 image is no favourite" in said(do(browser, "unfavourite", first, second))
    assert "2 images were tagged." in said(do(browser, "tag", first, second, tags="New, sale"))
    assert "1 image has lost its tag." in said(do(browser, "untag", first, tags="sale"))
    assert "for 30 days" in said(do(browser, "trash", first, second))
    assert "1 image was restored." in said(do(browser, "restore", first))
    assert "1 image was deleted." in said(do(browser, "delete", first, second))
    assert "Nothing was chosen" in said(do(browser, "trash"))
    assert do(browser, "nonsense", first).status_code == 404
    first.refresh_from_db()
    assert (first.folder, first.favourite) == (folder, False)
    assert [tag.name for tag in first.tags.all()] == ["new"]
    assert list(Asset.objects.all()) == [first]


def test_the_trash_is_emptied(browser, alice):
    library.trash(alice, [kept(alice, 1).uid])
    kept(alice, 2)

    assert "1 image was deleted." in said(do(browser, "empty"))
    assert Asset.objects.count() == 1


def test_a_button_leads_back_to_the_place_where_it_was_pressed(browser, alice):
    folder = folders.make(alice, "Shop")
    asset = kept(alice, 1, folder=folder)

    answer = browser.post(
        ACT, {"verb": "favourite", "asset": asset.uid, "place": f"folder={folder.uid}&q=photo"}
    )
    alone = browser.post(ACT, {"verb": "trash", "asset": asset.uid, "at": asset.uid})

    assert answer["Location"] == f"{LIBRARY}?folder={folder.uid}&q=photo"
    assert alone["Location"] == reverse("batches:asset", args=[asset.uid])


def test_somebody_elses_assets_are_left_alone(browser, alice, bob):
    theirs = kept(bob, 1)
    folder = folders.make(bob, "Theirs")

    do(browser, "trash", theirs)
    do(browser, "move", kept(alice, 2), to=folder.uid)

    theirs.refresh_from_db()
    assert theirs.trashed_at is None
    assert not Asset.objects.filter(folder=folder).exists()
    for name in ("asset", "asset_file", "asset_thumbnail"):
        assert browser.get(reverse(f"batches:{name}", args=[theirs.uid])).status_code == 404
    edit = reverse("batches:asset_edit", args=[theirs.uid])
    assert browser.post(edit, {"name": "mine"}).status_code == 404
    assert browser.get(reverse("batches:folder", args=[folder.uid])).status_code == 404


def test_what_is_ticked_comes_as_a_zip_under_safe_names(browser, alice):
    chosen = [kept(alice, number, name="same.png") for number in (1, 2)]
    kept(alice, 3)

    answer = browser.post(
        reverse("batches:library_zip"), {"asset": [asset.uid for asset in chosen]}
    )
    body = answer.getvalue()

    assert int(answer["Content-Length"]) == len(body)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == ["same.png", "same-2.png"]
        for asset, name in zip(chosen, archive.namelist(), strict=True):
            assert archive.read(name) == storage.read(storage.RESULTS, asset.key)


def test_nothing_ticked_is_no_zip(browser):
    assert browser.post(reverse("batches:library_zip"))["Location"] == LIBRARY


# --- Folders -----------------------------------------------------------------------------


def test_a_folder_is_made_renamed_moved_and_deleted(browser, alice):
    browser.post(reverse("batches:folders"), {"name": "Top"})
    top = Folder.objects.get()
    answer = browser.post(reverse("batches:folders"), {"name": "Inner", "parent": top.uid})
    inner = Folder.objects.get(parent=top)
    assert answer["Location"] == f"{LIBRARY}?folder={inner.uid}"
    own = reverse("batches:folder", args=[inner.uid])
    asset = kept(alice, 1, folder=inner)

    browser.post(own, {"verb": "rename", "name": "Inside"})
    browser.post(own, {"verb": "move", "to": ""})
    inner.refresh_from_db()
    assert (inner.name, inner.parent) == ("Inside", None)
    refused = browser.post(own, {"verb": "delete"}, follow=True)
    assert "not empty" in said(refused)
    browser.post(own, {"verb": "delete", "with_contents": "1"})

    asset.refresh_from_db()
    assert asset.trashed_at
    assert list(Folder.objects.all()) == [top]


def test_a_name_that_is_taken_is_said_so(browser, alice):
    folders.make(alice, "Top")

    answer = browser.post(reverse("batches:folders"), {"name": "TOP"}, follow=True)

    assert "folder called TOP here already" in said(answer)


# --- One asset ---------------------------------------------------------------------------


def test_its_page_shows_where_it_comes_from(browser, alice, result):
    original = library.add(alice, result.item.original)
    asset = library.add(alice, result)

    answer = browser.get(reverse("batches:asset", args=[asset.uid]))

    page = answer.content.decode()
    assert answer.context["before"] == reverse("batches:asset_file", args=[original.uid])
    assert result.item.batch.get_absolute_url() in page
    assert [one.pk for one, _tool in answer.context["versions"]] == [original.pk, asset.pk]


def test_its_page_outlives_the_batch(browser, alice, result):
    asset = library.add(alice, result)
    page = reverse("batches:asset", args=[asset.uid])
    item = reverse("batches:original", args=[result.item.uid])
    assert browser.get(page).context["before"] == item

    result.item.batch.delete()

    answer = browser.get(page)
    assert answer.context["before"] == ""
    assert "Mugs" in answer.content.decode()
    assert "(deleted)" in answer.content.decode()


def test_what_is_said_about_it_is_saved(browser, alice):
    asset = kept(alice, 1)
    folder = folders.make(alice, "Shop")

    answer = browser.post(
        reverse("batches:asset_edit", args=[asset.uid]),
        {"name": "cup", "alt_text": "A cup", "tags": "a, b,,", "to": folder.uid, "place": "q=x"},
    )

    asset.refresh_from_db()
    assert answer["Location"] == reverse("batches:asset", args=[asset.uid]) + "?q=x"
    assert (asset.name, asset.alt_text, asset.folder) == ("cup.png", "A cup", folder)
    assert [tag.name for tag in asset.tags.order_by("name")] == ["a", "b"]


def test_a_text_is_shown_and_never_opened_by_a_browser(browser, alice, result):
    Result.objects.filter(pk=result.pk).update(
        key="", thumbnail_key="", format="json", text='{"rules": "<script>"}'
    )
    asset = library.save(alice, Result.objects.get(pk=result.pk)).asset

    page = browser.get(reverse("batches:asset", args=[asset.uid])).content.decode()
    file = browser.get(reverse("batches:asset_file", args=[asset.uid]))

    assert "&lt;script&gt;" in page
    assert file["Content-Disposition"].startswith("attachment")
    assert file.getvalue() == b'{"rules": "<script>"}'
    assert browser.get(reverse("batches:asset_thumbnail", args=[asset.uid])).status_code == 404


# --- In ----------------------------------------------------------------------------------


def test_a_result_is_kept_from_its_page(browser, alice, result):
    keep = reverse("batches:keep", args=[result.item.uid])

    part = browser.post(keep, **HTMX).content.decode()
    answer = browser.post(keep)

    asset = Asset.objects.get()
    assert "In your library" in part
    assert answer["Location"] == reverse("batches:asset", args=[asset.uid])
    assert browser.post(keep, {"position": "1"}).status_code == 404


def test_a_full_library_is_said_where_somebody_wants_to_keep(browser, result, monkeypatch):
    monkeypatch.setattr(library, "used", lambda _owner: 10**15)

    part = browser.post(reverse("batches:keep", args=[result.item.uid]), **HTMX)

    assert "The library is full" in part.content.decode()


def test_nobody_keeps_somebody_elses_result(client, bob, result):
    client.force_login(bob)

    assert client.post(reverse("batches:keep", args=[result.item.uid])).status_code == 404
    assert not Asset.objects.exists()


def test_files_come_in_through_the_same_guard(browser, alice):
    folder = folders.make(alice, "Shop")
    files = [
        SimpleUploadedFile("cup.png", picture(1)),
        SimpleUploadedFile("virus.png", b"MZ" + b"x" * 100),
    ]

    answer = browser.post(
        reverse("batches:library_upload"), {"files": files, "folder": folder.uid}, follow=True
    )

    assert "1 image was added." in said(answer)
    assert "virus.png: This is a" in said(answer)
    assert [(asset.name, asset.folder) for asset in Asset.objects.all()] == [("cup.png", folder)]


def test_a_script_is_told_what_became_of_a_file(browser):
    def send(content):
        data = {"files": SimpleUploadedFile("cup.png", content)}
        return browser.post(reverse("batches:library_upload"), data, **SCRIPT)

    assert send(picture(1)).status_code == 201
    refused = send(b"")
    assert (refused.status_code, refused.json()["code"]) == (422, "not_kept")
    assert "empty" in refused.json()["message"]


# --- As a source -------------------------------------------------------------------------


def test_pictures_of_the_library_become_images_of_a_new_batch(browser, alice, bob, result):
    original = kept(alice, 1)
    made = library.add(alice, result)
    gone = kept(alice, 2)
    library.trash(alice, [gone.uid])
    theirs = kept(bob, 3)
    add = reverse("batches:pick_add", args=["fake"])
    before = Original.objects.count()

    told = browser.post(
        add, {"asset": [made.uid, original.uid, gone.uid, theirs.uid]}, **SCRIPT
    ).json()

    assert [image["name"] for image in told["images"]] == [made.name, original.name]
    assert told["message"] == "2 images can't be used here."
    assert len(drafts.contents(alice, "fake").originals) == 2
    assert Original.objects.count() == before + 1  # what came in unchanged is here already
    assert browser.post(add, {"asset": [made.uid]})["Location"] == reverse(
        "batches:new", args=["fake"]
    )
    assert Original.objects.count() == before + 1


def test_the_picker_is_a_part_a_page_or_the_next_stretch(browser, alice):
    for number in range(3):
        kept(alice, number)

    whole, part, stretch = (
        browser.get(PICK).content.decode(),
        browser.get(PICK, **HTMX).content.decode(),
        browser.get(PICK, {"more": 1}, **HTMX).content.decode(),
    )

    assert "<html" in whole
    assert part.lstrip().startswith('<div id="picker"')
    assert "<html" not in stretch
    assert "pick-add" not in stretch
    assert stretch.count('name="asset"') == 3


def test_strangers_sign_in_first(client, alice):
    asset = kept(alice, 1)
    for address in (LIBRARY, PICK, reverse("batches:asset", args=[asset.uid])):
        assert client.get(address)["Location"].startswith(reverse("accounts:login"))
    assert client.post(ACT, {"verb": "trash", "asset": asset.uid}).status_code == 302
    asset.refresh_from_db()
    assert asset.trashed_at is None


def test_staff_read_figures_and_change_nothing(client, staff, alice):
    asset = kept(alice, 1)
    client.force_login(staff)
    rows = reverse("admin:batches_asset_changelist")
    row = reverse("admin:batches_asset_change", args=[asset.pk])

    assert "photo-1.png" in client.get(rows, {"q": str(asset.uid)}).content.decode()
    assert "photo-1.png" not in client.get(rows, {"q": "somebody"}).content.decode()
    assert client.get(row).status_code == 200
    assert client.post(row, {"name": "x"}).status_code == 403
