"""Tiles, alpha and limits, on networks whose results one can work out by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tools.engines import upscaling, weights


@dataclass
class Engine:
    """Networks that repeat each pixel and mix it with those 20 pixels of the original away.

    ``seen`` are the shapes of what they were given. ``room`` is how many pixels fit into the
    memory. ``providers`` are what there is to run on.
    """

    seen: list[tuple[int, ...]]
    room: float = float("inf")
    providers: tuple[str, ...] = ("CPUExecutionProvider",)

    def session(self, _name):
        return Session(self)

    def run(self, session, pixels):
        self.seen.append(pixels.shape)
        if pixels[0, 0].size > self.room:
            raise weights.ModelOutOfMemory
        large = pixels.repeat(4, axis=2).repeat(4, axis=3)
        far = 20 * 4
        for axis in (2, 3):
            large = (np.roll(large, far, axis) + large + np.roll(large, -far, axis)) / 3
        return large


@dataclass
class Session:
    engine: Engine

    def get_providers(self):
        return list(self.engine.providers)


@pytest.fixture
def engine(monkeypatch):
    engine = Engine([])
    monkeypatch.setattr(weights, "session", engine.session)
    monkeypatch.setattr(weights, "run", engine.run)
    return engine


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * height)
    noise = rng.integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(noise, mode).filter(ImageFilter.BoxBlur(1))


def furthest(one: Image.Image, other: Image.Image) -> int:
    assert (one.mode, one.size) == (other.mode, other.size)
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


SIZES = [(64, 48), (1, 1), (8, 300), (131, 7), (97, 101)]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("scale", upscaling.SCALES)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_picture_grows_by_the_scale_and_keeps_its_mode(engine, width, height, scale, mode):
    image = photo(width, height, mode)
    before = image.tobytes()

    done = upscaling.upscale(image, scale=scale, model="fast", window=76)

    assert (done.mode, done.size) == (mode, (width * scale, height * scale))
    assert image.tobytes() == before


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("scale", upscaling.SCALES)
def test_the_tiles_can_not_be_told_from_one_large_run(engine, scale, mode):
    image = photo(190, 97, mode)
    whole = upscaling.upscale(image, scale=scale, model="fast", window=1000)
    runs = len(engine.seen)

    tiled = upscaling.upscale(image, scale=scale, model="fast", window=76)

    assert len(engine.seen) > 10 * runs
    assert furthest(tiled, whole) <= 1


def test_where_windows_do_not_reach_far_enough_tiles_fade_into_each_other(engine, monkeypatch):
    short = replace(upscaling.SPAN, margin=4, window=40)
    monkeypatch.setattr(upscaling, "MODELS", {"fast": short})
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")

    steps = np.diff(
        np.asarray(upscaling.upscale(image, scale=2, model="fast")).astype(int)[:, 5, 0]
    )

    # Pixel 64 is the border; the network reaches beyond the margin, so the tiles differ there.
    border, usual = steps[54:74].max(), np.abs(steps[10:50]).max()
    assert border <= usual + 3


def test_a_flat_picture_stays_what_it_is_to_its_very_corners(engine):
    image = Image.new("RGB", (120, 90), (10, 200, 77))

    done = upscaling.upscale(image, scale=3, model="fast", window=64)

    assert done.getcolors() == [(360 * 270, (10, 200, 77))]


@pytest.mark.parametrize("window", [76, 128])
def test_a_network_never_sees_more_than_its_window(engine, window):
    upscaling.upscale(photo(700, 300), scale=2, model="fast", window=window)

    assert {max(shape[2:]) <= window for shape in engine.seen} == {True}
    assert len(set(engine.seen)) == 1  # each new size would cost memory


def test_twice_the_same_is_the_same(engine):
    image = photo(150, 90, "RGBA")

    first, second = (
        upscaling.upscale(image, scale=4, model="quality", window=64).tobytes() for _ in range(2)
    )

    assert first == second


# --- Transparency ---------------------------------------------------------------------------------


def disc(side: int) -> Image.Image:
    """A light disc on transparent black."""
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    alpha = np.where(x**2 + y**2 < (side / 3) ** 2, 255, 0).astype(np.uint8)
    pixels = np.dstack([np.where(alpha > 0, 220, 0).astype(np.uint8)] * 3 + [alpha])
    return Image.fromarray(pixels, "RGBA")


@pytest.mark.parametrize("scale", upscaling.SCALES)
def test_what_lies_under_transparent_pixels_does_not_darken_the_edge(engine, scale):
    done = np.asarray(upscaling.upscale(disc(90), scale=scale, model="fast", window=76))

    visible = done[done[..., 3] > 0]
    assert visible[:, :3].min() >= 215
    assert not done[done[..., 3] == 0].any()


def test_opaque_and_transparent_pixels_stay_so_away_from_the_edge(engine):
    image = disc(90)

    done = upscaling.upscale(image, scale=2, model="fast").getchannel("A")

    large = image.getchannel("A").resize(done.size, Image.Resampling.NEAREST)
    inside = np.asarray(large.filter(ImageFilter.MinFilter(5)))
    outside = np.asarray(large.filter(ImageFilter.MaxFilter(5)))
    assert np.asarray(done)[inside == 255].min() == 255
    assert np.asarray(done)[outside == 0].max() == 0


def test_an_opaque_alpha_costs_no_run(engine):
    image = photo(50, 40)
    plain = upscaling.upscale(image, scale=2, model="fast")
    runs = len(engine.seen)
    image.putalpha(255)

    done = upscaling.upscale(image, scale=2, model="fast")

    assert len(engine.seen) == 2 * runs
    assert done.getchannel("A").getextrema() == (255, 255)
    assert furthest(done.convert("RGB"), plain) == 0


def test_tiles_in_which_nothing_shows_are_left_out(engine):
    image = Image.new("RGBA", (400, 400))
    image.paste((200, 10, 10, 255), (20, 20, 60, 60))

    done = upscaling.upscale(image, scale=2, model="fast", window=144)

    assert len(engine.seen) == 2  # one tile of 16, for colours and for alpha
    assert done.getpixel((80, 80)) == pytest.approx((200, 10, 10, 255), abs=1)


# --- Limits ---------------------------------------------------------------------------------------


def test_where_memory_runs_out_smaller_windows_are_tried(engine):
    image = photo(300, 200)
    engine.room = 200 * 200

    done = upscaling.upscale(image, scale=2, model="fast")

    assert done.size == (600, 400)
    assert max(engine.seen[-1][2:]) <= upscaling.SPAN.window // 2


def test_smaller_windows_are_tried_once(engine):
    engine.room = 0

    with pytest.raises(weights.ModelOutOfMemory):
        upscaling.upscale(photo(500, 500), scale=2, model="fast")

    assert len(engine.seen) == 2


@pytest.mark.parametrize(
    ("size", "scale", "most"),
    [((5001, 5000), 2, 25_000_000), ((5000, 10), 4, 33_550), ((100, 12_000), 2, 558_895)],
)
def test_a_result_that_no_file_should_hold_is_refused(engine, size, scale, most):
    with pytest.raises(upscaling.TooLarge) as caught:
        upscaling.upscale(Image.new("RGB", size), scale=scale, model="fast")

    assert caught.value.pixels == pytest.approx(most, rel=0.001)
    assert engine.seen == []


def test_the_slow_model_takes_large_pictures_with_a_gpu_only(engine):
    image = Image.new("RGB", (1000, 1001))

    with pytest.raises(upscaling.TooSlow) as caught:
        upscaling.upscale(image, scale=2, model="quality")

    assert caught.value.pixels == 1_000_000
    assert engine.seen == []
    engine.providers = ("CUDAExecutionProvider", "CPUExecutionProvider")
    upscaling._check_time(image, model="quality", network=upscaling.REAL_ESRGAN)


def test_a_palette_with_a_transparent_entry_keeps_its_transparency(engine):
    image = Image.new("P", (40, 30), 0)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.paste(1, (10, 10, 30, 20))
    image.info["transparency"] = 0

    done = upscaling.upscale(image, scale=2, model="fast")

    assert done.mode == "RGBA"
    assert (done.getpixel((0, 0))[3], done.getpixel((40, 30))[3]) == (0, 255)
