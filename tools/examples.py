"""Before and after: small pictures of what each tool does, made by the tool itself.

They are kept in the repository, so that the gallery shows them before any weights are here.
"""

import importlib.util
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from PIL import Image, ImageOps

from tools.base import Example, Tool
from tools.engines import images

SIZE = (560, 420)
"""Pixels of each picture: four to three, twice what a card shows."""
OPTION_SIZE = (192, 144)
"""Pixels of the picture of an option, twice what a form shows."""
MAX_BYTES = 25 * 1024
NEARLY = 1.1
"""How far a result's shape may be from a frame's to be cut to it."""
GREY = (226, 225, 222)
"""What is seen beside a result of another shape, in light and dark alike."""
REASONS = 2
"""Sentences of a report that a card has room for."""
QUALITIES = range(85, 20, -5)


def paths(tool: Tool) -> tuple[Path, Path]:
    """Where the pictures of this tool lie: before and after."""
    folder = settings.BASE_DIR / "static" / "img" / "tools"
    return folder / f"{tool.slug}-before.webp", folder / f"{tool.slug}-after.webp"


def make(tool: Tool, example: Example) -> tuple[Image.Image, Image.Image | str]:
    """Run the tool on its example, as it would run for anybody: before and after.

    After is a picture, or the words of a tool that makes words. Raises `ToolError`, and whatever
    the tool raises without its weights.
    """
    before = original(example)
    output = tool.run(before, run_settings(tool, before))[0]
    shown = ImageOps.fit(before, SIZE)
    if output.data is not None:
        return shown, _in_words(output.data)
    if output.image is None:
        return shown, output.text or ""
    return shown, _framed(output.image, SIZE)


def options(tool: Tool) -> dict[Path, dict[str, str]]:
    """The pictures of settings' options: where each lies, and the setting that it shows."""
    fields = tool.Settings().fields.items()
    return {
        settings.BASE_DIR / "static" / file: {name: choice}
        for name, field in fields
        for choice, file in field.style.get("pictures", {}).items()
    }


def make_option(tool: Tool, example: Example, chosen: Mapping[str, Any]) -> Image.Image:
    """The tool's example with this option. Raises what `make` raises."""
    before = original(example)
    made = tool.run(before, run_settings(tool, before, chosen))[0].image
    if made is None:
        raise ValueError(f"{tool.slug} makes no pictures to show its options with.")
    return _framed(made, OPTION_SIZE)


def _framed(made: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A result in a frame of this size: filled, or whole on grey where its shape is the point."""
    fills = (made.width * size[1]) / (made.height * size[0])
    if 1 / NEARLY < fills < NEARLY:
        return ImageOps.fit(made, size)
    frame = Image.new("RGB", size, GREY)
    inside = ImageOps.contain(images.flattened(made, colour=GREY), size)
    frame.paste(inside, ((size[0] - inside.width) // 2, (size[1] - inside.height) // 2))
    return frame


def run_settings(
    tool: Tool, image: Image.Image, chosen: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `Tool.run` gets for this picture: the example's settings, with others on top."""
    example = tool.example or Example("")
    drawn = {name: draw(image) for name, draw in example.images.items()}
    return {**tool.defaults(), **example.settings, **(chosen or {}), **drawn}


def original(example: Example) -> Image.Image:
    """What the tool gets: the photo in the size of the gallery's, or a small part of it."""
    image = images.read(photo(example.photo))
    return image.crop(example.box) if example.box else ImageOps.fit(image, SIZE)


def _in_words(report: Mapping[str, Any]) -> str:
    """The first few things that a report finds fault with."""
    broken = [rule["reason"] for rule in report["rules"] if not rule["passed"]]
    return " ".join(broken[:REASONS]) or report["rules"][0]["reason"]


@cache
def said(tool: Tool) -> str:
    """What a tool that makes words says of its example; empty for the others."""
    file = paths(tool)[1].with_suffix(".txt")
    return file.read_text().strip() if file.exists() else ""


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
