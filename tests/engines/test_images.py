import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageChops

from tests import images as pictures
from tools.engines import images


def corners(image):
    """The colours near the four corners."""
    x, y = image.width // 6, image.height // 6
    right, low = image.width - 1 - x, image.height - 1 - y
    return {
        "top left": image.getpixel((x, y)),
        "top right": image.getpixel((right, y)),
        "bottom left": image.getpixel((x, low)),
        "bottom right": image.getpixel((right, low)),
    }


def assert_close(found, expected, *, by):
    __tracebackhide__ = True
    differences = np.abs(np.asarray(found, np.int16) - np.asarray(expected, np.int16))
    assert differences.max() <= by, f"{found} is not {expected}"


def assert_upright(image):
    __tracebackhide__ = True
    assert image.width > image.height
    for corner, colour in corners(image).items():
        assert_close(colour[:3], pictures.CORNERS[corner], by=24)


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_an_ordinary_photo_has_exactly_the_pixels_of_pillow(options):
    data = pictures.file(pictures.photo(), quality=90, **options)

    picture = images.read(data)

    assert picture.mode == "RGB"
    assert picture.tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_an_ordinary_photo_is_not_copied_or_converted(monkeypatch):
    data = pictures.file(pictures.photo())

    def refuse(*_, **__):
        raise AssertionError("costs time and memory")

    for name in ("copy", "convert", "transpose", "resize", "crop"):
        monkeypatch.setattr(Image.Image, name, refuse)

    assert images.read(data).size == (640, 480)


def test_bytes_paths_and_open_files_are_read_alike(tmp_path):
    data = pictures.file(pictures.scene(), "PNG")
    path = tmp_path / "picture.jpg"  # its name is wrong, which does not matter
    path.write_bytes(data)

    with path.open("rb") as file:
        found = [images.read(source) for source in (data, path, str(path), file)]

    assert {picture.tobytes() for picture in found} == {pictures.scene().tobytes()}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_every_orientation_ends_upright(form, orientation):
    stored, exif = pictures.stored_turned(pictures.scene(), orientation)

    picture = images.read(pictures.file(stored, form, exif=exif))

    assert picture.size == (96, 64)
    assert_upright(picture)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", pictures.exif(0), pictures.exif(99)])
def test_garbage_in_exif_is_ignored(exif):
    assert_upright(images.read(pictures.file(pictures.scene(), exif=exif)))


@pytest.mark.parametrize("case", pictures.accepted(), ids=str)
def test_whatever_is_taken_is_read_as_rgb_or_rgba_without_metadata(case):
    picture = images.read(case.make())

    assert type(picture) is Image.Image
    assert picture.mode in {"RGB", "RGBA"}
    assert picture.info == {}
    assert not picture.getexif()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_colour_modes_become_rgb(mode):
    source = pictures.scene(mode=mode)
    form = "TIFF" if mode in {"CMYK", "YCbCr"} else "PNG"

    picture = images.read(pictures.file(source, form))

    assert picture.mode == "RGB"
    assert picture.tobytes() == source.convert("RGB").tobytes()


def test_grey_with_alpha_keeps_its_alpha():
    source = pictures.scene(mode="LA")

    picture = images.read(pictures.file(source, "PNG"))

    assert picture.mode == "RGBA"
    assert picture.getchannel("A").tobytes() == source.getchannel("A").tobytes()
    assert picture.getchannel("G").tobytes() == source.getchannel("L").tobytes()


@pytest.mark.parametrize("make", [pictures.see_through_palette, pictures.see_through_colour])
def test_a_colour_that_stands_for_nothing_becomes_transparent(make):
    picture = images.read(make())

    assert picture.mode == "RGBA"
    assert picture.getpixel((4, 4))[3] == 0
    assert picture.getpixel((28, 4)) == (0, 0, 255, 255)


@pytest.mark.parametrize(
    "make",
    [
        pictures.deep_png,
        lambda ramp: pictures.deep_png(np.dstack([ramp] * 3)),
        lambda ramp: pictures.deep_tiff(np.dstack([ramp] * 3)),
        lambda ramp: pictures.file(Image.fromarray(ramp), "TIFF"),
        lambda ramp: pictures.file(Image.fromarray(ramp.astype(np.int32)), "TIFF"),
        lambda ramp: pictures.file(Image.fromarray((ramp / 65535).astype(np.float32)), "TIFF"),
        lambda ramp: pictures.file(Image.fromarray((ramp / 257).astype(np.float32)), "TIFF"),
    ],
    ids=["grey PNG", "PNG", "TIFF", "grey TIFF", "integers", "floats to 1", "floats to 255"],
)
def test_deep_samples_are_scaled_and_not_cut_off(make):
    ramp = pictures.ramp()

    picture = images.read(make(ramp))

    expected = np.repeat((ramp / 257)[:, :, None], 3, axis=2)
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture) - expected).max() <= 1


def test_floats_that_are_no_numbers_do_no_harm():
    samples = np.full((16, 16), 0.5, np.float32)
    samples[0, :3] = np.nan, np.inf, -np.inf

    picture = images.read(pictures.file(Image.fromarray(samples), "TIFF"))

    assert picture.getpixel((8, 8)) == (128, 128, 128)
    assert picture.getpixel((1, 0)) == (0, 0, 0)


def test_an_mpo_shows_its_first_picture():
    first, second = pictures.scene(), Image.new("RGB", (96, 64))
    data = pictures.file(first, "MPO", save_all=True, append_images=[second])

    assert_upright(images.read(data))


def test_a_file_with_the_ending_of_another_is_read_for_what_it_is(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(pictures.file(pictures.scene()))

    assert_upright(images.read(path))


@pytest.mark.parametrize("case", pictures.halves(), ids=str)
def test_half_a_file_is_damaged(case):
    with pytest.raises(images.ImageProblem) as problem:
        images.read(case.make())

    assert problem.value.code == "file_damaged"
    assert problem.value.detail


def test_no_decoder_of_another_format_is_asked():
    with pytest.raises(images.ImageProblem) as problem:
        images.read(pictures.file(pictures.scene(), "TGA"))

    assert problem.value.code == "format_unsupported"
    assert problem.value.params == {"format": "TGA"}


# --- colour -----------------------------------------------------------------------------------


def linear(value):
    value = np.asarray(value) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def curved(value):
    value = np.clip(value, 0, 1)
    return 255 * np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def test_display_p3_is_really_converted():
    colour = (180, 120, 60)
    to_xyz = np.array(pictures._P3_PRIMARIES).T
    from_xyz = np.linalg.inv(np.array(pictures._SRGB_PRIMARIES).T)
    expected = curved(from_xyz @ to_xyz @ linear(colour))
    source = Image.new("RGB", (16, 16), colour)

    picture = images.read(pictures.file(source, "PNG", icc_profile=pictures.display_p3()))

    assert_close(picture.getpixel((8, 8)), expected, by=2)
    assert expected[0] > colour[0] + 5  # it is another colour, so the test can tell


def test_alpha_goes_through_a_colour_conversion_untouched():
    source = pictures.scene(mode="RGBA")

    picture = images.read(pictures.file(source, "PNG", icc_profile=pictures.display_p3()))

    assert picture.getchannel("A").tobytes() == source.getchannel("A").tobytes()
    assert picture.getchannel("R").tobytes() != source.getchannel("R").tobytes()


def test_a_palette_is_converted_too():
    source = Image.new("RGB", (16, 16), (180, 120, 60))
    profile = pictures.display_p3()
    expected = images.read(pictures.file(source, "PNG", icc_profile=profile)).getpixel((8, 8))

    picture = images.read(pictures.file(source.quantize(4), "PNG", icc_profile=profile))

    assert_close(picture.getpixel((8, 8)), expected, by=1)


def test_srgb_by_another_name_changes_no_pixel():
    data = pictures.file(pictures.photo(), icc_profile=pictures.srgb_by_another_name())

    assert images.read(data).tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_a_profile_that_falsely_claims_to_be_srgb_is_found_out():
    source = pictures.scene()
    right = images.read(pictures.file(source, "PNG", icc_profile=pictures.display_p3()))

    picture = images.read(pictures.file(source, "PNG", icc_profile=pictures.false_srgb()))

    assert picture.tobytes() == right.tobytes()


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profiles_are_applied_to_grey(mode):
    source = Image.new("L", (16, 16), 128).convert(mode)

    data = pictures.file(source, "PNG", icc_profile=pictures.grey_gamma(1.0))
    picture = images.read(data)

    assert_close(picture.getpixel((8, 8))[:3], [188] * 3, by=2)
    assert picture.mode == ("RGBA" if mode == "LA" else "RGB")


def test_sixteen_bit_grey_gets_its_profile_too():
    samples = np.full((16, 16), 128 * 257, np.uint16)
    data = pictures.file(Image.fromarray(samples), "PNG", icc_profile=pictures.grey_gamma(1.0))

    assert_close(images.read(data).getpixel((8, 8)), [188] * 3, by=2)


def test_cmyk_goes_through_its_profile_and_without_one_through_pillows_rule():
    source = Image.new("CMYK", (16, 16), (200, 30, 30, 10))
    profile = pictures.cmyk_that_prints_green()

    printed = images.read(pictures.file(source, icc_profile=profile, quality=95))
    plain = images.read(pictures.file(source, quality=95))

    red, green, blue = printed.getpixel((8, 8))
    assert green > red + 30
    assert green > blue + 30
    assert_close(plain.getpixel((8, 8)), source.convert("RGB").getpixel((8, 8)), by=4)


@pytest.mark.parametrize(
    "profile", [b"", b"x", b"x" * 4000, pictures.display_p3()[:300], pictures.grey_gamma()]
)
def test_profiles_that_are_broken_or_do_not_fit_are_ignored(profile):
    data = pictures.file(pictures.scene(), icc_profile=profile)

    assert images.read(data).tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_lab_becomes_rgb():
    red, green, blue = images.read(pictures.file(pictures.lab_scene(), "TIFF")).getpixel((8, 8))

    assert red > green + 50
    assert red > blue + 50


# --- refusing ---------------------------------------------------------------------------------


def test_the_size_of_a_file_that_is_a_little_too_large_never_reads_like_the_limit():
    with pytest.raises(images.ImageProblem) as problem:
        images.check_bytes(20 * 2**20 + 1)

    assert problem.value.params == {"size": 20.1, "max": 20}


def test_a_file_of_exactly_the_limit_is_not_too_large():
    images.check_bytes(20 * 2**20)


def test_a_problem_can_be_stored_and_told_apart():
    problem = images.ImageProblem("file_damaged", detail="OSError")

    assert problem.code == "file_damaged"
    assert problem.params == {}
    assert "file_damaged" in str(problem)


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", images.OUTPUT_FORMATS)
def test_what_is_encoded_is_of_the_format_and_looks_the_same(form):
    source = pictures.photo()

    data = images.encode(source, format=form)

    assert images.recognise(data) == form
    assert form in images.EXTENSIONS
    assert form in images.CONTENT_TYPES
    difference = ImageChops.difference(images.read(data), source)
    assert np.asarray(difference).mean() < 6


@pytest.mark.parametrize("form", ["png", "webp", "avif"])
def test_alpha_survives(form):
    source = pictures.scene(mode="RGBA")

    picture = images.read(images.encode(source, format=form))

    assert picture.mode == "RGBA"
    assert_close(picture.getchannel("A"), source.getchannel("A"), by=6)


@pytest.mark.parametrize("form", images.OUTPUT_FORMATS)
def test_grey_can_be_written(form):
    source = pictures.scene(mode="L")

    picture = images.read(images.encode(source, format=form))

    assert np.abs(np.asarray(picture, np.int16)[:, :, 1] - np.asarray(source)).mean() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_jpeg_refuses_alpha(mode):
    with pytest.raises(ValueError, match="no transparency"):
        images.encode(pictures.scene(mode=mode), format="jpg")


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match="not as gif"):
        images.encode(pictures.scene(), format="gif")


@pytest.mark.parametrize("form", ["webp", "jpg", "avif"])
def test_quality_is_heeded(form):
    source = pictures.photo()

    low, high = (images.encode(source, format=form, quality=q) for q in (20, 95))

    assert len(low) * 2 < len(high)


@pytest.mark.parametrize("form", images.OUTPUT_FORMATS)
def test_no_metadata_is_written(form):
    source = pictures.scene()
    source.info.update(
        icc_profile=pictures.display_p3(), exif=pictures.exif(6), comment=b"secret", xmp=b"secret"
    )

    data = images.encode(source, format=form)

    with Image.open(io.BytesIO(data)) as written:
        assert not written.info.keys() & {"icc_profile", "exif", "comment", "xmp"}
    assert b"secret" not in data


# --- thumbnails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((4000, 3000), (320, 240)),
        ((900, 1200), (240, 320)),
        ((321, 100), (320, 100)),
        ((320, 320), (320, 320)),
        ((40, 30), (40, 30)),
        ((4000, 8), (320, 1)),
    ],
    ids=str,
)
def test_a_thumbnail_fits_its_square_and_is_never_enlarged(size, expected):
    with Image.open(io.BytesIO(images.thumbnail(Image.new("RGB", size)))) as small:
        assert small.format == "WEBP"
        assert small.size == expected


def test_a_thumbnail_shows_the_picture():
    small = images.read(images.thumbnail(pictures.photo(1600, 1200)))

    assert small.size == (320, 240)
    assert_upright(small)


def test_a_thumbnail_keeps_transparency_and_gets_no_dark_fringe():
    source = Image.new("RGBA", (1600, 1600), (0, 0, 0, 0))
    source.paste((255, 255, 255, 255), (401, 401, 1199, 1199))

    small = np.asarray(images.read(images.thumbnail(source)))

    assert small[5, 5, 3] == 0
    assert small[160, 160, 3] == 255
    assert small[small[:, :, 3] > 100][:, :3].min() > 230


# --- company ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["images", "guard", "png"])
def test_reading_images_needs_neither_django_nor_a_model_runtime(module):
    script = f"import sys, tools.engines.{module}; print(*sys.modules)"

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not loaded & {"django", "onnxruntime", "rembg", "skimage", "scipy"}
    assert ("numpy" in loaded) == (module == "png")  # web processes do without


def test_a_picture_is_laid_on_a_colour():
    half = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    half.putpixel((1, 0), (1, 2, 3, 0))

    flat = images.flattened(half)

    assert (flat.mode, flat.getpixel((0, 0)), flat.getpixel((1, 0))) == (
        "RGB",
        (200, 0, 0),
        (255, 255, 255),
    )
    assert images.flattened(half, colour=(0, 0, 9)).getpixel((1, 0)) == (0, 0, 9)
    assert images.flattened(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)


def test_what_lets_light_through_is_told_apart():
    opaque = Image.new("RGBA", (2, 2), (1, 2, 3, 255))

    assert not images.is_see_through(opaque)
    assert not images.is_see_through(opaque.convert("RGB"))
    opaque.putpixel((0, 0), (1, 2, 3, 254))
    assert images.is_see_through(opaque)
