"""Colours by the names that people give them."""

import numpy as np
import pytest
from PIL import Image

from tools.engines import colours
from tools.engines.vocabulary import COLOURS


def flat(colour) -> Image.Image:
    return Image.new("RGB", (60, 40), colour)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ("#ffffff", "white"),
        ("#000000", "black"),
        ("#808080", "grey"),
        ("#ff0000", "red"),
        ("#ff8c00", "orange"),
        ("#ffe000", "yellow"),
        ("#00a000", "green"),
        ("#0000ff", "blue"),
        ("#1b2a5a", "dark blue"),
        ("#87ceeb", "light blue"),
        ("#40e0d0", "turquoise"),
        ("#800080", "purple"),
        ("#ffc0cb", "pink"),
        ("#8b4513", "brown"),
        ("#d2b48c", "beige"),
        ("#556b2f", "olive green"),
    ],
)
def test_a_colour_has_the_name_that_people_give_it(colour, name):
    (found,) = colours.dominant(flat(colour))

    assert (found.name, found.share) == (name, 1)


def test_the_larger_of_two_comes_first():
    image = flat("#0000ff")
    image.paste("#ff0000", (0, 0, 20, 40))

    first, second = colours.dominant(image)

    assert (first.name, second.name) == ("blue", "red")
    assert first.share == pytest.approx(2 / 3, abs=0.02)


def test_a_vivid_colour_strikes_more_than_a_grey_of_its_size():
    image = flat("#606060")
    image.paste("#e01010", (0, 0, 28, 40))

    assert colours.dominant(image)[0].name == "red"


def test_shades_of_one_colour_are_one():
    image = flat("#1a4428")
    image.paste("#34983e", (0, 0, 20, 40))

    (found,) = colours.dominant(image)

    assert (found.name, found.share) == ("dark green", pytest.approx(1))


def test_only_what_is_marked_counts():
    image = flat("#0000ff")
    image.paste("#ff0000", (0, 0, 20, 40))
    where = Image.new("L", image.size, 0)
    where.paste(255, (0, 0, 20, 40))

    assert [colour.name for colour in colours.dominant(image, where=where)] == ["red"]
    assert colours.dominant(image, where=Image.new("L", image.size, 0)) == []


def test_the_same_picture_has_the_same_colours():
    noise = np.random.default_rng(1).integers(0, 255, (90, 130, 3), dtype=np.uint8)
    image = Image.fromarray(noise)

    assert colours.dominant(image) == colours.dominant(image)


def test_a_photo_in_black_and_white_is_told_from_one_with_a_little_colour():
    grey = Image.linear_gradient("L").convert("RGB")
    tinted = grey.copy()
    tinted.paste((200, 40, 40), (0, 0, 60, 60))

    assert colours.is_grey(grey)
    assert not colours.is_grey(tinted)


def test_every_name_is_in_the_vocabulary():
    names = {name for _end, name in colours.GREYS} | set(colours.NAMED)

    assert names == set(COLOURS)
