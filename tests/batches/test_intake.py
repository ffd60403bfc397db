"""Images in: files become originals, rows become items, and nothing bad comes further."""

import hashlib
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image

from batches import intake, storage
from batches.models import Item, Original, Sheet
from batches.sources.base import Row
from batches.states import ItemState
from tests.factories import bare_batch, make_original, picture
from tools.engines import guard

pytestmark = pytest.mark.usefixtures("media", "fake_tool")


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def add(owner, tool, *rows: Row, **options) -> list[Item]:
    """Items of a new batch, read back from the database."""
    batch = bare_batch(owner, settings=tool.clean({}))
    intake.add_items(batch, tool, rows, **options)
    return list(Item.objects.filter(batch=batch).order_by("position"))


def refused(owner, tool, *rows: Row) -> list[tuple[int, str, str]]:
    """Row, pointer and code of everything that is wrong; nothing must have been stored."""
    with pytest.raises(intake.RowsInvalid) as invalid:
        add(owner, tool, *rows)
    assert not Item.objects.exists()
    return [(error.index, error.pointer, error.code) for error in invalid.value.errors]


# --- Originals ------------------------------------------------------------------------


def test_a_picture_is_kept_as_it_came_with_a_thumbnail(alice, media):
    data = picture(size=(640, 400), kind="JPEG")

    original, new = intake.receive(alice, data, name="Shoe.JPG")

    assert new
    assert (original.name, original.format, original.bytes) == ("Shoe.JPG", "jpg", len(data))
    assert (original.width, original.height) == (640, 400)
    assert original.sha256 == hashlib.sha256(data).hexdigest()
    assert storage.read(storage.ORIGINALS, original.key) == data
    with Image.open(media / "originals" / original.thumbnail_key) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (320, 200))
    assert len(files(media)) == 2


def test_what_browsers_can_not_show_is_kept_as_a_png(alice):
    data = picture(kind="TIFF")

    original, _new = intake.receive(alice, data, name="scan.tif")

    assert original.format == "tiff"
    assert original.content_type == "image/png"
    assert original.key.endswith(".png")
    assert (original.bytes, original.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert storage.read(storage.ORIGINALS, original.key).startswith(b"\x89PNG")


def test_the_name_of_a_file_does_not_decide_where_it_lies(alice, media):
    original, _new = intake.receive(alice, picture(), name="../../etc/cron.d/x.png")

    assert original.name == "x.png"
    assert files(media) == [f"originals/{original.key}", f"originals/{original.thumbnail_key}"]
    assert original.key == f"{alice.uid}/{original.uid}.png"


def test_an_extension_that_lies_is_not_believed(alice):
    original, _new = intake.receive(alice, picture(kind="JPEG"), name="front.png")

    assert (original.format, original.content_type) == ("jpg", "image/jpeg")
    assert original.key.endswith(".jpg")


def test_the_same_file_of_one_owner_is_kept_once(alice, media, monkeypatch):
    first, _new = intake.receive(alice, picture(), name="front.png")
    monkeypatch.setattr(guard, "inspect", None)  # it is known: nobody decodes it again

    second, new = intake.receive(alice, picture(), name="copy of front.png")

    assert (second, new) == (first, False)
    assert second.name == "copy of front.png"
    assert Original.objects.count() == 1
    assert len(files(media)) == 2


def test_the_same_file_of_two_owners_is_kept_twice(alice, bob):
    hers, _new = intake.receive(alice, picture(), name="front.png")

    his, new = intake.receive(bob, picture(), name="front.png")

    assert new
    assert his.key != hers.key
    assert list(Original.objects.visible_to(bob)) == [his]


def test_a_file_that_came_in_beside_us_is_not_kept_twice(alice, media, monkeypatch):
    inspect = guard.inspect

    def rival(data, **options):
        seen = inspect(data, **options)
        monkeypatch.setattr(guard, "inspect", inspect)
        intake.receive(alice, data, name="rival.png")
        return seen

    monkeypatch.setattr(guard, "inspect", rival)

    original, new = intake.receive(alice, picture(), name="front.png")

    assert (original.name, new) == ("rival.png", False)
    assert files(media) == [f"originals/{original.key}", f"originals/{original.thumbnail_key}"]


def test_a_file_that_is_no_image_leaves_nothing_behind(alice, media):
    with pytest.raises(intake.ImageRefused) as refusal:
        intake.receive(alice, b"<!DOCTYPE html><title>No</title>", name="a.png")

    assert refusal.value.code == "format_unsupported"
    assert refusal.value.params
    assert not Original.objects.exists()
    assert files(media) == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "file_empty"),
        (picture()[:-30], "file_damaged"),
        (picture(kind="JPEG")[:300], "file_damaged"),
    ],
)
def test_what_is_wrong_with_a_file_has_its_code(alice, data, code):
    with pytest.raises(intake.ImageRefused) as refusal:
        intake.receive(alice, data, name="a.png")

    assert refusal.value.code == code


def test_an_animation_is_refused(alice):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])

    with pytest.raises(intake.ImageRefused) as refusal:
        intake.receive(alice, file.getvalue(), name="a.gif")

    assert refusal.value.code == "image_animated"


# --- Rows -----------------------------------------------------------------------------


def test_rows_become_items_in_their_order(alice, fake_tool):
    original = make_original(alice)

    items = add(
        alice,
        fake_tool,
        Row(upload=str(original.uid), external_id="sku-1", settings={"strength": 0.5}),
        Row(url="HTTPS://A.example.com:443/b/shoe%20one.jpg?w=1"),
    )

    assert [item.position for item in items] == [0, 1]
    assert [item.state for item in items] == [ItemState.PENDING] * 2
    assert [item.held_price for item in items] == [2, 2]
    assert [item.name for item in items] == ["photo-1.png", "shoe one.jpg"]
    assert (items[0].original, items[0].external_id) == (original, "sku-1")
    assert items[0].settings == fake_tool.clean({"strength": 0.5})
    assert items[1].source_url == "https://a.example.com/b/shoe%20one.jpg?w=1"
    assert items[1].settings == fake_tool.clean({})


def test_a_row_has_the_batchs_settings_with_its_own_on_top(alice, fake_tool):
    batch = bare_batch(alice, settings=fake_tool.clean({"style": "grey", "strength": 0.5}))

    intake.add_items(
        batch, fake_tool, [Row(url="https://a.example.com/", settings={"strength": 0.1})]
    )

    settings = batch.items.get().settings
    assert (settings["style"], settings["strength"]) == ("grey", 0.1)


def test_names_that_come_twice_are_numbered(alice, fake_tool):
    addresses = ["a.example.com/Shoe.png", "b.example.com/shoe.PNG", "c.example.com/shoe.png"]

    items = add(alice, fake_tool, *[Row(url=f"https://{address}") for address in addresses])

    assert [item.name for item in items] == ["Shoe.png", "shoe-2.PNG", "shoe-3.png"]


def test_a_numbered_name_does_not_meet_one_that_was_there(alice, fake_tool):
    names = ["a.png", "a-2.png", "a.png"]

    items = add(alice, fake_tool, *[Row(url="https://a.example.com/", name=name) for name in names])

    assert [item.name for item in items] == ["a.png", "a-2.png", "a-3.png"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("", "shoe.png"),
        ("...", "image"),
        ("a\x00b\u202egnp.exe", "abgnp.exe"),
        ("con.png", "_con.png"),
        ("x" * 400 + ".png", "x" * 176 + ".png"),
        ("<b>alert(1)<\\b>.png", "b.png"),
    ],
)
def test_hostile_names_are_made_harmless(alice, fake_tool, given, kept):
    (item,) = add(alice, fake_tool, Row(url="https://a.example.com/shoe.png", name=given))

    assert item.name == kept


@pytest.mark.parametrize(
    "address",
    ["https://a.example.com", "https://a.example.com/%2e%2e/", "https://a.example.com/%00"],
)
def test_an_address_without_a_name_gives_an_image_without_one(alice, fake_tool, address):
    (item,) = add(alice, fake_tool, Row(url=address))

    assert item.name == "image"


def test_every_problem_of_every_row_is_told_at_once(alice, fake_tool):
    found = refused(
        alice,
        fake_tool,
        Row(url="http://127.0.0.1/a.png"),
        Row(url="https://fine.example.com/a.png"),
        Row(url="ftp://a.example.com/", settings={"strength": 3, "flavour": "mint"}),
        Row(upload="not an id"),
        Row(),
        Row(url="https://a.example.com/", upload=str(make_original(alice).uid)),
        Row(url="https://a.example.com/", settings={"trouble": "unavailable"}),
        Row(problems=[("name", "Too long."), ("", "Odd.")]),
        Row(name="bad.png", refusal=("file_empty", {})),
    )

    assert found == [
        (0, "/images/0/url", "source_not_allowed"),
        (2, "/images/2/url", "source_not_allowed"),
        (2, "/images/2/settings/flavour", "settings_invalid"),
        (2, "/images/2/settings/strength", "settings_invalid"),
        (3, "/images/3/upload", "source_missing"),
        (4, "/images/4", "row_invalid"),
        (5, "/images/5", "row_invalid"),
        (6, "/images/6/settings", "tool_unavailable"),
        (7, "/images/7/name", "row_invalid"),
        (7, "/images/7", "row_invalid"),
        (8, "/images/8", "file_empty"),
    ]


def test_a_name_of_a_setting_can_not_break_out_of_its_pointer(alice, fake_tool):
    found = refused(alice, fake_tool, Row(url="https://a.example.com/", settings={"a/b~c": 1}))

    assert found == [(0, "/images/0/settings/a~1b~0c", "settings_invalid")]


def test_somebody_elses_upload_is_as_good_as_none(alice, bob, fake_tool):
    found = refused(alice, fake_tool, Row(upload=str(make_original(bob).uid)))

    assert found == [(0, "/images/0/upload", "source_missing")]


def test_an_invalid_row_may_be_passed_over_and_then_costs_nothing(alice, fake_tool):
    items = add(
        alice,
        fake_tool,
        Row(url="http://10.0.0.1/a.png"),
        Row(url="https://a.example.com/a.png"),
        Row(url="https://a.example.com/b.png", settings={"strength": 3}),
        skip_invalid=True,
    )

    assert [item.state for item in items] == ["failed", "pending", "failed"]
    assert [item.held_price for item in items] == [0, 2, 0]
    assert [item.error_code for item in items] == ["source_not_allowed", "", "settings_invalid"]
    assert "strength" in items[2].error
    assert [item.name for item in items] == ["a.png", "a-2.png", "b.png"]


def test_an_upload_may_be_written_in_any_way_that_ids_are(alice, fake_tool):
    original = make_original(alice)

    items = add(
        alice,
        fake_tool,
        Row(upload=original.uid.hex),
        Row(upload=f"{{{str(original.uid).upper()}}}"),
    )

    assert [item.original for item in items] == [original, original]


def test_the_tools_highest_price_is_quoted_while_the_size_is_not_known(alice, sized):
    batch = bare_batch(alice, settings=sized.clean({}))

    intake.add_items(batch, sized, [Row(url="https://a.example.com/")])

    assert batch.items.get().held_price == 10


def test_five_hundred_rows_take_hardly_more_queries_than_five(alice, fake_tool):
    def queries(count: int) -> int:
        batch = bare_batch(alice, settings=fake_tool.clean({}))
        rows = [Row(upload=str(make_original(alice, n).uid)) for n in range(5)]
        rows += [Row(url=f"https://a.example.com/{n}") for n in range(count - 5)]
        with CaptureQueriesContext(connection) as seen:
            intake.add_items(batch, fake_tool, rows)
        return len(seen)

    assert queries(5) == 3
    assert queries(500) <= 20  # SQLite takes a thousand values at a time


def test_nothing_is_fetched_while_rows_are_judged(alice, fake_tool, server):
    add(alice, fake_tool, Row(url=server.url("/ok")))

    assert server.seen == []


# --- By and by ------------------------------------------------------------------------


def test_rows_that_come_in_chunks_become_the_items_of_one_sitting(alice, fake_tool):
    rows = [Row(url=f"https://a.example.com/{n % 3}.png") for n in range(7)]
    rows[4] = Row(url="ftp://a.example.com/x.png")
    at_once = add(alice, fake_tool, *rows, skip_invalid=True)
    batch = bare_batch(alice, settings=fake_tool.clean({}))

    taker = intake.Intake(batch, fake_tool)
    taker.add(rows[:3], skip_invalid=True)
    taker.add(rows[3:5], skip_invalid=True)
    # A worker that goes on after another one knows the names from the items.
    there = batch.items.order_by("position").values_list("name", flat=True)
    intake.Intake(batch, fake_tool, there=there).add(rows[5:], skip_invalid=True)

    def seen(items):
        return [(item.position, item.name, item.state, item.held_price) for item in items]

    assert seen(batch.items.order_by("position")) == seen(at_once)
    assert len({item.name for item in at_once}) == 7


def test_only_rows_of_a_sheet_have_a_line_in_it(alice, fake_tool):
    sheet = Sheet.objects.create(owner=alice, kind="csv", name="a.csv")
    batch = bare_batch(alice, settings=fake_tool.clean({}), sheet=sheet)
    rows = [
        Row(url="https://a.example.com/pasted.png", line=1),
        Row(url="https://a.example.com/listed.png", line=2, fields={"photo": "…"}),
    ]

    items = intake.add_items(batch, fake_tool, rows)

    assert [item.line for item in items] == [None, 2]


def test_settings_that_many_rows_share_are_judged_once(alice, fake_tool, monkeypatch):
    asked = []
    real = type(fake_tool).clean
    monkeypatch.setattr(
        type(fake_tool), "clean", lambda *args, **kw: asked.append(1) or real(*args, **kw)
    )
    batch = bare_batch(alice, settings=fake_tool.clean({}))
    rows = [Row(url=f"https://a.example.com/{n}") for n in range(50)]
    asked.clear()

    intake.add_items(batch, fake_tool, rows)

    assert len(asked) == 1
