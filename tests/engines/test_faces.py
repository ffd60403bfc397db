"""Faces on real photos, and none where there are none."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from tools import examples
from tools.engines import faces


def photo(name: str) -> Image.Image:
    return Image.open(examples.photo(name)).convert("RGB")


def test_the_astronauts_face_is_found_where_it_is():
    (face,) = faces.find(photo("astronaut.png"))

    # Traced by eye: brows to chin, ear to ear.
    assert 160 <= face.left <= 195
    assert 50 <= face.top <= 90
    assert 255 <= face.right <= 290
    assert 145 <= face.bottom <= 185


def test_a_face_is_found_in_every_size_of_its_picture():
    (usual,) = faces.find(photo("astronaut.png"))

    (large,) = faces.find(photo("astronaut.png").resize((2048, 2048)))

    assert abs(large.left / 4 - usual.left) < 12
    assert abs(large.right / 4 - usual.right) < 12


def test_two_faces_come_from_left_to_right():
    both = Image.new("RGB", (900, 400), (90, 120, 80))
    portrait = photo("astronaut.png").resize((300, 300))
    both.paste(portrait, (590, 50))
    both.paste(portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (10, 50))

    left, right = faces.find(both)

    assert right.left - left.right > 300


@pytest.mark.parametrize(
    "name", ["chelsea.png", "coffee.png", "coins.png", "cell.png", "brick.png", "page.png"]
)
def test_things_have_no_faces(name):
    assert faces.find(photo(name)) == []


def test_a_cup_and_a_spoon_are_no_face_in_any_size():
    cup = photo("coffee.png")

    for size in ((560, 420), (300, 225), (900, 675)):
        assert faces.find(ImageOps.fit(cup, size)) == []


def test_most_small_portraits_have_one_and_things_of_that_size_have_none():
    samples = np.load(examples.photo("lfw_subset.npy"))  # 100 faces, then 100 other things

    def found(sample: np.ndarray) -> bool:
        page = Image.new("RGB", (160, 160), (128, 128, 128))
        page.paste(Image.fromarray((sample * 255).astype(np.uint8)).resize((100, 100)), (30, 30))
        return bool(faces.find(page))

    assert sum(map(found, samples[:100:4])) >= 22
    assert sum(map(found, samples[100::4])) == 0


def test_the_head_is_larger_than_the_face():
    face = faces.Face(100, 100, 200, 200)

    left, top, right, bottom = face.head()

    assert left < 100
    assert top < 100
    assert right > 200
    assert bottom > 200
