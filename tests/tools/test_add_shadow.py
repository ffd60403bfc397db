"""The tool around shadows: what it refuses, and what comes out of a photo and a cut-out."""

import numpy as np
import pytest
from PIL import Image

from tools import registry
from tools.base import SettingsInvalid
from tools.engines import matting, shadows


@pytest.fixture
def tool():
    return registry.get("add-shadow")


@pytest.fixture
def cut_out() -> Image.Image:
    """A red block on nothing."""
    image = Image.new("RGBA", (200, 160))
    image.paste((200, 40, 30, 255), (80, 40, 120, 140))
    return image


def shade(image: Image.Image) -> np.ndarray:
    """How dark the shadow is; the subject is left out."""
    pixels = np.asarray(image, float)
    return pixels[..., 3] * (pixels[..., 0] == 0)


def test_every_light_that_the_engine_knows_can_be_chosen(tool):
    assert set(tool.Settings().fields["light"].choices) == set(shadows.LIGHTS)


@pytest.mark.parametrize("light", shadows.LIGHTS)
def test_the_shadow_falls_where_the_light_says(tool, cut_out, light):
    (output,) = tool.run(cut_out, tool.clean({"light": light}))

    field = shade(output.image)
    red = np.nonzero(np.asarray(output.image)[..., 0] > 100)[1].mean()
    falls = (field * np.arange(field.shape[1])).sum() / field.sum() - red
    assert np.sign(round(falls / 3)) == ("left" in light) - ("right" in light)


def test_softness_and_opacity_do_what_they_say(tool, cut_out):
    hard, soft, faint = (
        shade(tool.run(cut_out, tool.clean(given))[0].image)
        for given in ({"softness": 0}, {"softness": 100}, {"softness": 0, "opacity": 20})
    )

    assert (soft > 3).sum() > 1.3 * (hard > 3).sum()
    assert faint.max() < 0.6 * hard.max()


def test_no_opacity_is_no_shadow(tool, cut_out):
    (output,) = tool.run(cut_out, tool.clean({"opacity": 0}))

    assert shade(output.image).max() == 0


def test_the_subjects_pixels_are_not_touched_and_the_canvas_grows(tool, cut_out):
    (output,) = tool.run(cut_out, tool.clean({}))

    assert output.image.mode == "RGBA"
    assert output.image.height > 160
    assert output.image.crop((80, 40, 120, 140)) == cut_out.crop((80, 40, 120, 140))


def test_on_a_colour_there_is_no_transparency(tool, cut_out):
    (output,) = tool.run(cut_out, tool.clean({"background": "#00ff00"}))

    assert output.image.mode == "RGB"
    assert output.image.getpixel((0, 0)) == (0, 255, 0)
    assert output.image.getpixel((100, 100)) == (200, 40, 30)


def test_a_cut_out_takes_no_model_and_a_photo_does(tool, cut_out, monkeypatch):
    asked = []

    def mask(image, *, model):
        asked.append(model)
        return cut_out.getchannel("A")

    monkeypatch.setattr(matting, "mask", mask)

    tool.run(cut_out, tool.clean({}))
    assert asked == []
    tool.run(cut_out.convert("RGB"), tool.clean({}))
    assert asked == ["u2net"]


def test_jpg_can_not_be_transparent(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"format": "jpg"})

    (wrong,) = caught.value.errors
    assert (wrong.field, wrong.code) == ("format", "transparent_jpg")
    assert tool.clean({"format": "jpg", "background": "#ffffff"})


@pytest.mark.parametrize(
    "wrong", [{"softness": 101}, {"opacity": -1}, {"light": "bottom"}, {"background": "white"}]
)
def test_settings_out_of_range_are_refused(tool, wrong):
    with pytest.raises(SettingsInvalid, match=next(iter(wrong))):
        tool.clean(wrong)


def test_a_picture_of_nothing_has_no_subject(tool):
    with pytest.raises(matting.NoSubject):
        tool.run(Image.new("RGBA", (50, 40)), tool.clean({}))
