"""Cutting a subject out so that nothing of the old background comes along."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tools.engines import matting, subjects

RED, BLUE = (210, 40, 30), (30, 60, 200)


def disc(size=(300, 240), box=(90, 60, 210, 180), soft=1.5) -> Image.Image:
    """A mask with a soft edge, as a lens draws it."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(soft))


def on(background, mask: Image.Image) -> Image.Image:
    photo = Image.new("RGB", mask.size, background)
    photo.paste(RED, mask=mask)
    return photo


@pytest.fixture
def seen(monkeypatch):
    """What the model sees: set ``seen.mask`` first."""

    class Seen:
        mask: Image.Image

    monkeypatch.setattr(matting, "mask", lambda _image, *, model: Seen.mask)
    return Seen


def test_no_colour_of_the_old_background_is_left_along_the_edge(seen):
    seen.mask = disc()

    subject = subjects.cut(on(BLUE, disc()), model="u2net")

    shown = np.asarray(subject.colours)[np.asarray(subject.alpha) > 20]
    assert np.abs(shown.astype(int) - RED).max() <= 30  # the photo itself is 180 away there


def test_on_another_background_there_is_no_halo(seen):
    seen.mask = disc()
    subject = subjects.cut(on((255, 255, 255), disc()), model="u2net")
    dark = Image.new("RGB", (300, 240), (0, 0, 0))

    dark.paste(subject.colours, subject.origin, subject.alpha)

    # White would shine through in green, of which neither the subject nor black has any.
    assert np.asarray(dark)[..., 1].max() <= RED[1] + 20


def test_pixels_away_from_the_edge_stay_what_they_are(seen):
    rng = np.random.default_rng(1)
    photo = Image.fromarray(rng.integers(60, 200, (240, 300, 3), dtype=np.uint8))
    seen.mask = disc()

    subject = subjects.cut(photo, model="u2net")

    x, y = subject.origin
    width, height = subject.size
    whole = np.asarray(subject.alpha.filter(ImageFilter.MinFilter(11))) == 255
    before = np.asarray(photo.crop((x, y, x + width, y + height)))
    assert whole.sum() > 5000
    assert np.array_equal(np.asarray(subject.colours)[whole], before[whole])


def test_the_mask_is_drawn_to_the_edges_of_the_photo(seen):
    true = disc(soft=0.8)
    coarse = true.resize((38, 30)).resize(true.size, Image.Resampling.BICUBIC)
    seen.mask = coarse

    subject = subjects.cut(on(BLUE, true), model="u2net")

    found = Image.new("L", true.size)
    found.paste(subject.alpha, subject.origin)
    error = [
        np.abs(np.asarray(mask, int) - np.asarray(true, int)).mean() for mask in (coarse, found)
    ]
    assert error[1] < 0.6 * error[0]


def test_stray_specks_are_no_part_of_the_subject(seen):
    seen.mask = disc()
    seen.mask.paste(200, (10, 10, 16, 16))

    subject = subjects.cut(on(BLUE, disc()), model="u2net")

    assert subject.origin[0] > 60


def test_the_second_of_a_pair_is_no_speck(seen):
    seen.mask = disc(box=(20, 60, 140, 180))
    seen.mask.paste(disc(box=(180, 90, 260, 170)), mask=disc(box=(180, 90, 260, 170)))

    subject = subjects.cut(on(BLUE, seen.mask), model="u2net")

    assert subject.size[0] > 200


def test_a_cut_out_needs_no_model(monkeypatch):
    monkeypatch.setattr(matting, "mask", lambda *_args, **_how: pytest.fail("a model was asked"))
    picture = Image.new("RGBA", (300, 240), (*RED, 255))
    picture.putalpha(disc())

    subject = subjects.cut(picture, model="u2net")

    whole = Image.new("L", picture.size)
    whole.paste(subject.alpha, subject.origin)
    # Below 6 of 255 nothing is seen, and it is not kept.
    assert np.abs(np.asarray(whole, int) - np.asarray(disc(), int)).max() < 6


def test_a_transparent_mode_without_any_transparency_is_a_photo(seen):
    seen.mask = disc()
    photo = on(BLUE, disc()).convert("RGBA")

    subject = subjects.cut(photo, model="u2net")

    assert subject.size[0] < 150


def test_colours_that_were_faded_with_the_alpha_are_brightened():
    nothing = Image.new("RGBA", (300, 240))
    faded = Image.composite(Image.new("RGBA", nothing.size, (*RED, 255)), nothing, disc(soft=4))

    subject = subjects.cut(faded, model="u2net")

    shown = np.asarray(subject.colours)[np.asarray(subject.alpha) > 40]
    assert np.abs(shown.astype(int) - RED).max() <= 14


def test_colours_that_were_not_faded_stay():
    picture = Image.new("RGBA", (300, 240), (*RED, 255))
    picture.putalpha(disc(soft=4))

    subject = subjects.cut(picture, model="u2net")

    assert set(subject.colours.get_flattened_data()) == {RED}


def test_nothing_at_all_is_no_subject():
    with pytest.raises(matting.NoSubject):
        subjects.cut(Image.new("RGBA", (40, 30), (200, 10, 10, 0)), model="u2net")


@pytest.mark.parametrize(
    ("box", "edges"),
    [
        ((90, 60, 210, 180), set()),
        ((60, 100, 240, 400), {"bottom"}),
        ((-90, 60, 100, 180), {"left"}),
        ((90, -80, 210, 100), {"top"}),
    ],
)
def test_it_knows_where_the_photo_cuts_the_subject_off(seen, box, edges):
    seen.mask = disc(box=box)

    subject = subjects.cut(on(BLUE, seen.mask), model="u2net")

    assert subject.cut_off == edges
    assert subject.stands == ("bottom" not in edges)


def test_a_cut_out_that_is_cropped_to_its_box_still_stands():
    subject = subjects.cut(
        Image.merge(
            "RGBA", [*Image.new("RGB", (120, 120), RED).split(), disc((120, 120), (0, 0, 119, 119))]
        ),
        model="u2net",
    )

    assert subject.cut_off == set()


def test_a_block_that_is_cropped_to_its_box_still_stands():
    subject = subjects.cut(Image.new("RGBA", (120, 90), (*RED, 254)), model="u2net")

    assert subject.cut_off == set()


def test_a_cut_out_that_only_the_lower_edge_cuts_off_is_half_a_figure():
    picture = Image.new("RGBA", (120, 90))
    picture.paste((*RED, 255), (30, 20, 90, 90))

    assert subjects.cut(picture, model="u2net").cut_off == {"bottom"}


def test_work_in_strips_leaves_no_seams():
    small = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8))
    size = (301, 523)
    done = Image.new("L", size)

    for strip in subjects._strips(size, rows=64):
        done.paste(subjects._enlarged(small, size, strip), strip)

    whole = small.resize(size, Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(done, int) - np.asarray(whole, int)).max() <= 1


def test_the_rim_is_brightest_at_the_edge_and_nothing_inside():
    rim = subjects.inner_rim(disc(), 8)

    assert rim.getpixel((150, 120)) == 0
    assert rim.getpixel((150, 64)) > 60
    assert rim.getpixel((10, 10)) == 0
