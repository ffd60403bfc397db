"""Where the subject goes, and what it is like there."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tools.engines import composing, shadows
from tools.engines.stages import Rendered
from tools.engines.subjects import Subject

CANVAS = (600, 400)


def bottle(cut_off=(), origin=(250, 100)) -> Subject:
    alpha = Image.new("L", (80, 200))
    ImageDraw.Draw(alpha).rounded_rectangle((5, 0, 74, 199), 10, fill=255)
    return Subject(
        Image.new("RGB", (80, 200), (180, 60, 40)), alpha, origin, CANVAS, frozenset(cut_off)
    )


def middle(placed: composing.Placed) -> tuple[float, float]:
    """Of the box, as a share of the canvas."""
    width, height = placed.subject.size
    return (placed.at[0] + width / 2) / placed.canvas[0], (
        placed.at[1] + height / 2
    ) / placed.canvas[1]


def test_left_alone_it_stays_where_it_is():
    placed = composing.place(bottle(), CANVAS)

    assert (placed.at, placed.subject) == ((250, 100), bottle())
    assert placed.ground == 300 / 400


@pytest.mark.parametrize("position", composing.POSITIONS)
@pytest.mark.parametrize("share", [None, 0.3, 1.0])
def test_it_goes_to_its_position_and_stays_in_the_frame(position, share):
    placed = composing.place(bottle(), CANVAS, position=position, share=share)

    x, y = middle(placed)
    if "left" in position:
        assert x < 0.45
    elif "right" in position:
        assert x > 0.55
    else:
        assert 0.4 < x < 0.6
    if share != 1.0:
        if "upper" in position:
            assert y < 0.45
        elif "bottom" in position:
            assert y > 0.55
        elif position != "center_horizontal":
            assert y == pytest.approx(0.5, abs=0.01)
    assert placed.at[0] >= 0
    assert placed.at[1] >= 0
    assert placed.at[0] + placed.subject.size[0] <= 600
    assert placed.at[1] + placed.subject.size[1] <= 400


def test_half_way_up_keeps_the_side_and_half_way_across_keeps_the_foot():
    subject = bottle(origin=(20, 180))

    assert composing.place(subject, CANVAS, position="center_vertical").at == (20, 100)
    assert composing.place(subject, CANVAS, position="center_horizontal").at == (260, 180)


def test_a_share_is_that_of_the_side_which_it_fills_most():
    tall = composing.place(bottle(), CANVAS, share=0.5)

    assert tall.subject.size == (80, 200)  # 200 of 400
    assert composing.place(bottle(), CANVAS, share=0.25).subject.size[1] == 100


def test_a_new_size_keeps_the_foot_where_it_was():
    placed = composing.place(bottle(), CANVAS, share=0.25)

    assert placed.ground == pytest.approx(300 / 400)
    assert middle(placed)[0] == pytest.approx(290 / 600, abs=0.005)


def test_a_small_subject_is_not_blown_up_to_mush():
    speck = Subject(
        Image.new("RGB", (10, 10)), Image.new("L", (10, 10), 255), (5, 5), CANVAS, frozenset()
    )

    assert composing.place(speck, CANVAS, share=1.0).subject.size == (25, 25)


def test_what_the_photo_cuts_off_stays_at_that_edge():
    half = bottle(["bottom"], origin=(250, 200))

    placed = composing.place(half, CANVAS, position="upper_center", share=0.3)

    assert placed.at[1] + placed.subject.size[1] == 400
    assert placed.ground is None


def test_what_goes_on_at_both_sides_keeps_its_size():
    wide = Subject(
        Image.new("RGB", (600, 50)), Image.new("L", (600, 50), 255), (0, 100), CANVAS,
        frozenset({"left", "right"}),
    )  # fmt: skip

    assert composing.place(wide, CANVAS, share=0.3).subject.size == (600, 50)


def test_another_canvas_keeps_the_place_in_the_frame():
    placed = composing.place(bottle(), (300, 200))

    assert placed.subject.size == (40, 100)
    assert placed.ground == pytest.approx(300 / 400)


def test_padding_is_a_share_of_the_longer_side():
    placed = composing.padded(bottle(), 0.5, most=10_000_000)

    assert placed.canvas == (80 + 200, 200 + 200)
    assert placed.at == (100, 100)


def test_padding_makes_no_canvas_larger_than_allowed():
    placed = composing.padded(bottle(), 2.0, most=50_000)

    assert placed.canvas[0] * placed.canvas[1] <= 51_000


def test_there_is_no_padding_where_the_photo_cuts_it_off():
    placed = composing.padded(bottle(["bottom"]), 0.5, most=10_000_000)

    assert placed.canvas == (280, 300)


def test_the_canvas_grows_for_a_shadow_but_not_at_a_cut():
    whole = composing.with_room(bottle(origin=(0, 200)), light="top-right", softness=0.5)
    cut = composing.with_room(
        bottle(["left", "bottom"], origin=(0, 200)), light="top-right", softness=0.5
    )

    assert whole.canvas[0] > 600
    assert whole.canvas[1] > 400
    assert whole.at[0] == whole.canvas[0] - 600
    assert cut.canvas == CANVAS


def test_on_nothing_opaque_pixels_are_the_subjects_and_all_else_is_shadow():
    placed = composing.with_room(bottle(), light="top-left", softness=0.3)

    done = composing.on_nothing(placed, light="top-left", softness=0.3, opacity=0.8)

    x, y = placed.at
    inside = np.asarray(done)[y + 20 : y + 180, x + 10 : x + 70]
    assert (inside == (180, 60, 40, 255)).all()
    outside = np.asarray(done)[y + 202 :]
    assert outside[..., 3].max() > 100
    assert outside[..., :3].max() == 0


def test_a_faint_edge_over_its_shadow_is_laid_on_white_as_if_one_after_the_other():
    subject = bottle()
    soft = Subject(
        subject.colours, subject.alpha.point(lambda v: v // 2), (250, 100), CANVAS, frozenset()
    )
    placed = composing.place(soft, CANVAS)
    done = composing.on_nothing(placed, light="top", softness=0.2, opacity=1.0)
    dark = shadows.darkness(
        soft.alpha, placed.at, CANVAS, light="top", softness=0.2, opacity=1.0, stands=True
    )
    at_once = Image.new("RGB", CANVAS, "white")
    at_once.paste(done, mask=done.getchannel("A"))

    one_by_one = Image.new("RGB", CANVAS, "white")
    one_by_one.paste((0, 0, 0), mask=dark)
    one_by_one.paste(soft.colours, placed.at, soft.alpha)

    assert np.abs(np.asarray(at_once, int) - np.asarray(one_by_one, int)).max() <= 3


def test_it_stands_before_the_backdrop_with_a_shadow_and_honest_colours():
    backdrop = Rendered(Image.new("RGB", CANVAS, (230, 230, 230)))

    done = composing.compose(backdrop, composing.place(bottle(), CANVAS))

    assert done.getpixel((290, 200)) == pytest.approx((180, 60, 40), abs=9)
    assert done.getpixel((290, 302))[0] < 150
    assert done.getpixel((5, 5)) == (230, 230, 230)


def test_without_a_shadow_the_ground_stays_as_it_is():
    backdrop = Rendered(Image.new("RGB", CANVAS, (230, 230, 230)))

    done = composing.compose(backdrop, composing.place(bottle(), CANVAS), shadow=False)

    assert done.getpixel((290, 304)) == (230, 230, 230)


def test_a_polished_ground_shows_the_subject_again():
    backdrop = Rendered(Image.new("RGB", CANVAS, (230, 230, 230)))

    done = composing.compose(
        backdrop, composing.place(bottle(), CANVAS), shadow=False, reflection=0.5
    )

    red, green, _blue = done.getpixel((290, 306))
    assert red - green > 25


@pytest.mark.parametrize("at", [(-500, 100), (650, 390), (-60, -150)])
def test_a_subject_that_hangs_over_the_frame_is_cut_off(at):
    placed = composing.Placed(bottle(), at, CANVAS)

    done = composing.compose(Rendered(Image.new("RGB", CANVAS, (200, 200, 200)), gloss=0.3), placed)

    assert done.size == CANVAS
