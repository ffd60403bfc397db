"""Make pictures smaller or larger as carefully as it can be done.

A reduction averages light, not numbers: sRGB values are no measure of light, and the mean of a
black and a white pixel would come out far too dark (stars vanish, thin lines turn grey). Colours
count by their alpha, so that what is hidden never shines through at an edge.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from tools.engines import srgb

if TYPE_CHECKING:
    import numpy as np

VERSION = "linear light, lanczos 1"

Fit = Literal["contain", "cover", "pad", "stretch"]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels; may cut pixels."""


def resized(image: Image.Image, size: tuple[int, int], *, box: Box | None = None) -> Image.Image:
    """``image``, RGB or RGBA, or the part of it in ``box``, in exactly this size.

    A box of whole pixels in its own size is cut out unchanged. Channels are worked on one after
    the other: beside the two pictures it takes 8 bytes for each pixel of the larger one.
    """
    box = box or (0, 0, *image.size)
    if all(side == int(side) for side in box) and size == (box[2] - box[0], box[3] - box[1]):
        return image.crop(tuple(int(side) for side in box))  # type: ignore[arg-type]
    shrinks = size[0] < box[2] - box[0] or size[1] < box[3] - box[1]
    if not shrinks:
        mode = "RGBa" if image.mode == "RGBA" else image.mode
        larger = image.convert(mode).resize(size, Image.Resampling.LANCZOS, box=box)
        return larger.convert(image.mode)
    # The surroundings of the box that no pixel of the result depends on are not even looked at.
    image, box = _around(image, size, box)
    if image.mode != "RGBA":
        return Image.merge("RGB", [_reduced(band, size, box) for band in image.split()])
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        bands = [_reduced(band, size, box) for band in image.convert("RGB").split()]
        return Image.merge("RGBA", [*bands, Image.new("L", size, 255)])
    return _reduced_with_alpha(image, size, box)


def fitted(
    image: Image.Image,
    size: tuple[int | None, int | None],
    *,
    fit: Fit,
    colour: tuple[int, int, int, int] = (255, 255, 255, 255),
    enlarge: bool = False,
) -> Image.Image:
    """The picture, RGB or RGBA, brought to a width, a height or both (None: as it comes).

    *contain*: as large as fits into the size, nothing cut. *cover*: the size is filled, and what
    is too much is cut off on both sides. *pad*: as *contain*, in the middle of a canvas of
    exactly that size and ``colour`` (red, green, blue, alpha). *stretch*: both sides forced.

    Without ``enlarge`` no pixel becomes more than one: a picture that is too small stays as it
    is, *cover* gives the largest part of the wanted shape, and the canvas keeps its size.
    """
    across = size[0] / image.width if size[0] else None
    down = size[1] / image.height if size[1] else None
    if across is None or down is None:
        scale = across or down or 1.0
        scale = scale if enlarge else min(scale, 1.0)
        return resized(image, _scaled(image.size, scale, scale, wanted=size))
    match fit:
        case "stretch":
            if not enlarge:
                across, down = min(across, 1.0), min(down, 1.0)
            return resized(image, _scaled(image.size, across, down, wanted=size))
        case "cover":
            scale = max(across, down) if enlarge else min(max(across, down), 1.0)
            return _covering(image, (size[0] or 1, size[1] or 1), scale)
    scale = min(across, down) if enlarge else min(across, down, 1.0)
    inner = resized(image, _scaled(image.size, scale, scale, wanted=size))
    if fit == "contain":
        return inner
    return _on_canvas(inner, (size[0] or 1, size[1] or 1), colour)


def _scaled(
    size: tuple[int, int], across: float, down: float, *, wanted: tuple[int | None, int | None]
) -> tuple[int, int]:
    """A size in whole pixels, never beyond what was wanted."""
    width, height = max(1, round(size[0] * across)), max(1, round(size[1] * down))
    return min(width, wanted[0] or width), min(height, wanted[1] or height)


def _covering(image: Image.Image, wanted: tuple[int, int], scale: float) -> Image.Image:
    """The middle of the picture in the wanted shape; smaller than wanted if ``scale`` says so."""
    if round(image.width * scale) < wanted[0] or round(image.height * scale) < wanted[1]:
        # Not large enough for the size: the largest part of its shape, pixel by pixel.
        ratio = wanted[0] / wanted[1]
        width = min(image.width, max(1, round(image.height * ratio)))
        height = min(image.height, max(1, round(image.width / ratio)))
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))
    seen = (min(image.width, wanted[0] / scale), min(image.height, wanted[1] / scale))
    start = ((image.width - seen[0]) / 2, (image.height - seen[1]) / 2)
    if scale == 1.0:
        start = (start[0] // 1, start[1] // 1)  # whole pixels, which are copied as they are
    return resized(image, wanted, box=(*start, start[0] + seen[0], start[1] + seen[1]))


def _on_canvas(
    image: Image.Image, size: tuple[int, int], colour: tuple[int, int, int, int]
) -> Image.Image:
    """The picture in the middle of a canvas."""
    if image.size == size and image.mode == "RGB":
        return image
    at = ((size[0] - image.width) // 2, (size[1] - image.height) // 2)
    if image.mode == "RGB" and colour[3] == 255:
        canvas = Image.new("RGB", size, colour[:3])
        canvas.paste(image, at)
        return canvas
    canvas = Image.new("RGBA", size, colour)
    canvas.alpha_composite(image.convert("RGBA"), at)
    return canvas.convert("RGB") if colour[3] == 255 else canvas


def _around(image: Image.Image, size: tuple[int, int], box: Box) -> tuple[Image.Image, Box]:
    """The part of the picture that the filter looks at, and the box in it."""
    reach_x, reach_y = (
        4 * max(1.0, (box[2] - box[0]) / size[0]),
        4 * max(1.0, (box[3] - box[1]) / size[1]),
    )
    left, top = max(0, int(box[0] - reach_x)), max(0, int(box[1] - reach_y))
    right = min(image.width, int(box[2] + reach_x) + 1)
    bottom = min(image.height, int(box[3] + reach_y) + 1)
    if (left, top, right, bottom) == (0, 0, *image.size):
        return image, box
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return image.crop((left, top, right, bottom)), moved


def _reduced(band: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """One colour of a picture without transparency, reduced in linear light."""
    import numpy as np

    light = Image.fromarray(_to_light()[np.asarray(band)])
    return _from_light(np.asarray(light.resize(size, Image.Resampling.LANCZOS, box=box)))


def _reduced_with_alpha(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """The same for a picture with transparency: light is weighed by alpha."""
    import numpy as np

    alpha = np.asarray(image.getchannel("A"), dtype=np.float32) / 255

    def reduced(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.LANCZOS, box=box))

    covered = np.clip(reduced(alpha), 0, 1)
    weight = np.where(covered > 1 / 1024, covered, np.inf)
    bands = [
        _from_light(reduced(_to_light()[np.asarray(band)] * alpha) / weight)
        for band in image.split()[:3]
    ]
    return Image.merge("RGBA", [*bands, Image.fromarray(np.rint(covered * 255).astype(np.uint8))])


@cache
def _to_light() -> "np.ndarray[Any, Any]":
    """The light of each of the 256 values, 0 to 1."""
    import numpy as np

    return srgb.to_linear(np.arange(256) / 255).astype(np.float32)


_STEPS = 1 << 14
"""How finely light is told apart: a step is at most a fifth of a level, in the darkest tones."""


@cache
def _to_values() -> "np.ndarray[Any, Any]":
    """The value of each step of light, the inverse of `_to_light`."""
    import numpy as np

    return np.rint(srgb.from_linear(np.arange(_STEPS + 1) / _STEPS) * 255).astype(np.uint8)


def _from_light(light: "np.ndarray[Any, Any]") -> Image.Image:
    """Light as values of 8 bits; what the filter overshoots is cut off."""
    import numpy as np

    steps = np.clip(np.rint(light * _STEPS), 0, _STEPS).astype(np.intp)
    return Image.fromarray(_to_values()[steps])
