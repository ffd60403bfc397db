"""Windows around what matters: nothing cut, sizes exact, nothing enlarged."""

import numpy as np
import pytest
from PIL import Image

from tools.engines import cropping, matting
from tools.engines.cropping import Interest, Padding, Shape
from tools.engines.faces import Face

NOTHING = Padding("none")
BACKGROUND = Padding("background")
RED = Padding("color", (255, 0, 0, 255))


def picture(width: int, height: int) -> Image.Image:
    """Red tells the column and green the row, so that every pixel says where it was."""
    across = np.linspace(0, 255, width).astype(np.uint8)
    down = np.linspace(0, 255, height).astype(np.uint8)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = across[None], down[:, None]
    pixels[..., 2] = 128
    return Image.fromarray(pixels)


def subject(size: tuple[int, int], box: tuple[int, int, int, int]) -> Interest:
    """A picture in which this box is all that matters."""
    mass = np.zeros((size[1], size[0]))
    mass[box[1] : box[3], box[0] : box[2]] = 1
    return Interest(size, (), box, mass / mass.sum())


RATIOS = [1, 16 / 9, 9 / 16, 1.91, 3]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (640, 80)])
def test_without_an_interest_the_crop_is_the_largest_in_the_middle(size, ratio):
    done = cropping.crop(picture(*size), Interest(size), Shape(ratio), padding=BACKGROUND)

    width, height = done.image.size
    assert width == size[0] or height == size[1]
    assert width <= size[0]
    assert height <= size[1]
    assert abs(width - height * ratio) <= max(1, ratio)
    assert not done.padded
    red, green, _blue = done.image.getpixel((width // 2, height // 2))
    assert abs(red - 127) <= 4
    assert abs(green - 127) <= 4


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("box", [(0, 0, 90, 60), (350, 250, 400, 300), (10, 140, 390, 160)])
def test_the_subject_is_whole_at_any_place_and_any_ratio(ratio, box):
    interest = subject((400, 300), box)

    done = cropping.crop(picture(400, 300), interest, Shape(ratio), padding=BACKGROUND)

    assert done.kept > 0.999
    assert abs(done.image.width - done.image.height * ratio) <= max(1, ratio)


def test_a_window_grows_only_as_far_as_the_subject_asks():
    interest = subject((400, 300), (20, 140, 380, 160))

    done = cropping.crop(picture(400, 300), interest, Shape(1), padding=RED)

    assert 360 <= done.image.width <= 360 * 1.07
    assert done.padded


def test_without_padding_the_crop_stays_inside_and_tells_what_it_cut():
    interest = subject((400, 100), (0, 0, 400, 100))

    done = cropping.crop(picture(400, 100), interest, Shape(1), padding=NOTHING)

    assert done.image.size == (100, 100)
    assert done.kept == pytest.approx(0.25, abs=0.02)
    assert not done.padded


def test_where_one_of_two_faces_has_to_go_the_other_one_stays_whole():
    faces = (Face(0, 20, 40, 60), Face(360, 20, 400, 60))
    interest = Interest((400, 100), faces, (0, 20, 400, 60))

    done = cropping.crop(picture(400, 100), interest, Shape(3.7), padding=NOTHING)

    assert done.cut_faces == 1


def test_a_face_sits_above_the_middle():
    face = Face(180, 400, 220, 440)
    interest = Interest((400, 800), (face,), (180, 400, 220, 440))

    done = cropping.crop(picture(400, 800), interest, Shape(1), padding=NOTHING)

    top = done.image.getpixel((0, 0))[1] / 255 * 800
    assert 0.35 < (420 - top) / 400 < 0.5


@pytest.mark.parametrize("padding", [NOTHING, BACKGROUND, RED], ids=lambda padding: padding.kind)
@pytest.mark.parametrize("size", [(200, 100), (100, 200), (123, 77)])
def test_a_size_within_the_picture_is_met_to_the_pixel(size, padding):
    interest = subject((400, 300), (100, 100, 160, 160))

    done = cropping.crop(
        picture(400, 300), interest, Shape(size[0] / size[1], size), padding=padding
    )

    assert done.image.size == size


def test_a_picture_that_is_too_small_is_padded_and_not_enlarged():
    image = Image.new("RGB", (50, 40), (0, 0, 255))

    done = cropping.crop(image, Interest(image.size), Shape(1, (100, 100)), padding=RED)

    assert done.image.size == (100, 100)
    counts = {colour: n for n, colour in done.image.getcolors()}
    assert counts == {(0, 0, 255): 50 * 40, (255, 0, 0): 100 * 100 - 50 * 40}


def test_without_padding_a_small_picture_gives_a_small_crop():
    image = picture(50, 40)

    done = cropping.crop(image, Interest(image.size), Shape(1, (100, 100)), padding=NOTHING)

    assert (done.image.size, done.smaller) == ((40, 40), True)


def test_a_small_picture_is_enlarged_when_asked():
    image = picture(50, 40)

    done = cropping.crop(
        image, Interest(image.size), Shape(1, (100, 100)), padding=RED, enlarge=True
    )

    assert (done.image.size, done.padded) == ((100, 100), False)


def test_a_crop_by_ratio_is_cut_out_pixel_by_pixel():
    image = picture(301, 200)

    done = cropping.crop(image, subject((301, 200), (5, 5, 40, 40)), Shape(1), padding=NOTHING)

    assert done.image.tobytes() == image.crop((0, 0, 200, 200)).tobytes()


def test_a_plain_backdrop_goes_on_without_a_trace():
    image = Image.new("RGB", (200, 200), (240, 241, 243))
    image.paste((10, 10, 10), (4, 30, 196, 170))

    done = cropping.crop(
        image, subject((200, 200), (4, 30, 196, 170)), Shape(3), padding=BACKGROUND
    )

    pixels = np.asarray(done.image, dtype=int)
    rim = np.concatenate([pixels[:, :100].reshape(-1, 3), pixels[:, -100:].reshape(-1, 3)])
    assert np.abs(rim - [240, 241, 243]).max() <= 1


def test_the_background_that_goes_on_has_the_colours_of_the_rim():
    image = Image.new("RGB", (100, 100), (200, 30, 30))
    image.paste((30, 30, 200), (50, 0, 100, 100))

    done = cropping.crop(image, subject((100, 100), (0, 0, 100, 100)), Shape(3), padding=BACKGROUND)

    left, right = done.image.getpixel((2, 50)), done.image.getpixel((done.image.width - 3, 50))
    assert left[0] > 150 > left[2]
    assert right[2] > 150 > right[0]


def test_the_background_of_a_cut_out_is_nothing():
    image = Image.new("RGBA", (100, 100), 0)
    image.paste((9, 9, 9, 255), (0, 40, 100, 60))

    interest = cropping.look(image, focus="subject")
    done = cropping.crop(image, interest, Shape(1, (150, 150)), padding=BACKGROUND)

    assert done.image.getpixel((0, 75)) == (0, 0, 0, 0)
    assert done.image.getpixel((75, 75)) == (9, 9, 9, 255)


def test_a_cut_out_is_laid_on_the_padding_colour():
    image = Image.new("RGBA", (100, 100), 0)
    image.paste((9, 9, 9, 255), (0, 40, 100, 60))

    interest = cropping.look(image, focus="subject")
    done = cropping.crop(image, interest, Shape(1, (150, 150)), padding=RED)

    assert done.image.getpixel((0, 75))[:3] == (255, 0, 0)
    assert done.image.getpixel((75, 30))[:3] == (255, 0, 0)


def test_a_strip_in_a_square_stays_within_bounds():
    image = Image.new("RGB", (9000, 20), (5, 6, 7))

    done = cropping.crop(image, subject((9000, 20), (0, 0, 9000, 20)), Shape(1), padding=RED)

    assert done.smaller
    assert done.image.width * done.image.height <= cropping.MAX_PIXELS


def test_the_middle_needs_no_model(monkeypatch):
    monkeypatch.setattr(matting, "mask", None)

    assert cropping.look(picture(40, 30), focus="center").keep is None


def test_a_wall_has_no_subject_but_a_middle(monkeypatch):
    def mask(_image, **_how):
        raise matting.NoSubject

    monkeypatch.setattr(matting, "mask", mask)
    wall = Image.new("RGB", (60, 40), (200, 200, 200))

    assert cropping.look(wall, focus="auto").keep is None
    with pytest.raises(matting.NoSubject):
        cropping.look(wall, focus="subject")
