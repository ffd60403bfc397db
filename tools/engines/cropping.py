"""Crop a picture to a shape without losing what it shows.

First `look` finds what matters: faces, and where the mass of the salient subject lies (the mask
of U²-Net; a picture's own transparency where it has some). Then `crop` lays a window of the
wanted shape over it, as often as there are shapes. A window that is too small for the subject
grows beyond the picture, and what is missing there is painted.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from tools.engines import faces as face_finder
from tools.engines import images, matting
from tools.engines.resizing import resized

if TYPE_CHECKING:
    import numpy as np

VERSION = "crop 1"

Focus = Literal["auto", "face", "subject", "center"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the picture; may reach beyond it."""

MODEL = "u2netp"
SEEN_AT = 640
"""Pixels of the longer side on which the mass is weighed; the model itself sees 320."""
KEPT = 0.985
"""Share of the salient mass that has to be inside. A mask always has a haze, so not all of it."""
MARGIN = 0.03
"""Air around a subject for which the window has to grow, as a share of the subject."""
EYE_LEVEL = 0.42
"""How far down in the window faces sit, where there is a choice."""
MAX_PIXELS = 64_000_000
"""The most pixels that a crop by ratio may have: a long strip in a square would be huge."""


@dataclass(frozen=True)
class Interest:
    """What matters in one picture.

    ``keep`` is the box of what must not be cut, None when nothing stands out. ``mass`` are the
    weights of the pixels of a reduced picture (rows, columns; sum 1), None likewise.
    """

    size: tuple[int, int]
    faces: tuple[face_finder.Face, ...] = ()
    keep: Box | None = None
    mass: "np.ndarray[Any, Any] | None" = None

    def share(self, box: Box) -> float:
        """How much of the salient mass is inside of a box, 0 to 1; 1 when there is none."""
        if self.mass is None:
            return 1.0
        rows, columns = self.mass.shape
        left, right = (round(box[i] / self.size[0] * columns) for i in (0, 2))
        top, bottom = (round(box[i] / self.size[1] * rows) for i in (1, 3))
        return float(self.mass[max(0, top) : max(0, bottom), max(0, left) : max(0, right)].sum())


@dataclass(frozen=True)
class Shape:
    """What a crop has to be: a ratio (width by height), and its size in pixels if that is set."""

    ratio: float
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Padding:
    """What is painted where the window reaches beyond the picture.

    *color* is a flat ``color`` (red, green, blue, alpha), *background* goes on with what the
    picture shows at its rim, and *none* leaves the window inside, whatever it cuts.
    """

    kind: Literal["color", "background", "none"]
    color: tuple[int, int, int, int] = (255, 255, 255, 255)


@dataclass(frozen=True)
class Crop:
    """A crop, and what is worth saying of it.

    ``kept`` is the share of the salient mass inside, ``cut_faces`` how many faces are not whole,
    ``padded`` whether anything was painted, ``smaller`` whether it has fewer pixels than it
    would have: the picture was too small for the size, or the window too large to be made.
    """

    image: Image.Image
    kept: float
    cut_faces: int
    padded: bool
    smaller: bool


def look(image: Image.Image, *, focus: Focus) -> Interest:
    """Find what matters in a picture, RGB or RGBA.

    *face* are the faces alone, or *auto* where there are none; *auto* are the faces and the
    subject, or nothing where there is neither. Raises `matting.NoSubject` for *subject* when
    there is none, and what `matting.mask` raises.
    """
    if focus == "center":
        return Interest(image.size)
    found = () if focus == "subject" else tuple(face_finder.find(image))
    if focus == "face" and found:
        return Interest(image.size, found, _union([_inside(face.head(), image) for face in found]))
    try:
        mass = _mass(image)
    except matting.NoSubject:
        if focus == "subject":
            raise
        mass = None
    boxes = [_inside(face.head(), image) for face in found]
    if mass is not None:
        boxes.append(_heart(mass, image.size))
    return Interest(image.size, found, _union(boxes) if boxes else None, mass)


def crop(
    image: Image.Image, interest: Interest, shape: Shape, *, padding: Padding, enlarge: bool = False
) -> Crop:
    """The part of the picture that has this shape and loses the least.

    With a size it comes in exactly this size. A picture that is too small for it is padded
    rather than enlarged, unless ``enlarge`` says otherwise; without padding the crop is then as
    large as the picture allows.
    """
    window = _largest(image.size, shape.ratio)
    if padding.kind != "none" and interest.keep is not None:
        window = _grown(window, interest.keep, shape.ratio)
    size, smaller = _output_size(window, shape, padding, enlarge=enlarge)
    if shape.size and not enlarge and padding.kind != "none":
        # At most one pixel of the picture for one of the result: more would be enlarging.
        window = (max(window[0], size[0]), max(window[1], size[1]))
    box = _placed(window, interest, whole=size == window)
    done, padded = _rendered(image, box, size, padding)
    cut = sum(not _contains(box, _face_box(face)) for face in interest.faces)
    return Crop(done, interest.share(box), cut, padded, smaller)


def warm() -> None:
    """Load the detectors and the model now rather than with the first picture."""
    face_finder.warm()
    matting.warm(model=MODEL)


# --- What matters ---------------------------------------------------------------------------


def _mass(image: Image.Image) -> "np.ndarray[Any, Any]":
    """Where the subject's mass lies: weights of a reduced picture, together 1."""
    import numpy as np

    scale = min(1.0, SEEN_AT / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if images.is_see_through(image):
        mask = image.getchannel("A").resize(size, Image.Resampling.BOX)
    else:
        seen = image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
        mask = matting.mask(seen, model=MODEL)
    weights = np.asarray(mask, dtype=np.float64)
    total = weights.sum()
    if not total:
        raise matting.NoSubject
    return weights / total


def _heart(mass: "np.ndarray[Any, Any]", size: tuple[int, int]) -> Box:
    """A small box with `KEPT` of the mass: strips go, the lightest first, while they may."""
    rows, columns = mass.shape
    # Entry [y, x] is the mass above and left of it, so that any strip costs four look-ups.
    sums = mass.cumsum(0).cumsum(1)

    def inside(left: int, top: int, right: int, bottom: int) -> float:
        total = sums[bottom - 1, right - 1]
        if left:
            total -= sums[bottom - 1, left - 1]
        if top:
            total -= sums[top - 1, right - 1]
        if left and top:
            total += sums[top - 1, left - 1]
        return float(total)

    box = (0, 0, columns, rows)
    while True:
        left, top, right, bottom = box
        smaller = []
        if right - left > 1:
            smaller += [(left + 1, top, right, bottom), (left, top, right - 1, bottom)]
        if bottom - top > 1:
            smaller += [(left, top + 1, right, bottom), (left, top, right, bottom - 1)]
        # By mass per pixel of the strip: a long empty strip goes before a short full one.
        held = inside(*box)
        kept = [(held - inside(*each), each) for each in smaller]
        kept = [(lost / _area_lost(box, each), each) for lost, each in kept if held - lost >= KEPT]
        if not kept:
            break
        box = min(kept)[1]
    across, down = size[0] / columns, size[1] / rows
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)


def _area_lost(box: tuple[int, int, int, int], smaller: tuple[int, int, int, int]) -> int:
    left, top, right, bottom = box
    return (right - left) if smaller[3] - smaller[1] < bottom - top else (bottom - top)


def _face_box(face: face_finder.Face) -> Box:
    return (face.left, face.top, face.right, face.bottom)


def _inside(box: Box, image: Image.Image) -> Box:
    """The part of the box that is in the picture."""
    return (
        max(0.0, box[0]),
        max(0.0, box[1]),
        min(float(image.width), box[2]),
        min(float(image.height), box[3]),
    )


def _union(boxes: list[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _contains(box: Box, other: Box) -> bool:
    half = 0.5  # of a pixel, for the rounding of windows
    return (
        box[0] <= other[0] + half
        and box[1] <= other[1] + half
        and box[2] >= other[2] - half
        and box[3] >= other[3] - half
    )


# --- The window -----------------------------------------------------------------------------


def _largest(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Width and height of the largest window of this shape in the picture, whole pixels."""
    width, height = size
    if width > height * ratio:
        return max(1, min(width, round(height * ratio))), height
    return width, max(1, min(height, round(width / ratio)))


def _grown(window: tuple[int, int], keep: Box, ratio: float) -> tuple[int, int]:
    """The window, or the smallest one of its shape that holds the box with some air."""
    width, height = keep[2] - keep[0], keep[3] - keep[1]
    if width <= window[0] and height <= window[1]:
        return window
    air = 1 + 2 * MARGIN
    needed = max(width * air, height * air * ratio)
    return math.ceil(needed), math.ceil(needed / ratio)


def _output_size(
    window: tuple[int, int], shape: Shape, padding: Padding, *, enlarge: bool
) -> tuple[tuple[int, int], bool]:
    """The size of the result, and whether it is smaller than it would have been."""
    if shape.size is None:
        scale = math.sqrt(MAX_PIXELS / (window[0] * window[1]))
        if scale >= 1:
            return window, False
        return (max(1, int(window[0] * scale)), max(1, int(window[1] * scale))), True
    wanted = shape.size
    if enlarge or padding.kind != "none" or wanted[0] <= window[0]:
        return wanted, False
    return window, True


def _placed(window: tuple[int, int], interest: Interest, *, whole: bool) -> Box:
    """The window where it keeps what matters, and otherwise well composed."""
    size, keep = interest.size, interest.keep
    target = _centre(interest)
    box = []
    for axis in (0, 1):
        start = target[axis] - window[axis] * (EYE_LEVEL if axis == 1 and interest.faces else 0.5)
        slack = size[axis] - window[axis]
        if keep is not None and keep[axis + 2] - keep[axis] <= window[axis]:
            start = min(max(start, keep[axis + 2] - window[axis]), keep[axis])
        elif keep is not None:
            start = _best_start(interest, axis, window[axis])
        if slack >= 0:
            start = min(max(start, 0), slack)
        elif keep is None:
            start = slack / 2
        else:
            # Never away from the picture on one side while it has room on the other.
            start = min(max(start, slack), 0)
        box.append(math.floor(start + 0.5) if whole else start)
    return (box[0], box[1], box[0] + window[0], box[1] + window[1])


def _centre(interest: Interest) -> tuple[float, float]:
    """The point around which the window is laid."""
    keep = interest.keep
    if keep is None:
        return interest.size[0] / 2, interest.size[1] / 2
    across, down = (keep[0] + keep[2]) / 2, (keep[1] + keep[3]) / 2
    if interest.faces:
        seen = _union([_face_box(face) for face in interest.faces])
        across, down = (across + (seen[0] + seen[2]) / 2) / 2, (seen[1] + seen[3]) / 2
    return across, down


def _best_start(interest: Interest, axis: int, length: int) -> float:
    """Where a window that is too short for what matters shows the most of it."""
    import numpy as np

    profile = np.zeros(256)
    size = interest.size[axis]
    if interest.mass is not None:
        along = interest.mass.sum(axis=axis)  # rows first: columns are summed over axis 0
        spots = np.linspace(0, len(along) - 1, len(profile))
        profile = np.interp(spots, np.arange(len(along)), along)
        profile = profile / profile.sum()
    width = max(1, min(len(profile), round(length / size * len(profile))))
    held = np.convolve(profile, np.ones(width), mode="valid")
    starts = np.arange(len(held)) / len(profile) * size
    for face in interest.faces:
        # A face outweighs all of the subject, and a whole one outweighs two halves.
        first, last = _face_box(face)[axis], _face_box(face)[axis + 2]
        held = held + 10 * ((starts <= first) & (starts + length >= last))
    best = np.flatnonzero(held >= held.max() - 1e-9)
    return float(starts[best[len(best) // 2]])


# --- The picture ----------------------------------------------------------------------------


def _rendered(
    image: Image.Image, box: Box, size: tuple[int, int], padding: Padding
) -> tuple[Image.Image, bool]:
    """What the window shows, in its final size, and whether any of it was painted."""
    across, down = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
    shown = (
        max(0.0, box[0]),
        max(0.0, box[1]),
        min(float(image.width), box[2]),
        min(float(image.height), box[3]),
    )
    left, top = round((shown[0] - box[0]) * across), round((shown[1] - box[1]) * down)
    right, bottom = round((shown[2] - box[0]) * across), round((shown[3] - box[1]) * down)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = resized(image, (right - left, bottom - top), box=shown)
    if part.size == size:
        return part, False
    color = padding.color
    if padding.kind == "background":
        if not images.is_see_through(image):
            return _extended(part, size, (left, top)), True
        color = (0, 0, 0, 0)
    opaque = color[3] == 255
    mode = "RGB" if opaque and image.mode == "RGB" else "RGBA"
    canvas = Image.new(mode, size, color[: len(mode)])
    if opaque and part.mode == "RGBA":
        canvas.alpha_composite(part, (left, top))
    else:
        canvas.paste(part, (left, top))
    return canvas, True


SKETCH = 256
"""Pixels of the longer side on which the surroundings are painted: they are blurred anyway."""


def _extended(part: Image.Image, size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    """The part on a canvas that goes on as its rim does, the softer the further out.

    A plain backdrop continues without a seam, anything else as if out of focus. The rim's own
    colours are drawn outwards, for a mirrored picture would show the subject twice.
    """
    import numpy as np
    from scipy import ndimage

    scale = min(1.0, SKETCH / max(size))
    small_size = [max(1, round(side * scale)) for side in size]
    at_small = [min(round(at[i] * scale), small_size[i] - 1) for i in (0, 1)]
    part_small = [
        min(max(1, round(part.size[i] * scale)), small_size[i] - at_small[i]) for i in (0, 1)
    ]
    sketch = part.resize((part_small[0], part_small[1]), Image.Resampling.BOX, reducing_gap=2)
    beyond = [(at_small[i], small_size[i] - at_small[i] - part_small[i]) for i in (0, 1)]
    pixels = np.pad(np.asarray(sketch), (beyond[1], beyond[0], (0, 0)), mode="edge")
    inside = np.zeros(pixels.shape[:2], np.float32)
    inside[at_small[1] : at_small[1] + part_small[1], at_small[0] : at_small[0] + part_small[0]] = 1
    longest = max(small_size)
    soft = _blurred_outside(pixels, inside, 0.012 * longest)
    softest = _blurred_outside(pixels, inside, 0.06 * longest)
    # Half of what is inside has left it after a blur: doubled, "near" begins at the rim.
    near = np.clip(2 * ndimage.gaussian_filter(inside, 0.02 * longest), 0, 1)[..., None]
    painted = np.rint(soft * near + softest * (1 - near)).astype(np.uint8)
    surroundings = Image.fromarray(painted, part.mode).resize(size, Image.Resampling.BICUBIC)
    surroundings.paste(part, at)
    return surroundings


def _blurred_outside(
    pixels: "np.ndarray[Any, Any]", inside: "np.ndarray[Any, Any]", radius: float
) -> "np.ndarray[Any, Any]":
    """The pixels blurred as if there were nothing inside: a dark subject casts no haze."""
    import numpy as np
    from scipy import ndimage

    weight = (1 - inside + 1e-6).astype(np.float32)
    blurred = ndimage.gaussian_filter(pixels * weight[..., None], (radius, radius, 0))
    return np.clip(blurred / ndimage.gaussian_filter(weight, radius)[..., None], 0, 255)
