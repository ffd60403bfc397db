"""Optimize: presets, sizes, and a price of nothing."""

import pytest
from PIL import Image

from tools import registry
from tools.base import SettingsInvalid
from tools.catalog.optimize import PRESETS


@pytest.fixture
def tool():
    return registry.get("optimize")


def run(tool, size, *, mode="RGB", **settings):
    (output,) = tool.run(Image.new(mode, size, (90, 80, 70)), tool.clean(settings))
    return output


def test_it_is_free_whatever_the_settings(tool):
    assert tool.price_for(tool.defaults()) == 0
    assert tool.max_price(tool.clean({"preset": "x-post"})) == 0
    assert tool.lowest_price() == 0


def test_there_are_seventeen_presets(tool):
    assert len(PRESETS) == 17


@pytest.mark.parametrize("name", ["instagram-story", "linkedin-banner", "ebay-product"])
def test_a_preset_is_met_to_the_pixel(tool, name):
    output = run(tool, (1950, 1950), preset=name)

    assert output.image.size == (PRESETS[name].width, PRESETS[name].height)
    assert list(output.notes) == []


def test_a_product_is_never_cut_by_a_marketplaces_preset(tool):
    image = Image.new("RGB", (3000, 1500), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 10, 1500))

    (output,) = tool.run(image, tool.clean({"preset": "amazon-product"}))

    assert output.image.getpixel((2, 1000)) == (0, 0, 0)


def test_an_own_fit_goes_before_that_of_the_preset(tool):
    assert run(tool, (3000, 1500), preset="x-post", fit="contain").image.size == (1600, 800)


def test_an_own_size_fits_inside(tool):
    assert run(tool, (300, 150), width=100, height=100).image.size == (100, 50)


def test_without_a_size_the_pixels_stay_what_they_are(tool):
    image = Image.radial_gradient("L").convert("RGB")

    (output,) = tool.run(image, tool.defaults())

    assert output.image.tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"width": 400, "height": 400},
            "The picture is smaller than 400 × 400: the result is 300 × 150 and was not enlarged.",
        ),
        (
            {"width": 400},
            "The picture is smaller than 400 × …: the result is 300 × 150 and was not enlarged.",
        ),
        (
            {"preset": "x-post"},
            "The picture is smaller than 1600 × 900: the result is 267 × 150 and was not enlarged.",
        ),
        (
            {"preset": "ebay-product"},
            "The picture is smaller than 1600 × 1600: it was not enlarged but padded.",
        ),
    ],
)
def test_it_says_when_the_picture_was_too_small(tool, settings, said):
    assert [str(note) for note in run(tool, (300, 150), **settings).notes] == [said]


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 400, "height": 100},
        {"width": 100, "height": 100},
        {"width": 100, "height": 100, "fit": "pad"},
        {"width": 400, "height": 400, "fit": "cover", "enlarge": True},
        {},
    ],
)
def test_it_says_nothing_when_all_went_as_asked(tool, settings):
    assert list(run(tool, (300, 150), **settings).notes) == []


def test_a_long_strip_is_not_enlarged_beyond_bounds(tool):
    output = run(tool, (10, 5000), width=4000, enlarge=True)

    assert max(output.image.size) <= 8192


def test_what_would_not_fit_into_memory_is_refused(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"width": 8192, "height": 8192})

    (wrong,) = caught.value.errors
    assert (wrong.field, wrong.code) == ("width", "size_too_large")


def test_it_needs_no_weights(tool, no_weights):
    assert tool.unavailable_reason() is None
    assert tool.version(tool.defaults()) == "linear light, lanczos 1"
