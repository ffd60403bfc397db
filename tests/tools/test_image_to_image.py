"""The tool around the edits: settings, prices, what it tells, what it refuses."""

import pytest
from PIL import Image

from batches import messages
from tools import registry
from tools.base import SettingsInvalid, ToolError
from tools.engines import generative, instructions, matting, photographic
from tools.engines.instructions import Edit
from tools.examples import photo


@pytest.fixture
def tool():
    return registry.get("image-to-image")


@pytest.fixture
def image() -> Image.Image:
    small = Image.open(photo("coffee.png")).convert("RGB")
    small.thumbnail((120, 120))
    return small


@pytest.fixture
def understood(monkeypatch):
    """Let every instruction mean these edits."""

    def mean(*edits: Edit) -> None:
        monkeypatch.setattr(instructions, "understand", lambda _prompt: list(edits))

    return mean


@pytest.mark.parametrize("prompt", [None, "", "  \n", "x" * 1001])
def test_an_instruction_is_needed_and_bounded(tool, prompt):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({} if prompt is None else {"prompt": prompt})

    assert [wrong.field for wrong in caught.value.errors] == ["prompt"]


@pytest.mark.parametrize(("name", "value"), [("strength", 1.1), ("strength", -0.1), ("seed", -1)])
def test_settings_out_of_range_are_refused(tool, name, value):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"prompt": "warmer", name: value})

    assert [wrong.field for wrong in caught.value.errors] == [name]


@pytest.mark.parametrize(("model", "price"), [("basic", 1), ("diffusion", 3), ("provider", 3)])
def test_the_model_has_the_price(tool, model, price):
    assert tool.max_price(tool.clean({"prompt": "warmer", "model": model})) == price


def test_what_was_understood_is_told(tool, image, understood):
    understood(
        Edit("warmth", 0.25),
        Edit("brightness", -0.1, "background"),
        Edit("background-colour", colour=(255, 0, 16)),
        Edit("rotate", -90.0),
    )
    understood(Edit("warmth", 0.25), Edit("rotate", -90.0), Edit("contrast", -0.1))

    (output,) = tool.run(image, tool.clean({"prompt": "…", "strength": 0.8}))

    assert [str(note) for note in output.notes] == [
        "Understood: warmer 20 %, rotated by -90°, less contrast 8 %."
    ]
    assert output.image.size == image.size[::-1]


def test_what_there_was_nothing_to_do_for_is_told(tool, understood):
    understood(Edit("square"))

    (output,) = tool.run(Image.new("RGB", (30, 30)), tool.clean({"prompt": "…"}))

    assert "Nothing had to be done for: cropped to a square." in map(str, output.notes)


def test_every_edit_has_its_words(tool):
    from tools.catalog.image_to_image import _told

    for name in photographic._ORDER:
        for where in ("all", "background", "subject"):
            told = _told([Edit(name, 0.2, where, (1, 2, 3)), Edit(name, -0.2)], 1.0)
            assert "{" not in told


def test_what_was_not_understood_costs_nothing_and_says_what_could_be_done(
    tool, image, monkeypatch
):
    def understand(_prompt):
        raise instructions.NotUnderstood("add a hat")

    monkeypatch.setattr(instructions, "understand", understand)

    with pytest.raises(ToolError) as caught:
        tool.run(image, tool.clean({"prompt": "warmer, and add a hat"}))

    assert (caught.value.code, caught.value.permanent) == ("instruction_not_understood", True)
    text = messages.text(caught.value.code, caught.value.params)
    assert "“add a hat” was not understood" in text
    assert "“a bit warmer and blur the background”" in text


def test_a_generative_model_gets_the_words_as_they_are(tool, image, monkeypatch):
    asked = {}

    def edit(picture, **how):
        asked.update(how)
        return picture

    monkeypatch.setattr(generative, "edit", edit)
    settings = tool.clean({"prompt": "add a hat", "strength": 0.4, "model": "provider", "seed": 7})

    (output,) = tool.run(image, settings)

    assert asked == {"prompt": "add a hat", "strength": 0.4, "model": "provider", "seed": 7}
    assert not output.notes


def test_a_model_that_is_not_set_up_does_not_take_the_tool_down(tool, pretended_weights):
    pretended_weights(*tool.artefacts)

    assert tool.unavailable_reason() is None
    assert tool.unavailable_reason(tool.clean({"prompt": "x", "model": "diffusion"}))


def test_a_result_remembers_what_understood_and_what_found_the_subject(tool):
    version = tool.version(tool.clean({"prompt": "warmer"}))

    assert version == "minilm 8199be6f699a, u2net 8d10d2f3bb75"


@pytest.mark.weights
def test_a_sentence_becomes_a_picture(tool, image, monkeypatch):
    monkeypatch.setattr(matting, "mask", lambda picture, **_: Image.new("L", picture.size, 255))
    settings = tool.clean({"prompt": "Make it a bit warmer, and darken the corners a lot, please!"})

    (output,) = tool.run(image, settings)

    assert str(output.notes[0]) == "Understood: warmer 12 %, vignette 80 %."
    assert output.image.getpixel((2, 2))[0] < image.getpixel((2, 2))[0]
