"""Measure what marketplaces have rules about: background, subject, sharpness, light, text.

Only figures come from here; what they have to be is for the rules to say.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from tools.engines import matting, reading

if TYPE_CHECKING:
    import numpy as np

VERSION = "review 1"
MODEL = "u2netp"

SEEN_AT = 1600
"""Pixels of the longer side that is measured: about what a zoomed product page shows."""
RIM = 0.02
"""Width of the rim on which the background is judged, as a share of the shorter side."""
WHITE = 250
"""The least level of each colour that counts as pure white: JPEG moves 255 by a few."""
PLAIN = 12
"""Levels that a pixel may differ from a plain background and still belong to it."""
PLAIN_SHARE = 0.97
"""Share of the rim that must have one colour for the background to be plain."""
SUBJECT = 128
"""The least level of a mask that counts as subject."""
SURE_TEXT = 0.85
"""How sure the reading of a line must be to hold it against a picture."""
THICKEST_FRAME = 0.06
"""The widest frame that is told from a background, as a share of the shorter side."""


@dataclass(frozen=True)
class Measures:
    """What was measured on one picture. Shares go from 0 to 1.

    ``white`` and ``plain`` are the shares of the rim that are pure white, and that have the
    rim's usual colour. ``subject`` is the box of the subject in pixels (None: there is none),
    ``fill`` how much of the frame it takes in the direction in which it takes more, ``offset``
    how far its middle is from the frame's (share of the side), ``touching`` the share of the
    picture's outline that it covers. ``blur`` goes from 0 (sharp) to 1, ``lightness`` is the
    subject's mean L* (0 black, 100 white). ``frame`` is the width of a drawn frame in pixels.
    ``overlaid`` is text beside the subject, ``printed`` text on it.
    """

    width: int
    height: int
    transparent: float
    white: float
    plain: float
    subject: tuple[int, int, int, int] | None
    fill: float
    offset: float
    touching: float
    blur: float
    lightness: float
    frame: int
    overlaid: tuple[str, ...]
    printed: tuple[str, ...]


def measure(image: Image.Image) -> Measures:
    """Measure a picture, RGB or RGBA. Raises what `weights.session` and `weights.run` raise."""
    import numpy as np

    flat, transparent = _flat(image)
    scale = image.width / flat.width
    pixels = np.asarray(flat)
    rim = _rim(pixels)
    usual = np.median(rim, axis=0)
    plain = float((np.abs(rim - usual).max(1) <= PLAIN).mean())
    subject = _subject(flat, pixels, usual if plain >= PLAIN_SHARE else None)
    overlaid, printed = _texts(flat, subject)
    box = None if subject is None or not subject.any() else _box(subject)
    if subject is None or box is None:
        seen, lightness, fill, offset, touching = flat, _lightness(pixels, None), 0.0, 0.0, 0.0
    else:
        seen, lightness = flat.crop(box), _lightness(pixels, subject)
        fill = max((box[2] - box[0]) / flat.width, (box[3] - box[1]) / flat.height)
        offset = max(
            abs((box[0] + box[2]) / 2 / flat.width - 0.5),
            abs((box[1] + box[3]) / 2 / flat.height - 0.5),
        )
        outline = np.concatenate([subject[0], subject[-1], subject[:, 0], subject[:, -1]])
        touching = float(outline.mean())
    return Measures(
        width=image.width,
        height=image.height,
        transparent=transparent,
        white=float((rim.min(1) >= WHITE).mean()),
        plain=plain,
        subject=box and _scaled(box, scale),
        fill=fill,
        offset=offset,
        touching=touching,
        blur=_blur(seen),
        lightness=lightness,
        frame=round(_frame(pixels) * scale),
        overlaid=overlaid,
        printed=printed,
    )


def warm() -> None:
    """Load the models now rather than with the first picture."""
    matting.warm(model=MODEL)
    reading.warm()


def _flat(image: Image.Image) -> tuple[Image.Image, float]:
    """The picture on white, in the size that is measured, and how much of it is transparent."""
    import numpy as np

    scale = min(1.0, SEEN_AT / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX, reducing_gap=3)
    if image.mode != "RGBA":
        return image.convert("RGB"), 0.0
    alpha = image.getchannel("A")
    flat = Image.new("RGB", image.size, (255, 255, 255))
    flat.paste(image, mask=alpha)
    return flat, float((np.asarray(alpha) < 250).mean())


def _rim(pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The pixels along the four sides, one a row, as signed numbers."""
    import numpy as np

    width = max(1, round(RIM * min(pixels.shape[:2])))
    parts = [
        pixels[:width],
        pixels[-width:],
        pixels[width:-width, :width],
        pixels[width:-width, -width:],
    ]
    return np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int16)


def _subject(
    flat: Image.Image, pixels: "np.ndarray[Any, Any]", background: "np.ndarray[Any, Any] | None"
) -> "np.ndarray[Any, Any] | None":
    """Which pixels belong to the subject; None when there is none.

    On a plain background that is whatever has another colour, to the pixel. Anywhere else the
    model says.
    """
    import numpy as np
    from scipy import ndimage

    if background is not None:
        other = np.abs(pixels - background.astype(np.int16)).max(2) > PLAIN
        # Specks of compression are no subject.
        other = ndimage.binary_opening(other, iterations=max(1, max(flat.size) // 800))
        return other if other.mean() > 0.001 else None
    try:
        mask = matting.mask(flat, model=MODEL)
    except matting.NoSubject:
        return None
    sure = np.asarray(mask) >= SUBJECT
    return sure if sure.any() else None


def _box(subject: "np.ndarray[Any, Any]") -> tuple[int, int, int, int]:
    """The box of the subject without its stray pixels: left, top, right, bottom."""
    import numpy as np

    edges = []
    for axis in (0, 1):
        along = subject.sum(axis=axis).cumsum()
        # A thousandth of the mass on each side may be haze.
        first = int(np.searchsorted(along, along[-1] * 0.001, side="right"))
        last = int(np.searchsorted(along, along[-1] * 0.999, side="left"))
        edges.append((first, max(last, first) + 1))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _scaled(box: tuple[int, int, int, int], scale: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return left, top, right, bottom


def _texts(
    flat: Image.Image, subject: "np.ndarray[Any, Any] | None"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Text beside the subject and text on it. What is beside it is taken out of ``subject``."""
    overlaid: list[str] = []
    printed: list[str] = []
    for line in reading.read(flat):
        # Handles and spoons pass for an "8" or an "o".
        if line.sure < SURE_TEXT or sum(map(str.isalnum, line.text)) < 2:
            continue
        if subject is None:
            overlaid.append(line.text)
            continue
        part = subject[
            max(0, int(line.top)) : int(line.bottom) + 1,
            max(0, int(line.left)) : int(line.right) + 1,
        ]
        # On a plain background letters are "another colour" too, but the room between them is
        # not, as it is on a label.
        if part.size and part.mean() > 0.75:
            printed.append(line.text)
        else:
            overlaid.append(line.text)
            part[:] = False
    return tuple(overlaid), tuple(printed)


BLUR_AT = 800
"""Pixels of the longer side of the subject on which sharpness is judged."""


def _blur(image: Image.Image) -> float:
    """How little a blur changes the picture: 0 sharp, 1 blurred already.

    The perceptual metric of Crete and others (2007), as scikit-image has it.
    """
    import numpy as np
    from skimage.measure import blur_effect

    scale = min(1.0, BLUR_AT / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    grey = np.asarray(image.resize(size, Image.Resampling.BOX).convert("L"), dtype=np.float32)
    if min(grey.shape) < 16 or float(grey.max() - grey.min()) < 8:
        return 1.0  # nothing in it that could be sharp
    return float(blur_effect(grey / 255, h_size=9))


def _lightness(pixels: "np.ndarray[Any, Any]", subject: "np.ndarray[Any, Any] | None") -> float:
    """The mean L* of the subject, or of all."""
    import numpy as np

    seen = pixels.reshape(-1, 3) if subject is None else pixels[subject]
    values = seen[:: max(1, len(seen) // 50_000)].astype(np.float32) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    steps = np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)
    return float(steps.mean())


def _frame(pixels: "np.ndarray[Any, Any]") -> int:
    """The width of a frame that is drawn around the picture, 0 when there is none.

    A frame has one colour, not white, on all four sides and ends at once, all along. A plain
    background ends where the subject begins; around a book or a box that is all along too, and
    so what is wide or white is no frame.
    """
    import numpy as np

    thickest = int(THICKEST_FRAME * min(pixels.shape[:2]))
    if not thickest:
        return 0  # there is no room for a frame
    colour = np.median(np.concatenate([pixels[0], pixels[-1]]), axis=0)
    if colour.min() >= WHITE:
        return 0
    widths = []
    for side in (pixels, pixels[::-1], pixels.transpose(1, 0, 2), pixels.transpose(1, 0, 2)[::-1]):
        strips = np.abs(side[: thickest + 2].astype(np.int16) - colour).max(2)
        # Corners belong to the frames of the other two sides.
        strips = strips[:, thickest:-thickest] if strips.shape[1] > 3 * thickest else strips
        framed = (strips <= 2 * PLAIN).mean(1) >= 0.98
        width = int(np.argmin(framed)) if not framed.all() else len(framed)
        if not 1 <= width <= thickest or (strips[width + 1] > 2 * PLAIN).mean() < 0.9:
            return 0
        widths.append(width)
    return min(widths)
