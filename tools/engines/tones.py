"""Changes of tone: brightness, colour, contrast and what photographers make of them.

Light is added and taken in linear light, colours are moved in OKLab, and what no longer fits
into sRGB loses colour before it loses lightness, so that skin and product colours stay what
they are. The work goes in bands of rows: the memory it needs does not grow with the photo.
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from tools.engines import guided, srgb
from tools.engines.instructions import Edit

if TYPE_CHECKING:
    import numpy as np

    Field = np.ndarray[Any, Any]
    """Single precision, 0 to 1: height x width, or height x width x 3 for colours."""
    Rows = tuple[int, int, int, int]
    """First row of a band, row after its last, width and height of the whole photo."""
    Tone = Callable[[Field, Rows], Field]
    """A change of linear colours that knows where in the photo they are."""

BAND_PIXELS = 300_000
"""What is in work at once."""
MEASURED = 384
"""Pixels of the longer side of what a photo is measured on."""


# --- Colours --------------------------------------------------------------------------------


@cache
def linear_levels() -> "Field":
    """Linear light of the 256 levels of sRGB."""
    import numpy as np

    return srgb.to_linear(np.arange(256, dtype=np.float32) / 255)


STEPS = 8192
"""Entries of a table over light. They lie closer in the dark, as the square root does: a step
is less than a tenth of one of 255 levels everywhere, at a fifth of the time of a power."""


@cache
def _table() -> "Field":
    """The linear light that each step stands for."""
    import numpy as np

    return (np.arange(STEPS, dtype=np.float32) / (STEPS - 1)) ** 2


def _steps(linear: "Field") -> "Field":
    """Where light (0 to 1) stands in the table."""
    import numpy as np

    return (np.sqrt(np.clip(linear, 0, 1)) * (STEPS - 1) + 0.5).astype(np.int16)


@cache
def _encoded_levels() -> "Field":
    """The level of sRGB, 0 to 255, of each step."""
    import numpy as np

    return np.rint(srgb.from_linear(_table()) * 255).astype(np.uint8)


def levels(colours: "Field") -> "Field":
    """Linear light as the levels of a picture."""
    return _encoded_levels()[_steps(colours)]


def luminance(colours: "Field") -> "Field":
    """Luminance of linear colours (Rec. 709)."""
    import numpy as np

    return colours @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


def _fitted(colours: "Field") -> "Field":
    """Linear colours inside of sRGB: what sticks out loses colour, not lightness."""
    import numpy as np

    outside = (colours.max(axis=-1) > 1) | (colours.min(axis=-1) < 0)
    if not outside.any():
        return colours
    out = colours[outside]
    light = np.clip(luminance(out), 0, 1)[..., None]
    high, low = out.max(axis=-1, keepdims=True), out.min(axis=-1, keepdims=True)
    room = np.minimum(
        np.where(high > 1, (1 - light) / np.maximum(high - light, 1e-6), 1),
        np.where(low < 0, light / np.maximum(light - low, 1e-6), 1),
    )
    fitted = colours.copy()
    fitted[outside] = np.clip(light + (out - light) * room, 0, 1)
    return fitted


def _curved(colours: "Field", curve: "Callable[[Field], Field]") -> "Field":
    """Linear colours whose lightness (0 to 1, as the eye counts) went through a curve."""
    import numpy as np

    wanted = srgb.to_linear(np.clip(curve(srgb.from_linear(_table())), 0, 1))
    light = luminance(colours)
    return _lit(colours, light, wanted[_steps(light)])


def _lit(colours: "Field", light: "Field", wanted: "Field") -> "Field":
    """Linear colours of luminance ``light`` with that which is ``wanted``.

    The three colours change by one factor, so that hue and saturation stay; what is nearly
    black has none and becomes grey.
    """
    import numpy as np

    factor = wanted / np.maximum(light, 3e-4)
    lit = colours * factor[..., None]
    lit += (wanted - light * factor)[..., None]
    return _fitted(lit)


# --- Tones ----------------------------------------------------------------------------------
# Each function looks at a small copy of the photo once and returns what is done to its bands.


def given(subject: Image.Image | None) -> Image.Image:
    """The mask of the subject, for an edit of a part. Raises `ValueError` where there is none."""
    if subject is None:
        raise ValueError("An edit of a part of the photo needs a mask.")
    return subject


def toned(photo: Image.Image, edits: list[Edit], subject: Image.Image | None) -> Image.Image:
    """The photo (RGB) after some changes of tone, without rounding between them."""
    import numpy as np

    width, height = photo.size
    small = photo.copy()
    small.thumbnail((MEASURED, MEASURED), Image.Resampling.BOX)
    measured = linear_levels()[np.asarray(small)]
    small_rows = 0, small.height, small.width, small.height
    steps: list[tuple[Tone, Edit]] = []
    for edit in edits:
        tone = TONES[edit.name](measured, edit.amount)
        steps.append((tone, edit))
        measured = tone(measured, small_rows)
    done = Image.new("RGB", photo.size)
    rows = max(BAND_PIXELS // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = (0, top, width, bottom)
        colours = linear_levels()[np.asarray(photo.crop(strip))]
        for tone, edit in steps:
            changed = tone(colours, (top, bottom, width, height))
            if edit.where != "all":
                share = np.asarray(given(subject).crop(strip), np.float32)[..., None] / 255
                share = share if edit.where == "subject" else 1 - share
                changed = colours + (changed - colours) * share
            colours = changed
        done.paste(Image.fromarray(levels(colours)), (0, top))
    return done


def _brightness(_measured: "Field", amount: float) -> "Tone":
    """Middle grey ``amount`` brighter or darker; black and white stay."""
    grey = min(max(0.5 * (1 + amount), 0.05), 0.95)
    if amount > 0:
        power = math.log(1 - grey) / math.log(0.5)
        return lambda colours, _rows: _curved(colours, lambda v: 1 - (1 - v) ** power)
    power = math.log(grey) / math.log(0.5)
    return lambda colours, _rows: _curved(colours, lambda v: v**power)


def _contrast(measured: "Field", amount: float) -> "Tone":
    """Away from the photo's own middle, or towards it."""
    import numpy as np

    middle = float(np.clip(srgb.from_linear(luminance(measured)).mean(), 0.3, 0.65))

    def steeper(v: "Field") -> "Field":
        power = 1 + 1.6 * amount
        low = middle * (v / middle) ** power
        high = 1 - (1 - middle) * ((1 - np.minimum(v, 1)) / (1 - middle)) ** power
        return np.where(v < middle, low, high)

    def flatter(v: "Field") -> "Field":
        return middle + (v - middle) * (1 + amount)

    curve = steeper if amount > 0 else flatter
    return lambda colours, _rows: _curved(colours, curve)


def _warmth(_measured: "Field", amount: float) -> "Tone":
    """As under a warmer or cooler lamp, at the same brightness of grey."""
    import numpy as np

    lamp: Field = np.array(
        [math.exp(0.42 * amount), 1.0, math.exp(-0.85 * amount)], dtype=np.float32
    )
    lamp = lamp / luminance(lamp)
    return lambda colours, _rows: _fitted(colours * lamp)


def _saturation(_measured: "Field", amount: float) -> "Tone":
    """More colour for pale pixels than for those that have much; less for all alike."""
    import numpy as np

    def tone(colours: "Field", _rows: "Rows") -> "Field":
        lab = srgb.oklab(colours)
        factor: Any
        if amount > 0:
            chroma = np.hypot(lab[..., 1], lab[..., 2])[..., None]
            factor = 1 + 1.6 * amount * np.clip(1 - chroma / 0.32, 0.15, 1)
        else:
            factor = 1 + amount
        lab[..., 1:] *= factor
        return _fitted(srgb.from_oklab(lab))

    return tone


def _grey(measured: "Field", amount: float) -> "Tone":
    """Black and white, with the contrast that the colours made."""
    deeper = _contrast(measured, 0.12)

    def tone(colours: "Field", rows: "Rows") -> "Field":
        grey = deeper(luminance(colours)[..., None].repeat(3, axis=-1), rows)
        return colours * (1 - amount) + grey * amount

    return tone


def _sepia(_measured: "Field", amount: float) -> "Tone":
    """The brown of a sulphide-toned print: strongest in the middle tones."""

    def tone(colours: "Field", _rows: "Rows") -> "Field":
        lab = srgb.oklab(luminance(colours)[..., None].repeat(3, axis=-1))
        lightness = lab[..., 0]
        lab[..., 0] = 0.06 + lightness * 0.92
        lab[..., 1] = 0.07 * lightness * (1.1 - lightness)
        lab[..., 2] = 0.2 * lightness * (1.12 - lightness)
        return colours + (_fitted(srgb.from_oklab(lab)) - colours) * amount

    return tone


def _fade(_measured: "Field", amount: float) -> "Tone":
    """Blacks like those of a matte print, and calmer colours."""

    def tone(colours: "Field", _rows: "Rows") -> "Field":
        lab = srgb.oklab(colours)
        lab[..., 0] = 0.36 * amount + lab[..., 0] * (1 - 0.4 * amount)
        lab[..., 1:] *= 1 - 0.45 * amount
        return _fitted(srgb.from_oklab(lab))

    return tone


def _vintage(measured: "Field", amount: float) -> "Tone":
    """Colour film of the seventies: faded, warm lights, greenish shadows, dark corners, grain."""
    import numpy as np

    fade, corners = _fade(measured, 0.45 * amount), _vignette(measured, 0.35 * amount)

    def tone(colours: "Field", rows: "Rows") -> "Field":
        lab = srgb.oklab(fade(colours, rows))
        lightness = lab[..., 0]
        bright = np.clip((lightness - 0.45) / 0.5, 0, 1)
        dark = np.clip((0.6 - lightness) / 0.6, 0, 1)
        lab[..., 1] += amount * (0.018 * bright - 0.024 * dark)
        lab[..., 2] += amount * (0.075 * bright + 0.012 * dark)
        lab[..., 0] += amount * _grain(rows) * 0.022
        return corners(_fitted(srgb.from_oklab(lab)), rows)

    return tone


def _grain(rows: "Rows") -> "Field":
    """Noise like film grain, as coarse beside the photo whatever its size; always the same."""
    width, height = rows[2:]
    coarse = max(max(width, height) / 1400, 1.0)
    return _enlarged(_random(math.ceil(width / coarse) + 1, math.ceil(height / coarse) + 1), rows)


@lru_cache(maxsize=2)
def _random(width: int, height: int) -> "Field":
    import numpy as np

    return np.random.default_rng(width).standard_normal((height, width), dtype=np.float32)


def _enlarged(small: "Field", rows: "Rows") -> "Field":
    """The band of a small field that was enlarged to the photo's size, without seams."""
    import numpy as np

    top, bottom, width, height = rows
    scale = small.shape[0] / height
    box = (0, top * scale, small.shape[1], bottom * scale)
    field = Image.fromarray(small)
    return np.asarray(field.resize((width, bottom - top), Image.Resampling.BICUBIC, box=box))


def _vignette(_measured: "Field", amount: float) -> "Tone":
    """Light that falls off towards the corners, as behind a simple lens."""
    import numpy as np

    def tone(colours: "Field", rows: "Rows") -> "Field":
        top, bottom, width, height = rows
        y = (np.arange(top, bottom, dtype=np.float32) + 0.5) / height * 2 - 1
        x = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
        # Between a circle and the frame's own oval; 1 in the corners.
        away = (x[None, :] ** 2 + y[:, None] ** 2) / 2
        fall = np.clip((away - 0.12) / 0.88, 0, 1)
        fall = fall * fall * (3 - 2 * fall)
        return colours * (1 - min(1.5 * amount, 0.97) * fall)[..., None]

    return tone


def _shadows(_measured: "Field", amount: float) -> "Tone":
    """Lightness of the dark parts; black, the middle and white stay."""
    return lambda colours, _rows: _curved(colours, lambda v: v + 2.2 * amount * v * (1 - v) ** 3)


def _highlights(_measured: "Field", amount: float) -> "Tone":
    """Lightness of the bright parts; black and the middle stay, white hardly moves."""

    def curve(v: "Field") -> "Field":
        return v + 2.2 * amount * (1 - v) * v**3 + min(amount, 0) * 0.12 * v**6

    return lambda colours, _rows: _curved(colours, curve)


def _white_balance(measured: "Field", amount: float) -> "Tone":
    """Take out the colour of the light: shades of grey (Finlayson and Trezzi 2004), power 6.

    The lamp is at most so strong that a photo of one colour keeps most of it.
    """
    import numpy as np

    usable = measured[(measured.max(axis=-1) < 0.97) & (measured.max(axis=-1) > 0.02)]
    if not len(usable):
        return lambda colours, _rows: colours
    lamp = (usable.astype(np.float64) ** 6).mean(axis=0) ** (1 / 6)
    gains = np.clip(lamp.mean() / np.maximum(lamp, 1e-6), 0.55, 1.8) ** amount
    gains = (gains / float(luminance(gains.astype(np.float32)))).astype(np.float32)
    return lambda colours, _rows: _fitted(colours * gains)


def _low_light(measured: "Field", amount: float) -> "Tone":
    """Light up the dark parts where they are dark (after LIME: Guo, Li and Ling 2017).

    How much light a place has got is the brightest colour around it, smoothed within edges;
    the darker the place, the more it is lit, until the photo is about as bright as others.
    """
    import numpy as np

    lit = srgb.from_linear(measured.max(axis=-1))
    lit = np.clip(guided.smooth(lit, lit, radius=max(max(lit.shape) // 24, 1)), 0.02, 1)
    average = float(np.clip(lit.mean(), 0.03, 0.9))
    power = min(math.log(0.55) / math.log(average), 1.0)
    gain = lit ** ((power - 1) * min(amount / 0.6, 1.25))
    gain = np.clip(gain, 1, 9).astype(np.float32)

    def tone(colours: "Field", rows: "Rows") -> "Field":
        light = luminance(colours)
        lifted = srgb.from_linear(np.clip(light, 0, 1)) * np.maximum(_enlarged(gain, rows), 1)
        # What would burn out bends over instead.
        lifted = np.where(lifted > 0.8, 0.8 + 0.2 * np.tanh((lifted - 0.8) / 0.2), lifted)
        return _lit(colours, light, srgb.to_linear(lifted))

    return tone


def _auto(measured: "Field", amount: float) -> "Tone":
    """What most photos gain by: the full range, a fair brightness, cleaner and fuller colours."""
    import numpy as np

    balance = _white_balance(measured, 0.5 * amount)
    light = srgb.from_linear(luminance(balance(measured, (0, 1, 1, 1))))
    black, white = (float(level) for level in np.percentile(light, (0.5, 99.5)))
    # Half of the way, and not at all for a photo that is meant to have no range.
    black, white = amount * min(black, 0.15), 1 - amount * (1 - max(white, 0.75))
    stretched = np.clip((light - black) / (white - black), 0, 1)
    middle = float(np.clip(stretched.mean(), 0.05, 0.95))
    brighter = _brightness(measured, float(np.clip(0.46 - middle, -0.12, 0.25)) * amount)
    colour = _saturation(measured, 0.12 * amount)

    def tone(colours: "Field", rows: "Rows") -> "Field":
        colours = _curved(balance(colours, rows), lambda v: (v - black) / (white - black))
        return colour(brighter(colours, rows), rows)

    return tone


TONES: "dict[str, Callable[[Field, float], Tone]]" = {
    "white-balance": _white_balance,
    "low-light": _low_light,
    "auto": _auto,
    "brightness": _brightness,
    "shadows": _shadows,
    "highlights": _highlights,
    "contrast": _contrast,
    "warmth": _warmth,
    "saturation": _saturation,
    "black-and-white": _grey,
    "sepia": _sepia,
    "fade": _fade,
    "vintage": _vintage,
    "vignette": _vignette,
}
