"""Alt text: its settings, and the model that is asked on the network."""

import pytest
from PIL import Image

from tools import registry
from tools.base import SettingsInvalid, ToolError
from tools.engines import remote, vision_language


@pytest.fixture
def tool():
    return registry.get("alt-text")


@pytest.fixture
def asked(monkeypatch):
    """A vision language model that says what the test wants; the instructions it was given."""
    instructions = []

    def install(answer):
        def describe(_image, *, instruction):
            instructions.append(instruction)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(vision_language, "describe", describe)
        return instructions

    return install


def vlm(tool, **settings):
    (output,) = tool.run(Image.new("RGB", (20, 20)), tool.clean({"model": "vlm", **settings}))
    return output.text


def test_the_model_is_told_what_was_asked(tool, asked):
    instructions = asked("Ein roter Becher.")

    text = vlm(
        tool,
        language="de",
        max_length=90,
        detail_level="caption",
        context="Acme  Becher",
        keywords="handmade, ceramic",
    )

    assert text == "Ein roter Becher."
    (instruction,) = instructions
    for part in ("in German", "90 characters", "Acme Becher", "handmade, ceramic", "few words"):
        assert part in instruction


def test_what_the_model_says_is_tidied_and_cut(tool, asked):
    asked('"Image of a cup on a table. It is a very long story about a cup."')

    assert vlm(tool, max_length=40) == "A cup on a table."


def test_a_model_that_fails_is_a_failed_item(tool, asked):
    asked(remote.Unreachable("vlm.example", "no answer"))

    with pytest.raises(ToolError) as caught:
        vlm(tool)

    assert caught.value.code == "engine_unreachable"


def test_without_a_model_the_settings_that_bring_one_are_named(tool, monkeypatch):
    monkeypatch.setattr(vision_language, "_configuration", vision_language.Configuration())

    assert "STUDIO_VLM_URL" in tool.unavailable_reason(tool.clean({"model": "vlm"}))


def test_the_basic_description_needs_weights(tool, no_weights):
    assert "`manage.py fetchweights u2netp`" in tool.unavailable_reason()


@pytest.mark.parametrize(
    ("settings", "field", "code"),
    [
        ({"max_length": 5}, "max_length", "min_value"),
        ({"max_length": 5000}, "max_length", "max_value"),
        ({"language": "xx"}, "language", "invalid_choice"),
        ({"keywords": ",".join("abcdefghijk")}, "keywords", "too_many_keywords"),
    ],
)
def test_settings_out_of_range_are_refused(tool, settings, field, code):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean(settings)

    (wrong,) = caught.value.errors
    assert (wrong.field, wrong.code) == (field, code)


def test_a_result_names_all_that_had_a_say(tool):
    version = tool.version(tool.defaults())

    for part in ("description 1", "haar", "u2netp", "efficientnet-lite2", "ppocr-recognition"):
        assert part in version


@pytest.mark.weights
def test_a_picture_is_described_in_the_language_of_the_settings(tool):
    image = Image.new("RGBA", (90, 60), (20, 40, 80, 255))

    (output,) = tool.run(image, tool.clean({"language": "fr", "context": "Mur"}))

    assert output.text == "Mur, principalement en bleu foncé."
