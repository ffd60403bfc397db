"""Text on pictures, read by the real models, and the arithmetic around them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tools import examples
from tools.engines import reading


def photo(name: str) -> Image.Image:
    return Image.open(examples.photo(name)).convert("RGB")


def poster() -> Image.Image:
    """A photo with two lines on it, one large and light, one small and coloured."""
    image = photo("coffee.png")
    draw = ImageDraw.Draw(image)
    draw.text((30, 16), "FRESH COFFEE", fill="white", font=ImageFont.load_default(40))
    draw.text((330, 340), "20% off today", fill="yellow", font=ImageFont.load_default(22))
    return image


def steps(*chosen: int, sure: float = 0.9, alphabet: int = 5) -> np.ndarray:
    """What the second model gives for these characters, one a step."""
    made = np.full((len(chosen), alphabet), (1 - sure) / (alphabet - 1), dtype=np.float32)
    made[np.arange(len(chosen)), chosen] = sure
    return made


ALPHABET = ("", "a", "b", "c", " ")


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ([1, 1, 0, 1, 2, 2], "aab"),
        ([0, 0, 0], ""),
        ([1, 4, 4, 2], "a b"),
        ([4, 4, 1, 0, 4], "a"),
    ],
)
def test_repeats_are_one_character_and_gaps_are_none(chosen, text):
    assert reading._decoded(steps(*chosen), ALPHABET)[0] == text


def test_a_likely_space_counts_where_nothing_else_stands():
    close = steps(1, 0, 2)
    close[1] = [0.55, 0, 0, 0, 0.45]
    within = steps(1, 0, 2)
    within[1] = [0.8, 0, 0, 0, 0.2]

    assert reading._decoded(close, ALPHABET)[0] == "a b"
    assert reading._decoded(within, ALPHABET)[0] == "ab"


def test_corners_start_at_the_top_left_and_go_round_clockwise():
    corners = np.array([[10, 20], [0, 0], [0, 20], [10, 0]], dtype=np.float32)

    assert reading._clockwise(corners).tolist() == [[0, 0], [10, 0], [10, 20], [0, 20]]


def line(text: str, left: float, top: float) -> reading.Line:
    return reading.Line(text, 1.0, left, top, left + 50, top + 20, 20)


def test_lines_are_read_from_the_top_and_from_the_left():
    lines = [line("d", 0, 100), line("b", 60, 3), line("c", 200, 1), line("a", 0, 6)]

    assert [each.text for each in reading._in_order(lines)] == ["a", "b", "c", "d"]


@pytest.mark.weights
@pytest.mark.parametrize("times", [1, 3])
def test_a_poster_is_read_in_any_size(times):
    image = poster()

    lines = reading.read(image.resize((image.width * times, image.height * times)))

    assert [line.text for line in lines] == ["FRESH COFFEE", "20% off today"]
    first = lines[0]
    assert 10 <= first.left / times <= 40
    assert 5 <= first.top / times <= 35
    assert 25 <= first.height / times <= 60


@pytest.mark.weights
@pytest.mark.parametrize("angle", [-15, 90])
def test_turned_lines_are_read(angle):
    lines = reading.read(poster().rotate(angle, expand=True, fillcolor=(90, 60, 40)))

    assert {line.text for line in lines} == {"FRESH COFFEE", "20% off today"}


@pytest.mark.weights
def test_text_on_nothing_is_read_as_if_on_white():
    image = Image.new("RGBA", (300, 80), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((20, 20), "Hello", fill="black", font=ImageFont.load_default(36))

    (line,) = reading.read(image)

    assert line.text == "Hello"


@pytest.mark.weights
@pytest.mark.parametrize("name", ["chelsea.png", "brick.png", "rocket.jpg", "text.png"])
def test_where_nothing_is_legible_nothing_is_read(name):
    assert reading.read(photo(name)) == []


@pytest.mark.weights
@pytest.mark.parametrize("size", [(8, 8), (3000, 9), (9, 3000)])
def test_odd_shapes_are_looked_at_too(size):
    assert reading.read(Image.new("RGB", size, (200, 10, 10))) == []
