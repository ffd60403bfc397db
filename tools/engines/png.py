"""Write PNG files many times faster than Pillow does, pixel for pixel the same picture.

Pillow tries five filters on every row and deflates with zlib: over two seconds for 12 megapixels
at its default level. Here every row gets the same filter, "Up" (each byte minus the byte above
it, wrapping at 256), which numpy computes in a few milliseconds, and ISA-L deflates the rest:
about thirty times faster for a file about a tenth larger.

The work goes band by band, so that the rows in hand stay in the processor's cache and the memory
used does not grow with the picture; ISA-L and numpy let go of the interpreter lock meanwhile, so
two threads encode two pictures at full speed.
"""

import io
import struct
from typing import BinaryIO, Final

import numpy as np
from isal import isal_zlib
from PIL import Image

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES: Final = {"L": 0, "RGB": 2, "RGBA": 6}
_UP: Final = 2  # filter type 2 of the PNG specification
_LEVEL: Final = 1  # of ISA-L: 0 is no faster and a seventh larger, 2 and 3 save one percent at most
_BAND_BYTES: Final = 256 * 1024  # the fastest from 32 KiB to 4 MiB: fits the second-level cache


def encode(image: Image.Image) -> bytes:
    """The picture as a PNG file: 8 bits, modes L, RGB and RGBA, no metadata.

    Beside the picture itself it needs the size of the file and less than a megabyte.
    Raises ValueError for any other mode.
    """
    file = io.BytesIO()
    write(image, file)
    return file.getvalue()


def write(image: Image.Image, file: BinaryIO) -> None:
    """Write what `encode` returns to an open file, as it comes; the file need not seek."""
    colour_type = _COLOUR_TYPES.get(image.mode)
    if colour_type is None:
        raise ValueError(f"PNG is written from L, RGB or RGBA, not from {image.mode}.")
    width, height = image.size
    file.write(_SIGNATURE)
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))
    _write_rows(file, image)
    _write_chunk(file, b"IEND", b"")


def _write_rows(file: BinaryIO, image: Image.Image) -> None:
    """Write the pixels as one deflate stream, one IDAT chunk for each band that gave output."""
    width, height = image.size
    stride = width * len(image.getbands())
    rows_per_band = min(height, max(1, _BAND_BYTES // stride))
    filtered = np.empty((rows_per_band, stride + 1), np.uint8)
    filtered[:, 0] = _UP
    above = np.zeros(stride, np.uint8)  # by definition, what lies above the first row
    deflate = isal_zlib.compressobj(_LEVEL)
    for top in range(0, height, rows_per_band):
        bottom = min(top + rows_per_band, height)
        band = image.crop((0, top, width, bottom)).tobytes()
        rows = np.frombuffer(band, np.uint8).reshape(bottom - top, stride)
        out = filtered[: bottom - top]
        np.subtract(rows[0], above, out=out[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=out[1:, 1:])
        above = rows[-1]
        if data := deflate.compress(out):
            _write_chunk(file, b"IDAT", data)
    _write_chunk(file, b"IDAT", deflate.flush())


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    file.write(struct.pack(">I4s", len(data), kind))
    file.write(data)
    file.write(struct.pack(">I", checksum))
