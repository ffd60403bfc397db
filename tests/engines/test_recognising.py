"""One word for a photo, and none rather than a wrong one."""

import numpy as np
import pytest
from PIL import Image

from tools import examples
from tools.engines import recognising
from tools.engines.vocabulary import THINGS


@pytest.fixture(autouse=True)
def names(monkeypatch):
    monkeypatch.setattr(recognising, "_name", lambda number: f"class {number}")


def seen(**sure: float) -> np.ndarray:
    """What the model gives when it is so sure of these classes and of no other."""
    made = np.zeros(1000)
    for number, share in sure.items():
        made[int(number[1:])] = share
    return made


def test_kinds_of_one_thing_are_added_up():
    label = recognising._named(seen(_285=0.3, _281=0.25))

    assert (label.name, label.kind, label.animal) == ("cat", False, True)
    assert label.sure == pytest.approx(0.55)


def test_what_belongs_to_no_group_goes_by_its_own_name():
    label = recognising._named(seen(_872=0.5))

    assert (label.name, label.kind, label.animal) == ("class 872", True, False)


@pytest.mark.parametrize(
    "sure", [{"_872": 0.34}, {"_285": 0.2, "_281": 0.1}, {"_111": 0.8}, {"_165": 0.3, "_246": 0.3}]
)
def test_what_is_not_sure_is_not_said(sure):
    assert recognising._named(seen(**sure)) is None


def test_groups_share_no_class_and_have_words_in_every_language():
    numbers = [number for group in recognising.GROUPS.values() for number in group]

    assert len(numbers) == len(set(numbers))
    assert set(recognising.GROUPS) == set(THINGS)


@pytest.mark.parametrize("size", [(8, 8), (1200, 30), (30, 1200), (640, 480)])
def test_the_model_sees_a_square_of_any_picture(size):
    assert recognising._view(Image.new("RGB", size)).size == (260, 260)


@pytest.mark.weights
@pytest.mark.parametrize(
    ("photo", "name"), [("chelsea.png", "cat"), ("coffee.png", "cup of coffee")]
)
def test_real_photos_get_the_right_word(photo, name):
    image = Image.open(examples.photo(photo)).convert("RGB")

    assert recognising.label(image).name == name


@pytest.mark.weights
@pytest.mark.parametrize("photo", ["gravel.png", "horse.png", "astronaut.png"])
def test_what_the_model_does_not_know_gets_no_word(photo):
    assert recognising.label(Image.open(examples.photo(photo)).convert("RGB")) is None
