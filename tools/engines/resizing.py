"""Make pictures smaller or larger as carefully as it can be done.

A reduction averages light, not numbers: sRGB values are no measure of light, and the mean of a
black and a white pixel would come out far too dark (stars vanish, thin lines turn grey). Colours
count by their alpha, so that what is hidden never shines through at an edge.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

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
    """The light of each of the 256 values, 0 to 1, by the curve of IEC 61966-2-1 (sRGB)."""
    import numpy as np

    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


_STEPS = 1 << 14
"""How finely light is told apart: a step is at most a fifth of a level, in the darkest tones."""


@cache
def _to_values() -> "np.ndarray[Any, Any]":
    """The value of each step of light, the inverse of `_to_light`."""
    import numpy as np

    light = np.arange(_STEPS + 1) / _STEPS
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(value * 255).astype(np.uint8)


def _from_light(light: "np.ndarray[Any, Any]") -> Image.Image:
    """Light as values of 8 bits; what the filter overshoots is cut off."""
    import numpy as np

    steps = np.clip(np.rint(light * _STEPS), 0, _STEPS).astype(np.intp)
    return Image.fromarray(_to_values()[steps])
