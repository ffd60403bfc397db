"""The gallery's pictures of tools: there, small, and made by the tools themselves."""

import io

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from PIL import Image, ImageOps

from tests import fakes
from tools import examples, registry
from tools.base import Example, Tool

ALIKE = 5.0
"""Of 255, on average: what saving as a small WebP may change."""


@pytest.fixture(params=[tool.slug for tool in registry.all()])
def tool(request) -> Tool:
    return registry.get(request.param)


@pytest.fixture
def mirror(monkeypatch, tmp_path, settings) -> Tool:
    """The fake tool with an example, on a site without any pictures."""
    settings.BASE_DIR = tmp_path
    monkeypatch.setattr(fakes.FakeTool, "example", Example("coffee.png", {"mirrored": True}))
    with fakes.registered(fakes.FakeTool) as tools:
        yield tools[0]


def seen(picture: Image.Image) -> np.ndarray:
    """The picture as an eye has it: on grey where it is see-through."""
    ground = Image.new("RGBA", picture.size, (128, 128, 128, 255))
    ground.alpha_composite(picture.convert("RGBA"))
    return np.asarray(ground.convert("RGB")).astype(float)


def distance(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(seen(one) - seen(other)).mean())


def test_its_icon_is_among_the_sites(tool):
    icons = (settings.BASE_DIR / "styles/icons.txt").read_text().split()

    assert tool.icon in icons


def test_its_pictures_are_there_and_small(tool):
    if tool.example is None:
        return  # the gallery shows its icon

    before, after = examples.paths(tool)
    if tool.output != "image":
        assert examples.said(tool)
    for path in [before, after] if tool.output == "image" else [before]:
        assert path.stat().st_size <= examples.MAX_BYTES
        with Image.open(path) as picture:
            assert picture.format == "WEBP"
            assert picture.size == examples.SIZE


def test_its_options_pictures_are_there_and_small(tool):
    for path in examples.options(tool):
        assert path.stat().st_size <= examples.MAX_BYTES
        with Image.open(path) as picture:
            assert picture.size == examples.OPTION_SIZE


def test_its_picture_before_is_the_photo_that_it_names(tool):
    if tool.example is None:
        return

    photo = ImageOps.fit(examples.original(tool.example), examples.SIZE)

    assert distance(Image.open(examples.paths(tool)[0]), photo) < ALIKE


@pytest.mark.weights
def test_its_picture_after_is_what_it_makes_of_it(tool):
    if tool.example is None:
        return

    _before, after = examples.make(tool, tool.example)

    if isinstance(after, str):
        assert after == examples.said(tool)
        return
    kept = Image.open(examples.paths(tool)[1])
    assert distance(kept, after) < ALIKE
    assert ("A" in kept.getbands()) == ("A" in after.getbands())


def test_the_cut_out_is_see_through():
    _before, after = examples.paths(registry.get("remove-background"))

    alpha = np.asarray(Image.open(after).getchannel("A"))

    assert 0.2 < (alpha == 0).mean() < 0.8


def test_the_command_runs_the_tool_with_the_examples_settings(mirror):
    call_command("makeexamples", "fake", stdout=io.StringIO())

    before, after = map(Image.open, examples.paths(mirror))
    expected = ImageOps.mirror(ImageOps.invert(before.convert("RGB")))
    assert distance(after, expected) < ALIKE


def test_the_command_draws_options_that_show_pictures(mirror, monkeypatch):
    field = fakes.FakeTool.Settings._declared_fields["style"]
    shown = {"pictures": {"grey": "img/options/grey.webp"}}
    monkeypatch.setitem(field._kwargs, "style", shown)  # each form makes its fields anew

    call_command("makeexamples", "fake", stdout=io.StringIO())

    with Image.open(settings.BASE_DIR / "static/img/options/grey.webp") as drawn:
        assert drawn.size == examples.OPTION_SIZE
        red, green, _blue = np.asarray(drawn.convert("RGB")).astype(int).transpose(2, 0, 1)
        assert np.abs(red - green).mean() < 3


def test_the_command_tells_what_is_missing(no_weights):
    with pytest.raises(CommandError, match="fetchweights u2net"):
        call_command("makeexamples", "remove-background", stdout=io.StringIO())


def test_the_command_knows_no_strange_tools():
    with pytest.raises(CommandError, match="no tool nonsense"):
        call_command("makeexamples", "nonsense", stdout=io.StringIO())


def test_a_tool_without_an_example_is_passed_over():
    said = io.StringIO()

    with fakes.registered(fakes.FakeTool):
        call_command("makeexamples", "fake", stdout=said)

    assert said.getvalue() == "fake: no example\n"


def test_after_a_tool_that_makes_text_there_are_its_words():
    with fakes.registered(fakes.FakeTextTool) as tools:
        _before, after = examples.make(tools[0], Example("coffee.png"))

    assert after == "560 × 420 pixels"


def test_a_picture_that_is_too_busy_is_not_squeezed_beyond_recognition():
    noise = np.random.default_rng(1).integers(0, 255, (*examples.SIZE[::-1], 3), np.uint8)

    with pytest.raises(ValueError, match="too busy"):
        examples.encode(Image.fromarray(noise))
