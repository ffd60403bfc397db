"""The tool around backdrops: what can be asked for, what it costs, what is said about it."""

import numpy as np
import pytest
from PIL import Image

from tests.tools import generated
from tools import examples, registry
from tools.base import SettingsInvalid, ToolError
from tools.catalog.replace_background import CHOICES, STUDIOS
from tools.engines import backdrops, generative, images, matting, meaning, remote

UPLOAD = "0198d1f0-0000-7000-8000-0000000000ab"


pytestmark = pytest.mark.usefixtures("small_tiles")


@pytest.fixture
def tool():
    return registry.get("replace-background")


@pytest.fixture
def photo() -> Image.Image:
    """A red block on blue; the model sees the block."""
    image = Image.new("RGB", (120, 90), (30, 60, 200))
    image.paste((200, 40, 30), (40, 20, 80, 70))
    return image


@pytest.fixture(autouse=True)
def block(monkeypatch):
    def mask(image, *, model):
        seen = Image.new("L", image.size)
        seen.paste(255, (40, 20, 80, 70))
        return seen

    monkeypatch.setattr(matting, "mask", mask)


def run(tool, photo, **given) -> Image.Image:
    (output,) = tool.run(photo, {**tool.defaults(), **given})
    return output.image


def test_the_names_are_those_of_the_backdrops_that_there_are():
    assert set(STUDIOS) == set(backdrops.STUDIOS)


@pytest.mark.parametrize("choice", [choice for choice, _name in CHOICES])
def test_what_the_form_offers_can_be_chosen(tool, choice):
    assert tool.clean({"background": choice})["background"] == choice


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("#FFAA00", "#ffaa00"),
        ("gradient:#FFFFFF, #000000", "gradient:#ffffff,#000000"),
        ("Blur", "blur"),
        ("marble", "marble"),
        (UPLOAD, UPLOAD),
        ("https://example.com/Wall.jpg", "https://example.com/Wall.jpg"),
    ],
)
def test_a_background_can_be_many_things(tool, given, kept):
    assert tool.clean({"background": given})["background"] == kept


@pytest.mark.parametrize(
    "given",
    ["red", "#fff", "gradient:#ffffff", "gradient:#ffffff,blue", "ftp://a.example/", "x" * 3000],
)
def test_anything_else_is_refused_with_what_can_be_said(tool, given):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"background": given})

    (wrong,) = caught.value.errors
    assert wrong.field == "background"
    if len(given) < 2000:
        assert wrong.code == "not_an_image"
        assert "gradient:#ffffff,#dddddd" in wrong.detail
        assert "terrazzo" in wrong.detail


@pytest.mark.parametrize("given", ["#ffffff", "blur", "marble", "gradient:#ffffff,#000000"])
def test_what_is_no_picture_is_not_fetched(tool, given):
    assert tool.image_settings(tool.clean({"background": given})) == {}


def test_an_address_is_fetched(tool):
    address = "https://example.com/wall.jpg"

    assert tool.image_settings(tool.clean({"background": address})) == {"background": address}


@pytest.mark.parametrize("background", ["#20c040", "gradient:#20c040,#20c040"])
def test_a_colour_is_that_colour(tool, photo, background):
    done = run(tool, photo, background=background, shadow=False)

    assert done.size == photo.size
    assert done.getpixel((5, 5)) == pytest.approx((0x20, 0xC0, 0x40), abs=1)
    assert done.getpixel((60, 45)) == pytest.approx((200, 40, 30), abs=16)


def test_a_picture_of_ones_own_covers_the_canvas(tool, photo):
    own = Image.new("RGB", (50, 200), (240, 220, 10))

    done = run(tool, photo, background=own, shadow=False)

    assert done.getpixel((2, 2)) == done.getpixel((117, 87)) == (240, 220, 10)


def test_out_of_focus_the_subject_is_its_old_self(tool, photo):
    done = run(tool, photo, background="blur")

    assert done.getpixel((60, 45)) == (200, 40, 30)
    assert done.getpixel((5, 5)) == pytest.approx((30, 60, 200), abs=3)


def test_the_original_is_left_alone(tool, photo):
    before = photo.copy()

    for background in ("blur", "wood", "#ffffff"):
        run(tool, photo, background=background)

    assert photo == before


def test_a_shadow_darkens_the_ground_and_can_be_left_out(tool, photo):
    with_it = run(tool, photo, background="#ffffff")
    without = run(tool, photo, background="#ffffff", shadow=False)

    assert with_it.getpixel((60, 71))[0] < 200
    assert without.getpixel((60, 71)) == (255, 255, 255)


def test_a_reflection_shows_the_subject_again(tool, photo):
    done = run(tool, photo, background="#ffffff", shadow=False, reflection=True)

    red, _green, blue = done.getpixel((60, 73))
    assert red - blue > 20


def test_size_and_position_move_the_subject(tool, photo):
    done = run(tool, photo, background="#ffffff", shadow=False, scale=30, position="upper_left")

    red = np.argwhere(np.asarray(done)[..., 1] < 128)
    assert red[:, 0].max() < 45
    assert red[:, 1].max() < 60
    assert np.ptp(red[:, 0]) == pytest.approx(27, abs=4)


def test_the_same_again_is_the_same_to_the_last_bit(tool, photo):
    assert run(tool, photo, background="wood") == run(tool, photo, background="wood")


# --- In words -----------------------------------------------------------------------------------


def test_words_choose_the_nearest_backdrop_and_say_so(tool, photo, monkeypatch):
    asked = []

    def nearest(words, phrases):
        asked.append((words, phrases))
        return [("linen", 0.7), ("wood", 0.2)]

    monkeypatch.setattr(meaning, "nearest", nearest)

    (output,) = tool.run(photo, tool.clean({"prompt": "on cloth"}))

    assert [str(note) for note in output.notes] == ["Nearest backdrop to your words: Linen."]
    assert asked[0][0] == "on cloth"
    assert set(asked[0][1]) == set(STUDIOS)


def test_without_an_engine_it_says_before_that_words_only_choose(tool, monkeypatch):
    generated.none(monkeypatch)
    settings = tool.clean({"prompt": "on cloth"})

    assert "No generative engine is set up here" in tool.notice(settings)
    assert tool.price_for(settings) == 1
    assert tool.notice(tool.defaults()) is None


def test_with_an_engine_it_says_that_it_could_be_painted(tool, monkeypatch):
    generated.installed(monkeypatch)

    assert "Choose another model" in tool.notice(tool.clean({"prompt": "on cloth"}))
    assert tool.notice(tool.clean({"prompt": "on cloth", "model": "provider"})) is None


def test_words_need_the_model_of_their_meaning(tool, pretended_weights):
    pretended_weights("u2net")

    assert tool.unavailable_reason() is None
    reason = tool.unavailable_reason(tool.clean({"prompt": "on cloth"}))
    assert reason == "The weights of minilm are not here. Run `manage.py fetchweights minilm`."


@pytest.mark.parametrize("model", ["diffusion", "provider"])
def test_an_engine_that_is_not_there_is_named_with_its_setting(
    tool, model, pretended_weights, monkeypatch
):
    pretended_weights("u2net")
    generated.none(monkeypatch)

    reason = tool.unavailable_reason(tool.clean({"prompt": "on cloth", "model": model}))

    assert reason == f"Set {model.upper()}_KEY."


def test_a_model_that_paints_wants_to_know_what(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"model": "provider"})

    (wrong,) = caught.value.errors
    assert (wrong.field, wrong.code) == ("prompt", "prompt_required")


def test_a_painted_background_is_painted_around_the_placed_subject(tool, photo, monkeypatch):
    painter = generated.installed(monkeypatch)
    settings = tool.clean(
        {"prompt": "a jungle", "model": "provider", "scale": 30, "position": "upper_left"}
    )

    (output,) = tool.run(photo, settings)

    (asked,) = painter.asked
    assert (asked["prompt"], asked["model"], asked["reference"]) == ("a jungle", "provider", None)
    assert output.image.size == photo.size
    assert output.image.getpixel((100, 80)) == (1, 2, 3)
    assert output.image.getpixel((15, 15))[0] > 150
    assert tool.version(settings).endswith(", provider 7")


def test_ones_own_picture_is_the_reference_of_what_is_painted(tool, photo, monkeypatch):
    painter = generated.installed(monkeypatch)
    own = Image.new("RGB", (50, 50), (9, 9, 9))

    tool.run(photo, {**tool.clean({"prompt": "x", "model": "diffusion"}), "background": own})

    assert painter.asked[0]["reference"] is own


def test_a_service_that_is_down_is_told_as_such(tool, photo, monkeypatch):
    def background(*_args, **_how):
        raise remote.Unreachable("pictures.example", "no answer")

    monkeypatch.setattr(generative, "background", background)

    with pytest.raises(ToolError) as caught:
        tool.run(photo, tool.clean({"prompt": "x", "model": "provider"}))

    assert (caught.value.code, caught.value.permanent) == ("engine_unreachable", False)


@pytest.mark.parametrize(("model", "price"), [("composed", 1), ("diffusion", 4), ("provider", 4)])
def test_painted_backgrounds_cost_more(tool, model, price):
    assert tool.price_for(tool.clean({"prompt": "x", "model": model})) == price


@pytest.mark.weights
@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("a slab of carrara marble", "marble"),
        ("an old wooden board", "wood"),
        ("simple white background for my shop", "studio-white"),
        ("industrial, raw cement", "concrete"),
        ("dark and dramatic with a spot of light", "spotlight"),
        ("soft pink, for a lipstick", "studio-pink"),
    ],
)
def test_words_that_nobody_wrote_down_find_their_backdrop(words, name):
    found = meaning.nearest(words, {key: backdrops.STUDIOS[key].phrases for key in STUDIOS})

    assert found[0][0] == name


@pytest.mark.weights
def test_a_real_photo_keeps_its_subject_and_loses_its_background(tool, monkeypatch):
    monkeypatch.undo()
    photo = images.read(examples.photo("astronaut.png")).resize((256, 256))

    done = run(tool, photo, background="#00ff00", shadow=False)

    face = np.abs(np.asarray(done, int) - np.asarray(photo, int))[55:75, 105:125]
    assert face.mean() < 8
    assert done.getpixel((240, 20)) == (0, 255, 0)
    assert done.getpixel((70, 20)) == (0, 255, 0)
