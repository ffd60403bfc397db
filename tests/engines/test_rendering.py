"""Backdrops and scenes, as they come out."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tools.engines import backdrops, rendering, scenes, shadows, textures

STAGES = {**backdrops.STUDIOS, **scenes.SCENES}
SIZE = (90, 68)
LOFT = scenes.SCENES["loft"]


pytestmark = pytest.mark.usefixtures("small_tiles")


def render(stage, size=SIZE, ground=0.85, **how) -> np.ndarray:
    return np.asarray(rendering.render(stage, size, ground=ground, **how).image, float)


def test_there_is_a_choice():
    assert len(backdrops.STUDIOS) >= 8
    assert len(scenes.SCENES) >= 12


@pytest.mark.parametrize("name", STAGES)
def test_it_can_be_said_in_words_and_its_light_is_known(name):
    stage = STAGES[name]

    assert len(set(stage.phrases)) >= 6
    assert stage.light in shadows.LIGHTS


@pytest.mark.parametrize("name", STAGES)
def test_it_is_neither_black_nor_burnt_out_and_the_same_every_time(name):
    first = render(STAGES[name])

    assert first.shape == (68, 90, 3)
    assert 15 < first.mean() < 250
    assert (first.min(-1) >= 254).mean() < 0.2
    assert np.array_equal(render(STAGES[name]), first)


@pytest.mark.parametrize("name", sorted(scenes.SCENES))
def test_scenes_are_places_and_not_plain_colours(name):
    assert render(scenes.SCENES[name]).std((0, 1)).max() > 6


def test_another_seed_is_another_picture_of_the_same_place():
    first, second = render(LOFT, seed=0), render(LOFT, seed=1)

    assert np.abs(first - second).mean() > 3
    assert first.mean((0, 1)) == pytest.approx(second.mean((0, 1)), abs=14)


def test_the_side_of_the_light_is_brighter():
    stage = replace(backdrops.STUDIOS["studio-grey"], key=0.8)
    left, right = (render(stage, light=light) for light in ("top-left", "top-right"))

    assert left[:, :30].mean() > left[:, -30:].mean() + 4
    assert right[:, :30].mean() < right[:, -30:].mean() - 4


def test_warm_light_is_warm():
    cool, warm = (render(replace(LOFT, warmth=warmth)).mean((0, 1)) for warmth in (-0.8, 0.8))

    assert warm[0] / warm[2] > 1.1 * cool[0] / cool[2]


def test_the_surface_begins_above_the_foot_and_goes_on_to_the_bottom():
    # Red wall, green ground.
    stage = replace(
        LOFT,
        wall=replace(LOFT.wall, texture="paper", colours=("#c03030",)),
        surface=replace(LOFT.surface, texture="paper", colours=("#30c030",)),
    )
    picture = render(stage)

    green = picture[..., 1] > picture[..., 0]
    assert not green[:30].any()
    assert green[int(0.85 * 68) - 2 :].all()


def test_a_subject_that_stands_nowhere_gets_only_a_wall():
    stage = replace(LOFT, surface=replace(LOFT.surface, texture="paper", colours=("#30c030",)))

    picture = render(stage, ground=None)

    assert not (picture[..., 1] > picture[..., 0]).any()


def test_things_far_away_are_smaller(monkeypatch):
    stripes = np.zeros((256, 256, 3), np.float32)
    stripes[:, np.arange(256) % 32 < 16] = 0.8
    monkeypatch.setattr(textures, "tile", lambda *_how: stripes)
    stage = replace(LOFT, surface=replace(LOFT.surface, scale=1))

    picture = render(stage, size=(400, 400), ground=0.75)[..., 0]

    def lines(row: int) -> int:
        bright = picture[row] > np.convolve(picture[row], np.ones(41) / 41, "same")
        return int((np.diff(bright.astype(int)) > 0).sum())

    near, far = lines(385), lines(230)
    assert far > 1.3 * near > 4


@pytest.mark.parametrize("size", [(1, 1), (500, 8), (8, 500)])
@pytest.mark.parametrize("ground", [None, 0.0, 0.5, 1.4])
def test_any_size_and_any_ground_will_do(size, ground):
    image = rendering.render(STAGES["evening-lights"], size, ground=ground).image

    assert (image.mode, image.size) == ("RGB", size)


def test_a_large_picture_is_drawn_on_few_pixels(monkeypatch):
    drawn = []
    paint = rendering._Painter.paint

    def spy(painter):
        drawn.append(painter.width * painter.height)
        return paint(painter)

    monkeypatch.setattr(rendering._Painter, "paint", spy)
    monkeypatch.setattr(rendering, "PIXELS", 10_000)

    assert render(LOFT, size=(800, 600)).shape == (600, 800, 3)
    assert drawn[0] < 10_300


def test_a_picture_behind_is_seen_out_of_focus_and_tints_the_ground():
    bars = np.zeros((68, 90, 3), np.uint8)
    bars[:, ::2] = (20, 60, 250)
    behind = Image.fromarray(bars)
    stage = replace(LOFT, surface=replace(LOFT.surface, texture="paper", colours=("#808080",)))

    plain, blue = render(stage), render(stage, behind=behind)

    assert blue[:20, :, 2].mean() > blue[:20, :, 0].mean() + 40
    assert np.abs(np.diff(blue[10], axis=0)).mean() < 60  # the bars are 230 apart
    ground = [picture[-8:].mean((0, 1)) for picture in (plain, blue)]
    assert ground[1][2] / ground[1][0] > 1.1 * ground[0][2] / ground[0][0]
