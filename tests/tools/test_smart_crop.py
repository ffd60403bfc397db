"""Smart crop: its settings, what it says, and real photos."""

import numpy as np
import pytest
from PIL import Image

from tools import examples, registry
from tools.base import SettingsInvalid
from tools.engines import cropping, faces, matting


@pytest.fixture
def tool():
    return registry.get("smart-crop")


def photo(name: str) -> Image.Image:
    return Image.open(examples.photo(name)).convert("RGB")


def wrong(tool, **settings):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean(settings)
    (error,) = caught.value.errors
    return error.field, error.code


@pytest.mark.parametrize("ratio", ["1:1", "16:9", "1.91:1", " 4 : 5 ", "20:1", "1/2"])
def test_a_ratio_is_two_numbers(tool, ratio):
    assert tool.clean({"ratio": ratio})


@pytest.mark.parametrize("ratio", ["", "1", "1:0", "0:1", "21:1", "a:b", "1:1:1", "-1:1", "1e9:1"])
def test_what_is_no_ratio_is_refused(tool, ratio):
    field, code = wrong(tool, ratio=ratio)

    assert field == "ratio"
    assert code in {"ratio_invalid", "blank"}


@pytest.mark.parametrize(
    ("sizes", "code"),
    [
        ("1080", "size_invalid"),
        ("10x10", "size_invalid"),
        ("9000x100", "size_invalid"),
        ("100x100, wide", "size_invalid"),
        (",".join(f"{n}x100" for n in range(100, 113)), "too_many_sizes"),
        ("8192x8192", "sizes_too_large"),
        ("5000x5000, 5001x5001, 5002x5002", "sizes_too_large"),
    ],
)
def test_sizes_that_can_not_be_made_are_refused(tool, sizes, code):
    assert wrong(tool, sizes=sizes) == ("sizes", code)


def test_a_side_that_follows_from_the_ratio_has_the_same_limits(tool):
    assert wrong(tool, ratio="20:1", width=100) == ("width", "size_invalid")
    assert wrong(tool, ratio="20:1", height=1000) == ("height", "size_invalid")
    assert wrong(tool, width=8192, height=8192) == ("width", "size_too_large")


def sizes_of(tool, image, **settings):
    return [output.image.size for output in tool.run(image, tool.clean(settings))]


def test_one_side_follows_the_ratio_and_two_sides_replace_it(tool):
    image = photo("coffee.png").reduce(3)

    def made(**settings):
        return sizes_of(tool, image, focus="center", ratio="4:5", **settings)

    assert made(width=60) == [(60, 75)]
    assert made(height=60) == [(48, 60)]
    assert made(width=90, height=30) == [(90, 30)]


def test_each_size_is_one_result_in_its_order(tool, faked_engine):
    image = photo("coffee.png").reduce(3)

    done = sizes_of(tool, image, sizes="100x100, 200X100; 64×96,\n100x100")

    assert done == [(100, 100), (200, 100), (64, 96)]


def notes_of(tool, image, **settings):
    (output,) = tool.run(image, tool.clean(settings))
    return " ".join(map(str, output.notes))


def test_it_says_what_did_not_fit(tool, faked_engine):
    image = photo("coffee.png").reduce(4)

    cut = notes_of(tool, image, ratio="1:4", padding="none")
    small = notes_of(tool, image, width=1000, height=1000, padding="none", focus="center")
    padded = notes_of(tool, image, width=1000, height=1000, focus="center")
    faceless = notes_of(tool, image, focus="face")

    assert "% of the subject fits this shape" in cut
    assert small == (
        "The picture is too small for 1000 × 1000: the crop is 100 × 100 and was not enlarged."
    )
    assert padded == "The picture ends before the crop does: the rest is padding."
    assert "No face was found" in faceless


def test_a_crop_with_nothing_amiss_has_no_notes(tool):
    assert notes_of(tool, photo("coffee.png"), focus="center") == ""


def test_the_middle_can_be_had_without_weights(tool, no_weights):
    assert tool.unavailable_reason(tool.clean({"focus": "center"})) is None
    assert "fetchweights u2netp" in tool.unavailable_reason()


def test_a_result_names_only_what_made_it(tool):
    assert tool.version(tool.clean({"focus": "center"})) == "crop 1"
    assert "u2netp 309c8469258d" in tool.version(tool.defaults())
    assert faces.VERSION in tool.version(tool.defaults())


def two_at_the_far_sides() -> Image.Image:
    both = photo("rocket.jpg").resize((640, 256))
    portrait = photo("astronaut.png").resize((200, 200))
    both.paste(portrait, (0, 56))
    both.paste(portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (440, 56))
    return both


PHOTOS = {
    "astronaut": lambda: photo("astronaut.png"),
    "chelsea": lambda: photo("chelsea.png"),
    "coffee": lambda: photo("coffee.png"),
    "rocket": lambda: photo("rocket.jpg"),
    "two far apart": two_at_the_far_sides,
}


@pytest.mark.weights
@pytest.mark.parametrize("name", PHOTOS)
def test_every_face_and_the_salient_mass_are_in_every_crop(name, monkeypatch):
    image = PHOTOS[name]()
    salient = matting.mask(image, model="u2netp")
    monkeypatch.setattr(matting, "mask", lambda _image, **_how: salient)  # it takes a second
    found = faces.find(image)
    assert len(found) == {"astronaut": 1, "two far apart": 2}.get(name, 0)
    interest = cropping.look(image, focus="auto")
    # What is cropped is a map of what matters: red where there is a face, green by salience.
    red = Image.new("L", image.size)
    for face in found:
        red.paste(255, (face.left, face.top, face.right, face.bottom))
    important = Image.merge("RGB", [red, salient, Image.new("L", image.size)])
    before = np.asarray(important, dtype=float).sum((0, 1))
    black = cropping.Padding("color", (0, 0, 0, 255))

    for ratio in (1, 16 / 9, 9 / 16, 1.91, 0.8):
        done = cropping.crop(important, interest, cropping.Shape(ratio), padding=black)

        after = np.asarray(done.image, dtype=float).sum((0, 1))
        assert after[0] == before[0]
        assert after[1] >= 0.98 * before[1]


def test_the_same_picture_gives_the_same_bytes(tool, faked_engine):
    settings = tool.clean({"sizes": "100x100, 300x100"})

    first, second = (tool.run(photo("chelsea.png"), settings) for _ in range(2))

    for one, other in zip(first, second, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
