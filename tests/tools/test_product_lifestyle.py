"""The tool around scenes: where the product stands, how many results, what they cost."""

import numpy as np
import pytest
from PIL import Image

from tests.tools import generated
from tools import registry
from tools.base import SettingsInvalid
from tools.catalog.product_lifestyle import SCENES
from tools.engines import composing, meaning, scenes

RED = (210, 20, 30)


pytestmark = pytest.mark.usefixtures("small_tiles")


@pytest.fixture
def tool():
    return registry.get("product-lifestyle")


@pytest.fixture
def product() -> Image.Image:
    """A red bottle on nothing, in the upper left of its frame."""
    image = Image.new("RGBA", (160, 120))
    image.paste((*RED, 255), (20, 10, 40, 70))
    return image


def run(tool, product, **given) -> list[Image.Image]:
    settings = {**tool.defaults(), "scene": "watercolour-studio", **given}
    return [output.image for output in tool.run(product, settings)]


def box(image: Image.Image) -> tuple[int, ...]:
    """Where the red is: left, top, right, bottom."""
    pixels = np.asarray(image, int)
    red = (pixels[..., 0] > 120) & (pixels[..., 1] < 80) & (pixels[..., 2] < 90)
    rows, columns = np.nonzero(red.any(1))[0], np.nonzero(red.any(0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def test_the_names_are_those_of_the_scenes_that_there_are(tool):
    assert set(SCENES) == set(scenes.SCENES)
    assert set(tool.Settings().fields["position"].choices) == set(composing.POSITIONS)


def test_a_photo_in_a_scene_is_a_jpg_by_default(tool):
    assert tool.defaults()["format"] == "jpg"
    assert list(tool.Settings().fields)[-2:] == ["format", "quality"]


def test_the_product_stands_large_in_the_lower_middle(tool, product):
    (done,) = run(tool, product)

    left, top, right, bottom = box(done)
    assert (done.mode, done.size) == ("RGB", (160, 120))
    assert abs((left + right) / 2 - 80) < 6
    assert 0.78 * 120 < bottom < 0.95 * 120
    assert bottom - top == pytest.approx(0.62 * 120, abs=4)


def test_it_can_stay_where_it_is(tool, product):
    (done,) = run(tool, product, placement_type="original")

    assert box(done) == pytest.approx((20, 10, 40, 70), abs=1)


@pytest.mark.parametrize("position", composing.POSITIONS)
def test_it_can_be_put_somewhere(tool, product, position):
    (done,) = run(tool, product, placement_type="manual_placement", position=position)

    left, top, right, bottom = box(done)
    across, down = (left + right) / 320, (top + bottom) / 240
    if "left" in position or position == "center_vertical":  # where it is, is left
        assert across < 0.4
    elif "right" in position:
        assert across > 0.6
    else:
        assert across == pytest.approx(0.5, abs=0.03)
    if "upper" in position:
        assert down < 0.4
    elif "bottom" in position:
        assert down > 0.6


def test_it_can_get_room_around_it(tool, product):
    (done,) = run(tool, product, placement_type="manual_padding", padding=50)

    assert done.size == (20 + 60, 60 + 60)
    assert box(done) == pytest.approx((30, 30, 50, 90), abs=1)


def test_results_are_variants_of_one_scene(tool, product):
    done = run(tool, product, num_results=4)

    assert len(done) == 4
    for first in range(4):
        for second in range(first):
            apart = np.asarray(done[first], float) - np.asarray(done[second], float)
            assert np.abs(apart).mean() > 2
    assert run(tool, product, num_results=2) == done[:2]


@pytest.mark.parametrize("scene", ["loft", "beach"])
def test_another_scene_is_another_place(tool, product, scene):
    (first,), (second,) = run(tool, product), run(tool, product, scene=scene)

    assert np.abs(np.asarray(first, float) - np.asarray(second, float)).mean() > 10


def test_a_reference_lends_the_scene_its_surroundings(tool, product):
    blue = Image.new("RGB", (80, 60), (20, 60, 220))

    (plain,), (tinted,) = run(tool, product), run(tool, product, ref_image=blue)

    assert plain.getpixel((150, 8))[2] < plain.getpixel((150, 8))[0] + 60
    assert tinted.getpixel((150, 8))[2] > tinted.getpixel((150, 8))[0] + 100


@pytest.mark.parametrize(
    ("given", "price"),
    [
        ({}, 2),
        ({"num_results": 4}, 8),
        ({"model": "diffusion"}, 4),
        ({"model": "provider", "num_results": 3}, 12),
    ],
)
def test_every_result_costs(tool, given, price):
    assert tool.price_for(tool.clean(given)) == price


@pytest.mark.parametrize("wrong", [{"num_results": 5}, {"padding": 201}, {"scene": "moon"}])
def test_settings_out_of_range_are_refused(tool, wrong):
    with pytest.raises(SettingsInvalid, match=next(iter(wrong))):
        tool.clean(wrong)


def test_words_choose_the_nearest_scene_and_say_so(tool, product, monkeypatch):
    monkeypatch.setattr(meaning, "nearest", lambda _words, _phrases: [("beach", 0.6)])

    outputs = tool.run(product, tool.clean({"scene_description": "by the sea", "num_results": 2}))

    assert [[str(note) for note in output.notes] for output in outputs] == [
        ["Nearest scene to your words: Beach."]
    ] * 2


def test_without_an_engine_it_says_before_that_words_only_choose(tool, monkeypatch):
    generated.none(monkeypatch)
    settings = tool.clean({"scene_description": "by the sea"})

    assert "No generative engine is set up here" in tool.notice(settings)
    assert tool.price_for(settings) == 2
    assert tool.notice(tool.defaults()) is None


def test_an_engine_that_is_not_there_is_named_with_its_setting(
    tool, pretended_weights, monkeypatch
):
    pretended_weights("u2net")
    generated.none(monkeypatch)

    assert tool.unavailable_reason() is None
    assert tool.unavailable_reason(tool.clean({"model": "diffusion"})) == "Set DIFFUSION_KEY."


def test_painted_scenes_are_painted_around_the_product(tool, product, monkeypatch):
    painter = generated.installed(monkeypatch)

    done = run(tool, product, model="provider", scene_description="by the sea", num_results=2)

    assert [asked["seed"] for asked in painter.asked] == [0, 1]
    assert {asked["prompt"] for asked in painter.asked} == {"by the sea"}
    assert all(image.getpixel((2, 2)) == (1, 2, 3) for image in done)
    assert box(done[0])[3] > 0.78 * 120


def test_a_scene_that_is_painted_without_words_is_told_in_ours(tool, product, monkeypatch):
    painter = generated.installed(monkeypatch)

    run(tool, product, model="provider", scene="beach")

    assert painter.asked[0]["prompt"] in scenes.SCENES["beach"].phrases


@pytest.mark.weights
@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("a towel and palm trees next to the ocean", "beach"),
        ("cooking dinner, a chopping board", "kitchen"),
        ("whiskey in a dim pub", "evening-lights"),
        ("an old factory with brick walls", "loft"),
        ("snowy mountains, christmas time", "winter"),
        ("next to a laptop at work", "office"),
        ("skin care in a hotel bathroom", "marble-bathroom"),
        ("neon signs downtown at midnight", "city-night"),
    ],
)
def test_words_that_nobody_wrote_down_find_their_scene(words, name):
    found = meaning.nearest(words, {key: scenes.SCENES[key].phrases for key in SCENES})

    assert found[0][0] == name


def test_a_half_figure_stays_at_the_edge_that_cuts_it_off(tool):
    portrait = Image.new("RGBA", (160, 120))
    portrait.paste((*RED, 255), (90, 30, 140, 120))

    (done,) = run(tool, portrait, scene="garden")

    assert box(done) == pytest.approx((90, 30, 140, 120), abs=1)
