"""Image review: each rule on a picture that keeps it and on one that breaks it."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from tools import registry
from tools.catalog import image_review
from tools.engines import reading, reviewing
from tools.engines.reviewing import Measures

GOOD = Measures(
    width=2400,
    height=2400,
    transparent=0,
    white=1,
    plain=1,
    subject=(200, 200, 2200, 2200),
    fill=0.87,
    offset=0.01,
    touching=0,
    blur=0.4,
    lightness=50,
    frame=0,
    overlaid=(),
    printed=(),
)


@pytest.fixture
def tool():
    return registry.get("image-review")


@pytest.fixture
def reviewed(tool, monkeypatch):
    """The report on a picture on which this was measured, GOOD but for what is named."""

    def review(marketplace="amazon", **measured):
        seen = Measures(**{**GOOD.__dict__, **measured})
        monkeypatch.setattr(reviewing, "measure", lambda _image: seen)
        (output,) = tool.run(Image.new("RGB", (8, 8)), tool.clean({"marketplace": marketplace}))
        return output.data

    return review


def broken(report) -> list[str]:
    return [rule["rule"] for rule in report["rules"] if not rule["passed"]]


@pytest.mark.parametrize("marketplace", image_review.MARKETPLACES)
def test_a_good_picture_passes_everywhere(reviewed, marketplace):
    report = reviewed(marketplace)

    assert broken(report) == []
    assert (report["marketplace"], report["passed"], report["score"]) == (marketplace, True, 100)


@pytest.mark.parametrize(
    ("measured", "rule", "passed"),
    [
        ({"width": 900, "height": 900}, "minimum_size", False),
        ({"width": 1800, "height": 1800}, "recommended_size", True),
        ({"width": 12_000, "height": 9000}, "maximum_size", False),
        ({"width": 2400, "height": 1000}, "aspect_ratio", True),
        ({"white": 0.6}, "white_background", False),
        ({"transparent": 0.4}, "opaque", True),
        ({"fill": 0.4}, "frame_fill", False),
        ({"offset": 0.2}, "centred", True),
        ({"touching": 0.2}, "subject_whole", False),
        ({"blur": 0.8}, "sharpness", True),
        ({"lightness": 3.0}, "exposure", True),
        ({"lightness": 99.0}, "exposure", True),
        ({"frame": 12}, "no_frame", False),
        ({"overlaid": ("SALE",)}, "no_text", False),
    ],
)
def test_each_rule_is_broken_by_what_it_is_about(reviewed, measured, rule, passed):
    report = reviewed(**measured)

    assert rule in broken(report)
    assert report["score"] < 100
    # Advice that is not taken fails no picture.
    assert report["passed"] is (passed and broken(report)[0] != "minimum_size")


def test_a_reason_is_a_sentence_with_the_figures(reviewed):
    by_rule = {
        rule["rule"]: rule["reason"]
        for rule in reviewed(width=900, height=700, white=0.613, fill=0.5, frame=7)["rules"]
    }

    assert by_rule["minimum_size"] == (
        "The picture has 900 × 700 pixels; its longer side needs at least 1000."
    )
    assert by_rule["white_background"] == "61 % of the rim is pure white; 98 % is wanted."
    assert by_rule["frame_fill"] == "The product takes 50 % of the frame; at least 85 % is wanted."
    assert by_rule["no_frame"] == "A frame of 7 pixels is drawn around the picture."


def test_a_picture_without_a_product_says_so(reviewed):
    report = reviewed(subject=None, fill=0, offset=0)

    assert broken(report) == ["frame_fill", "centred", "subject_whole"]
    assert {r["reason"] for r in report["rules"] if not r["passed"]} == {
        "No product stands out in the picture."
    }
    assert not report["passed"]


def test_text_on_the_product_is_no_matter(reviewed):
    assert broken(reviewed(printed=("BRAND",))) == []


def test_only_some_want_white_and_the_others_a_plain_background(reviewed):
    assert "white_background" in broken(reviewed("walmart", white=0))
    for marketplace in ("ebay", "shopify"):
        report = reviewed(marketplace, white=0, plain=0.2)
        assert "white_background" not in [rule["rule"] for rule in report["rules"]]
        assert broken(report) == ["plain_background"]


def test_nearly_all_is_not_rounded_to_all():
    assert image_review._percent(0.997) == 99.7
    assert image_review._percent(0.003) == 0.3
    assert image_review._percent(1) == 100


def test_the_report_is_plain_json_with_what_was_measured_and_wanted(reviewed):
    report = reviewed()

    assert json.loads(json.dumps(report, allow_nan=False)) == report
    for rule in report["rules"]:
        assert set(rule) == {"rule", "level", "passed", "measured", "wanted", "reason"}
        assert rule["level"] in {"required", "recommended"}
        assert rule["reason"].endswith(".")


# --- Measuring ------------------------------------------------------------------------------


def textured(width: int, height: int) -> Image.Image:
    """Something sharp and dark enough to be a product."""
    noise = np.random.default_rng(7).integers(0, 120, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST)


def packshot(side: int = 400, fill: float = 0.9) -> Image.Image:
    """A product in the middle of white."""
    page = Image.new("RGB", (side, side), (255, 255, 255))
    inner = round(side * fill)
    page.paste(textured(inner, inner), ((side - inner) // 2, (side - inner) // 2))
    return page


@pytest.fixture
def measured(monkeypatch):
    """What is measured on a picture in which nobody has to look for text."""
    monkeypatch.setattr(reading, "read", lambda _image: [])
    return reviewing.measure


def test_a_packshot_is_measured_to_the_pixel(measured):
    seen = measured(packshot(400, 0.9))

    assert (seen.white, seen.plain, seen.frame, seen.touching) == (1, 1, 0, 0)
    assert seen.subject is not None
    assert all(
        abs(edge - wanted) <= 2
        for edge, wanted in zip(seen.subject, (20, 20, 380, 380), strict=True)
    )
    assert seen.fill == pytest.approx(0.9, abs=0.01)
    assert seen.offset < 0.01


def test_nearly_white_is_not_white_but_plain(measured):
    picture = packshot().point([min(level, 240) for level in range(256)] * 3)

    seen = measured(picture)

    assert (seen.white, seen.plain) == (0, 1)


def test_a_product_in_a_corner_is_off_the_middle(measured):
    page = Image.new("RGB", (400, 400), (255, 255, 255))
    page.paste(textured(120, 120), (20, 20))

    assert measured(page).offset == pytest.approx(0.3, abs=0.01)


def test_a_frame_is_measured_and_a_plain_background_is_none(measured):
    assert measured(ImageOps.expand(packshot(), 9, "black")).frame == 9
    assert measured(ImageOps.expand(textured(300, 200), 6, "navy")).frame == 6
    assert measured(packshot()).frame == 0
    assert measured(Image.new("RGB", (300, 200), "navy")).frame == 0


def test_a_blur_can_be_measured(measured):
    sharp = packshot()

    figures = [
        measured(sharp.filter(ImageFilter.GaussianBlur(radius))).blur for radius in (0, 4, 9)
    ]

    assert figures == sorted(figures)
    assert figures[0] < image_review.SHARPEST < figures[1]


def test_light_is_that_of_the_product(measured):
    dark = Image.new("RGB", (400, 400), (255, 255, 255))
    dark.paste((12, 12, 12), (60, 60, 340, 340))

    assert measured(dark).lightness < 5


def test_a_cut_out_is_measured_on_white_and_called_transparent(measured):
    picture = packshot().convert("RGBA")
    picture.putalpha(ImageOps.expand(Image.new("L", (360, 360), 255), 20, 0))

    seen = measured(picture)

    assert seen.white == 1
    assert seen.transparent == pytest.approx(1 - 0.9**2, abs=0.01)


def test_an_empty_page_has_no_product(measured):
    assert measured(Image.new("RGB", (300, 300), (255, 255, 255))).subject is None


@pytest.mark.weights
def test_text_is_told_from_what_is_printed_on_the_product(tool):
    page = Image.new("RGB", (900, 900), (255, 255, 255))
    page.paste((30, 60, 120), (150, 200, 750, 750))
    draw = ImageDraw.Draw(page)
    draw.text((230, 420), "GREEN TEA", fill="white", font=ImageFont.load_default(80))
    label = reviewing.measure(page)
    draw.text((40, 40), "50% OFF", fill="red", font=ImageFont.load_default(70))
    sale = reviewing.measure(page)

    assert (label.overlaid, label.printed) == ((), ("GREEN TEA",))
    assert (sale.overlaid, sale.printed) == (("50% OFF",), ("GREEN TEA",))
    assert sale.subject == label.subject
