"""The way onto a model's canvas and back, and what is kept of a picture."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.engines.service import level
from tools.engines import painting

SIZES = [(640, 480), (1200, 800), (333, 517), (16, 16), (4000, 40), (1, 900)]


def waves(width: int, height: int) -> Image.Image:
    """Something smooth that shows where it lies."""
    y, x = np.mgrid[:height, :width]
    bands = [np.sin(x / width * 3) * 255, np.cos(y / height * 1.5) * 255, (x + y) % 1 + 128]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def frames(size):
    canvases = [(256, 256), (384, 256), (256, 384)]
    return [
        painting.frame_within(size, pixels=256 * 256, multiple=8),
        painting.frame_on(size, canvases=canvases),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_onto_a_canvas_comes_back_where_it_was(size):
    image = waves(*size)

    for frame in frames(size):
        laid = frame.lay(image)
        assert laid.size == frame.canvas
        back = frame.lift(laid)
        assert back.size == size
        away = np.abs(level(back) - level(image))
        assert away.mean() < 3


@pytest.mark.parametrize("size", SIZES)
def test_a_model_gets_whole_multiples_and_no_more_pixels_than_it_bears(size):
    frame = painting.frame_within(size, pixels=256 * 256, multiple=8)

    assert frame.canvas[0] % 8 == frame.canvas[1] % 8 == 0
    assert frame.canvas[0] * frame.canvas[1] <= 256 * 256 * 1.1
    assert max(frame.canvas) <= 512


def test_a_service_gets_the_canvas_that_the_picture_fills_most():
    canvases = [(256, 256), (384, 256), (256, 384)]

    chosen = [painting.frame_on(s, canvases=canvases).canvas for s in [(9, 9), (9, 5), (5, 9)]]

    assert chosen == canvases


def test_beside_the_picture_its_edges_go_on():
    frame = painting.frame_on((100, 50), canvases=[(256, 256)])

    laid = frame.lay(Image.new("RGB", (100, 50), (10, 20, 30)))

    assert laid.getcolors() == [(256 * 256, (10, 20, 30))]


def test_a_rounded_size_is_put_right_and_another_shape_is_not_taken():
    frame = painting.frame_on((100, 100), canvases=[(256, 256)])

    assert frame.lift(Image.new("RGB", (512, 500))).size == (100, 100)
    with pytest.raises(painting.WrongShape):
        frame.lift(Image.new("RGB", (512, 256)))


def disc(size: int, *, soft: bool) -> Image.Image:
    large = Image.new("L", (size * 8, size * 8))
    ImageDraw.Draw(large).ellipse((size * 2, size * 2, size * 6, size * 6), fill=255)
    return large.resize((size, size), Image.Resampling.BOX if soft else Image.Resampling.NEAREST)


def test_the_subjects_own_pixels_stay_and_the_new_background_is_whole():
    image, behind = waves(120, 120), Image.new("RGB", (120, 120), (0, 255, 0))
    subject = disc(120, soft=True)

    made = level(painting.subject_over(image, subject, behind))

    alpha = np.asarray(subject)
    assert np.array_equal(made[alpha == 255], level(image)[alpha == 255])
    assert (made[alpha == 0] == (0, 255, 0)).all()


def test_no_rim_of_the_old_background_is_left():
    subject = disc(120, soft=True)
    red, blue = (Image.new("RGB", (120, 120), colour) for colour in ("red", "blue"))
    image = Image.composite(red, blue, subject)

    made = level(painting.subject_over(image, subject, Image.new("RGB", (120, 120), (0, 255, 0))))

    assert made[..., 2].max() <= 40  # as it was, an edge pixel is up to half blue
    naive = level(Image.composite(image, Image.new("RGB", (120, 120), (0, 255, 0)), subject))
    assert naive[..., 2].max() > 60


def test_a_hard_mask_changes_no_pixel_of_the_subject():
    image, subject = waves(90, 90), disc(90, soft=False)

    made = painting.subject_over(image, subject, Image.new("RGB", (90, 90)))

    inside = np.asarray(subject) == 255
    assert np.array_equal(level(made)[inside], level(image)[inside])


def test_where_a_model_is_nearly_sure_the_picture_stays_sharp():
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8))
    nearly = Image.new("L", (90, 90), 245)

    made = painting.subject_over(image, nearly, Image.new("RGB", (90, 90)))

    assert np.abs(level(made) - level(image)).max() <= 255 - 245 + 1


@pytest.mark.parametrize("side", [20, 300, 1500])
def test_a_hole_covers_the_mask_and_a_narrow_seam(side):
    mask = disc(side, soft=True)

    hole = painting.hole(mask)

    sure, paste = np.asarray(mask) >= 128, np.asarray(hole.paste)
    assert (paste[sure] == 255).all()
    assert (paste[np.asarray(hole.model) == 0] == 0).all()
    seam = max(2, round(side / 250))
    grown = np.argwhere(np.asarray(hole.model))
    covered = np.argwhere(sure)
    assert (grown.min(0) == covered.min(0) - seam).all()
    assert (grown.max(0) == covered.max(0) + seam).all()


def test_transparency_is_kept_where_there_is_any():
    see_through = Image.new("RGBA", (4, 4), (1, 2, 3, 90))

    assert painting.like(see_through, Image.new("RGB", (4, 4))).getpixel((0, 0)) == (0, 0, 0, 90)
    assert painting.like(Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4))).mode == "RGB"
