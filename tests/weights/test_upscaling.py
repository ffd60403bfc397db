"""The real upscalers on real photos: faithful, sharper than a filter, without seams."""

import numpy as np
import pytest
from PIL import Image

from tools.engines import upscaling
from tools.examples import photo

pytestmark = pytest.mark.weights

DETAILS = {
    "cup": ("coffee.png", (230, 120, 326, 216)),
    "face": ("astronaut.png", (180, 60, 276, 156)),
    "eye": ("chelsea.png", (120, 70, 216, 166)),
    "rocket": ("rocket.jpg", (290, 130, 386, 226)),
}


def detail(name: str) -> Image.Image:
    file, box = DETAILS[name]
    return Image.open(photo(file)).convert("RGB").crop(box)


def psnr(one: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(one).astype(float) - np.asarray(other).astype(float)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def reduced(image: Image.Image, scale: int) -> Image.Image:
    size = (image.width // scale, image.height // scale)
    return image.resize(size, Image.Resampling.BOX)


def edges(image: Image.Image) -> float:
    """How steep the steepest hundredth of all steps between neighbours are."""
    grey = np.asarray(image.convert("L")).astype(float)
    steps = np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1])
    return float(np.quantile(steps, 0.99))


@pytest.mark.parametrize(("scale", "floor"), [(2, 40), (3, 40), (4, 40)])
@pytest.mark.parametrize("name", DETAILS)
def test_a_result_that_is_reduced_again_is_the_original(name, scale, floor):
    image = detail(name).crop((16, 16, 80, 80))

    done = upscaling.upscale(image, scale=scale, model="fast")

    assert psnr(reduced(done, scale), image) > floor


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", DETAILS)
def test_a_reduced_photo_comes_back_better_and_sharper_than_by_a_filter(name, scale):
    original = detail(name)
    small = original.resize(
        (original.width // scale, original.height // scale), Image.Resampling.BICUBIC
    )
    filtered = small.resize(original.size, Image.Resampling.LANCZOS)

    done = upscaling.upscale(small, scale=scale, model="fast")

    assert psnr(done, original) > psnr(filtered, original) + 0.5
    assert edges(done) > edges(filtered) * 1.05


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiles_of_the_fast_model_leave_no_seam(scale):
    image = detail("face").crop((16, 16, 80, 56))
    whole = np.asarray(upscaling.upscale(image, scale=scale, model="fast")).astype(int)

    tiled = upscaling.upscale(image, scale=scale, model="fast", window=82)

    assert np.abs(np.asarray(tiled) - whole).max() <= 1


@pytest.fixture(scope="module")
def finest():
    """A little of the face by the slow model: the original, in one window, and in two."""
    image = detail("face").crop((20, 20, 60, 36))
    return (
        image,
        upscaling.upscale(image, scale=4, model="quality"),
        upscaling.upscale(image, scale=4, model="quality", window=52),
    )


def test_the_finest_model_is_faithful_and_sharp(finest):
    image, done, _tiled = finest

    assert psnr(reduced(done, 4), image) > 28
    assert edges(done) > edges(image.resize(done.size, Image.Resampling.LANCZOS)) * 1.1


def test_tiles_of_the_finest_model_leave_no_seam(finest):
    _image, whole, tiled = finest
    difference = np.asarray(tiled).astype(int) - np.asarray(whole).astype(int)
    across = np.abs(np.diff(difference, axis=1))

    # A seam would be a column where the difference to one large run jumps: 80 is the border.
    assert np.abs(difference).mean() < 3
    assert across[:, 64:96].mean() < 1
