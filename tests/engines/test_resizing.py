"""Smaller and larger pictures: light is averaged, and nothing hidden shows."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tools.engines.resizing import fitted, resized


def board(side: int = 128) -> Image.Image:
    """Black and white pixels in turn."""
    pixels = (np.indices((side, side)).sum(0) % 2 * 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB")


@pytest.mark.parametrize("level", [0, 1, 5, 64, 188, 254, 255])
def test_a_flat_colour_stays_the_same_in_every_size(level):
    for mode, colour in [("RGB", (level, 255 - level, 77)), ("RGBA", (level, 5, 77, 200))]:
        for size in [(7, 5), (90, 200), (300, 2)]:
            done = resized(Image.new(mode, (60, 40), colour), size)

            assert (done.size, done.mode) == (size, mode)
            ((count, found),) = done.getcolors()
            assert count == size[0] * size[1]
            # Colours that were weighed by alpha in 8 bits come back one off.
            assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) <= (mode == "RGBA")


def test_black_and_white_in_turn_are_half_the_light():
    assert resized(board(), (32, 32)).getpixel((16, 16)) == (188, 188, 188)


def test_hidden_colours_do_not_shine_through():
    image = Image.new("RGBA", (100, 100), (0, 255, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 52, 99), fill=(200, 0, 0, 255))

    done = np.asarray(resized(image, (33, 33)))

    seen = done[done[..., 3] > 8]
    assert seen[:, 1].max() == 0
    assert seen[:, 0].min() > 190


def test_half_covered_is_half_opaque():
    image = Image.new("RGBA", (90, 90), (9, 9, 9, 255))
    image.paste((0, 0, 0, 0), (0, 0, 45, 90))

    done = resized(image, (1, 1))

    assert abs(done.getpixel((0, 0))[3] - 128) <= 2


def test_whole_pixels_in_their_own_size_are_left_as_they_are():
    image = board()

    assert resized(image, (20, 10), box=(3, 5, 23, 15)).tobytes() == (
        image.crop((3, 5, 23, 15)).tobytes()
    )


def test_a_box_gives_the_same_as_the_whole_picture_at_that_place():
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    whole = resized(image, (80, 60)).crop((20, 10, 60, 40))

    part = resized(image, (40, 30), box=(40, 20, 120, 80))

    # The edges of the box see what lies beyond it in one case and not in the other.
    inner = (slice(3, -3), slice(3, -3))
    assert np.abs(np.asarray(part, int)[inner] - np.asarray(whole, int)[inner]).max() <= 1


def test_the_picture_is_not_changed():
    image = board().convert("RGBA")
    before = image.tobytes()

    resized(image, (31, 17))
    resized(image, (310, 170))

    assert image.tobytes() == before


# --- Fitting in -----------------------------------------------------------------------------

FITS = ["contain", "cover", "pad", "stretch"]


def ramp(width: int, height: int) -> Image.Image:
    """Darker on the left and on the right of a bright middle."""
    across = 255 - np.abs(np.linspace(-200, 200, width))
    return Image.fromarray(np.tile(across.astype(np.uint8), (height, 1))).convert("RGB")


@pytest.mark.parametrize(
    ("fit", "size"),
    [("contain", (100, 50)), ("cover", (100, 100)), ("pad", (100, 100)), ("stretch", (100, 100))],
)
def test_a_large_picture_is_fitted_in(fit, size):
    assert fitted(ramp(400, 200), (100, 100), fit=fit).size == size


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(333, 217), (97, 101), (1, 1), (500, 3)])
def test_sizes_are_met_to_the_pixel_and_never_passed(fit, size):
    done = fitted(ramp(1000, 700), size, fit=fit)

    if fit == "contain":
        assert done.width == size[0] or done.height == size[1]
        assert done.width <= size[0]
        assert done.height <= size[1]
    else:
        assert done.size == size


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(300, 300), (300, None), (None, 300), (30, 300), (300, 30)])
def test_no_pixel_becomes_more_than_one(fit, size):
    image = board(80).crop((0, 0, 80, 60))

    done = fitted(image, size, fit=fit, colour=(255, 0, 0, 255))

    red = sum(count for count, colour in done.getcolors(99999) if colour == (255, 0, 0))
    assert done.width * done.height - red <= 80 * 60


@pytest.mark.parametrize("fit", FITS)
def test_it_enlarges_when_asked(fit):
    done = fitted(ramp(80, 60), (300, 300), fit=fit, enlarge=True)

    assert done.size == ((300, 225) if fit == "contain" else (300, 300))


def test_one_side_brings_the_other_with_it():
    assert fitted(ramp(400, 200), (100, None), fit="cover").size == (100, 50)
    assert fitted(ramp(400, 200), (None, 100), fit="pad").size == (200, 100)


def test_covering_keeps_the_middle():
    done = np.asarray(fitted(ramp(400, 100), (100, 100), fit="cover"))[50, :, 0]

    assert done.min() > 200


def test_a_canvas_has_the_colour_and_the_picture_its_middle():
    done = fitted(Image.new("RGB", (40, 20), (1, 2, 3)), (60, 60), fit="pad", colour=(9, 8, 7, 255))

    assert done.mode == "RGB"
    assert done.getpixel((0, 0)) == (9, 8, 7)
    assert done.crop((10, 20, 50, 40)).getcolors() == [(800, (1, 2, 3))]


def test_a_canvas_of_nothing_is_transparent_and_one_of_colour_shows_through():
    image = Image.new("RGBA", (40, 20), (1, 2, 3, 0))

    nothing = fitted(image, (60, 60), fit="pad", colour=(0, 0, 0, 0))
    white = fitted(image, (60, 60), fit="pad")

    assert nothing.getchannel("A").getextrema() == (0, 0)
    assert (white.mode, white.getcolors()) == ("RGB", [(3600, (255, 255, 255))])
