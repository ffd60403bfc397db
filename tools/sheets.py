"""Contact sheets: what a tool makes of photos, to look at after a change.

`manage.py makegallery` writes one for each tool. Rows are photos, columns are settings.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tools import examples
from tools.base import Output, Tool, ToolError
from tools.engines import images, matting, weights

CELL = (300, 240)
SMALL = (248, 186)
"""A cell of the overview."""
ACROSS = 4
GAP = 12
LABEL = 34
"""Pixels above each column for the settings' names."""
PAPER = (250, 249, 247)
INK = (40, 40, 48)
SQUARE = 10
"""Side of the checkerboard's squares, which show where a picture is transparent."""


@dataclass(frozen=True)
class Shot:
    """One cell: what came of one photo with one set of settings."""

    outputs: Sequence[Output] = ()
    problem: str = ""


def columns(tool: Tool) -> list[Mapping[str, Any]]:
    """Settings worth looking at: the tool's showcase, else those of its example."""
    return list(tool.showcase) or [tool.example.settings if tool.example else {}]


def shoot(tool: Tool, photo: Image.Image, settings: Mapping[str, Any]) -> Shot:
    """Run the tool on one photo; what stands in its way is part of the picture."""
    chosen = examples.run_settings(tool, photo, settings)
    if reason := tool.unavailable_reason(chosen):
        return Shot(problem=reason)
    try:
        return Shot(outputs=tool.run(photo, chosen))
    except ToolError as error:
        return Shot(problem=error.code)
    except matting.NoSubject:
        return Shot(problem="no_subject")
    except weights.ModelOutOfMemory:
        return Shot(problem="model_out_of_memory")


def sheet(
    photos: Mapping[str, Image.Image], named: Sequence[str], shots: Mapping[str, Sequence[Shot]]
) -> Image.Image:
    """The sheet: for each photo a row with itself and its shots, below the columns' names."""
    width, height = CELL
    across = 1 + len(named)
    size = (across * (width + GAP) + GAP, LABEL + len(photos) * (height + GAP) + GAP)
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    for number, name in enumerate(["before", *named]):
        words = textwrap.shorten(name, 46, placeholder="…")
        pen.text((GAP + number * (width + GAP), GAP), words, INK, _font(13))
    for row, (name, photo) in enumerate(photos.items()):
        top = LABEL + row * (height + GAP)
        _paste(page, photo, (GAP, top))
        for number, shot in enumerate(shots[name], start=1):
            _place(page, pen, shot, (GAP + number * (width + GAP), top))
    return page


def overview(tools: Sequence[Tool]) -> Image.Image:
    """The gallery's pictures of these tools, four in a row with their names: for the docs."""
    width, height = SMALL
    rows = -(-len(tools) // ACROSS)
    size = (ACROSS * (width + GAP) + GAP, rows * (height + LABEL) + GAP)
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    for number, tool in enumerate(tools):
        left = GAP + number % ACROSS * (width + GAP)
        top = GAP + number // ACROSS * (height + LABEL)
        before, after = examples.paths(tool)
        words = examples.said(tool)
        with Image.open(before if words else after) as picture:
            page.paste(_on_checks(picture, SMALL), (left, top))
        if words:
            lines = textwrap.wrap(words.replace("×", "x"), 38)[:4]
            at = (left + 10, top + height - 16 * len(lines) - 8)
            box = (left + 5, at[1] - 4, left + width - 5, top + height - 5)
            pen.rounded_rectangle(box, 5, PAPER)
            pen.multiline_text(at, "\n".join(lines), INK, _font(12))
        pen.text((left, top + height + 6), str(tool.name), INK, _font(14))
    return page


def in_words(settings: Mapping[str, Any]) -> str:
    """The settings in a few words, for the head of a column."""
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "defaults"


def _place(
    page: Image.Image, pen: ImageDraw.ImageDraw, shot: Shot, corner: tuple[int, int]
) -> None:
    pictures = [output.image for output in shot.outputs if output.image is not None]
    if pictures:
        _paste(page, _side_by_side(pictures), corner)
        words = ""
    elif shot.problem:
        words = shot.problem
    else:
        words = " ".join(output.text or _rules(output.data or {}) for output in shot.outputs)
    notes = " ".join(str(note) for output in shot.outputs[:1] for note in output.notes)
    # The font that comes with Pillow has no sign for "times".
    if text := (words or notes).replace("×", "x"):
        lines = textwrap.wrap(text, 46)[: 2 if pictures else 14]
        at = (corner[0], corner[1] + (CELL[1] - 30 if pictures else 4))
        box = pen.multiline_textbbox(at, "\n".join(lines), _font(12))
        pen.rectangle(box, PAPER)
        pen.multiline_text(at, "\n".join(lines), INK, _font(12))


def _rules(report: Mapping[str, Any]) -> str:
    broken = [rule["reason"] for rule in report["rules"] if not rule["passed"]]
    return " ".join(broken) or "passed"


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Several results of one image in one cell, two in a row."""
    if len(pictures) == 1:
        return pictures[0]
    half = (CELL[0] // 2, CELL[1] // 2 if len(pictures) > 2 else CELL[1])
    both = Image.new("RGB", CELL, PAPER)
    for number, picture in enumerate(pictures[:4]):
        small = _on_checks(picture, half)
        both.paste(small, (number % 2 * half[0], number // 2 * half[1]))
    return both


def _paste(page: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    shown = _on_checks(picture, CELL)
    left = corner[0] + (CELL[0] - shown.width) // 2
    page.paste(shown, (left, corner[1] + (CELL[1] - shown.height) // 2))


def _on_checks(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture in a box, over a checkerboard where it lets light through."""
    scale = min(box[0] / picture.width, box[1] / picture.height)
    size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
    small = images.fitted(picture, max_pixels=size[0] * size[1], max_side=max(size))
    if small.size != size:  # smaller than its cell
        small = small.resize(size, Image.Resampling.BICUBIC)
    if not small.has_transparency_data:
        return small.convert("RGB")
    checks = Image.new("L", (size[0] // SQUARE + 2, size[1] // SQUARE + 2), 255)
    checks.putdata(
        [255 if (x + y) % 2 else 220 for y in range(checks.height) for x in range(checks.width)]
    )
    under = checks.resize(
        (checks.width * SQUARE, checks.height * SQUARE), Image.Resampling.NEAREST
    ).crop((0, 0, *size))
    shown = under.convert("RGB")
    shown.paste(small, mask=small.convert("RGBA").getchannel("A"))
    return shown


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
