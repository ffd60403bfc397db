"""Before and after: small pictures of what each tool does, made by the tool itself.

They are kept in the repository, so that the gallery shows them before any weights are here.
"""

import importlib.util
import io
from pathlib import Path

from django.conf import settings
from PIL import Image, ImageOps

from tools.base import Example, Tool
from tools.engines import images

SIZE = (560, 420)
"""Pixels of each picture: four to three, twice what a card shows."""
MAX_BYTES = 25 * 1024
QUALITIES = range(85, 20, -5)


def paths(tool: Tool) -> tuple[Path, Path]:
    """Where the pictures of this tool lie: before and after."""
    folder = settings.BASE_DIR / "static" / "img" / "tools"
    return folder / f"{tool.slug}-before.webp", folder / f"{tool.slug}-after.webp"


def make(tool: Tool, example: Example) -> tuple[Image.Image, Image.Image]:
    """Run the tool on its example, as it would run for anybody: before and after.

    Raises `ToolError`, whatever the tool raises without its weights, and `ValueError` for a
    tool whose result is no picture.
    """
    before = ImageOps.fit(images.read(photo(example.photo)), SIZE)
    settings = tool.defaults() | dict(example.settings)
    settings |= {name: draw(before) for name, draw in example.images.items()}
    output = tool.run(before, settings)[0]
    if output.image is None:
        raise ValueError(f"{tool.slug} makes no picture: it can have no example.")
    return before, ImageOps.fit(output.image, SIZE)


def encode(image: Image.Image) -> bytes:
    """The picture as a WebP of at most `MAX_BYTES`, as good as fits. Alpha is kept."""
    for quality in QUALITIES:
        out = io.BytesIO()
        image.save(out, "WEBP", quality=quality, alpha_quality=80, method=6)
        if out.tell() <= MAX_BYTES:
            return out.getvalue()
    raise ValueError(f"The picture is too busy for {MAX_BYTES // 1024} KB: choose another one.")


def photo(name: str) -> Path:
    """A photo of the scikit-image package, without importing it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("The scikit-image package is missing: run `make setup`.")
    return Path(spec.origin).parent / "data" / name
