"""Real photos in any number and size, made from those that the scikit-image package carries.

Each is a crop of a real photo (mirrored or not), scaled to the size wanted, with grain where it
was enlarged, and saved as JPEG. The same arguments give the same bytes.
"""

import importlib.util
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SOURCES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "camera.png")
CATALOGUE_SIZES = (
    (600, 600),
    (800, 1000),
    (1200, 1200),
    (1920, 1080),
    (1600, 2000),
    (2000, 2000),
    (2400, 3200),
    (4000, 3000),
)
"""Sizes that shops receive, in pixels; 3.6 megapixels on average."""


def originals() -> list[Image.Image]:
    """The source photos, decoded."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise RuntimeError("The scikit-image package is missing: run `make setup`.")
    folder = Path(spec.origin).parent / "data"
    return [Image.open(folder / name).convert("RGB") for name in SOURCES]


def photos(
    count: int, *, sizes: Sequence[tuple[int, int]] = CATALOGUE_SIZES, quality: int = 90
) -> Iterator[tuple[str, bytes]]:
    """`count` different JPEGs as (name, bytes), walking through sources and sizes."""
    random = np.random.default_rng(20261123)
    sources = originals()
    for number in range(count):
        source = sources[number % len(sources)]
        width, height = sizes[number % len(sizes)]
        picture = _crop(source, width / height, float(random.uniform(0.8, 1.0)), random)
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        enlarged = width > picture.width
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        if enlarged:
            grain = random.normal(0, 3, (height, width, 1))
            pixels = np.clip(np.asarray(picture, dtype=np.float32) + grain, 0, 255)
            picture = Image.fromarray(pixels.astype(np.uint8))
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality)
        yield f"photo-{number + 1:02d}.jpg", out.getvalue()


def _crop(
    source: Image.Image, ratio: float, share: float, random: np.random.Generator
) -> Image.Image:
    """A window of the wanted shape over `share` of the largest one that fits."""
    width = min(source.width, source.height * ratio) * share
    height = width / ratio
    left = random.uniform(0, source.width - width)
    top = random.uniform(0, source.height - height)
    return source.crop((int(left), int(top), int(left + width), int(top + height)))
