"""Materials: tiles whose edges fit, the same for the same words."""

import numpy as np
import pytest

from tools.engines import backdrops, scenes, textures

STAGES = [*backdrops.STUDIOS.values(), *scenes.SCENES.values()]
USED = {
    part.texture: part.colours
    for stage in STAGES
    for part in (stage.surface, stage.wall)
    if part.texture not in {"gradient", "panes"}
}


pytestmark = pytest.mark.usefixtures("small_tiles")


def test_every_texture_is_used_by_some_stage():
    assert set(USED) == set(textures._TEXTURES)


@pytest.mark.parametrize("name", USED)
def test_it_fits_its_own_edges(name):
    tile = textures.tile(name, USED[name], 0)

    for axis in (0, 1):
        inside = np.abs(np.diff(tile, axis=axis)).mean()
        seam = np.abs(np.take(tile, 0, axis) - np.take(tile, -1, axis)).mean()
        assert seam < 3 * inside + 0.02


@pytest.mark.parametrize("name", USED)
def test_it_is_light_from_0_to_1_in_about_its_colours(name):
    tile = textures.tile(name, USED[name], 0)
    colours = np.array([textures.linear(colour) for colour in USED[name]])

    assert tile.shape == (256, 256, 3)
    assert (tile.min() >= 0, tile.max() <= 1) == (True, True)
    assert (tile.mean((0, 1)) > colours.min(0) * 0.55).all()
    assert (tile.mean((0, 1)) < colours.max(0) * 1.15).all()


def test_the_same_seed_draws_the_same_and_another_one_does_not():
    first = textures.tile("wood", USED["wood"], 1)

    assert np.array_equal(textures.tile.__wrapped__("wood", USED["wood"], 1), first)
    assert not np.array_equal(textures.tile("wood", USED["wood"], 2), first)


def test_nobody_can_change_a_tile_that_others_use():
    tile = textures.tile("paper", ("#808080",), 0)

    with pytest.raises(ValueError, match="read-only"):
        tile[0, 0] = 1


def test_an_unknown_texture_is_an_error():
    with pytest.raises(textures.UnknownTexture):
        textures.tile("velvet", ("#808080",), 0)


def test_clouds_are_smooth_and_white_noise_is_not():
    rng = np.random.default_rng(0)
    step = {
        falloff: np.abs(np.diff(textures.noise(rng, falloff=falloff), axis=0)).mean()
        for falloff in (0.1, 2.0)
    }

    assert step[2.0] < 0.2 * step[0.1]
