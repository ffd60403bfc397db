"""Cutting out, on a small model whose mask one can work out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.weights.small_models import pin, write_model
from tools.engines import matting, weights


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A model in the place of u2netp that is the surer the brighter a pixel is."""

    def install(**how):
        file = write_model(tmp_path / "small.onnx", side=320, **how)
        monkeypatch.setitem(weights.MANIFEST, "u2netp", pin("small", file.read_bytes()))
        monkeypatch.setattr(weights, "_sessions", {})

    monkeypatch.setattr(weights, "_folder", tmp_path)
    install()
    return install


def photo(width: int, height: int, *, mode: str = "RGB") -> Image.Image:
    """Noise with a bright blob in it: dark and bright, soft and hard."""
    rng = np.random.default_rng(width * height)
    y, x = np.mgrid[:height, :width]
    blob = np.exp(-(((x / width - 0.4) ** 2 + (y / height - 0.5) ** 2) * 12))
    noise = rng.integers(0, 90, (height, width, len(mode)))
    return Image.fromarray((noise + blob[..., None] * 165).astype(np.uint8), mode)


def rembg_mask(image: Image.Image) -> Image.Image:
    """The mask in rembg's arithmetic, spelled out in double precision."""
    small = np.array(image.convert("RGB").resize((320, 320), Image.Resampling.LANCZOS))
    scaled = small / max(small.max(), 1e-6)
    scaled = (scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    pixels = scaled.transpose(2, 0, 1)[None].astype(np.float32)
    seen = weights.run(weights.session("u2netp"), pixels)[0, 0]
    stretched = (seen - seen.min()) / (seen.max() - seen.min())
    small_mask = Image.fromarray((stretched * 255).astype(np.uint8))
    return small_mask.resize(image.size, Image.Resampling.LANCZOS)


def same(picture: Image.Image, expected: Image.Image) -> bool:
    return (
        picture.mode == expected.mode
        and picture.size == expected.size
        and np.array_equal(np.asarray(picture), np.asarray(expected))
    )


SIZES = [(640, 480), (333, 217), (320, 320), (2000, 40), (3, 500), (2, 2)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_mask_is_rembgs_to_the_last_bit(width, height):
    image = photo(width, height)

    mask = matting.mask(image, model="u2netp")

    assert same(mask, rembg_mask(image))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_cut_out_is_what_compositing_on_nothing_gives(width, height, mode):
    image = photo(width, height, mode=mode)
    nothing = Image.new("RGBA", image.size, 0)
    expected = Image.composite(image, nothing, rembg_mask(image))

    done = matting.cut_out(image, model="u2netp")

    assert same(done, expected)


def test_own_transparency_stays_transparent():
    image = photo(300, 200, mode="RGBA")
    image.paste((255, 255, 255, 0), (0, 0, 150, 200))

    done = matting.cut_out(image, model="u2netp")

    assert done.getchannel("A").crop((0, 0, 150, 200)).getextrema() == (0, 0)
    assert done.getchannel("A").crop((150, 0, 300, 200)).getextrema()[1] > 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_background_colour_is_mixed_in_once(mode):
    image = photo(333, 217, mode=mode)
    alpha = np.asarray(rembg_mask(image)) / 255.0
    if mode == "RGBA":
        alpha = alpha * (np.asarray(image)[..., 3] / 255.0)
    alpha = alpha[..., None]
    colours = np.asarray(image)[..., :3]
    expected = colours * alpha + np.array([250, 128, 3]) * (1 - alpha)

    done = matting.cut_out(image, model="u2netp", background=(250, 128, 3))

    assert done.mode == "RGB"
    assert np.abs(np.asarray(done) - expected).max() <= 1


def test_a_grey_subject_on_the_same_grey_shows_no_rim():
    image = Image.new("RGB", (320, 320), (200, 200, 200))
    rim = Image.linear_gradient("L").resize(image.size)

    done = matting._on_colour(image, rim, (200, 200, 200))

    assert done.getextrema() == ((200, 200), (200, 200), (200, 200))


@pytest.mark.parametrize("background", [None, (255, 255, 255)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_original_is_left_alone(mode, background):
    image = photo(120, 90, mode=mode)
    before = image.copy()

    matting.cut_out(image, model="u2netp", background=background)

    assert same(image, before)


def test_a_grey_picture_becomes_a_coloured_cut_out():
    image = photo(120, 90).convert("L")

    done = matting.cut_out(image, model="u2netp")

    assert same(done, matting.cut_out(image.convert("RGB"), model="u2netp"))


def test_a_palette_with_a_transparent_entry_keeps_its_transparency():
    image = Image.new("P", (100, 80), 0)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.paste(1, (20, 20, 60, 60))
    image.info["transparency"] = 0

    done = matting.cut_out(image, model="u2netp")

    assert same(done, matting.cut_out(image.convert("RGBA"), model="u2netp"))
    assert done.getpixel((0, 0))[3] == 0


def test_a_black_picture_does_not_divide_by_nothing():
    with pytest.raises(matting.NoSubject):
        matting.cut_out(Image.new("RGB", (50, 50)), model="u2netp")


def test_a_model_that_is_equally_sure_everywhere_has_found_no_subject():
    with pytest.raises(matting.NoSubject):
        matting.mask(Image.new("RGB", (50, 50), (90, 80, 70)), model="u2netp")


def test_a_model_that_is_sure_of_nothing_has_found_no_subject(small):
    small(gain=0.1, bias=-4.0)  # at most 0.02, stretched to 1 it would look like a subject

    with pytest.raises(matting.NoSubject):
        matting.mask(photo(64, 48), model="u2netp")


def test_a_wall_with_hardly_a_shade_has_no_subject_however_sure_the_model_is():
    wall = Image.new("RGB", (64, 48), (200, 200, 200))
    wall.paste((204, 203, 202), (10, 10, 50, 40))

    with pytest.raises(matting.NoSubject):
        matting.mask(wall, model="u2netp")


def test_a_faint_subject_is_not_refused(small):
    small(gain=1.0, bias=-3.0)  # at most 0.3 or so

    mask = matting.mask(photo(64, 48), model="u2netp")

    assert mask.getextrema()[1] > 200


# --- Cropping -------------------------------------------------------------------------------------


def lone(width: int = 300, height: int = 200, *, box=(100, 60, 180, 160)) -> Image.Image:
    """Black, with a white box: a subject whose edges one knows."""
    image = Image.new("RGB", (width, height))
    image.paste((255, 255, 255), box)
    return image


def size_of_subject(image: Image.Image) -> tuple[int, int]:
    left, top, right, bottom = image.convert("L").point(lambda v: 255 * (v > 128)).getbbox()
    return right - left, bottom - top


def test_without_a_margin_the_picture_ends_where_the_subject_ends(small):
    small(gain=30, bias=-15)

    done = matting.cut_out(lone(), model="u2netp", margin=0)

    assert done.width == pytest.approx(80, abs=4)
    assert done.height == pytest.approx(100, abs=4)


def test_a_margin_is_a_share_of_the_longer_side_on_all_sides(small):
    small(gain=30, bias=-15)
    tight = matting.cut_out(lone(), model="u2netp", margin=0)

    done = matting.cut_out(lone(), model="u2netp", margin=20)

    room = round(tight.height / 5)
    assert done.size == (tight.width + 2 * room, tight.height + 2 * room)
    inner = done.crop((room, room, room + tight.width, room + tight.height))
    assert same(inner, tight)


@pytest.mark.parametrize("background", [None, (0, 200, 0)])
def test_the_canvas_grows_where_the_margin_reaches_beyond_the_picture(small, background):
    small(gain=30, bias=-15)
    near = lone(box=(10, 60, 90, 160))

    done = matting.cut_out(near, model="u2netp", margin=50, background=background)

    assert done.width == pytest.approx(80 + 2 * 50, abs=8)
    assert done.getpixel((0, 0)) == (background or (0, 0, 0, 0))


def test_there_is_no_margin_where_the_subject_runs_out_of_the_picture(small):
    small(gain=30, bias=-15)
    cut = lone(box=(100, 100, 180, 200))

    done = matting.cut_out(cut, model="u2netp", margin=10)

    assert done.getpixel((done.width // 2, done.height - 1))[3] > 200
    assert done.getpixel((done.width // 2, 0))[3] == 0


def test_what_is_transparent_already_does_not_count_as_the_subject(small):
    small(gain=30, bias=-15)
    image = lone()
    image.putalpha(255)
    image.paste((255, 255, 255, 0), (100, 60, 140, 160))

    done = matting.cut_out(image, model="u2netp", margin=0)

    assert done.width == pytest.approx(40, abs=4)


def test_a_subject_that_is_all_transparent_is_none(small):
    small(gain=30, bias=-15)
    image = lone()
    image.putalpha(0)

    with pytest.raises(matting.NoSubject):
        matting.cut_out(image, model="u2netp", margin=0)


# --- Models that others made ----------------------------------------------------------------------


def test_a_model_that_gives_logits_is_stretched_as_rembg_stretches_it(small, monkeypatch):
    monkeypatch.setitem(matting.MODELS, "u2netp", replace(matting.MODELS["u2netp"], logits=True))
    image = photo(64, 48)

    mask = matting.mask(image, model="u2netp")

    assert mask.size == (64, 48)
    assert mask.getextrema()[1] > 200


def test_warming_loads_the_model_once_and_for_all(tmp_path):
    matting.warm(model="u2netp")
    (tmp_path / "small.onnx").unlink()

    mask = matting.mask(photo(64, 48), model="u2netp")

    assert mask.size == (64, 48)


def test_without_weights_the_error_names_the_command(tmp_path):
    (tmp_path / "small.onnx").unlink()

    with pytest.raises(weights.WeightsMissing, match="fetchweights u2netp"):
        matting.cut_out(photo(64, 48), model="u2netp")
