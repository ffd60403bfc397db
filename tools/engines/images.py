"""Bytes to pictures and back: which files are taken, how they are decoded, how results are written.

`read` gives every part of the program the same kind of picture: upright, 8 bits, sRGB, mode RGB
or RGBA, without metadata. Files are recognised by their content, never by their name, and only
decoders of formats on the list are ever asked.

Nothing here protects the process that calls it: a file from outside goes through `guard` first,
which runs these functions in a child with limits.
"""

import importlib
import io
import math
import os
import struct
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO, Final, cast

from PIL import Image, ImageChops, ImageCms

MEBIBYTE: Final = 2**20

HEAD_BYTES: Final = 1024
"""How much of a file's beginning `recognise` wants to see."""

EXTENSIONS: Final[Mapping[str, str]] = {
    "jpg": ".jpg",
    "png": ".png",
    "webp": ".webp",
    "avif": ".avif",
    "heic": ".heic",
    "tiff": ".tiff",
    "bmp": ".bmp",
    "gif": ".gif",
}
"""The formats that are taken, with the ending that their files get."""

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "heic": "image/heic",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "gif": "image/gif",
}

OUTPUT_FORMATS: Final = ("png", "webp", "jpg", "avif")
"""What `encode` can write."""

# "MPO" must not be asked for: Pillow has no test for it and fails on every other JPEG. The JPEG
# plugin recognises such files by itself and shows their first picture.
_PLUGINS: Final = {
    "jpg": ("JPEG", "PIL.JpegImagePlugin"),
    "png": ("PNG", "PIL.PngImagePlugin"),
    "webp": ("WEBP", "PIL.WebPImagePlugin"),
    "avif": ("AVIF", "PIL.AvifImagePlugin"),
    "heic": ("HEIF", "pillow_heif"),
    "tiff": ("TIFF", "PIL.TiffImagePlugin"),
    "bmp": ("BMP", "PIL.BmpImagePlugin"),
    "gif": ("GIF", "PIL.GifImagePlugin"),
}


CODES: Final = {
    "format_unsupported",  # format
    "file_too_large",  # size, max: in MB
    "dimensions_too_large",  # w, h, max: in megapixels, max_side
    "dimensions_too_small",  # w, h, min
    "file_empty",
    "image_animated",
    "file_damaged",
    "source_not_image",
}
"""What can be wrong with a file, with the parameters that come with each."""


class ImageProblem(Exception):
    """Why a file is not taken: one of `CODES`, and the figures that its wording needs.

    ``detail`` is for logs only: it quotes a decoder and is never shown to people.
    """

    def __init__(
        self, code: str, params: Mapping[str, object] | None = None, *, detail: str = ""
    ) -> None:
        super().__init__(code, dict(params or {}))
        self.code = code
        self.params: dict[str, object] = dict(params or {})
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """What a file may be at most and at least, in bytes and pixels."""

    max_bytes: int = 20 * MEBIBYTE
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    min_side: int = 8


LIMITS: Final = Limits()


# --- recognising ------------------------------------------------------------------------------

_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0\x10\0\0\0CR", "CR2"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"icns", "ICNS"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"SIMPLE  =", "FITS"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"\x76\x2f\x31\x01", "EXR"),
    (b"#?RADIANCE", "HDR"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"\x1f\x8b", "GZIP"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7Z"),
)
_BMP_HEADERS: Final = {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIC_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MARKUP: Final = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta")


def recognise(head: bytes) -> str:
    """The format of a file by its first `HEAD_BYTES`: a key of `EXTENSIONS` when it is taken.

    Everything else gets a name that people know ("PDF", "HTML", "ZIP"), or "unknown".
    """
    for start, name in _MAGIC:
        if head.startswith(start):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _recognise_brand(head)
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "bmp"
    return _recognise_text(head) or _recognise_targa(head) or "unknown"


def _recognise_brand(head: bytes) -> str:
    """Tell stills from videos in the container that HEIC, AVIF, MP4 and MOV share."""
    end = min(int.from_bytes(head[:4]), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "avif"
    if brands & _HEIC_BRANDS:
        return "heic"
    return {b"qt  ": "MOV", b"crx ": "CR3"}.get(head[8:12], "MP4")


def _recognise_text(head: bytes) -> str | None:
    """Name the kinds of text that come in place of an image; None for anything binary."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_MARKUP):
        return "HTML"
    if text.startswith((b"<?xml", b"<svg", b"<!--", b"<!doctype")):
        if b"<svg" in text:
            return "SVG"
        return "HTML" if b"<html" in text else "XML"
    # A control character other than white space does not occur in text.
    is_text = bool(text) and not any(byte < 9 or 13 < byte < 32 for byte in text)
    return "text" if is_text and len(head) > 1 else None


def _recognise_targa(head: bytes) -> str | None:
    """TGA has no signature: an uncoloured-map header whose fields all make sense is one."""
    if len(head) < 18:
        return None
    colour_map, kind, depth = head[1], head[2], head[16]
    plausible = (
        colour_map == 0
        and kind in (2, 3, 10, 11)
        and not any(head[3:8])
        and depth in (8, 15, 16, 24, 32)
        and any(head[12:14])
        and any(head[14:16])
    )
    return "TGA" if plausible else None


# --- opening ----------------------------------------------------------------------------------


def check_bytes(size: int, *, limits: Limits = LIMITS) -> None:
    """Refuse a file by its length alone: ``file_empty`` or ``file_too_large``."""
    if size == 0:
        raise ImageProblem("file_empty")
    if size > limits.max_bytes:
        # Rounded up: one byte too many must not read "20.0 MB; the limit is 20 MB".
        shown = math.ceil(size * 10 / MEBIBYTE) / 10
        raise ImageProblem(
            "file_too_large", {"size": shown, "max": _whole(limits.max_bytes / MEBIBYTE)}
        )


def check_format(head: bytes) -> str:
    """The key in `EXTENSIONS` of a file that begins so; ``format_unsupported`` otherwise."""
    kind = recognise(head)
    if kind not in EXTENSIONS:
        raise ImageProblem("format_unsupported", {"format": kind})
    return kind


def check_dimensions(width: int, height: int, *, limits: Limits = LIMITS) -> None:
    """Refuse a picture by its size in pixels, before anything of that size is allocated."""
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise too_large(width, height, limits=limits)
    if min(width, height) < limits.min_side:
        params = {"w": width, "h": height, "min": limits.min_side}
        raise ImageProblem("dimensions_too_small", params)


def too_large(width: int, height: int, *, limits: Limits, detail: str = "") -> ImageProblem:
    """The refusal of a picture that has too many pixels, or needs more memory than there is."""
    megapixels = _whole(limits.max_pixels / 1_000_000)
    params = {"w": width, "h": height, "max": megapixels, "max_side": limits.max_side}
    return ImageProblem("dimensions_too_large", params, detail=detail)


def open_original(file: BinaryIO, *, kind: str, limits: Limits = LIMITS) -> Image.Image:
    """Open a file of a known format and check all that shows before decoding.

    Raises `ImageProblem` for its own findings, and whatever a decoder raises for a damaged file.
    """
    if kind == "webp":  # its decoder allocates the whole canvas when it is opened
        if claimed := _webp_size(file.read(30)):
            check_dimensions(*claimed, limits=limits)
        file.seek(0)
    image = Image.open(file, formats=(load_plugin(kind),))
    check_dimensions(*image.size, limits=limits)
    # The further pictures of an MPO (a gain map, the other eye) are not an animation.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ImageProblem("image_animated")
    if kind == "tiff" and _is_camera_raw(image):
        raise ImageProblem("format_unsupported", {"format": "RAW"})
    return image


@cache
def load_plugin(kind: str) -> str:
    """Import what decodes a format, and say by what name Pillow knows it.

    Only what is met gets imported: AVIF and HEIC are large libraries.
    """
    name, module = _PLUGINS[kind]
    plugin = importlib.import_module(module)
    if kind == "heic":
        plugin.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return name


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas that a WebP file claims."""
    chunk = head[12:16]
    if chunk == b"VP8X":
        width, height = int.from_bytes(head[24:27], "little"), int.from_bytes(head[27:30], "little")
        return width + 1, height + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
        return width & 0x3FFF, height & 0x3FFF
    return None


_NEW_SUBFILE_TYPE: Final = 254
_DNG_VERSION: Final = 50706


def _is_camera_raw(image: Image.Image) -> bool:
    """Whether a TIFF is a camera's raw file, of which Pillow would show the tiny preview."""
    tags = getattr(image, "tag_v2", {})
    return _DNG_VERSION in tags or bool(tags.get(_NEW_SUBFILE_TYPE, 0) & 1)


# --- reading ----------------------------------------------------------------------------------

_PLAIN_KINDS: Final = {"jpg", "png", "webp", "avif"}
_PLAIN_MODES: Final = {"1", "L", "LA", "P", "RGB", "RGBA"}
_DEEP_MODES: Final = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_ORIENTATION: Final = 0x0112
_TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(source: bytes | BinaryIO | str | os.PathLike[str]) -> Image.Image:
    """The picture in a file: upright, 8 bits, sRGB, mode RGB or RGBA, no metadata.

    For an ordinary photo (RGB, sRGB, upright) these are Pillow's own pixels at Pillow's own
    price. Raises `ImageProblem` when the file is of another format or can't be decoded; its
    limits have been checked by `guard` when it came in.
    """
    with _opened(source) as file:
        kind = check_format(file.read(HEAD_BYTES))
        file.seek(0)
        try:
            return upright_srgb(Image.open(file, formats=(load_plugin(kind),)))
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged files raise nearly anything
            raise ImageProblem("file_damaged", detail=repr(error)) from error


def _opened(
    source: bytes | BinaryIO | str | os.PathLike[str],
) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, str | os.PathLike):
        return Path(source).open("rb")
    return nullcontext(source)


def upright_srgb(image: Image.Image) -> Image.Image:
    """Decode an opened image and bring it to what `read` promises."""
    image.load()
    transposition = _TRANSPOSITIONS.get(_orientation(image))
    picture = _in_srgb(image)
    if transposition is not None:
        picture = picture.transpose(transposition)
    return _bare(picture)


def is_stored_plainly(image: Image.Image, *, kind: str) -> bool:
    """Whether any browser and any decoder shows an opened file as `read` does.

    If not, what is kept is a PNG of the picture in place of the file.
    """
    return (
        kind in _PLAIN_KINDS
        and image.mode in _PLAIN_MODES
        and not any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
        and _transform_for(image) is None
        and _orientation(image) not in _TRANSPOSITIONS
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none or it can't be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - garbage in EXIF takes many forms, and none matters
        return 1
    return value if isinstance(value, int) else 1


def _bare(image: Image.Image) -> Image.Image:
    """The same pixels, not copied, without file, profile, EXIF, comments or text."""
    bare = image._new(image.im)
    bare.info = {}
    return bare


def _in_srgb(image: Image.Image) -> Image.Image:
    """A decoded image as sRGB in mode RGB or RGBA."""
    if image.mode == "RGB" and not image.info.keys() & {"icc_profile", "transparency"}:
        return image
    transform = _transform_for(image)
    if image.mode in _DEEP_MODES:
        image = _in_eight_bits(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if transform is None:
        return image if image.mode == mode else image.convert(mode)
    if image.mode in {"CMYK", "LAB", "L"}:
        return cast("Image.Image", ImageCms.applyTransform(image, transform))
    if image.mode == "LA":
        picture = cast("Image.Image", ImageCms.applyTransform(image.getchannel("L"), transform))
        picture.putalpha(image.getchannel("A"))
        return picture
    if image.mode != mode:
        image = image.convert(mode)
    ImageCms.applyTransform(image, transform, inPlace=True)  # half the time of a new image
    return image


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 or 32 bits as 8 bits; Pillow itself would cut off what is above 255.

    Samples of 32 bits name no white: it is taken to be the top of the smallest usual range that
    holds the brightest of them.
    """
    import numpy as np

    scaled = np.asarray(image).astype(np.float32)
    # In place from here on: four bytes a pixel are much as it is.
    np.nan_to_num(scaled, copy=False, posinf=0, neginf=0)
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        brightest = float(scaled.max())
        white = next((top for top in ranges if brightest <= top), 2.0**31 - 1)
    scaled *= 255 / white
    np.clip(scaled, 0, 255, out=scaled)
    return Image.fromarray(np.rint(scaled, out=scaled).astype(np.uint8))


# --- colour profiles --------------------------------------------------------------------------

_SRGB_PRIMARIES: Final = ((0.6484, 0.3309), (0.3212, 0.5979), (0.1559, 0.0661))
_PROFILE_SPACES: Final = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}


def _transform_for(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """What brings the image's colours to sRGB; None when they are sRGB or nothing better is known.

    A profile that is broken, or made for another kind of image, is ignored, as browsers do.
    """
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _transform_to_srgb(None, "LAB")
    if not isinstance(profile, bytes) or not profile:
        return None
    if image.mode in {"CMYK", "L"}:
        mode = image.mode
    elif image.mode == "LA" or image.mode in _DEEP_MODES:
        mode = "L"
    else:
        mode = "RGBA" if image.has_transparency_data else "RGB"
    if mode == "L" and "transparency" in image.info:
        return None
    return _transform_to_srgb(profile, mode)


@lru_cache(maxsize=32)
def _transform_to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        if profile is None:
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _PROFILE_SPACES[mode] or _is_srgb(source):
            return None
        to = mode if mode == "RGBA" else "RGB"
        transform = ImageCms.buildTransform(source, _srgb(), mode, to)
        return None if _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether a profile says that it is sRGB and has its primaries; spares building a transform."""
    if "srgb" not in (profile.profile.profile_description or "").lower():
        return False
    primaries = (
        profile.profile.red_primary,
        profile.profile.green_primary,
        profile.profile.blue_primary,
    )
    return all(
        found is not None and math.dist(found[1][:2], expected) < 0.01
        for found, expected in zip(primaries, _SRGB_PRIMARIES, strict=True)
    )


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform moves no colour by more than a rounding: sRGB by another name."""
    if mode not in {"RGB", "RGBA", "L"}:
        return False
    card = _colour_card(mode)
    shown = ImageCms.applyTransform(card, transform)
    difference = ImageChops.difference(
        cast("Image.Image", shown).convert("RGB"), card.convert("RGB")
    )
    return all(high <= 2 for _, high in difference.getextrema())  # type: ignore[misc]


@cache
def _colour_card(mode: str) -> Image.Image:
    """Samples of all colours of a mode: 16 steps of each channel, or all greys."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    steps = range(0, 256, 17)
    colours = bytes(value for r in steps for g in steps for b in steps for value in (r, g, b))
    return Image.frombytes("RGB", (64, 64), colours).convert(mode)


# --- writing ----------------------------------------------------------------------------------

_QUALITIES: Final = {"webp": 80, "jpg": 90, "avif": 65}


def encode(
    image: Image.Image,
    *,
    format: str,  # noqa: A002 - the word of the API
    quality: int | None = None,
) -> bytes:
    """The picture as a file of one of `OUTPUT_FORMATS`, without metadata.

    `quality` goes from 1 to 100; None is a good default, and PNG, which loses nothing, has none.
    Raises ValueError for an unknown format, and for a JPEG of a picture with an alpha channel:
    what lies under it is for the caller to choose.
    """
    if format == "png":
        from . import png

        return png.encode(image)
    if format not in OUTPUT_FORMATS:
        raise ValueError(f"Images are written as {', '.join(OUTPUT_FORMATS)}, not as {format}.")
    if quality is None:
        quality = _QUALITIES[format]
    if format == "jpg":
        if image.has_transparency_data:
            raise ValueError("JPEG has no transparency: flatten the image first.")
        # Full colour resolution where quality is asked for: coloured edges stay clean.
        return _save(image, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    if format == "webp":
        # Method 1 takes a quarter longer for 3 % less, with an alpha channel twice as long.
        return _save(image, "WEBP", quality=quality, method=0)
    return _save(image, "AVIF", quality=quality, speed=9)  # 8 takes three times as long


def is_see_through(image: Image.Image) -> bool:
    """Whether any pixel of a picture, RGB or RGBA, is not opaque."""
    return image.mode == "RGBA" and image.getchannel("A").getextrema()[0] != 255


def flattened(image: Image.Image, *, colour: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """The picture as RGB, over a colour where it lets light through."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    over = image.convert("RGBA")
    flat = Image.new("RGB", image.size, colour)
    flat.paste(over, mask=over.getchannel("A"))
    return flat


def fitted(image: Image.Image, *, max_pixels: int, max_side: int) -> Image.Image:
    """The picture, made smaller where it has more pixels or a longer side; never enlarged."""
    scale = min(
        1.0, max_side / max(image.size), math.sqrt(max_pixels / (image.width * image.height))
    )
    if scale == 1.0:
        return image
    width, height = (max(1, int(length * scale)) for length in image.size)
    return _shrunk(image, width, height)


def thumbnail(image: Image.Image, *, side: int = 320) -> bytes:
    """A WebP of the picture that fits a square of so many pixels; never enlarged."""
    longest = max(image.size)
    if longest > side:
        width, height = (max(1, round(length * side / longest)) for length in image.size)
        image = _shrunk(image, width, height)
    return _save(image, "WEBP", quality=75, alpha_quality=80, method=2)


def _shrunk(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.has_transparency_data:
        # Colours must count by their alpha, or hidden ones would shine through at the edges. To
        # weigh all pixels of a large picture takes longer than the rest, and 16 of them make one.
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        if image.width > 4 * width:
            image = image.resize((4 * width, 4 * height), Image.Resampling.NEAREST)
        image = image.convert("RGBa")
    # Whole pixels are averaged first, which is cheap; the filter then has little left to do.
    image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=1.5)
    return image.convert("RGBA") if image.mode == "RGBa" else image


def _save(image: Image.Image, name: str, **options: int) -> bytes:
    file = io.BytesIO()
    _bare(image).save(file, name, **options)
    return file.getvalue()


def _whole(number: float) -> int | float:
    """The number without a fraction where it has none: "20", not "20.0"."""
    return int(number) if number == int(number) else round(number, 1)
