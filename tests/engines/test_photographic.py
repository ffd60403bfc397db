"""Photographic edits: what changes, in which direction, and what stays."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from tools.engines import matting, photographic, tones, turning
from tools.engines.instructions import Edit
from tools.examples import photo


def sample(name: str = "coffee.png", side: int = 160) -> Image.Image:
    image = Image.open(photo(name)).convert("RGB")
    image.thumbnail((side, side))
    return image


@pytest.fixture(scope="module")
def coffee() -> Image.Image:
    return sample()


@pytest.fixture
def centred(monkeypatch):
    """A model that sees a subject in the middle half of every picture."""

    def mask(image, *, model):
        width, height = image.size
        found = Image.new("L", image.size)
        found.paste(255, (width // 4, height // 4, width - width // 4, height - height // 4))
        return found

    monkeypatch.setattr(matting, "mask", mask)


def done(image: Image.Image, *edits: Edit, strength: float = 1.0) -> Image.Image:
    return photographic.apply(image, edits, strength=strength)[0]


def lightness(image: Image.Image) -> float:
    return float(np.asarray(image.convert("L"), float).mean())


def spread(image: Image.Image) -> float:
    return float(np.asarray(image.convert("L"), float).std())


def warmth(image: Image.Image) -> float:
    red, _green, blue = np.asarray(image.convert("RGB"), float).mean(axis=(0, 1))
    return red - blue


def colourfulness(image: Image.Image) -> float:
    pixels = np.asarray(image.convert("RGB"), float)
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def detail(image: Image.Image) -> float:
    grey = np.asarray(image.convert("L"), float)
    return float(np.abs(np.diff(grey, axis=1)).mean())


def darkest(image: Image.Image) -> float:
    return float(np.percentile(np.asarray(image.convert("L"), float), 20))


def brightest(image: Image.Image) -> float:
    return float(np.percentile(np.asarray(image.convert("L"), float), 92))


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("brightness", lightness),
        ("contrast", spread),
        ("warmth", warmth),
        ("saturation", colourfulness),
        ("sharpness", detail),
        ("shadows", darkest),
        ("highlights", brightest),
    ],
)
def test_more_is_more_and_less_is_less(coffee, name, measure):
    usual = measure(coffee)
    little, much = (measure(done(coffee, Edit(name, amount))) for amount in (0.2, 0.6))
    less = measure(done(coffee, Edit(name, -0.4)))

    assert less < usual < little < much


@pytest.mark.parametrize("name", ["brightness", "contrast", "shadows", "highlights"])
@pytest.mark.parametrize("amount", [-0.9, -0.3, 0.3, 1.0])
def test_a_change_of_light_keeps_the_order_of_greys(name, amount):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(4, axis=0)).convert("RGB")

    greys = np.asarray(done(ramp, Edit(name, amount)), int)[0]

    assert (greys == greys[:, :1]).all(), "a grey became a colour"
    assert (np.diff(greys[:, 0]) >= 0).all()


def test_brighter_skin_keeps_its_hue():
    skin = Image.new("RGB", (8, 8), (198, 134, 104))

    red, green, blue = done(skin, Edit("brightness", 0.4)).getpixel((0, 0))

    assert red > 198
    assert (red - blue) / (red - green) == pytest.approx((198 - 104) / (198 - 134), rel=0.15)


def test_a_warmer_grey_is_as_light_as_before():
    grey = Image.new("RGB", (8, 8), (120, 120, 120))

    warm = done(grey, Edit("warmth", 0.5))

    assert warmth(warm) > 30
    assert lightness(warm) == pytest.approx(120, abs=4)


@pytest.mark.parametrize("name", sorted(set(photographic._ORDER)))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_edit_leaves_the_original_alone_and_is_the_same_twice(centred, name, mode):
    image = sample(side=90)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    before = image.tobytes()
    edit = Edit(name, 30 if name == "rotate" else 0.6, colour=(10, 200, 30))

    first, second = done(image, edit), done(image, edit)

    assert image.tobytes() == before
    assert first.tobytes() == second.tobytes()
    assert first.mode == ("RGB" if name == "background-colour" else mode)


@pytest.mark.parametrize("name", sorted(tones.TONES) + sorted(photographic._SPATIAL))
def test_alpha_stays_what_it_was(name):
    image = sample(side=90)
    alpha = Image.linear_gradient("L").resize(image.size)
    image.putalpha(alpha)

    assert done(image, Edit(name, 0.5)).getchannel("A").tobytes() == alpha.tobytes()


@pytest.mark.parametrize("name", sorted(set(tones.TONES)))
def test_no_seam_shows_where_bands_meet(coffee, name, monkeypatch):
    whole = np.asarray(done(coffee, Edit(name, 0.5)), int)
    monkeypatch.setattr(tones, "BAND_PIXELS", coffee.width * 7)

    banded = np.asarray(done(coffee, Edit(name, 0.5)), int)

    assert np.abs(whole - banded).max() <= 1


def test_noise_reduction_in_bands_shows_no_seam(monkeypatch):
    tall = sample(side=300)
    whole = np.asarray(done(tall, Edit("denoise", 0.5)), int)
    monkeypatch.setattr(tones, "BAND_PIXELS", tall.width * 30)

    assert np.abs(whole - np.asarray(done(tall, Edit("denoise", 0.5)), int)).max() <= 1


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_scales_what_is_done(coffee, strength):
    scaled = done(coffee, Edit("brightness", 0.4), strength=strength)

    plain = done(coffee, Edit("brightness", 0.4 * strength))
    assert scaled.tobytes() == plain.tobytes()


def test_nothing_is_changed_by_an_amount_of_nothing(coffee):
    edits = [Edit(name, 0.0) for name in ("brightness", "contrast", "saturation", "warmth")]

    assert np.abs(np.asarray(done(coffee, *edits), int) - np.asarray(coffee, int)).max() <= 1


def test_the_order_of_the_sentence_makes_no_difference(coffee):
    edits = [Edit("vignette", 0.4), Edit("brightness", 0.2), Edit("rotate", 90.0)]

    assert done(coffee, *edits).tobytes() == done(coffee, *reversed(edits)).tobytes()


def test_noise_goes_and_edges_stay():
    clean = sample(side=300)
    rng = np.random.default_rng(1)
    pixels = np.asarray(clean, float)
    noisy = Image.fromarray(
        np.clip(pixels + rng.normal(0, 14, pixels.shape), 0, 255).astype(np.uint8)
    )

    calm = np.asarray(done(noisy, Edit("denoise", 0.5)), float)

    def error(picture) -> float:
        return float(((picture - pixels) ** 2).mean())

    assert error(calm) < 0.45 * error(np.asarray(noisy, float))


def test_a_photo_from_the_dark_comes_to_light():
    bright = sample("astronaut.png")
    levels = [round(((level / 255) ** 2.2 * 0.06) ** (1 / 2.2) * 255) for level in range(256)]
    dark = bright.point(levels * 3)

    lit = done(dark, Edit("low-light", 0.6))

    assert lightness(dark) < 45
    assert lightness(lit) > 90
    assert brightest(lit) < 253


def test_a_colour_cast_goes():
    plain = sample("astronaut.png")
    green = Image.merge(
        "RGB",
        [
            band.point(lambda v, k=k: v * k)
            for band, k in zip(plain.split(), (0.75, 1, 0.8), strict=True)
        ],
    )

    balanced = done(green, Edit("white-balance"))

    def greenness(image):
        red, g, blue = np.asarray(image, float)[:30, 70:100].mean(axis=(0, 1))
        return g - (red + blue) / 2

    assert greenness(green) > 25
    assert abs(greenness(balanced)) < 10


@pytest.mark.parametrize("name", ["black-and-white", "sepia"])
def test_a_photo_of_one_tone_has_one_hue(coffee, name):
    pixels = np.asarray(done(coffee, Edit(name)), int)

    if name == "sepia":
        assert (pixels[..., 0] >= pixels[..., 1]).mean() > 0.99
        assert (pixels[..., 1] >= pixels[..., 2]).mean() > 0.99
    else:
        assert (pixels == pixels[..., :1]).all()


def test_a_vignette_darkens_the_corners_and_not_the_middle(coffee):
    dark = np.asarray(done(coffee, Edit("vignette", 0.4)), int)
    before = np.asarray(coffee, int)
    middle = np.s_[40:60, 70:90]

    assert np.abs(dark[middle] - before[middle]).max() <= 2
    assert dark[-12:, -12:].mean() < 0.75 * before[-12:, -12:].mean()


def test_only_the_background_is_blurred(centred, coffee):
    soft = done(coffee, Edit("blur-background", 0.8))
    inside = (60, 40, 100, 66)

    assert soft.crop(inside).tobytes() == coffee.crop(inside).tobytes()
    assert detail(soft.crop((0, 0, 160, 20))) < 0.5 * detail(coffee.crop((0, 0, 160, 20)))


def test_the_subject_does_not_smear_into_a_blurred_background(centred):
    image = Image.new("RGB", (160, 120), (0, 0, 255))
    image.paste((255, 0, 0), (40, 30, 120, 90))

    soft = np.asarray(done(image, Edit("blur-background", 1.0)), int)

    assert soft[60, :34, 0].max() < 60


def test_a_new_background_is_the_colour_that_was_asked_for(centred, coffee):
    flat = done(coffee, Edit("background-colour", colour=(250, 20, 30)))

    assert flat.getpixel((3, 3)) == (250, 20, 30)
    inside = (64, 43, 96, 63)
    assert flat.crop(inside).tobytes() == coffee.crop(inside).tobytes()


def test_a_colour_goes_behind_what_is_cut_out_already():
    cut_out = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    cut_out.paste((9, 9, 9, 255), (10, 10, 30, 30))

    flat = done(cut_out, Edit("background-colour", colour=(255, 255, 0)))

    assert (flat.mode, flat.getpixel((0, 0)), flat.getpixel((20, 20))) == (
        "RGB",
        (255, 255, 0),
        (9, 9, 9),
    )


@pytest.mark.parametrize(("where", "changed"), [("background", (2, 2)), ("subject", (80, 53))])
def test_an_edit_of_a_part_leaves_the_other(centred, coffee, where, changed):
    kept = {"background": (80, 53), "subject": (2, 2)}[where]

    part = done(coffee, Edit("brightness", -0.6, where), Edit("sharpness", -0.5, where))

    assert part.getpixel(kept) == pytest.approx(coffee.getpixel(kept), abs=1)
    assert sum(part.getpixel(changed)) < sum(coffee.getpixel(changed))


@pytest.mark.parametrize(
    ("degrees", "transposed"),
    [
        (90, Image.Transpose.ROTATE_270),
        (-90, Image.Transpose.ROTATE_90),
        (-180, Image.Transpose.ROTATE_180),
    ],
)
def test_quarter_turns_move_pixels_and_lose_none(coffee, degrees, transposed):
    turned = done(coffee, Edit("rotate", degrees))

    assert turned.tobytes() == coffee.transpose(transposed).tobytes()


@pytest.mark.parametrize("degrees", [3.0, -17.0, 45.0, 100.0])
@pytest.mark.parametrize("size", [(200, 120), (90, 240)])
def test_other_turns_show_no_empty_corner(degrees, size):
    white = Image.new("RGB", size, "white")

    turned = done(white, Edit("rotate", degrees))

    assert turned.getextrema() == ((255, 255),) * 3
    assert min(turned.size) > 20


def test_flips_are_flips(coffee):
    assert done(coffee, Edit("flip-horizontal")).tobytes() == ImageOps.mirror(coffee).tobytes()
    assert done(coffee, Edit("flip-vertical")).tobytes() == ImageOps.flip(coffee).tobytes()


def test_the_square_is_the_middle(coffee):
    assert done(coffee, Edit("square")).size == (min(coffee.size),) * 2


def tilted(degrees: float) -> Image.Image:
    """A house by the sea that was photographed ``degrees`` clockwise off."""
    scene = Image.new("RGB", (600, 500), (150, 180, 220))
    draw = ImageDraw.Draw(scene)
    draw.rectangle((0, 280, 600, 500), fill=(40, 80, 120))
    draw.rectangle((200, 150, 330, 300), fill=(190, 120, 90))
    draw.rectangle((240, 200, 270, 260), fill=(230, 230, 220))
    return scene.rotate(-degrees, Image.Resampling.BICUBIC).crop((70, 70, 530, 430))


@pytest.mark.parametrize("degrees", [-8.0, -2.5, 4.0, 10.0])
def test_the_tilt_of_a_horizon_is_found(degrees):
    assert turning.find_tilt(tilted(degrees)) == pytest.approx(degrees, abs=0.4)


def test_a_straightened_photo_is_level():
    level = done(tilted(5.0), Edit("straighten"))

    assert turning.find_tilt(level) == pytest.approx(0, abs=0.4)


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png"])
def test_a_photo_without_long_lines_is_not_turned(name):
    image = sample(name, 300)

    same, idle = photographic.apply(image, [Edit("straighten")])

    assert idle == [Edit("straighten")]
    assert same.tobytes() == image.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 2), (40, 40)])
def test_tiny_and_narrow_pictures_come_through(centred, size):
    image = Image.linear_gradient("L").resize(size).convert("RGB")

    for name in photographic._ORDER:
        assert min(done(image, Edit(name, 0.5, colour=(1, 2, 3))).size) >= 1
