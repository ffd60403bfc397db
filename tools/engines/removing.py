"""Take things out of a photo and fill the hole with what is around it.

"patchmatch" puts the hole together from patches of the surroundings (Barnes, Shechtman,
Finkelstein and Goldman, "PatchMatch", 2009): right for textures, walls, tables, sky. "lama"
(Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", 2022)
has learned what pictures look like: better with structures that go on behind the thing.

Both work on a window around each hole, of a bounded size, so that the time hardly grows with
the photo. Pixels outside of the mask stay what they are. Same photo and mask: same bytes.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image, ImageChops, ImageFilter

from tools.engines import images, weights

if TYPE_CHECKING:
    import numpy as np

Model = Literal["patchmatch", "lama"]
Box = tuple[int, int, int, int]

WHITE = 128
"""From this level on a pixel of a mask counts as white."""
MOST = 0.8
"""The share of a photo that can be taken out: something must be left to fill it with."""
WINDOW_PIXELS = 350_000
"""What PatchMatch works on at most: about 2 seconds on one core."""
PATCH = 3
"""PatchMatch compares squares that reach so many pixels to each side. Larger ones were slower
and smeared more in trials on six photos."""
SEED = 20090727
"""Where the random search starts each time: any number will do, if it stays."""
LAMA_SIDE = 512
"""The square that the model was exported for."""
MOST_HOLES = 24
"""More separate holes than this are filled as one."""


class MaskEmpty(Exception):
    """The mask has nothing white, so nothing would be taken out."""


class MaskTooLarge(Exception):
    """The mask covers so much that nothing is left to fill it with."""


def hole(mask: Image.Image) -> Image.Image:
    """What a mask means: mode L, 255 where something is to go, else 0.

    White is to go; greys count from the half on. Of a mask with transparency only what can be
    seen counts, so that white strokes on nothing are understood.
    """
    if mask.has_transparency_data:
        mask = images.flattened(mask, colour=(0, 0, 0))
    return mask.convert("L").point([0] * WHITE + [255] * (256 - WHITE))


def remove(image: Image.Image, mask: Image.Image, *, model: Model = "patchmatch") -> Image.Image:
    """The picture (RGB or RGBA) without what ``mask`` (L, 255: to go) covers; alpha stays.

    Raises `MaskEmpty` and `MaskTooLarge`, with "lama" also what `weights.session` and
    `weights.run` raise, and `ValueError` for a mask of another size.
    """
    if mask.mode != "L" or mask.size != image.size:
        raise ValueError(f"A mask is L and {image.size}, not {mask.mode} and {mask.size}.")
    check(mask)
    done = image.copy()
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    for part, box in _holes(mask):
        window = _window(box, image.size)
        photo = done.crop(window).convert("RGB")
        gaps = mask.crop(window)
        unseen = None if alpha is None else alpha.crop(window).point([255] + [0] * 255)
        filled = _lama(photo, gaps) if model == "lama" else _patchmatch(photo, gaps, unseen)
        if alpha is not None:
            filled.putalpha(alpha.crop(window))
        done.paste(filled, window[:2], part.crop(window))
    return done


def check(mask: Image.Image) -> None:
    """Raise `MaskEmpty` or `MaskTooLarge` for a mask that no model can do anything with."""
    if mask.getbbox() is None:
        raise MaskEmpty
    if mask.histogram()[255] > MOST * mask.width * mask.height:
        raise MaskTooLarge


# --- Holes and windows ----------------------------------------------------------------------


def _holes(mask: Image.Image) -> Iterator[tuple[Image.Image, Box]]:
    """Each separate part of a mask, and its box; parts that nearly touch are one."""
    import numpy as np
    from scipy import ndimage

    scale = max(max(mask.size) / 800, 1.0)
    size = math.ceil(mask.width / scale), math.ceil(mask.height / scale)
    coarse = np.asarray(mask.resize(size, Image.Resampling.BOX)) > 0
    joined = ndimage.binary_dilation(coarse, iterations=max(max(size) // 60, 1))
    labels, count = ndimage.label(joined)
    if not 1 < count <= MOST_HOLES:
        yield mask, _box(mask)
        return
    for label in range(1, count + 1):
        area = Image.fromarray(np.where(labels == label, 255, 0).astype(np.uint8))
        part = ImageChops.darker(mask, area.resize(mask.size, Image.Resampling.NEAREST))
        if part.getbbox():
            yield part, _box(part)


def _box(part: Image.Image) -> Box:
    box = part.getbbox()
    if box is None:
        raise MaskEmpty
    return box


def _window(box: Box, size: tuple[int, int]) -> Box:
    """The box with its surroundings: as much on each side as the hole is large."""
    margin = max(round(0.9 * max(box[2] - box[0], box[3] - box[1])), 48)
    left, top, right, bottom = box
    return (
        max(left - margin, 0),
        max(top - margin, 0),
        min(right + margin, size[0]),
        min(bottom + margin, size[1]),
    )


# --- The two engines ------------------------------------------------------------------------


def _patchmatch(photo: Image.Image, gaps: Image.Image, unseen: Image.Image | None) -> Image.Image:
    """The window with its gaps filled; ``unseen`` pixels are no patches to fill with."""
    import numpy as np
    import patchmatch

    scale = min(math.sqrt(WINDOW_PIXELS / (photo.width * photo.height)), 1.0)
    size = max(round(photo.width * scale), 1), max(round(photo.height * scale), 1)
    small = np.asarray(photo.resize(size, Image.Resampling.LANCZOS))
    inside = _widened(gaps, size)
    unused = None
    if unseen is not None:
        unused = (np.asarray(unseen.resize(size, Image.Resampling.BOX)) > 0) & ~inside
    small, inside, unused = (_padded(field) for field in (small, inside, unused))
    patchmatch.set_random_seed(SEED)
    filled = patchmatch.inpaint(small, inside, global_mask=unused, patch_size=PATCH)
    return Image.fromarray(filled[: size[1], : size[0]]).resize(
        photo.size, Image.Resampling.BICUBIC
    )


def _widened(gaps: Image.Image, size: tuple[int, int]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """The gaps in another size and two pixels wider, if enough is left beside them.

    Along the edge of a thing its colour has run into what is around it.
    """
    import numpy as np

    small = gaps.resize(size, Image.Resampling.BOX).point([0] + [255] * 255)
    wide = np.asarray(small.filter(ImageFilter.MaxFilter(5))) > 0
    return wide if wide.mean() < 0.9 else np.asarray(small) > 0


LEAST_SIDE = 32
"""Pixels that PatchMatch has room to search in."""


def _padded(field: Any) -> Any:
    """A field that is large enough for patches, continued by its mirror image."""
    import numpy as np

    if field is None:
        return None
    missing = [max(LEAST_SIDE - side, 0) for side in field.shape[:2]]
    around = [(0, more) for more in missing] + [(0, 0)] * (field.ndim - 2)
    return np.ascontiguousarray(np.pad(field, around, mode="symmetric"))


def _lama(photo: Image.Image, gaps: Image.Image) -> Image.Image:
    """The window with its gaps filled by the model, in one square that it sees whole."""
    import numpy as np

    side = LAMA_SIDE
    scale = side / max(photo.size)
    size = max(round(photo.width * scale), 1), max(round(photo.height * scale), 1)
    small = np.asarray(photo.resize(size, Image.Resampling.LANCZOS), np.float32) / 255
    inside = _widened(gaps, size).astype(np.float32)
    around = ((0, side - size[1]), (0, side - size[0]))
    pixels = np.pad(small, (*around, (0, 0)), mode="symmetric").transpose(2, 0, 1)[None]
    given = {
        "image": np.ascontiguousarray(pixels),
        "mask": np.pad(inside, around, mode="symmetric")[None, None],
    }
    (painted,) = weights.run(weights.session("lama"), given).values()
    levels = np.clip(painted[0].transpose(1, 2, 0), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels[: size[1], : size[0]])).resize(
        photo.size, Image.Resampling.BICUBIC
    )
