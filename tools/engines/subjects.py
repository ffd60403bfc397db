"""The subject of a picture, ready to be put somewhere else.

A mask alone is not enough for that: along its edge the photo's pixels are part subject, part
old background, and would show as a halo. `cut` works out what the subject's own colours are
there, finds where it stands and where the photo cuts it off.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image, ImageChops, ImageFilter

from tools.engines import guided, images, matting

Edge = Literal["left", "top", "right", "bottom"]

WORKING_PIXELS = 700_000
"""Edges and colours are worked out on at most so many pixels: a model's mask holds no more."""
COLOUR_PIXELS = 250_000
"""The same for the colours along the edge, which are smoother still."""
FAINTEST = 0.02
"""A part of this share of the largest part's area is kept; smaller ones are stray specks."""


@dataclass(frozen=True)
class Subject:
    """A subject, cropped to its box.

    ``colours`` (RGB) are its own, also where ``alpha`` (L) is partial; ``origin`` is the box's
    upper left corner in the photo and ``frame`` the photo's size. ``cut_off`` names the edges
    of the photo at which the subject goes on outside.
    """

    colours: Image.Image
    alpha: Image.Image
    origin: tuple[int, int]
    frame: tuple[int, int]
    cut_off: frozenset[Edge]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the box."""
        return self.alpha.size

    @property
    def stands(self) -> bool:
        """Whether its foot is in the picture, so that it can stand on something."""
        return "bottom" not in self.cut_off

    def scaled(self, factor: float) -> "Subject":
        """The same subject in another size, at the same ``origin``."""
        if factor == 1:
            return self
        width, height = (max(round(side * factor), 1) for side in self.size)
        how = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC
        return replace(
            self,
            colours=self.colours.resize((width, height), how),
            alpha=self.alpha.resize((width, height), how),
        )


def warm(*, model: str) -> None:
    """Load what `cut` needs."""
    matting.warm(model=model)


def cut(image: Image.Image, *, model: str) -> Subject:
    """Cut the subject out of a photo, or take a picture that is a cut-out already.

    A picture with transparency is its own mask. Raises `matting.NoSubject` when there is
    nothing to be seen, and what `matting.mask` raises.
    """
    rgb = image.convert("RGB")
    own = image.getchannel("A") if images.is_see_through(image) else None
    alpha = _refined(rgb, matting.mask(rgb, model=model)) if own is None else own
    # Less than 6 of 255 is nothing that anybody sees, but it would make the box too large.
    box = alpha.point([0] * 6 + [255] * 250).getbbox()
    if box is None:
        raise matting.NoSubject
    cropped, mask = rgb.crop(box), alpha.crop(box)
    colours = (_own_colours if own is None else _unfaded)(cropped, mask)
    return Subject(colours, mask, (box[0], box[1]), image.size, _cut_off(alpha, photo=own is None))


# --- The mask -------------------------------------------------------------------------------


def _refined(rgb: Image.Image, mask: Image.Image) -> Image.Image:
    """The model's mask, drawn to the edges of the photo and free of specks and mist.

    A guided filter explains the mask by the photo's own brightness around each pixel.
    """
    import numpy as np

    small = _working_size(mask.size)
    grey = rgb.convert("L")
    guide = np.asarray(grey.resize(small, Image.Resampling.BOX), np.float32) / 255
    rough = np.asarray(mask.resize(small, Image.Resampling.BOX), np.float32) / 255
    rough = _without_specks(rough)
    radius = max(round(0.008 * max(small)), 2)
    slope, offset = guided.line(guide, rough, radius=radius, smoothness=6e-4)
    # Only near the edge: the inside of a subject has edges of its own.
    near = _near_edge(rough, radius=2 * radius)
    size = mask.size
    fields = [Image.fromarray(field.astype(np.float32)) for field in (slope, offset, near, rough)]
    done = Image.new("L", size)
    for strip in _strips(size):
        a, b, share, plain = (np.asarray(_enlarged(field, size, strip)) for field in fields)
        bright = np.asarray(grey.crop(strip), np.float32) / 255
        value = plain + share * (a * bright + b - plain)
        value = np.clip(value, 0, 1) * 255 + 0.5
        done.paste(Image.fromarray(value.astype(np.uint8)), strip)
    # A little blur takes off the hairs that the photo's grain leaves along the edge. And the
    # model is never quite sure: what is nearly nothing or nearly all becomes that.
    done = done.filter(ImageFilter.GaussianBlur(0.9 * size[0] / small[0]))
    return done.point([min(max(round((v - 56) / 0.5), 0), 255) for v in range(256)])


def _working_size(size: tuple[int, int], pixels: int = WORKING_PIXELS) -> tuple[int, int]:
    factor = min(1.0, (pixels / (size[0] * size[1])) ** 0.5)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _strips(size: tuple[int, int], rows: int = 256) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of a few rows each that make up the picture: a large one needs little memory so."""
    for top in range(0, size[1], rows):
        yield 0, top, size[0], min(top + rows, size[1])


def _enlarged(
    small: Image.Image, size: tuple[int, int], strip: tuple[int, int, int, int]
) -> Image.Image:
    """The strip that a small picture would have in this size."""
    rows = small.height / size[1]
    box = (0, strip[1] * rows, small.width, strip[3] * rows)
    return small.resize((size[0], strip[3] - strip[1]), Image.Resampling.BILINEAR, box)


def _without_specks(mask: Any) -> Any:
    """The mask without parts that are tiny beside the largest one."""
    import numpy as np
    from scipy import ndimage

    labels, count = ndimage.label(mask > 0.3)
    if count < 2:
        return mask
    areas = np.bincount(labels.ravel())[1:]
    specks = np.flatnonzero(areas < FAINTEST * areas.max()) + 1
    if not len(specks):
        return mask
    speck = ndimage.maximum_filter(np.isin(labels, specks), 5)
    return np.where(speck, 0, mask).astype(np.float32)


def _near_edge(mask: Any, *, radius: int) -> Any:
    """1 around the edge of the mask, fading to 0 away from it."""
    import numpy as np

    spread = guided.box((mask > 0.5).astype(np.float32), radius)
    return np.clip(8 * spread * (1 - spread), 0, 1)


def _cut_off(alpha: Image.Image, *, photo: bool) -> frozenset[Edge]:
    """The edges of the frame that a good part of the subject's breadth or height touches.

    A cut-out that touches all four is cropped to its box: that says nothing of the subject.
    """
    import numpy as np

    seen = np.asarray(alpha.resize(_working_size(alpha.size), Image.Resampling.BOX)) > 127
    if not seen.any():
        return frozenset()
    touched: dict[Edge, Any] = {
        "left": seen[:, 0],
        "right": seen[:, -1],
        "top": seen[0],
        "bottom": seen[-1],
    }
    if not photo and all(line.any() for line in touched.values()):
        return frozenset()
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    breadth, height = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    share = 0.12 if photo else 0.3
    return frozenset(
        edge
        for edge, line in touched.items()
        if line.sum() > share * (height if edge in {"left", "right"} else breadth)
    )


# --- Its colours ----------------------------------------------------------------------------


def _own_colours(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """The subject's colours, without the background that shines through its edge.

    The sure colours of both are spread towards each other (as for the blur fusion of Forte,
    2021). Where a pixel near the edge then lies on the way from the subject's colour to the
    background's, it is moved back by as much, whatever the mask says of it: no mask is exact
    to the pixel, and half a pixel of white shows on black. Away from the edge every pixel
    stays as it is.
    """
    import numpy as np

    small = _working_size(rgb.size, COLOUR_PIXELS)
    tiny = np.asarray(rgb.resize(small, Image.Resampling.BOX), np.float32)
    share = np.asarray(alpha.resize(small, Image.Resampling.BOX), np.float32)[..., None] / 255
    # Two pixels inside and outside of the edge nothing is sure.
    mean = guided.box(share[..., 0], 2)[..., None]
    inside = _spread(tiny, np.clip(mean * 20 - 19, 0, 1) + 1e-4 * share)
    outside = _spread(tiny, np.clip(1 - mean * 20, 0, 1) + 1e-4 * (1 - share))
    band = np.clip((1 - guided.box(share[..., 0], 2)) * 5, 0, 1) * 255
    fields = [
        Image.fromarray(np.clip(field + 0.5, 0, 255).astype(np.uint8))
        for field in (inside, outside, band)
    ]
    done = rgb.copy()
    for strip in _strips(rgb.size):
        inner, outer, near = (_enlarged(field, rgb.size, strip) for field in fields)
        where = np.nonzero(np.asarray(near))
        if not len(where[0]):
            continue
        part = rgb.crop(strip)
        weight = np.asarray(near)[where][:, None] / np.float32(255)
        pixel, own, other = (
            np.asarray(image)[where].astype(np.float32) for image in (part, inner, outer)
        )
        way = other - own
        length = (way * way).sum(1, keepdims=True)
        gone = ((pixel - own) * way).sum(1, keepdims=True) / np.maximum(length, 1)
        # Colours that are hardly apart say nothing, and need no correction either.
        weight *= np.clip(length / 30**2, 0, 1)
        estimate = pixel - weight * np.clip(gone, 0, 1) * way
        pixels = np.array(part)
        pixels[where] = np.clip(estimate + 0.5, 0, 255).astype(np.uint8)
        done.paste(Image.fromarray(pixels), strip)
    return done


def _spread(colours: Any, weight: Any) -> Any:
    """Colours by their weight, spread to where there is none: near ones count most."""
    import numpy as np
    from scipy import ndimage

    done = np.zeros_like(colours)
    left = np.ones_like(weight)
    for radius in (1, 4, 16, 64, 300):
        side = 2 * radius + 1
        near = ndimage.uniform_filter(weight, (side, side, 1), mode="constant")
        spread = ndimage.uniform_filter(colours * weight, (side, side, 1), mode="constant")
        trust = np.clip(near * 20, 0, 1) * left
        done += trust * spread / np.maximum(near, 1e-6)
        left -= trust
    total = (colours * weight).sum((0, 1)) / max(float(weight.sum()), 1e-6)
    return done + left * total


def _unfaded(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """A cut-out's own colours: brightened where they were faded towards black with the alpha.

    Some tools store them so, `matting.cut_out` among them. Whether this picture does is seen
    at its edge: faded colours are closer to the inside times the alpha than to the inside.
    """
    import numpy as np

    small = _working_size(rgb.size, COLOUR_PIXELS)
    tiny = np.asarray(rgb.resize(small, Image.Resampling.NEAREST), np.float32)
    share = np.asarray(alpha.resize(small, Image.Resampling.NEAREST), np.float32)[..., None] / 255
    inside = _spread(tiny, np.clip(share * 10 - 9, 0, 1) + 1e-4 * share)
    edge = ((share > 0.15) & (share < 0.85)).astype(np.float32)
    as_faded = (np.abs(tiny - inside * share) * edge).sum()
    as_own = (np.abs(tiny - inside) * edge).sum()
    faded = as_faded < 0.8 * as_own
    inner = Image.fromarray(np.clip(inside + 0.5, 0, 255).astype(np.uint8))
    inner = inner.resize(rgb.size, Image.Resampling.BILINEAR)
    done = rgb.copy()
    if not faded:
        # Under no cover at all the colour says nothing: take the nearest one that does.
        nothing = alpha.point([255] * 3 + [0] * 253)
        done.paste(inner, mask=nothing)
        return done
    for strip in _strips(rgb.size):
        mask = np.asarray(alpha.crop(strip), np.float32)[..., None] / 255
        pixel, own = (np.asarray(image.crop(strip), np.float32) for image in (rgb, inner))
        # The fainter the pixel, the coarser its division: trust the inside there.
        bright = np.minimum(pixel / np.maximum(mask, 1 / 255), 255)
        estimate = own + np.clip(mask * 1.5, 0, 1) * (bright - own)
        estimate = np.where(mask == 1, pixel, estimate)
        done.paste(Image.fromarray(np.clip(estimate + 0.5, 0, 255).astype(np.uint8)), strip)
    return done


def inner_rim(alpha: Image.Image, width: float) -> Image.Image:
    """How near the edge each pixel of the subject is, 255 at it and 0 at ``width`` inside."""
    factor = min(1.0, (WORKING_PIXELS / (alpha.width * alpha.height)) ** 0.5)
    size = _working_size(alpha.size)
    # Room around it, so that the frame's edge counts as an edge of a subject that touches it.
    margin = max(round(2 * width * factor), 1)
    small = Image.new("L", (size[0] + 2 * margin, size[1] + 2 * margin))
    small.paste(alpha.resize(size, Image.Resampling.BOX), (margin, margin))
    blurred = small.filter(ImageFilter.GaussianBlur(max(width * factor / 2, 0.6)))
    outside = ImageChops.invert(blurred).point([min(2 * level, 255) for level in range(256)])
    outside = outside.crop((margin, margin, margin + size[0], margin + size[1]))
    return ImageChops.multiply(outside.resize(alpha.size, Image.Resampling.BILINEAR), alpha)
