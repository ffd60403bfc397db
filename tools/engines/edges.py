"""Soft edges for a cut-out: hair, fur and glass, by closed-form matting.

The method is rembg's ``alpha_matting`` (thresholds and all), with pymatting: where the mask is
neither sure of the subject nor of the backdrop, alpha is solved for from the colours (Levin,
Lischinski and Weiss, "A closed-form solution to natural image matting", 2008), and the colours of
the subject without those of the backdrop by Germer et al., "Fast multi-level foreground
estimation", 2020. Both are solved on a picture of bounded size; its alpha is carried to the full
size along the picture's own edges (He and Sun, "Fast guided filter", 2015).
"""

import warnings
from typing import TYPE_CHECKING, Any

from PIL import Image

from tools.engines import guided

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FOREGROUND, BACKGROUND = 240, 10
"""Mask values above which a pixel surely is the subject, below which it surely is not."""
ERODE = 10
"""Pixels (of the solved size) by which the sure parts shrink: the width that is solved for."""
SOLVED_SIDE = 1000
"""Longest side that is solved: some three seconds and 700 MB for a square."""
RADIUS = 4
"""Pixels (of the solved size) around each pixel that the guided filter looks at."""
SMOOTH = 1e-4
"""Variance of the guide below which the guided filter sees no edge."""
STRIP = 256
"""Rows of the full picture that are worked on at a time."""


def refine(image: Image.Image, mask: Image.Image) -> Image.Image:
    """RGBA: the subject's own colours, and an alpha that follows its finest edges.

    ``image`` is RGB, ``mask`` L of the same size. Where the mask is sure of everything, or of
    nothing, it is the alpha as it is.
    """
    import numpy as np

    share = min(1.0, SOLVED_SIDE / max(image.size))
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    small, small_mask = image, mask
    if share < 1:
        small = image.resize(size, Image.Resampling.BOX)
        small_mask = mask.resize(size, Image.Resampling.BOX)
    solved = _solve(np.asarray(small) / 255.0, np.asarray(small_mask))
    if solved is None:
        done = image.copy()
        done.putalpha(mask)
        return done
    alpha, colours = solved
    if share == 1:
        return _picture(colours, alpha)
    return _enlarged(image, np.asarray(small.convert("L")) / 255.0, alpha, colours)


def _solve(pixels: "Array", mask: "Array") -> "tuple[Array, Array] | None":
    """Alpha and the subject's colours, 0 to 1; None where there is nothing to solve."""
    import numpy as np
    from scipy.ndimage import binary_erosion

    square = np.ones((ERODE, ERODE), dtype=bool)
    sure = binary_erosion(mask > FOREGROUND, square)
    never = binary_erosion(mask < BACKGROUND, square, border_value=1)
    if not sure.any() or not never.any():
        return None
    known = np.full(mask.shape, 0.5)
    known[sure], known[never] = 1, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about compilers, and how a solver came on
        from pymatting import estimate_alpha_cf, estimate_foreground_ml

        alpha = estimate_alpha_cf(pixels, known)
        colours = estimate_foreground_ml(pixels, alpha)
    return alpha, np.clip(colours, 0, 1)


def _picture(colours: "Array", alpha: "Array") -> Image.Image:
    import numpy as np

    stacked = np.dstack([colours, alpha])
    return Image.fromarray((np.clip(stacked, 0, 1) * 255 + 0.5).astype(np.uint8))


def _enlarged(image: Image.Image, guide: "Array", alpha: "Array", colours: "Array") -> Image.Image:
    """What was solved on a small picture, in the size of the large one.

    Alpha is, around each pixel, a line over the picture's brightness: its slope and start are
    smooth and can be enlarged, and the large picture's brightness brings the edges back. Colours
    come from the picture itself where it shows the subject alone, else from what was solved.
    """
    import numpy as np

    slope, start = guided.line(guide, alpha, radius=RADIUS, smoothness=SMOOTH)
    small = [Image.fromarray(plane.astype(np.float32)) for plane in (slope, start)]
    shades = Image.fromarray((colours * 255 + 0.5).astype(np.uint8))
    ratio = guide.shape[0] / image.height
    done = np.empty((image.height, image.width, 4), dtype=np.uint8)
    for top in range(0, image.height, STRIP):
        bottom = min(top + STRIP, image.height)
        # The small picture's part that these rows come from; rounding is the filter's business.
        box = (0, top * ratio, guide.shape[1], bottom * ratio)
        size = (image.width, bottom - top)
        strip = image.crop((0, top, image.width, bottom))
        brightness = np.asarray(strip.convert("L"), dtype=np.float32) / 255
        steep, low = (
            np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box=box)) for plane in small
        )
        cover = np.clip(steep * brightness + low, 0, 1)
        own = np.asarray(strip, dtype=np.float32)
        clean = np.asarray(shades.resize(size, Image.Resampling.BILINEAR, box=box))
        done[top:bottom, :, :3] = clean + (own - clean) * (cover**2)[..., None] + 0.5
        done[top:bottom, :, 3] = cover * 255 + 0.5
    return Image.fromarray(done)
