"""Edits of a photo, as a photographer would make them.

Changes of tone are in `tones`, changes of shape in `turning`; what needs the subject and what
looks around each pixel is here. Same photo and same edits: same bytes.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFilter

from tools.engines import guided, subjects, tones, turning
from tools.engines.instructions import Edit

if TYPE_CHECKING:
    import numpy as np

    Field = np.ndarray[Any, Any]
    """Single precision, 0 to 1: height x width, or height x width x 3 for colours."""

SUBJECTS = "u2net"
"""The model that tells subject and background apart."""


def apply(
    image: Image.Image, edits: Iterable[Edit], *, strength: float = 1.0
) -> tuple[Image.Image, list[Edit]]:
    """The photo (RGB or RGBA) with its edits done, and those that found nothing to do.

    ``strength`` (0 to 1) scales the amounts; turning, flipping and cropping know no halves.
    Edits are done in the order of a darkroom, whatever the order of the sentence. Alpha is
    kept, but for a new background, which goes behind it. Raises `matting.NoSubject`, and what
    `matting.mask` raises.
    """
    todo = list(edits)
    if any(edit.name == "low-light" for edit in todo):
        # What was hidden in the dark with everything else comes to light too.
        todo += [replace(e, name="denoise", amount=0.4) for e in todo if e.name == "low-light"]
    todo.sort(key=lambda edit: _ORDER.index(edit.name))
    photo = image if image.mode == "RGBA" else image.convert("RGB")
    whole = any(edit.where == "all" for edit in todo)
    parted = not whole or any(e.where != "all" or e.name in _PARTING for e in todo)
    subject = _subject(image) if parted else None
    idle: list[Edit] = []
    waiting: list[Edit] = []
    for edit in todo:
        amount = edit.amount * (1 if edit.name in turning.SHAPES else strength)
        scaled = replace(edit, amount=amount)
        if edit.name in tones.TONES:
            waiting.append(scaled)
            continue
        photo, waiting = _toned(photo, waiting, subject), []
        changed = _one(photo, scaled, subject)
        if changed is None:
            idle.append(edit)
        else:
            photo = changed
    return _toned(photo, waiting, subject), idle


def _toned(photo: Image.Image, edits: list[Edit], subject: Image.Image | None) -> Image.Image:
    if not edits:
        return photo
    return _with_alpha_of(photo, tones.toned(photo.convert("RGB"), edits, subject))


def _one(photo: Image.Image, edit: Edit, subject: Image.Image | None) -> Image.Image | None:
    """One edit that is no change of tone; None when there is nothing to do for it."""
    if edit.name in turning.SHAPES:
        return turning.SHAPES[edit.name](photo, edit.amount)
    if edit.name == "background-colour":
        return _on_colour(photo, tones.given(subject), edit)
    if edit.name == "blur-background":
        changed = _blurred_background(photo.convert("RGB"), tones.given(subject), edit.amount)
    else:
        changed = _SPATIAL[edit.name](photo.convert("RGB"), edit.amount)
        changed = _only(photo, changed, edit, subject)
    return _with_alpha_of(photo, changed)


def _with_alpha_of(photo: Image.Image, changed: Image.Image) -> Image.Image:
    if photo.mode == "RGBA":
        changed.putalpha(photo.getchannel("A"))
    return changed


def _only(
    photo: Image.Image, changed: Image.Image, edit: Edit, subject: Image.Image | None
) -> Image.Image:
    """What was changed, where the edit wants it."""
    if edit.where == "all":
        return changed
    before, mask = photo.convert("RGB"), tones.given(subject)
    if edit.where == "subject":
        return Image.composite(changed, before, mask)
    return Image.composite(before, changed, mask)


# --- Sharpness and noise --------------------------------------------------------------------


def _sharpness(photo: Image.Image, amount: float) -> Image.Image:
    """Unsharp masking of the lightness, or a blur; as wide beside the photo at any size."""
    longer = max(photo.size)
    if amount < 0:
        radius = longer * 0.012 * -amount
        return photo.filter(ImageFilter.GaussianBlur(max(radius, 0.3)))
    light, *colours = photo.convert("YCbCr").split()
    radius = min(max(longer / 900, 0.8), 4.0)
    crisp = ImageFilter.UnsharpMask(radius, percent=round(300 * amount), threshold=2)
    return Image.merge("YCbCr", [light.filter(crisp), *colours]).convert("RGB")


OVERLAP = 40
"""Rows that neighbouring bands share, so that no seam shows where neighbours count."""


def _denoise(photo: Image.Image, amount: float) -> Image.Image:
    """Smooth what is no edge: lightness as far as it is noisy, colours further.

    How noisy it is is measured (Immerkær, "Fast noise variance estimation", 1996).
    """
    import numpy as np

    small = photo.convert("L")
    noise = _noise(np.asarray(small.crop(_middle(small.size, 1200)), np.float32) / 255)
    edge = max(noise, 0.006) * (0.6 + 2.2 * amount)
    done = Image.new("RGB", photo.size)
    width, height = photo.size
    rows = max(tones.BAND_PIXELS * 2 // width, OVERLAP)
    for top in range(0, height, rows):
        above, below = max(top - OVERLAP, 0), min(top + rows + OVERLAP, height)
        band = photo.crop((0, above, width, below)).convert("YCbCr")
        light, blue, red = (np.asarray(part, np.float32) / 255 for part in band.split())
        # Twice: a wide window leaves noise along edges, which a narrow one finds again.
        calm = guided.smooth(light, light, radius=4, edge=edge)
        calm = guided.smooth(light, calm, radius=2, edge=edge * 0.5)
        colours = [guided.smooth(colour, calm, radius=8, edge=edge) for colour in (blue, red)]
        share = min(amount / 0.5, 1.0)
        parts = [
            Image.fromarray(
                np.rint(np.clip(old + (new - old) * share, 0, 1) * 255).astype(np.uint8)
            )
            for old, new in zip((light, blue, red), (calm, *colours), strict=True)
        ]
        clean = Image.merge("YCbCr", parts).convert("RGB")
        bottom = min(top + rows, height)
        done.paste(clean.crop((0, top - above, width, bottom - above)), (0, top))
    return done


def _noise(light: "Field") -> float:
    """Standard deviation of the noise in a picture's lightness."""
    import numpy as np

    if min(light.shape) < 3:
        return 0.0
    second = light[:, :-2] - 2 * light[:, 1:-1] + light[:, 2:]
    second = second[:-2] - 2 * second[1:-1] + second[2:]
    # The median and not the mean: edges are few, noise is everywhere.
    return float(np.median(np.abs(second))) / (0.6745 * 6)


def _middle(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """The box of at most ``side`` squared in the middle."""
    left, top = (max((length - side) // 2, 0) for length in size)
    return left, top, min(left + side, size[0]), min(top + side, size[1])


_SPATIAL: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "denoise": _denoise,
    "sharpness": _sharpness,
}


# --- Subject and background -----------------------------------------------------------------

MATTED = 1400
"""Pixels of the longer side on which backgrounds are blurred and edges looked after."""


def _subject(image: Image.Image) -> Image.Image:
    """Where the subject is, mode L: the picture's own alpha, or a model's mask drawn to edges."""
    found = subjects.cut(image, model=SUBJECTS)
    mask = Image.new("L", found.frame)
    mask.paste(found.alpha, found.origin)
    return mask


def _at_most(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(longest / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _blurred_background(photo: Image.Image, subject: Image.Image, amount: float) -> Image.Image:
    """The background out of focus: discs of light as a lens makes them, none of the subject's."""
    import numpy as np

    size = _at_most(photo.size, MATTED)
    colours = tones.linear_levels()[np.asarray(photo.resize(size, Image.Resampling.BOX))]
    free = 1 - np.asarray(subject.resize(size, Image.Resampling.BOX), np.float32) / 255
    radius = max(max(size) * 0.032 * amount, 0.5)
    # Bright points count for more, as they do on film: they become the discs.
    weight = free * (0.4 + tones.luminance(colours) * 1.6) + 1e-4
    blurred = (
        np.dstack([_disc(colours[..., channel] * weight, radius) for channel in range(3)])
        / _disc(weight, radius)[..., None]
    )
    soft = Image.fromarray(tones.levels(blurred)).resize(photo.size, Image.Resampling.BICUBIC)
    return Image.composite(photo, soft, subject)


def _disc(field: "Field", radius: float) -> "Field":
    """The mean over a disc: a sum of boxes, one for each of its rows."""
    import numpy as np

    reach = math.ceil(radius)
    padded = np.pad(field, reach, mode="edge").astype(np.float64)
    sums = np.pad(padded.cumsum(axis=1), ((0, 0), (1, 0)))
    height, width = field.shape
    total, count = np.zeros_like(field, dtype=np.float64), 0
    for dy in range(-reach, reach + 1):
        half = round(math.sqrt(max((radius + 0.5) ** 2 - dy * dy, 0)))
        rows = sums[reach + dy : reach + dy + height]
        first = reach - min(half, reach)
        last = reach + min(half, reach) + 1
        total += rows[:, last : last + width] - rows[:, first : first + width]
        count += last - first
    return (total / count).astype(np.float32)


def _on_colour(photo: Image.Image, subject: Image.Image, edit: Edit) -> Image.Image:
    """The subject on a colour, with its own colours along its edge."""
    import numpy as np

    colour = edit.colour or (255, 255, 255)
    own = photo.convert("RGB")
    if photo.mode == "RGB":
        size = _at_most(photo.size, MATTED)
        mask = np.asarray(subject.resize(size, Image.Resampling.BOX), np.float32) / 255
        colours = np.asarray(own.resize(size, Image.Resampling.BOX), np.float32)
        sure = np.where(mask > 0.97, 1.0, 0.0).astype(np.float32) + 1e-5
        radius = max(max(size) / 110, 1.0)
        spread = np.dstack([_disc(colours[..., c] * sure, radius) for c in range(3)])
        spread /= _disc(sure, radius)[..., None]
        inner = Image.fromarray(np.clip(spread, 0, 255).astype(np.uint8))
        inner = inner.resize(photo.size, Image.Resampling.BICUBIC)
        # Only where the old background shines through; the rest is the photo itself.
        solid = subject.point([min(max((level - 128) * 2, 0), 255) for level in range(256)])
        own = Image.composite(own, inner, solid)
    flat = Image.composite(own, Image.new("RGB", photo.size, colour), subject)
    if edit.amount < 1:
        before = Image.new("RGB", photo.size, (255, 255, 255))
        before.paste(
            photo.convert("RGB"), mask=photo.getchannel("A") if "A" in photo.mode else None
        )
        flat = Image.blend(before, flat, edit.amount)
    return flat


_PARTING = {"blur-background", "background-colour"}

WITHOUT_AMOUNT = frozenset(
    {*turning.SHAPES, "background-colour", "white-balance", "black-and-white", "sepia"}
)
"""Edits that are done or not done: a share of them says nothing to a person."""

_ORDER = (
    "white-balance",
    "low-light",
    "denoise",
    "auto",
    "brightness",
    "shadows",
    "highlights",
    "contrast",
    "warmth",
    "saturation",
    "sharpness",
    "blur-background",
    "background-colour",
    "black-and-white",
    "sepia",
    "fade",
    "straighten",
    "rotate",
    "flip-horizontal",
    "flip-vertical",
    "square",
    "vintage",
    "vignette",
)
