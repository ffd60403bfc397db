"""What every generative engine needs around its model: a canvas that fits, and the way back.

A model works on a canvas of its own size. The picture is laid on it and lifted off again, and of
what was painted only that is taken which was asked for: every other pixel is the original's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageChops, ImageFilter

from tools.engines import images

Task = Literal["background", "edit", "remove"]

Size = tuple[int, int]

EMPTIED = "Plain empty background. Nothing there, the surroundings continued naturally."
"""What a model is told that has to paint over a thing."""


_ROUNDED = 1.07
"""How far rounding to whole multiples of 64 changes proportions at the most."""


class WrongShape(ValueError):
    """A model made a picture of other proportions than those of its canvas."""


@dataclass(frozen=True)
class Frame:
    """Where a picture of size ``original`` lies on a model's ``canvas``: ``inner`` at ``place``.

    The proportions stay, to less than half a pixel of the canvas.
    """

    original: Size
    inner: Size
    canvas: Size
    place: tuple[int, int]

    def lay(self, image: Image.Image) -> Image.Image:
        """The picture on the canvas; its edges are continued outwards."""
        import numpy as np

        small = image.resize(self.inner, Image.Resampling.LANCZOS)
        if self.inner == self.canvas:
            return small
        (left, top), (width, height) = self.place, self.inner
        around = [
            (top, self.canvas[1] - height - top),
            (left, self.canvas[0] - width - left),
        ]
        pixels = np.asarray(small)
        around += [(0, 0)] * (pixels.ndim - 2)
        return Image.fromarray(np.pad(pixels, around, mode="edge"))

    def lift(self, made: Image.Image) -> Image.Image:
        """What a model made of the canvas, back in the original's place and size.

        It may have another size than the canvas, as some services round sizes. Raises
        `WrongShape` when its proportions are others.
        """
        if made.size != self.canvas:
            ratio = made.width / made.height / (self.canvas[0] / self.canvas[1])
            if not 1 / _ROUNDED < ratio < _ROUNDED:
                raise WrongShape(f"{made.size} instead of {self.canvas}")
            made = made.resize(self.canvas, Image.Resampling.LANCZOS)
        (left, top), (width, height) = self.place, self.inner
        inside = made.crop((left, top, left + width, top + height))
        return inside.resize(self.original, Image.Resampling.LANCZOS)


def frame_within(size: Size, *, pixels: int, multiple: int) -> Frame:
    """A canvas of about ``pixels`` at most, sides a multiple, around a picture of this size.

    A smaller picture is enlarged to that size too: models paint badly below the size that they
    learned on. The longer side is at most four times the shorter one's fair share.
    """
    width, height = size
    scale = (pixels / (width * height)) ** 0.5
    longest = 2 * pixels**0.5
    scale = min(scale, longest / max(size))
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = (-(-side // multiple) * multiple for side in inner)
    place = (across - inner[0]) // 2, (down - inner[1]) // 2
    return Frame(original=size, inner=inner, canvas=(across, down), place=place)


def frame_on(size: Size, *, canvases: Sequence[Size]) -> Frame:
    """The canvas, of those that a service offers, of which a picture of this size fills most."""

    def laid(canvas: Size) -> Frame:
        scale = min(canvas[0] / size[0], canvas[1] / size[1])
        inner = (
            min(canvas[0], max(1, round(size[0] * scale))),
            min(canvas[1], max(1, round(size[1] * scale))),
        )
        place = (canvas[0] - inner[0]) // 2, (canvas[1] - inner[1]) // 2
        return Frame(original=size, inner=inner, canvas=canvas, place=place)

    def filled(frame: Frame) -> float:
        return frame.inner[0] * frame.inner[1] / (frame.canvas[0] * frame.canvas[1])

    return max(map(laid, canvases), key=filled)


def like(original: Image.Image, made: Image.Image) -> Image.Image:
    """``made`` with the original's transparency, where it has any."""
    if not original.has_transparency_data:
        return made.convert("RGB")
    made = made.convert("RGB")
    made.putalpha(original.convert("RGBA").getchannel("A"))
    return made


# --- Backgrounds ------------------------------------------------------------------------------


def subject_over(image: Image.Image, subject: Image.Image, behind: Image.Image) -> Image.Image:
    """The subject of ``image`` on another picture of the same size: RGB.

    Where the mask is neither full nor empty, a pixel is a mixture with the old background (a mask
    that is nearly full is a model that is nearly sure: such pixels stay as they are). The
    subject's own colour there is taken from the surroundings, weighed by how much of them is
    subject (blur fusion: Forte, "Approximate Fast Foreground Colour Estimation", 2021).
    """
    colours = image.convert("RGB")
    if any(subject.histogram()[1:_OWN]):
        own = subject.point(lambda level: min(255, level**2 // 200) if level < _OWN else 255)
        colours = Image.composite(colours, _pure(colours, subject), own)
    return Image.composite(colours, behind.convert("RGB"), subject)


_OWN = 226
"""From which level of the mask on a pixel counts as the subject's own."""

_ESTIMATED = 1500
"""Pixels of the longer side, on which an edge's colours are estimated: they vary slowly."""


def _pure(colours: Image.Image, subject: Image.Image) -> Image.Image:
    """For every pixel the colour that the subject has around it."""
    import numpy as np

    # An edge pixel lends less than its share of colour: it is a mixture itself.
    weight = subject.point([level * level // 255 for level in range(256)])
    lent = Image.composite(colours, Image.new("RGB", colours.size), weight)
    factor = max(1, round(max(colours.size) / _ESTIMATED))
    lent, weight, own = (band.reduce(factor) for band in (lent, weight, colours))
    blur = ImageFilter.BoxBlur(max(2.0, max(own.size) / 250))
    sums = np.asarray(lent.filter(blur), dtype=np.float32)
    parts = np.asarray(weight.filter(blur), dtype=np.float32)[..., None]
    found = np.where(parts >= 8, sums * 255 / np.maximum(parts, 1), np.asarray(own))
    estimated = Image.fromarray(np.clip(found + 0.5, 0, 255).astype(np.uint8))
    return estimated.resize(colours.size, Image.Resampling.BILINEAR)


def around(subject: Image.Image) -> Image.Image:
    """Where to paint around a subject: 255 there, 0 on the subject. Soft edges are painted."""
    return subject.point([255] * 128 + [0] * 128)


def backdrop(reference: Image.Image, size: Size) -> Image.Image:
    """A reference picture that covers ``size``, cut at the sides that stand over: RGB."""
    from PIL import ImageOps

    return ImageOps.fit(images.flattened(reference), size, Image.Resampling.LANCZOS)


# --- Removal ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hole:
    """What is painted over: ``model`` is for the model, ``paste`` mixes its work in (both L)."""

    model: Image.Image
    paste: Image.Image


def hole(mask: Image.Image) -> Hole:
    """A mask with a seam: rims and shadows of a thing stick out of a mask that just fits.

    The seam is one 250th of the longer side, at least 2 pixels. Beyond it nothing changes.
    """
    seam = max(2, round(max(mask.size) / 250))
    sure = mask.point([0] * 128 + [255] * 128)
    grown = sure
    for reach in ((seam, 0), (0, seam)):  # a blur and a threshold: `MaxFilter` takes seconds
        grown = grown.filter(ImageFilter.BoxBlur(reach)).point([0] + [255] * 255)
    soft = grown.filter(ImageFilter.BoxBlur(seam / 2))
    inside = ImageChops.darker(soft, grown)
    return Hole(model=grown, paste=ImageChops.lighter(inside, sure))
