"""Shadows and reflections of a cut-out that stands on something, or hangs before a wall.

A shadow is a map of darkness (mode L, 255 darkest) of the canvas's size. It has three parts:
a tight dark line where the subject touches the ground, a wide soft one around its foot, and
the silhouette that the light throws, which grows softer and fainter away from the foot.
Nothing of it is sharp, so all of it is worked out small and enlarged.
"""

from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageFilter

WORKING_PIXELS = 500_000
"""The canvas is reduced to so many pixels for the work."""

LIGHTS: dict[str, tuple[float, float]] = {
    "top-left": (0.62, 0.20),
    "top": (0.0, 0.34),
    "top-right": (-0.62, 0.20),
    "left": (0.8, -0.14),
    "right": (-0.8, -0.14),
    "bottom-left": (0.5, -0.24),
    "bottom-right": (-0.5, -0.24),
}
"""Where the light comes from, as one looks at the picture, and where it throws the shadow of
the subject's highest point, seen from the foot, in heights of the subject (x right, y down).

A light at the top stands behind the subject and throws the shadow towards the viewer; one at
the bottom stands beside the viewer and throws it back. There is no light straight from the
viewer: its shadow hides behind the subject."""

HANGING_REACH = 0.07
"""How far a subject that stands on nothing throws its shadow, as a share of its size."""


@dataclass(frozen=True)
class Foot:
    """Where a subject touches the ground, in pixels of its box.

    ``base[x]`` is the lowest row of each column (-1: nothing in it), ``touch[x]`` how surely
    the column touches there, 0 to 1, and ``ground[x]`` the height of the ground under it: that
    of the nearest columns which touch.
    """

    base: Any
    touch: Any
    ground: Any

    @property
    def lowest(self) -> float:
        """The row of the lowest point."""
        return float(self.base.max())


STEEPEST = 1.0
"""The slope up to which the lower outline can lie on the ground: that of a box or a plate that
is seen at a slant. What rises more steeply is the subject's side."""


def foot(alpha: Image.Image) -> Foot:
    """Find the foot of a subject from the lower outline of its mask.

    It touches the ground where the outline is about as low as it gets (the legs of a chair),
    and along the outline from there as long as it rises gently.
    """
    import numpy as np
    from scipy import ndimage

    seen = np.asarray(alpha) > 110
    height, width = seen.shape
    some = seen.any(0)
    if not some.any():
        flat = np.full(width, height - 1, np.float32)
        return Foot(flat, np.zeros(width, np.float32), flat)
    base = np.where(some, height - 1 - np.argmax(seen[::-1], axis=0), -1).astype(np.float32)
    lowest = float(base.max())
    touch = np.where(some, np.exp(-(((lowest - base) / (0.035 * height + 1)) ** 2)), 0)
    filled = np.interp(np.arange(width), np.flatnonzero(some), base[some])
    smooth = ndimage.gaussian_filter1d(filled, max(0.012 * width, 1), mode="nearest")
    slope = np.abs(np.gradient(smooth)) if width > 1 else np.zeros(width)
    gentle = np.where(some, np.clip((STEEPEST - slope) / 0.35, 0, 1), 0)
    # From the lowest point outwards, as long as nothing steep or missing comes between.
    middle = int(np.median(np.flatnonzero(base >= lowest - 1)))
    right = np.minimum.accumulate(gentle[middle:])
    left = np.minimum.accumulate(gentle[middle::-1])[::-1]
    reached = np.concatenate((left[:-1], right))
    reached = reached * (filled > lowest - 0.35 * height)
    touch = np.maximum(touch, reached)
    sure = np.flatnonzero(touch > 0.35)
    if not len(sure):
        sure = np.array([middle])
    ground = np.interp(np.arange(width), sure, base[sure])
    ground = ndimage.gaussian_filter1d(ground, max(0.012 * width, 1), mode="nearest")
    return Foot(base, touch.astype(np.float32), ground.astype(np.float32))


def room(size: tuple[int, int], *, light: str, softness: float, stands: bool) -> tuple[int, ...]:
    """What a shadow may need around the subject's box: pixels left, top, right and bottom."""
    width, height = size
    blur = 2.6 * (_far_blur(softness) if stands else _hanging_blur(softness))
    if stands:
        dx, dy = (part * height for part in LIGHTS[light])
        blur *= height
    else:
        dx, dy = _hanging_shift(light, max(size))
        blur *= max(size)
    around = max(blur, 0.06 * width)
    left, right = max(-dx, 0) + around, max(dx, 0) + around
    # The silhouette lies flat: it is no taller than its throw, so most of it needs no height.
    bottom = max(dy, 0) + blur * 0.7 + 0.03 * height
    top = max(-dy - height, 0) if stands else max(-dy, 0) + blur
    return tuple(round(side) for side in (left, top, right, bottom))


def darkness(
    alpha: Image.Image,
    at: tuple[int, int],
    canvas: tuple[int, int],
    *,
    light: str,
    softness: float,
    opacity: float,
    stands: bool,
    cast: float = 1.0,
) -> Image.Image:
    """The map of darkness that a subject of this mask, put at ``at``, brings to the canvas.

    ``softness`` and ``opacity`` go from 0 to 1; ``cast`` is the weight of the silhouette
    beside the contact (0: only that). A subject that does not stand throws its outline on a
    wall behind it.
    """
    import numpy as np

    factor = min(1.0, (WORKING_PIXELS / (canvas[0] * canvas[1])) ** 0.5)
    area = max(round(canvas[0] * factor), 1), max(round(canvas[1] * factor), 1)
    size = max(round(alpha.width * factor), 1), max(round(alpha.height * factor), 1)
    place = round(at[0] * factor), round(at[1] * factor)
    small = alpha.resize(size, Image.Resampling.BOX)
    if not stands:
        parts = [(0.75 * cast, _hanging(small, place, area, light=light, softness=softness))]
    else:
        standing = foot(small)
        thrown = _thrown(small, place, area, standing, light=light, softness=softness)
        tight, wide = _contact(small, place, area, standing, light=light, softness=softness)
        parts = [(0.62 * cast, thrown), (0.8, tight), (0.5, wide)]
    through = np.ones((area[1], area[0]), np.float32)
    for weight, part in parts:
        through *= 1 - weight * opacity * np.asarray(part, np.float32) / 255
    dark = Image.fromarray(((1 - through) * 255 + 0.5).astype(np.uint8))
    return dark if area == canvas else dark.resize(canvas, Image.Resampling.BICUBIC)


def _far_blur(softness: float) -> float:
    return 0.008 + 0.085 * softness


def _hanging_blur(softness: float) -> float:
    return 0.006 + 0.05 * softness


def _hanging_shift(light: str, size: int) -> tuple[float, float]:
    dx, dy = LIGHTS[light]
    # In the plane of the picture up and down count as much as left and right.
    dy = {True: 0.6, False: -0.45}[dy > 0] if abs(dy) > 0.1 else 0.15
    length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
    return dx / length * HANGING_REACH * size, dy / length * HANGING_REACH * size


def _hanging(
    alpha: Image.Image,
    place: tuple[int, int],
    area: tuple[int, int],
    *,
    light: str,
    softness: float,
) -> Image.Image:
    """The outline, moved away from the light and blurred."""
    dx, dy = _hanging_shift(light, max(alpha.size))
    layer = Image.new("L", area)
    layer.paste(alpha, (round(place[0] + dx), round(place[1] + dy)))
    return layer.filter(ImageFilter.GaussianBlur(_hanging_blur(softness) * max(alpha.size)))


def _thrown(
    alpha: Image.Image,
    place: tuple[int, int],
    area: tuple[int, int],
    standing: Foot,
    *,
    light: str,
    softness: float,
) -> Image.Image:
    """The silhouette, laid flat on the ground: sharp and dark at the foot, faint far out."""
    import numpy as np

    dx, dy = LIGHTS[light]
    lowest = round(standing.lowest)
    height = lowest + 1
    # Stand it on a level ground, throw the shadow there, and lay that on the real ground.
    rows = np.arange(height)[:, None] - np.round(lowest - standing.ground).astype(int)[None]
    level = np.take_along_axis(np.asarray(alpha), np.clip(rows, 0, alpha.height - 1), 0)
    level = np.where(rows >= 0, level, 0)
    flat_height = max(round(height * abs(dy)), 2)
    flat = Image.fromarray(level).resize((alpha.width, flat_height), Image.Resampling.BOX)
    if dy > 0:
        flat = flat.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    ground = place[1] + height
    top = ground if dy > 0 else ground - flat_height
    # Each output pixel looks back along the light to the column that it comes from.
    lean = dx / dy
    thrown = flat.transform(
        area,
        Image.Transform.AFFINE,
        (1, -lean, lean * ground - place[0], 0, 1, -top),
        Image.Resampling.BILINEAR,
    )
    columns = np.clip(np.arange(area[0]) - place[0], 0, alpha.width - 1)
    lift = np.round(lowest - standing.ground).astype(int)[columns][None]
    rows = np.arange(area[1])[:, None] + lift
    field = np.take_along_axis(np.asarray(thrown), np.minimum(rows, area[1] - 1), 0)
    layer = Image.fromarray(np.where(rows < area[1], field, 0).astype(np.uint8))
    away = np.abs(rows.astype(np.float32) - ground) / max(height * abs(dy), 1)
    along = np.clip(away, 0, 1)
    size = float(alpha.height)
    near, far = (0.004 + 0.012 * softness) * size, _far_blur(softness) * size
    # The ground is seen at a slant, and so is the blur on it.
    levels = [
        np.asarray(layer.filter(ImageFilter.GaussianBlur((blur, 0.55 * blur))), np.float32)
        for blur in (near, (near * far) ** 0.5, far)
    ]
    first = np.clip(along * 2, 0, 1)
    second = np.clip(along * 2 - 1, 0, 1)
    field = levels[0] * (1 - first) + levels[1] * (first - second) + levels[2] * second
    field = field * (1 - 0.62 * along)
    return Image.fromarray(np.clip(field + 0.5, 0, 255).astype(np.uint8))


def _contact(
    alpha: Image.Image,
    place: tuple[int, int],
    area: tuple[int, int],
    standing: Foot,
    *,
    light: str,
    softness: float,
) -> tuple[Image.Image, Image.Image]:
    """Where light hardly gets in: a tight line under the foot, and a wide softness around."""
    import numpy as np

    height, width = alpha.height, alpha.width
    rows = np.arange(height, dtype=np.float32)[:, None]
    base, touch = standing.base[None], standing.touch[None]
    under = (rows <= base) * (rows > base - max(0.05 * height, 2)) * touch
    strip = Image.fromarray((under * 255).astype(np.uint8))
    size = (width * height) ** 0.5
    dx = LIGHTS[light][0]

    def layer(shift: tuple[float, float], blur: tuple[float, float]) -> Image.Image:
        flat = Image.new("L", area)
        flat.paste(strip, (round(place[0] + shift[0]), round(place[1] + shift[1])))
        return flat.filter(ImageFilter.GaussianBlur(blur))

    thin = (0.006 + 0.006 * softness) * size
    broad = (0.025 + 0.04 * softness) * size
    tight = layer((0.25 * thin * np.sign(dx), 0.8 * thin), (1.3 * thin, 0.8 * thin))
    wide = layer((0.8 * broad * dx, 0.3 * broad), (1.6 * broad, 0.7 * broad))
    return tight, ImageChops.add(wide, wide)


# --- Reflections ----------------------------------------------------------------------------


def reflection(
    colours: Image.Image, alpha: Image.Image, *, strength: float, length: float = 0.4
) -> tuple[Image.Image, Image.Image, int]:
    """What a polished ground shows of the subject: colours, mask, and the first row in its box.

    Each column is mirrored where it meets the ground, so that a round foot has no gap under
    its sides. It fades out after ``length`` of the subject's height, and blurs on the way.
    """
    import numpy as np

    standing = foot(alpha)
    height = alpha.height
    lowest, base = standing.lowest, standing.ground
    first = int(base.min())
    reach = max(int(length * height), 2)
    rows = np.arange(first, int(lowest) + reach, dtype=np.float32)[:, None]
    away = (rows - base[None]) / reach
    source = np.clip(2 * base[None] - rows, 0, height - 1).astype(np.intp)
    mask = np.take_along_axis(np.asarray(alpha), source, 0).astype(np.float32)
    mask *= np.where((away >= 0) & (away < 1), strength * (1 - np.clip(away, 0, 1)) ** 1.7, 0)
    pixels = np.take_along_axis(np.asarray(colours), source[..., None], 0)
    mirrored = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.004 * height))
    faded = Image.fromarray(np.clip(mask, 0, 255).astype(np.uint8))
    return mirrored, faded.filter(ImageFilter.GaussianBlur(0.002 * height)), first
