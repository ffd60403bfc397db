import io
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests import images as pictures
from tools.engines import png


def noise(width, height, mode):
    samples = len(Image.new(mode, (1, 1)).getbands())
    chance = np.random.default_rng(width * height)
    return Image.frombytes(mode, (width, height), chance.bytes(width * height * samples))


def chunks(data):
    """Kinds and contents of the chunks of a PNG, with every checksum looked at."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(kind + content)
        yield kind, content
        at += 12 + length


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 700), (700, 1), (97, 61), (640, 480), (100_000, 3)], ids=str
)
def test_what_is_written_decodes_to_the_same_pixels(mode, size):
    picture = noise(*size, mode)

    decoded = Image.open(io.BytesIO(png.encode(picture)))

    assert decoded.mode == mode
    assert decoded.tobytes() == picture.tobytes()


def test_rows_at_the_borders_of_bands_are_right():
    rows = png._BAND_BYTES // (640 * 3)
    picture = noise(640, 3 * rows + 1, "RGB")

    decoded = Image.open(io.BytesIO(png.encode(picture)))

    assert decoded.tobytes() == picture.tobytes()


def test_the_file_is_strictly_formed_and_holds_nothing_but_pixels():
    picture = pictures.photo(300, 200)
    picture.info["icc_profile"] = pictures.display_p3()
    picture.info["comment"] = "secret"

    parts = list(chunks(png.encode(picture)))

    assert {kind for kind, _ in parts} == {b"IHDR", b"IDAT", b"IEND"}
    assert parts[0] == (b"IHDR", struct.pack(">IIBBBBB", 300, 200, 8, 2, 0, 0, 0))
    rows = zlib.decompress(b"".join(content for kind, content in parts if kind == b"IDAT"))
    assert len(rows) == 200 * (1 + 300 * 3)
    assert set(rows[:: 1 + 300 * 3]) == {2}


def test_it_writes_the_same_to_an_open_file(tmp_path):
    picture = pictures.photo(300, 200)

    with (tmp_path / "picture.png").open("wb") as file:
        png.write(picture, file)

    assert (tmp_path / "picture.png").read_bytes() == png.encode(picture)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I;16", "F"])
def test_other_modes_are_refused_rather_than_written_wrongly(mode):
    with pytest.raises(ValueError, match="L, RGB or RGBA"):
        png.encode(Image.new(mode, (8, 8)))


def test_it_is_many_times_faster_than_pillow_and_not_much_larger():
    picture = pictures.photo(1600, 1200)
    png.encode(picture)

    start = time.process_time()
    ours = png.encode(picture)
    ours_took = time.process_time() - start
    start = time.process_time()
    theirs = pictures.file(picture, "PNG")
    theirs_took = time.process_time() - start

    assert ours_took * 5 < theirs_took
    assert len(ours) < len(theirs) * 1.25


def test_fifty_megapixels_need_less_than_a_hundred_megabytes_beside_the_picture():
    script = """
import resource
from PIL import Image
from tools.engines import png
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
png.encode(Image.new("RGBA", (640, 480)))
picture = Image.linear_gradient("L").resize((8000, 6250))
picture = Image.merge("RGBA", [picture] * 4)
before = peak()
size = len(png.encode(picture))
print(size, peak() - before)
"""

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    size, growth = map(int, run.stdout.split())
    assert size > 100_000
    assert growth < 100 * 1024  # KB
