"""The tool around the engine: settings, prices, and what it refuses."""

import pytest
from PIL import Image

from batches import messages
from tools import registry
from tools.base import SettingsInvalid, ToolError
from tools.engines import upscaling


@pytest.fixture
def tool():
    return registry.get("upscale")


def test_the_defaults_are_twice_and_fast(tool):
    assert tool.defaults() == {"scale": 2, "model": "fast", "format": "png", "quality": None}


@pytest.mark.parametrize("scale", [1, 5, 2.5, "large", None])
def test_other_scales_are_refused(tool, scale):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"scale": scale})

    assert caught.value.errors[0].field == "scale"


def test_a_scale_from_a_spreadsheet_is_a_number(tool):
    assert tool.clean({"scale": "3"})["scale"] == 3


@pytest.mark.parametrize(
    ("size", "scale", "price"),
    [
        ((4000, 3000), 2, 1),  # 48 MP to the pixel
        ((4000, 3001), 2, 2),
        ((2000, 1500), 4, 1),
        ((2000, 1501), 4, 2),
        ((5000, 2000), 3, 2),
    ],
)
def test_a_large_result_costs_two(tool, size, scale, price):
    settings = tool.clean({"scale": scale})

    assert tool.price_for(settings, width=size[0], height=size[1]) == price


def test_while_the_size_is_not_known_the_highest_price_is_held(tool):
    assert tool.max_price(tool.defaults()) == 2
    assert tool.lowest_price() == 1


@pytest.mark.parametrize("model", ["fast", "quality"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_result_is_larger_by_the_scale(tool, faked_engine, model, scale):
    image = Image.new("RGBA", (30, 20), (10, 20, 30, 40))

    (output,) = tool.run(image, tool.clean({"scale": scale, "model": model}))

    assert (output.image.mode, output.image.size) == ("RGBA", (30 * scale, 20 * scale))


@pytest.mark.parametrize(
    ("size", "settings", "sentence"),
    [
        (
            (4000, 3000),
            {"scale": 4},
            "4000 × 3000 px is too much at 4×: here an image may have 6.2 MP.",
        ),
        (
            (1200, 900),
            {"model": "quality"},
            "1200 × 900 px would take this model too long without a GPU (1.0 MP at most).",
        ),
    ],
)
def test_too_large_a_picture_is_told_what_would_fit(tool, faked_engine, size, settings, sentence):
    with pytest.raises(ToolError) as caught:
        tool.run(Image.new("RGB", size), tool.clean(settings))

    failed = caught.value
    assert (failed.code, failed.permanent) == ("dimensions_too_large", True)
    assert messages.text(failed.code, failed.params).startswith(f"{sentence} Choose ")


def test_a_picture_that_is_made_to_fit_fits(tool, faked_engine, monkeypatch):
    monkeypatch.setattr(upscaling, "MAX_OUTPUT", 2_000_000)
    from tools.engines import images

    image = Image.new("RGB", (900, 800))
    with pytest.raises(ToolError) as caught:
        tool.run(image, tool.defaults())
    most = int(caught.value.params["max"] * 1_000_000)

    (output,) = tool.run(images.fitted(image, max_pixels=most, max_side=16_384), tool.defaults())

    assert 1_000_000 < output.image.width * output.image.height <= 2_000_000


def test_a_result_remembers_all_weights_that_made_it(tool):
    settings = tool.clean({"scale": 3, "model": "quality"})

    assert tool.version(settings) == "real-esrgan-x4plus d2b1deb7e924, span-x4 ddaef08f8621"
    assert tool.version(tool.defaults()) == "span-x4 ddaef08f8621"


def test_a_model_whose_weights_are_missing_is_named_with_the_command(tool, pretended_weights):
    pretended_weights("span-x4")

    assert tool.unavailable_reason() is None
    missing = tool.unavailable_reason(tool.clean({"model": "quality"}))
    assert "`manage.py fetchweights real-esrgan-x4plus`" in missing
