"""Pictures for tests, good, odd and hostile, made when they are asked for.

Nothing here is a stored file: what a test needs to be wrong about a picture stands in the code.
"""

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

CORNERS = {
    "top left": (220, 30, 40),
    "top right": (40, 180, 60),
    "bottom left": (50, 70, 200),
    "bottom right": (230, 200, 50),
}


# --- pictures ---------------------------------------------------------------------------------


def scene(width: int = 96, height: int = 64, *, mode: str = "RGB") -> Image.Image:
    """Four quarters of different colours, softly shaded, so that every turn of it shows."""
    pixels = np.empty((height, width, 3), np.int16)
    pixels[: height // 2, : width // 2] = CORNERS["top left"]
    pixels[: height // 2, width // 2 :] = CORNERS["top right"]
    pixels[height // 2 :, : width // 2] = CORNERS["bottom left"]
    pixels[height // 2 :, width // 2 :] = CORNERS["bottom right"]
    pixels += (8 * np.sin(np.arange(width) / 9))[None, :, None].astype(np.int16)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if mode in {"RGBA", "LA"}:
        picture = picture.convert(mode)
        picture.putalpha(Image.linear_gradient("L").resize((width, height)))
        return picture
    return picture.convert(mode)


def photo(width: int = 640, height: int = 480, *, seed: int = 1) -> Image.Image:
    """A scene with grain, so that encoders have something to do."""
    grain = np.random.default_rng(seed).normal(0, 6, (height, width, 1))
    pixels = np.asarray(scene(width, height)) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def file(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The picture as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def stored_turned(image: Image.Image, orientation: int) -> tuple[Image.Image, bytes]:
    """The picture as a camera held otherwise stores it, with the EXIF that turns it back."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # the inverse of the turn to make
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    if orientation in turns:
        image = image.transpose(turns[orientation])
    return image, exif(orientation)


def exif(orientation: int) -> bytes:
    """EXIF with an orientation and nothing else."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


# --- colour profiles --------------------------------------------------------------------------

_SRGB_CURVE = struct.pack(
    ">4sIHH5i",
    b"para",
    0,
    3,
    0,
    *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
)
_P3_PRIMARIES = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
_SRGB_PRIMARIES = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.71410),
)
_D50 = (0.9642, 1.0, 0.8249)


def display_p3() -> bytes:
    """The profile of most phones: wider primaries, sRGB's curve."""
    return _matrix_profile("Display P3", _P3_PRIMARIES)


def srgb_by_another_name() -> bytes:
    """sRGB whose description does not say so."""
    return _matrix_profile("My monitor", _SRGB_PRIMARIES)


def false_srgb() -> bytes:
    """A wide profile whose description claims to be sRGB."""
    return _matrix_profile("sRGB IEC61966-2.1", _P3_PRIMARIES)


def grey_gamma(gamma: float = 1.0) -> bytes:
    """A profile for grey pictures."""
    curve = struct.pack(">4sII", b"curv", 0, 1) + struct.pack(">H", round(gamma * 256))
    return _profile(b"GRAY", b"mntr", {b"kTRC": curve}, "Grey")


def cmyk_that_prints_green() -> bytes:
    """A profile for CMYK in which every ink but none is the same green."""
    inks = [(1.0, 0.5, 0.5)] + [(0.5, 0.25, 0.75)] * 15  # L, a, b of each corner, none to all
    table = b"".join(bytes(round(v * 255) for v in lab) for lab in inks)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = (
        struct.pack(">4sI4B", b"mft1", 0, 4, 3, 2, 0) + matrix + identity * 4 + table + identity * 3
    )
    return _profile(b"CMYK", b"prtr", {b"A2B0": lut}, "Green", pcs=b"Lab ")


def _matrix_profile(name: str, primaries: Iterable[tuple[float, float, float]]) -> bytes:
    tags = {}
    for colour, primary in zip(b"rgb", primaries, strict=True):
        tags[bytes([colour]) + b"XYZ"] = _xyz(primary)
        tags[bytes([colour]) + b"TRC"] = _SRGB_CURVE
    return _profile(b"RGB ", b"mntr", tags, name)


def _profile(
    space: bytes, kind: bytes, tags: dict[bytes, bytes], name: str, *, pcs: bytes = b"XYZ "
) -> bytes:
    text = name.encode("utf-16-be")
    label = struct.pack(">4sIII2s2sII", b"mluc", 0, 1, 12, b"en", b"US", len(text), 28) + text
    tags = {b"desc": label, b"cprt": label, b"wtpt": _xyz(_D50), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), b"", 0x04200000, kind, space, pcs, b"", b"acsp"
    )
    header += b"\0" * 28 + struct.pack(">3i", *(round(v * 65536) for v in _D50))
    return header.ljust(128, b"\0") + table + body


def _xyz(value: tuple[float, float, float]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(v * 65536) for v in value))


# --- files, byte by byte ----------------------------------------------------------------------


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with the right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    rows: bytes | None = None,
    extra: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG of raw rows (with their filter bytes; None for black), told to be of any size."""
    if rows is None:
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        rows = (b"\0" + bytes((width * samples * depth + 7) // 8)) * height
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows, 9))
        + after
        + png_chunk(b"IEND", b"")
    )


def deep_png(values: np.ndarray, *, extra: bytes = b"") -> bytes:
    """A PNG of 16-bit samples: (height, width) for grey, (height, width, 3) for colour."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(width, height, depth=16, colour=2 if values.ndim == 3 else 0, rows=rows, extra=extra)


def deep_tiff(values: np.ndarray) -> bytes:
    """A TIFF of 16-bit colour samples, which Pillow reads but does not write."""
    height, width, samples = values.shape
    data = values.astype("<u2").tobytes()
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, 8 + 2 + 12 * 9 + 4),  # where the three depths are
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 12 * 9 + 4 + 6),
        (277, 3, 1, samples),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<3H", 16, 16, 16) + data


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header tells another size."""
    data = bytearray(file(scene()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    """A small WebP whose canvas is said to be of another size."""
    data = bytearray(file(scene(mode="RGBA"), "WEBP"))
    assert data[12:16] == b"VP8X"
    data[24:27] = (width - 1).to_bytes(3, "little")
    data[27:30] = (height - 1).to_bytes(3, "little")
    return bytes(data)


def heif_claiming(form: str, width: int, height: int) -> bytes:
    """A small HEIC or AVIF whose properties tell another size."""
    data = bytearray(file(scene(), form))
    at = data.index(b"ispe")
    data[at + 8 : at + 16] = struct.pack(">II", width, height)
    return bytes(data)


def gif_claiming(width: int, height: int) -> bytes:
    """A GIF that is all screen and hardly any picture."""
    data = bytearray(file(scene().quantize(16), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def bmp_claiming(width: int, height: int) -> bytes:
    """A small BMP whose header tells another size."""
    data = bytearray(file(scene(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG with thousands of passes over the whole picture."""
    data = file(Image.new("L", (2048, 2048), 128), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def zipped(name: str = "picture.jpg") -> bytes:
    """A ZIP archive with a picture in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, file(scene()))
    return buffer.getvalue()


def flipped(data: bytes, *, seed: int, bits: int = 12) -> bytes:
    """The file with some bits wrong, behind what it is recognised by."""
    chance = random.Random(seed)
    broken = bytearray(data)
    for _ in range(bits):
        broken[chance.randrange(16, len(broken))] ^= 1 << chance.randrange(8)
    return bytes(broken)


# --- the table --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A file and what must come of it: "ok", or the codes that are right."""

    name: str
    make: Callable[[], bytes]
    outcomes: tuple[str, ...]
    format: str = ""

    def __str__(self) -> str:
        return self.name


@cache
def every_format() -> dict[str, bytes]:
    """The same picture in each format that is taken."""
    picture = photo(160, 120)
    return {
        "jpg": file(picture),
        "png": file(picture, "PNG"),
        "webp": file(picture, "WEBP"),
        "avif": file(picture, "AVIF"),
        "heic": file(picture, "HEIF"),
        "tiff": file(picture, "TIFF", compression="tiff_lzw"),
        "bmp": file(picture, "BMP"),
        "gif": file(picture, "GIF"),
    }


def _ok(name: str, form: str, make: Callable[[], bytes]) -> Case:
    return Case(name, make, ("ok",), form)


def _refused(name: str, code: str, make: Callable[[], bytes], *others: str) -> Case:
    return Case(name, make, (code, *others))


def _unsupported(name: str, form: str, data: bytes) -> Case:
    return Case(name, lambda: data, ("format_unsupported",), form)


def accepted() -> list[Case]:
    """Files that look odd and are good."""
    frames = [scene(), scene().transpose(Image.Transpose.ROTATE_180)]
    cases = [
        _ok("progressive JPEG", "jpg", lambda: file(scene(), progressive=True)),
        _ok("grey JPEG", "jpg", lambda: file(scene(mode="L"))),
        _ok("CMYK JPEG", "jpg", lambda: file(scene(mode="CMYK"))),
        _ok("JPEG of odd samplings", "jpg", lambda: file(scene(), subsampling="4:1:1")),
        _ok(
            "JPEG with garbage for EXIF", "jpg", lambda: file(scene(), exif=b"Exif\0\0garbage" * 9)
        ),
        _ok("JPEG with orientation 99", "jpg", lambda: file(scene(), exif=exif(99))),
        _ok("JPEG with a ZIP behind it", "jpg", lambda: file(scene()) + zipped()),
        _ok("JPEG with a script for comment", "jpg", lambda: file(scene(), comment=b"<?php x ?>")),
        _ok("JPEG with a broken profile", "jpg", lambda: file(scene(), icc_profile=b"x" * 400)),
        _ok("JPEG in Display P3", "jpg", lambda: file(scene(), icc_profile=display_p3())),
        _ok("MPO", "jpg", lambda: file(frames[0], "MPO", save_all=True, append_images=frames[1:])),
        _ok("PNG with alpha", "png", lambda: file(scene(mode="RGBA"), "PNG")),
        _ok("PNG of grey with alpha", "png", lambda: file(scene(mode="LA"), "PNG")),
        _ok("PNG of one bit", "png", lambda: file(scene(mode="1"), "PNG")),
        _ok("PNG with palette", "png", lambda: file(scene().quantize(32), "PNG")),
        _ok("PNG with a see-through palette", "png", see_through_palette),
        _ok("PNG with a see-through colour", "png", see_through_colour),
        _ok("PNG of 16-bit grey", "png", lambda: deep_png(ramp())),
        _ok("PNG of 16-bit colour", "png", lambda: deep_png(np.dstack([ramp()] * 3))),
        _ok("PNG with an RGB profile on grey", "png", rgb_profile_on_grey),
        _ok("lossless WebP", "webp", lambda: file(scene(), "WEBP", lossless=True)),
        _ok("WebP with alpha", "webp", lambda: file(scene(mode="RGBA"), "WEBP")),
        _ok("AVIF with alpha", "avif", lambda: file(scene(mode="RGBA"), "AVIF")),
        _ok("HEIC with alpha", "heic", lambda: file(scene(mode="RGBA"), "HEIF")),
        _ok("TIFF of 16-bit grey", "tiff", lambda: file(Image.fromarray(ramp()), "TIFF")),
        _ok("TIFF of 16-bit colour", "tiff", lambda: deep_tiff(np.dstack([ramp()] * 3))),
        _ok("TIFF of floats", "tiff", lambda: file(scene(mode="F"), "TIFF")),
        _ok("TIFF of integers", "tiff", lambda: file(scene(mode="I"), "TIFF")),
        _ok("TIFF in CMYK", "tiff", lambda: file(scene(mode="CMYK"), "TIFF")),
        _ok("TIFF in Lab", "tiff", lambda: file(lab_scene(), "TIFF")),
        _ok("GIF with one frame", "gif", lambda: file(scene().quantize(16), "GIF")),
        _ok("BMP with palette", "bmp", lambda: file(scene().quantize(16), "BMP")),
        _ok("8 by 8 pixels", "png", lambda: png(8, 8)),
        _ok("16384 by 8 pixels", "png", lambda: png(16_384, 8)),
        _ok("50 megapixels", "png", lambda: png(8000, 6250, depth=1, colour=0)),
        # As every program that uses libjpeg sees it: what is missing is grey.
        _ok("JPEG that claims 49 megapixels", "jpg", lambda: jpeg_claiming(7000, 7000)),
        _ok("exactly 20 MiB", "jpg", lambda: file(scene()).ljust(20 * 2**20, b"\0")),
    ]
    formats = [
        _ok(f"plain {form}", form, lambda d=data: d) for form, data in every_format().items()
    ]
    return formats + cases


def refused() -> list[Case]:
    """Files that are no images, not images that we take, damaged, or meant to do harm."""
    return [*_no_images(), *_animations(), *_wrong_sizes(), *_damaged()]


def _no_images() -> list[Case]:
    return [
        _refused("nothing", "file_empty", lambda: b""),
        _refused(
            "20 MiB and a byte", "file_too_large", lambda: file(scene()).ljust(20 * 2**20 + 1)
        ),
        _unsupported("one byte", "unknown", b"\xff"),
        _unsupported("zeros", "unknown", bytes(4096)),
        _unsupported("random bytes", "unknown", random.Random(7).randbytes(4096)),
        _unsupported("HTML", "HTML", b"\n<!DOCTYPE html><html><body>404</body></html>"),
        _unsupported("HTML with a byte order mark", "HTML", b"\xef\xbb\xbf <HTML>no</HTML>"),
        _unsupported("SVG", "SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        _unsupported("SVG with a prologue", "SVG", b"<?xml version='1.0'?><!-- x --><svg/>"),
        _unsupported("XML", "XML", b"<?xml version='1.0'?><Error>AccessDenied</Error>"),
        _unsupported("text", "text", b"Not found.\n"),
        _unsupported("JSON", "text", b'{"error": "not found"}'),
        _unsupported("PDF", "PDF", b"%PDF-1.7\n%\xe2\xe3"),
        _unsupported("EPS", "EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        _unsupported("ZIP", "ZIP", zipped()),
        _unsupported("GZIP", "GZIP", gzip.compress(b"picture")),
        _unsupported("PSD", "PSD", b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x10\0\0\0\x10\0\x08\0\3"),
        _unsupported("ICO", "ICO", file(scene(32, 32), "ICO")),
        _unsupported("JPEG 2000", "JPEG 2000", file(scene(), "JPEG2000")),
        _unsupported("JPEG 2000 codestream", "JPEG 2000", b"\xff\x4f\xff\x51\0\x2f"),
        _unsupported("JPEG XL", "JPEG XL", b"\xff\x0a\xfa\x01"),
        _unsupported("TGA", "TGA", file(scene(), "TGA")),
        _unsupported("FITS", "FITS", b"SIMPLE  =                    T".ljust(2880)),
        _unsupported("MP4", "MP4", b"\0\0\0\x18ftypisom\0\0\2\0isommp41"),
        _unsupported("MOV", "MOV", b"\0\0\0\x14ftypqt  \0\0\2\0qt  "),
        _unsupported("camera raw (DNG)", "RAW", camera_raw()),
        _unsupported("camera raw (CR2)", "CR2", b"II*\0\x10\0\0\0CR\2\0" + bytes(100)),
    ]


def _animations() -> list[Case]:
    def case(name: str, form: str) -> Case:
        return _refused(name, "image_animated", lambda: _two_frames(form))

    return [
        case("animated GIF", "GIF"),
        case("animated PNG", "PNG"),
        case("animated WebP", "WEBP"),
        case("animated AVIF", "AVIF"),
        case("TIFF of two pages", "TIFF"),
        case("HEIC of two pictures", "HEIF"),
        _refused("GIF of 3000 frames", "image_animated", lambda: endless_gif(3000)),
    ]


def _wrong_sizes() -> list[Case]:
    def small(name: str, make: Callable[[], bytes]) -> Case:
        return _refused(name, "dimensions_too_small", make)

    def large(name: str, make: Callable[[], bytes], *others: str) -> Case:
        return _refused(name, "dimensions_too_large", make, *others)

    return [
        small("1 by 1 pixel", lambda: png(1, 1)),
        small("7 by 100 pixels", lambda: png(7, 100)),
        large("51 megapixels", lambda: png(8500, 6000, depth=1, colour=0)),
        large("16385 wide", lambda: png(16_385, 8)),
        large("16385 high", lambda: png(8, 16_385)),
        large("PNG bomb", lambda: png(30_000, 30_000, depth=1, colour=0)),
        large("PNG claim", lambda: png(50_000, 50_000, rows=b"")),
        large("highest PNG claim", lambda: png(2**31 - 1, 2**31 - 1, rows=b"")),
        large("JPEG claim", lambda: jpeg_claiming(65_000, 65_000)),
        large("GIF claim", lambda: gif_claiming(65_535, 65_535)),
        large("BMP claim", lambda: bmp_claiming(100_000, 100_000)),
        large("WebP claim", lambda: webp_claiming(16_384, 16_384)),
        large("AVIF claim", lambda: heif_claiming("AVIF", 16_000, 16_000)),
        large("HEIC claim", lambda: heif_claiming("HEIF", 16_000, 16_000), "file_damaged"),
    ]


def _damaged() -> list[Case]:
    def case(name: str, make: Callable[[], bytes], *others: str) -> Case:
        return _refused(name, "file_damaged", make, *others)

    return [
        case("PNG without width", lambda: png(0, 100, rows=b""), "dimensions_too_small"),
        case("JPEG without height", lambda: jpeg_claiming(100, 0), "dimensions_too_small"),
        case("PNG that claims 49 megapixels", lambda: png(7000, 7000, rows=bytes(99))),
        case("PNG with a bomb for text", text_bomb),
        case("PNG with a bomb for a profile", profile_bomb),
        case(
            "PNG with a wrong checksum",
            lambda: png(96, 64).replace(b"\0\0\0\x60", b"\0\0\0\x61", 1),
        ),
        case("JPEG signature only", lambda: b"\xff\xd8\xff\xe0" + bytes(40)),
        case("PNG signature only", lambda: b"\x89PNG\r\n\x1a\n"),
        case("lossless JPEG", lambda: file(scene()).replace(b"\xff\xc0", b"\xff\xc3", 1)),
    ]


def halves() -> list[Case]:
    """Every format, cut off in the middle."""
    return [
        _refused(f"half of a {form}", "file_damaged", lambda d=data: d[: len(d) // 2])
        for form, data in every_format().items()
    ]


# --- single oddities --------------------------------------------------------------------------


def ramp(width: int = 64, height: int = 16) -> np.ndarray:
    """All of 16 bits, from black to white."""
    return np.tile(np.linspace(0, 65535, width).round().astype(np.uint16), (height, 1))


def see_through_palette() -> bytes:
    """A palette of two colours, of which the first can't be seen."""
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(0, (0, 0, 16, 32))
    return file(picture, "PNG", transparency=0)


def see_through_colour() -> bytes:
    """An RGB picture in which one colour stands for nothing."""
    picture = Image.new("RGB", (32, 32), (0, 0, 255))
    picture.paste((255, 0, 0), (0, 0, 16, 32))
    return file(picture, "PNG", transparency=(255, 0, 0))


def rgb_profile_on_grey() -> bytes:
    """A profile that does not fit the picture."""
    return file(scene(mode="L"), "PNG", icc_profile=display_p3())


def lab_scene() -> Image.Image:
    """A light red in CIE Lab."""
    return Image.merge("LAB", [Image.new("L", (32, 32), value) for value in (160, 180, 150)])


def camera_raw() -> bytes:
    """A TIFF with the mark of a digital negative, whose first picture is a preview."""
    return file(scene(), "TIFF", tiffinfo={50706: b"\1\4\0\0"})


def profile_bomb() -> bytes:
    """20 MB of colour profile in 20 KB."""
    bomb = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(20_000_000), 9))
    return png(16, 16, extra=bomb)


def text_bomb() -> bytes:
    """20 MB of text in 20 KB."""
    bomb = png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(20_000_000), 9))
    return png(16, 16, extra=bomb)


def _two_frames(form: str) -> bytes:
    other = scene().transpose(Image.Transpose.ROTATE_180)
    return file(scene(), form, save_all=True, append_images=[other], duration=100)


def endless_gif(frames: int) -> bytes:
    """Very many tiny frames."""
    data = file(scene().quantize(4), "GIF")
    start = data.index(b"\x2c")
    return data[:start] + data[start:-1] * frames + b";"
