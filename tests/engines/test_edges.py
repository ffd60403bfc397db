"""Soft edges: alpha from the colours, on pictures whose alpha is known."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tools.engines import edges

SUBJECT, BACKDROP = (220, 40, 30), (40, 60, 200)


def fringe(side: int) -> Image.Image:
    """The true alpha: a disc with stripes, thin as hair, that stick out of it."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    disc = x**2 + y**2 < 0.25**2
    hair = (np.abs(y) < 0.3) & (np.abs(x) < 0.29) & (np.sin(y * 180) > 0.2)
    large = Image.fromarray(((disc | hair) * 255).astype(np.uint8))
    return large.filter(ImageFilter.GaussianBlur(side / 300))


def mixed(alpha: Image.Image) -> Image.Image:
    picture = Image.new("RGB", alpha.size, BACKDROP)
    picture.paste(SUBJECT, mask=alpha)
    return picture


def coarse(alpha: Image.Image) -> Image.Image:
    """What a model of 320 pixels makes of it: the hair is a blur."""
    return alpha.filter(ImageFilter.GaussianBlur(alpha.width / 40))


def error(alpha: Image.Image, truth: Image.Image) -> float:
    difference = np.asarray(alpha).astype(float) - np.asarray(truth).astype(float)
    return float(np.abs(difference).mean())


@pytest.mark.parametrize("side", [200, 700])
def test_alpha_follows_hair_that_the_mask_blurs(side, monkeypatch):
    monkeypatch.setattr(edges, "SOLVED_SIDE", 240)
    truth = fringe(side)
    mask = coarse(truth)

    done = edges.refine(mixed(truth), mask)

    assert (done.mode, done.size) == ("RGBA", (side, side))
    assert error(done.getchannel("A"), truth) < error(mask, truth) / 2


@pytest.mark.parametrize("side", [200, 700])
def test_the_old_backdrop_is_taken_out_of_the_edge(side, monkeypatch):
    monkeypatch.setattr(edges, "SOLVED_SIDE", 240)
    truth = fringe(side)

    done = np.asarray(edges.refine(mixed(truth), coarse(truth))).astype(int)

    soft = (done[..., 3] > 60) & (done[..., 3] < 200)
    assert soft.any()
    blue = np.asarray(mixed(truth)).astype(int)[soft][:, 2].mean()
    assert done[soft][:, 2].mean() < blue * 0.8


def test_a_mask_that_is_sure_of_nothing_is_the_alpha_as_it_is():
    image = mixed(fringe(120))
    grey = Image.new("L", image.size, 128)

    done = edges.refine(image, grey)

    assert done.getchannel("A").getextrema() == (128, 128)
    assert done.convert("RGB").tobytes() == image.tobytes()


def test_twice_the_same_is_the_same_and_the_original_is_left_alone():
    truth = fringe(120)
    image, mask = mixed(truth), coarse(truth)
    before = image.tobytes(), mask.tobytes()

    first, second = (edges.refine(image, mask).tobytes() for _ in range(2))

    assert first == second
    assert (image.tobytes(), mask.tobytes()) == before
