"""Shadows fall where the light says."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tools.engines import shadows

CANVAS = (500, 400)
AT = (200, 120)


def bottle() -> Image.Image:
    mask = Image.new("L", (100, 160))
    ImageDraw.Draw(mask).rounded_rectangle((10, 0, 89, 159), 8, fill=255)
    return mask


def box_at_a_slant() -> Image.Image:
    mask = Image.new("L", (160, 160))
    corners = [(0, 20), (90, 40), (159, 10), (159, 110), (90, 159), (0, 120)]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    return mask


def dark(mask=None, **how) -> np.ndarray:
    """The darkness around the subject (what is behind it can't be seen)."""
    mask = mask or bottle()
    settings = {"light": "top-left", "softness": 0.4, "opacity": 0.8, "stands": True} | how
    field = np.asarray(shadows.darkness(mask, AT, CANVAS, **settings), float) / 255
    hidden = Image.new("L", CANVAS)
    hidden.paste(mask, AT)
    return field * (np.asarray(hidden) == 0)


def centroid(field: np.ndarray) -> tuple[float, float]:
    """Of the darkness, from the middle of the foot: x to the right, y down."""
    y, x = np.mgrid[: field.shape[0], : field.shape[1]]
    total = field.sum()
    return (field * x).sum() / total - (AT[0] + 50), (field * y).sum() / total - (AT[1] + 160)


@pytest.mark.parametrize("light", shadows.LIGHTS)
def test_it_falls_to_the_other_side_of_the_light(light):
    x, y = centroid(dark(light=light))

    if "left" in light:
        assert x > 15
    elif "right" in light:
        assert x < -15
    else:
        assert abs(x) < 2
    if light.startswith("top"):
        assert y > 4
    if light.startswith("bottom"):
        assert y < -4


@pytest.mark.parametrize("light", ["top-left", "top-right", "top", "left"])
def test_before_a_wall_it_falls_to_the_other_side_too(light):
    field = dark(light=light, stands=False)
    x, y = centroid(field)

    assert np.sign(round(x)) == {"top-left": 1, "top-right": -1, "top": 0, "left": 1}[light]
    if light.startswith("top"):
        assert y > -80  # below the middle of the subject


@pytest.mark.parametrize("stands", [True, False])
def test_softness_widens_it(stands):
    widths = [(dark(softness=softness, stands=stands) > 0.02).sum() for softness in (0.0, 0.5, 1.0)]

    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize("stands", [True, False])
def test_softness_softens_it(stands):
    steepest = [
        np.abs(np.diff(dark(softness=softness, stands=stands)[285:], axis=1)).max()
        for softness in (0.0, 1.0)
    ]

    assert steepest[1] < 0.5 * steepest[0]


def test_softness_reaches_the_far_end_of_the_shadow():
    hard, soft = (
        np.abs(np.diff(dark(light="left", softness=softness)[:, AT[0] + 150 : AT[0] + 190], axis=0))
        for softness in (0.0, 1.0)
    )

    assert 0 < soft.max() < 0.4 * hard.max()


@pytest.mark.parametrize("stands", [True, False])
def test_opacity_darkens_it_and_none_is_none(stands):
    sums = [dark(opacity=opacity, stands=stands).sum() for opacity in (0.0, 0.3, 1.0)]

    assert sums[0] == 0
    assert 2 * sums[1] < sums[2]


def test_it_is_darkest_right_under_the_foot():
    field = dark(light="top")

    under = field[AT[1] + 160 : AT[1] + 163, AT[0] + 30 : AT[0] + 70].mean()
    assert under > 0.45
    assert under > 1.5 * field[AT[1] + 190 :].max()


def test_it_grows_faint_away_from_the_foot():
    field = dark(light="left")

    columns = field.max(0)
    assert columns[AT[0] + 110] > 1.3 * columns[AT[0] + 190] > 0


def test_a_box_at_a_slant_touches_the_ground_along_both_edges():
    field = dark(box_at_a_slant(), light="top", softness=0.2)

    # Its corners are 40 and 50 pixels above its lowest point.
    assert field[AT[1] + 122 : AT[1] + 128, AT[0] + 3 : AT[0] + 8].max() > 0.3
    assert field[AT[1] + 113 : AT[1] + 119, AT[0] + 150 : AT[0] + 156].max() > 0.3


def test_between_the_legs_of_a_table_the_light_comes_in():
    table = Image.new("L", (160, 120))
    draw = ImageDraw.Draw(table)
    draw.rectangle((0, 0, 159, 20), fill=255)
    draw.rectangle((0, 20, 12, 119), fill=255)
    draw.rectangle((147, 20, 159, 119), fill=255)

    standing = shadows.foot(table)

    assert standing.touch[5] > 0.9
    assert standing.touch[80] < 0.05
    assert standing.ground[80] == pytest.approx(119, abs=1)


def test_a_mask_of_nothing_throws_nothing():
    assert dark(Image.new("L", (50, 50))).sum() == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
def test_it_takes_subjects_of_any_shape(size):
    field = dark(Image.new("L", size, 255))

    assert field.shape == CANVAS[::-1]


@pytest.mark.parametrize("light", shadows.LIGHTS)
@pytest.mark.parametrize("softness", [0.0, 1.0])
@pytest.mark.parametrize("stands", [True, False])
def test_the_room_that_it_asks_for_holds_all_that_is_seen_of_it(light, softness, stands):
    left, top, right, bottom = shadows.room(
        (100, 160), light=light, softness=softness, stands=stands
    )
    canvas = left + 100 + right + 200, top + 160 + bottom + 200
    field = np.asarray(
        shadows.darkness(
            bottle(), (left + 100, top + 100), canvas,
            light=light, softness=softness, opacity=1.0, stands=stands,
        )
    ).copy()  # fmt: skip

    field[100:-100, 100:-100] = 0
    assert field.max() <= 10


def test_a_large_canvas_gets_the_same_shadow_as_a_small_one():
    small = np.asarray(
        shadows.darkness(
            bottle(), AT, CANVAS, light="top-left", softness=0.4, opacity=0.8, stands=True
        ),
        float,
    )
    large = shadows.darkness(
        bottle().resize((300, 480)), (600, 360), (1500, 1200),
        light="top-left", softness=0.4, opacity=0.8, stands=True,
    )  # fmt: skip

    assert large.size == (1500, 1200)
    assert np.abs(np.asarray(large.resize(CANVAS), float) - small).mean() < 1.5


def test_a_reflection_mirrors_what_is_nearest_and_fades():
    colours = Image.new("RGB", (100, 160), (0, 0, 255))
    colours.paste((255, 0, 0), (0, 120, 100, 160))

    mirrored, mask, first = shadows.reflection(colours, bottle(), strength=0.5)

    assert first >= 150
    start = 160 - first
    assert mirrored.getpixel((50, start + 10))[0] > 200
    assert mirrored.getpixel((50, start + 55))[2] > 200
    assert mask.getpixel((50, start + 3)) > 2 * mask.getpixel((50, start + 40)) > 0
    assert mask.getpixel((2, start + 20)) == 0
