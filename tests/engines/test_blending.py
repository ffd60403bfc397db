"""Making a cut-out belong somewhere, without changing what a customer would see."""

import numpy as np
import pytest
from PIL import Image

from tools.engines import blending, srgb

COLOURS = [(200, 30, 40), (20, 90, 160), (240, 240, 238), (128, 128, 128), (12, 12, 12)]


def patches() -> Image.Image:
    image = Image.new("RGB", (50, 10))
    for number, colour in enumerate(COLOURS):
        image.paste(colour, (number * 10, 0, number * 10 + 10, 10))
    return image


def moved(before: Image.Image, after: Image.Image) -> np.ndarray:
    """How far each pixel's colour has moved, in OKLab."""
    first, second = (
        srgb.oklab(srgb.to_linear(np.asarray(image, float) / 255)) for image in (before, after)
    )
    return np.linalg.norm(first - second, axis=-1)


@pytest.mark.parametrize("around", [(255, 150, 60), (10, 12, 40), (90, 200, 90), (255, 255, 255)])
def test_colours_stay_honest(around):
    surroundings = Image.new("RGB", (20, 20), around)

    matched = blending.match(patches(), surroundings, tint=1, light=1, furthest=0.02)

    assert moved(patches(), matched).max() <= 0.02 + 0.006  # and a step of the colour table


def test_warm_surroundings_warm_and_cool_ones_cool():
    warm = blending.match(patches(), Image.new("RGB", (9, 9), (250, 190, 120)))
    cool = blending.match(patches(), Image.new("RGB", (9, 9), (120, 170, 250)))

    red, _green, blue = warm.getpixel((35, 5))
    assert red > blue
    red, _green, blue = cool.getpixel((35, 5))
    assert red < blue


def test_grey_surroundings_give_no_tint():
    matched = blending.match(patches(), Image.new("RGB", (9, 9), (180, 180, 180)))

    assert np.ptp(matched.getpixel((35, 5))) <= 1


def test_black_stays_black():
    matched = blending.match(
        Image.new("RGB", (9, 9)), Image.new("RGB", (9, 9), (250, 190, 120)), tint=1, furthest=0.2
    )

    assert max(matched.getpixel((4, 4))) <= 2


def test_light_wraps_around_the_edge_only_and_only_brightens():
    colours = Image.new("RGB", (60, 60), (100, 100, 100))
    rim = Image.new("L", (60, 60))
    rim.paste(255, (0, 0, 6, 60))
    bright, dark = (Image.new("RGB", (60, 60), (level,) * 3) for level in (250, 10))

    lit = blending.wrap(colours, bright, rim, strength=0.3)

    assert lit.getpixel((2, 30))[0] > 130
    assert lit.getpixel((30, 30)) == (100, 100, 100)
    assert blending.wrap(colours, dark, rim, strength=0.3).getcolors() == colours.getcolors()


def test_shade_darkens_where_it_is_dark_and_keeps_the_hue():
    canvas = Image.new("RGB", (40, 40), (200, 150, 100))
    darkness = Image.new("L", (40, 40))
    darkness.paste(128, (0, 0, 20, 40))

    blending.shade(canvas, darkness, tint=(0.1, 0.1, 0.1))

    assert canvas.getpixel((30, 20)) == (200, 150, 100)
    red, green, blue = canvas.getpixel((10, 20))
    assert red == pytest.approx(200 * 0.55, abs=3)
    assert (red / green, red / blue) == pytest.approx((4 / 3, 2), rel=0.03)


@pytest.mark.parametrize(("side", "darker"), [(-1, 50), (1, 9)])
def test_the_side_away_from_the_light_is_darker(side, darker):
    lit = blending.sidelight(Image.new("RGB", (60, 10), (200,) * 3), side=side, strength=0.1)

    levels = [lit.getpixel((x, 5))[0] for x in (9, 50)]
    assert lit.getpixel((darker, 5))[0] == min(levels)
    assert 175 <= min(levels) < max(levels) <= 200


def test_light_from_behind_darkens_no_side():
    lit = blending.sidelight(Image.new("RGB", (60, 10), (200,) * 3), side=0, strength=0.1)

    assert lit.getcolors() == [(600, (200, 200, 200))]


def test_grain_is_fine_even_and_the_same_for_the_same_seed():
    images = [Image.new("RGB", (300, 600), (128, 90, 200)) for _ in range(3)]

    for image, seed in zip(images, (1, 1, 2), strict=True):
        blending.grain(image, amount=1.5, seed=seed)

    pixels = np.asarray(images[0], float)
    assert pixels.mean((0, 1)) == pytest.approx([128, 90, 200], abs=0.1)
    assert 1.2 < pixels[..., 0].std() < 1.9
    assert images[0] == images[1] != images[2]
