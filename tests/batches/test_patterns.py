"""Names of results: what a pattern makes of an image, and what it refuses."""

from datetime import date

import pytest

from batches import lifecycle
from batches.intake import RowsInvalid
from batches.patterns import Facts, Namer, NameTaken, Pattern, PatternInvalid
from batches.sources.base import Row
from tests.factories import make_original
from tools import registry

COLUMNS = ("SKU", "Category", "Colour")


def facts(**changes) -> Facts:
    usual = {
        "name": "front view.jpg",
        "number": 7,
        "tool": "upscale",
        "day": date(2026, 3, 9),
        "external_id": "A-17",
    }
    return Facts(**(usual | changes))


def stem(pattern: str, *, columns=COLUMNS, **changes) -> str:
    return Pattern(pattern, columns).stem(facts(**changes))


# --- What a pattern makes -------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("{name}", "front view"),
        ("{name}.{ext}", "front view"),
        ("{n}", "7"),
        ("{n:03}", "007"),
        ("{id}_{tool}", "A-17_upscale"),
        ("{date}/{name}", "2026-03-09/front view"),
        ("shop\\{name}", "shop/front view"),
        ("  {Name}  ", "front view"),
        ("/{name}/", "front view"),
        ("../../{name}", "front view"),
        ("con/{name}", "_con/front view"),
    ],
)
def test_placeholders_words_and_folders(pattern, wanted):
    assert stem(pattern) == wanted


@pytest.mark.parametrize(
    ("pattern", "fields", "wanted"),
    [
        ("{category}/{sku}", {"SKU": "B1", "Category": "Shoes"}, "Shoes/B1"),
        ("{sku}", {}, "A-17"),  # without such a column: the image's id
        ("{Category}", {"Category": "Shoes/Men"}, "Shoes-Men"),
        ("{Category}", {"Category": "../../etc/passwd"}, "-..-etc-passwd"),
        ("{Category}-{name}", {"Category": ""}, "front view"),
        ("{name}-{Category}", {"Category": " "}, "front view"),
        ("{name}-{Category}-{n}", {"Category": ""}, "front view-7"),
        ("{Category}/{name}", {"Category": ""}, "front view"),
        ("{Category}", {"Category": ""}, "7"),
        ("{Colour}", {"Colour": "a" * 400}, "a" * 180),
        ("{Colour}", {"Colour": "{name}"}, "{name}"),
        ("{Colour}", {"Colour": "dark\u202egnp"}, "darkgnp"),
    ],
)
def test_any_column_is_a_placeholder_and_its_cells_make_no_folders(pattern, fields, wanted):
    assert stem(pattern, fields=fields) == wanted


def test_the_folder_of_a_file_is_kept_unless_the_pattern_has_its_own():
    assert stem("{n}", folder="shoes/left") == "shoes/left/7"
    assert stem("all/{n}", folder="shoes/left") == "all/7"
    assert stem("{n}", folder="../..\\x") == "x/7"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{nmae}", "There is no {nmae}. Use one or more of: {name}, {id}"),
        ("{Size}", "{Category}"),
        ("{n:x}", "There is no {n:x}"),
        ("{ext}-{name}", "belongs at the end"),
        ("{name", "A brace is left over"),
        ("name}", "A brace is left over"),
        (" / ", "empty"),
        ("x" * 256, "at most 255"),
        ("a/" * 9 + "{n}", "At most 8 folders"),
    ],
)
def test_a_pattern_without_sense_says_what_is_wrong(pattern, why):
    with pytest.raises(PatternInvalid) as invalid:
        Pattern(pattern, COLUMNS)

    assert why in invalid.value.detail


def test_a_column_that_is_called_like_a_placeholder_is_offered_once():
    with pytest.raises(PatternInvalid) as invalid:
        Pattern("{nmae}", COLUMNS)

    assert invalid.value.detail.casefold().count("{sku}") == 1


# --- Collisions -----------------------------------------------------------------------


def test_two_images_of_one_given_name_are_told_with_both_rows():
    namer = Namer("{sku}")
    namer.stem(facts(external_id="A-17"), row=4)

    with pytest.raises(NameTaken) as taken:
        namer.stem(facts(external_id="a-17"), row=9)  # one file on many disks

    assert taken.value.params == {"name": "a-17", "first": 4, "second": 9}


def test_names_that_nobody_gave_are_numbered_in_their_folders():
    namer = Namer("")
    places = [("v1.2.png", ""), ("v1.2.jpg", ""), ("v1.2.png", "a.b"), ("V1.2.png", "a.b")]

    stems = [
        namer.stem(facts(name=name, folder=folder), row=row)
        for row, (name, folder) in enumerate(places)
    ]

    assert stems == ["v1.2", "v1.2-2", "a.b/v1.2", "a.b/V1.2-2"]


# --- In a batch -----------------------------------------------------------------------


def create(owner, rows, **options):
    return lifecycle.create(owner, registry.get("fake"), rows, **options)


@pytest.fixture
def rows(alice, fake_tool):
    upload = str(make_original(alice, name="front.png").uid)
    return [
        Row(upload=upload, line=4, external_id="1", fields={"Shop": "Rome"}),
        Row(upload=upload, line=9, external_id="2", fields={"Shop": "Oslo"}),
    ]


def test_each_item_knows_where_its_result_goes(alice, rows):
    def stems(pattern: str) -> list[str]:
        batch = create(alice, rows, pattern=pattern)
        return list(batch.items.order_by("position").values_list("stem", flat=True))

    assert stems("") == ["front", "front-2"]
    assert stems("{shop}/{name}-{n:02}") == ["Rome/front-01", "Oslo/front-02"]


@pytest.mark.parametrize("options", [{}, {"skip_invalid": True, "refuse_clashes": True}])
def test_a_collision_is_found_before_anything_is_stored(alice, rows, options):
    with pytest.raises(RowsInvalid) as invalid:
        create(alice, rows, pattern="{name}", **options)

    (error,) = invalid.value.errors
    assert (error.code, error.pointer) == ("name_conflict", "/images/1")
    assert error.detail.startswith("Rows 4 and 9 would both be saved as “front”.")
    assert not alice.batches.exists()


def test_who_skips_bad_rows_skips_the_second_of_one_name(alice, rows):
    batch = create(alice, rows, pattern="{name}", skip_invalid=True)

    first, second = batch.items.order_by("position")
    assert (first.error_code, first.stem) == ("", "front")
    assert (second.error_code, second.held_price) == ("name_conflict", 0)


def test_names_out_of_a_sheet_may_not_collide_either(alice, fake_tool):
    rows = [Row(url=f"https://a.example.com/{line}.png", name="Shoe", line=line) for line in (2, 3)]

    with pytest.raises(RowsInvalid, match="1 rows"):
        create(alice, rows)


def test_an_unknown_placeholder_is_refused_in_words(alice, rows):
    with pytest.raises(lifecycle.PatternRefused, match=r"There is no \{Size\}"):
        create(alice, rows, pattern="{Size}")
