"""Contact sheets of tools."""

import io

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from tests import fakes
from tools import registry, sheets
from tools.base import ToolError
from tools.engines import matting


@pytest.fixture
def fake():
    with fakes.registered(fakes.FakeTool) as (tool,):
        yield tool


def test_a_sheet_shows_the_photo_and_what_came_of_it(fake):
    photo = Image.new("RGB", (600, 480), (255, 0, 0))
    shots = {"red": [sheets.shoot(fake, photo, {}), sheets.shoot(fake, photo, {"style": "grey"})]}

    page = sheets.sheet({"red": photo}, ["defaults", "style grey"], shots)

    middle = sheets.LABEL + sheets.CELL[1] // 2
    centres = [sheets.GAP + n * (sheets.CELL[0] + sheets.GAP) + 150 for n in range(3)]
    assert [page.getpixel((x, middle)) for x in centres] == [
        (255, 0, 0),
        (0, 255, 255),
        (179, 179, 179),
    ]


def test_several_results_share_a_cell_and_alpha_shows_on_checks():
    half = Image.new("RGBA", (100, 100), (0, 0, 0, 0))

    shown = sheets._on_checks(half, (40, 40))

    assert {colour for _count, colour in shown.getcolors()} == {(255,) * 3, (220,) * 3}
    assert sheets._side_by_side([half, half, half]).size == sheets.CELL


@pytest.mark.parametrize(
    ("error", "said"),
    [(matting.NoSubject(), "no_subject"), (ToolError("odd", permanent=True), "odd")],
)
def test_what_is_in_the_way_is_part_of_the_sheet(fake, monkeypatch, error, said):
    def run(*_args):
        raise error

    monkeypatch.setattr(type(fake), "run", run)

    assert sheets.shoot(fake, Image.new("RGB", (9, 9)), {}).problem == said


def test_the_command_writes_a_sheet_for_each_tool(fake, tmp_path):
    said = io.StringIO()

    call_command("makegallery", "fake", out=tmp_path, stdout=said)

    assert said.getvalue().strip() == str(tmp_path / "fake.png")
    with Image.open(tmp_path / "fake.png") as page:
        assert page.width > 2 * sheets.CELL[0]
    with pytest.raises(CommandError, match="no tool nonsense"):
        call_command("makegallery", "nonsense")


def test_the_overview_has_a_cell_for_each_tool_with_pictures_or_words():
    tools = registry.all()

    page = sheets.overview(tools)

    rows = -(-len(tools) // sheets.ACROSS)
    assert page.height == rows * (sheets.SMALL[1] + sheets.LABEL) + sheets.GAP
    for number in range(len(tools)):
        left = sheets.GAP + number % sheets.ACROSS * (sheets.SMALL[0] + sheets.GAP)
        top = sheets.GAP + number // sheets.ACROSS * (sheets.SMALL[1] + sheets.LABEL)
        cell = page.crop((left, top, left + sheets.SMALL[0], top + sheets.SMALL[1]))
        assert len(cell.getcolors(maxcolors=2**24)) > 100
