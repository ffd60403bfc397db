"""Columns are guessed and checked, and make rows."""

import pytest

from batches.sources import columns, mapping, tables
from batches.sources.base import Row
from batches.sources.tables import TableRow
from tools import registry

URL = "https://a.example.com/1.jpg"


@pytest.fixture
def lifestyle():
    return registry.get("product-lifestyle")


@pytest.fixture
def cutout():
    return registry.get("remove-background")


def guess(tool, *values):
    table, rows = tables.from_values(values)
    return mapping.guess(table, rows, tool)


def rows_of(tool, targets, *values):
    table, rows = tables.from_values(values)
    return list(mapping.rows(rows, table.columns, targets, tool))


def codes(tool, targets, *names):
    table, _rows = tables.from_values([names, [URL]])
    return [(error.column, error.code) for error in mapping.check(targets, table, tool)]


# --- Guessing -------------------------------------------------------------------------


def test_the_usual_columns_are_guessed(lifestyle):
    found = guess(
        lifestyle,
        ["Variant SKU", "Title", "Image Src", "Prompt", "Colour"],
        ["7", "Shoe", URL, "on a wooden table", "red"],
    )

    assert found == {
        "Variant SKU": "id",
        "Title": "name",
        "Image Src": "url",
        "Prompt": "scene_description",
        "Colour": "ignore",
    }


def test_the_column_with_the_most_pictures_has_the_addresses(cutout):
    found = guess(
        cutout,
        ["Page", "Link", "Photo"],
        ["https://a.io/p/1", "https://a.io/2.jpg", "https://a.io/3.jpg"],
        ["https://a.io/p/2", "", "https://a.io/4.PNG?w=3"],
    )

    assert [name for name, target in found.items() if target == "url"] == ["Photo"]


def test_addresses_without_endings_and_links_behind_words_are_addresses_too(cutout):
    table, rows = tables.from_values([["Page", "x"], ["", "https://cdn.io/abc"]])
    linked = [TableRow(2, ["see", "other"], {1: "https://cdn.io/abc"})]

    assert mapping.guess(table, rows, cutout)["x"] == "url"
    assert mapping.guess(table, linked, cutout)["x"] == "url"


def test_a_column_called_so_is_taken_when_nothing_looks_like_an_address(cutout):
    assert guess(cutout, ["n", "image_url"], ["1", "shoe.jpg"])["image_url"] == "url"


def test_a_setting_is_guessed_by_its_name_or_label_where_its_values_suit(cutout):
    usual = guess(cutout, ["url", "Background", "format"], [URL, "#ffffff", "PNG"])
    other = guess(cutout, ["url", "Background", "format"], [URL, "sandy", "A4"])

    assert (usual["Background"], usual["format"]) == ("background", "format")
    assert (other["Background"], other["format"]) == ("ignore", "ignore")


def test_our_own_columns_are_never_offered(cutout):
    found = guess(cutout, ["image", columns.RESULT], ["shoe.jpg", URL])

    assert found == {"image": "url", columns.RESULT: "ignore"}


# --- Checking -------------------------------------------------------------------------


def test_a_mapping_that_makes_sense_has_no_errors(cutout):
    assert codes(cutout, {"a": "url", "b": "ignore", "c": "background"}, "a", "b", "c") == []


@pytest.mark.parametrize(
    ("targets", "error"),
    [
        ({"a": "url", "x": "name"}, ("x", "unknown_column")),
        ({"a": "url", "b": "sharpness"}, ("b", "unknown_target")),
        ({"a": "url", "b": "url"}, ("b", "target_taken")),
        ({"a": "url", "studio_result": "name"}, ("studio_result", "own_column")),
        ({"a": "name"}, ("", "no_url")),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_of_its_column(cutout, targets, error):
    assert codes(cutout, targets, "a", "b", "studio_result") == [error]


# --- Rows -----------------------------------------------------------------------------


def test_a_row_has_what_its_columns_say_and_all_the_others_at_hand(cutout):
    (row,) = rows_of(
        cutout,
        {"Bild": "url", "Titel": "name", "Nr": "id", "Hintergrund": "background"},
        ["Nr", "Bild", "Titel", "Hintergrund", "Lager"],
        ["00123", f" {URL} ", "Schuh", " #fff000 ", "7"],
    )

    assert row == Row(
        url=URL,
        name="Schuh",
        external_id="00123",
        settings={"background": "#fff000"},
        line=2,
        fields={
            "Nr": "00123",
            "Bild": f" {URL} ",
            "Titel": "Schuh",
            "Hintergrund": " #fff000 ",
            "Lager": "7",
        },
    )


def test_blank_cells_leave_a_setting_as_the_batch_has_it(cutout):
    targets = {"u": "url", "b": "background", "f": "format"}

    (row,) = rows_of(cutout, targets, ["u", "b", "f"], [URL, " ", "webp"])

    assert row.settings == {"format": "webp"}


def test_choices_may_be_written_as_people_read_them(cutout):
    targets = {"u": "url", "f": "format", "m": "model"}
    label = str(cutout.Settings().fields["model"].choices["u2net"])

    (row,) = rows_of(cutout, targets, ["u", "f", "m"], [URL, "JPG", label.upper()])

    assert row.settings == {"format": "jpg", "model": "u2net"}
    assert cutout.clean({**row.settings, "background": "#ffffff"})["format"] == "jpg"


def test_numbers_of_choices_are_numbers_when_the_tool_has_read_them():
    upscale = registry.get("upscale")

    (row,) = rows_of(upscale, {"u": "url", "scale": "scale"}, ["u", "scale"], [URL, "3"])

    assert upscale.clean(row.settings)["scale"] == 3


def test_the_address_behind_a_word_is_used_where_the_word_is_none(cutout):
    linked = TableRow(2, ["photo", URL], {0: "https://b.io/2.jpg", 1: "https://b.io/3.jpg"})

    (by_link,) = mapping.rows([linked], ["a", "b"], {"a": "url"}, cutout)
    (by_text,) = mapping.rows([linked], ["a", "b"], {"b": "url", "a": "name"}, cutout)

    assert by_link.url == "https://b.io/2.jpg"
    assert (by_text.url, by_text.name) == (URL, "photo")


def test_a_row_that_is_done_says_so_and_one_that_failed_runs_again(cutout):
    found = rows_of(
        cutout,
        {"u": "url"},
        ["u", "Studio_Status"],
        *([URL, status] for status in (" Done", "failed", "", "cancelled")),
    )

    assert [row.is_done for row in found] == [True, False, False, False]


def test_what_is_missing_or_doubtful_is_a_problem_of_the_row(cutout):
    doubtful = TableRow(3, [URL, "a\nb"], problem="sheet_quote_unclosed")

    blank, swallowed, long = mapping.rows(
        [TableRow(2, ["", "7"]), doubtful, TableRow(4, [URL, "7" * 300])],
        ["u", "n"],
        {"u": "url", "n": "id"},
        cutout,
    )

    assert [field for field, _detail in blank.problems] == ["url"]
    assert [field for field, _detail in swallowed.problems] == [""]
    assert [field for field, _detail in long.problems] == ["id"]
    assert len(long.external_id) == 255
