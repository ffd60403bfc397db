"""Colours, gradients and the photo out of focus."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tools.engines import backdrops


def test_a_gradient_goes_from_one_colour_to_the_other():
    image = backdrops.gradient((40, 600), (255, 0, 10), (0, 200, 250))

    rows = np.asarray(image, float).mean(1)
    assert rows[0] == pytest.approx([255, 0, 10], abs=1)
    assert rows[-1] == pytest.approx([0, 200, 250], abs=1)
    assert (np.diff(rows[:, 1].reshape(60, 10).mean(1)) > 0).all()


def test_a_slow_gradient_has_no_visible_steps():
    image = backdrops.gradient((400, 1000), (100, 100, 100), (104, 104, 104))

    means = np.asarray(image, float)[..., 0].mean(1)
    assert np.abs(means - np.linspace(100, 104, 1000)).max() < 0.15


def test_out_of_focus_leaves_no_ghost_of_the_subject():
    photo = Image.new("RGB", (300, 200), (40, 90, 200))
    subject = Image.new("L", photo.size)
    ImageDraw.Draw(subject).ellipse((90, 40, 210, 160), fill=255)
    photo.paste((255, 30, 10), mask=subject)

    blurred = backdrops.blurred(photo, subject)

    assert blurred.size == photo.size
    assert np.abs(np.asarray(blurred, int) - (40, 90, 200)).max() <= 3


def test_out_of_focus_is_smooth():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8))

    blurred = backdrops.blurred(photo, Image.new("L", photo.size))

    assert np.abs(np.diff(np.asarray(blurred, int), axis=1)).max() <= 6


def test_around_a_cut_out_there_is_white():
    cut_out = Image.new("RGBA", (100, 80))
    cut_out.paste((200, 30, 20, 255), (30, 20, 70, 60))

    blurred = backdrops.blurred(cut_out, cut_out.getchannel("A"))

    assert np.asarray(blurred).min() >= 250


def test_a_subject_that_fills_the_frame_still_gets_a_backdrop():
    photo = Image.linear_gradient("L").convert("RGB")

    blurred = backdrops.blurred(photo, Image.new("L", photo.size, 255))

    assert blurred.getpixel((0, 250))[0] > blurred.getpixel((0, 5))[0]


def test_the_surroundings_fill_the_hole_from_their_own_side():
    picture = Image.new("RGB", (200, 60), (250, 250, 250))
    picture.paste((10, 10, 10), (100, 0, 200, 60))
    hole = Image.new("L", picture.size)
    hole.paste(255, (60, 10, 140, 50))

    filled = backdrops.filled_in(picture, hole)

    assert filled.getpixel((68, 30))[0] > 150
    assert filled.getpixel((132, 30))[0] < 100
    assert filled.getpixel((20, 30)) == (250, 250, 250)
