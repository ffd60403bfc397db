"""Enlarge a picture with a super-resolution network, tile by tile.

A network looks at a window of the picture at a time, so the memory for a run depends on the
window and not on the picture. Windows overlap: the outer pixels of a window, which lack their
neighbours, are thrown away, and where two results meet, one fades into the other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageFilter

from tools.engines import weights

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]

SCALES = (2, 3, 4)
MAX_OUTPUT = 100_000_000
"""Pixels of a result: 300 MB of memory, 400 MB with alpha."""
MAX_SIDE = 16_383
"""The longest side that a WebP file can have."""
FADE = 4
"""Pixels of the original on each side of a border, over which one tile fades into the next."""
OPAQUE_ENOUGH = 8
"""Alpha (of 255) below which a pixel's colour is noise."""


@dataclass(frozen=True)
class Network:
    """One network: the weights, and how much of a picture it may look at.

    ``window`` is the side of what it sees at a time, in pixels of the original. The outer
    ``margin`` pixels on each side are there to be looked at; all but `FADE` of them are thrown
    away. SPAN reaches 21 pixels far (21 convolutions of 3 x 3), so that its tiles are the very
    pixels of one large run. Real-ESRGAN reaches further than any window; what it sees more than
    12 pixels away makes no difference that could be seen.
    """

    weights: str
    window: int
    margin: int


SPAN = Network("span-x4", window=384, margin=21 + FADE)
REAL_ESRGAN = Network("real-esrgan-x4plus", window=224, margin=16)

MODELS = {"fast": SPAN, "quality": REAL_ESRGAN}
SCALE = 4
"""How many times both enlarge. For 2x and 3x their results are averaged: SPAN has a network for
2x, which is no faster, and adds specks to edges that were sharpened before."""

CPU_PIXELS = {"quality": 1_000_000}
"""Pixels that a model takes without a GPU, where that would take too long: half a millisecond
each (measured on one core), eleven minutes for a megapixel with the windows' margins."""


class TooMuch(Exception):
    """The picture has more pixels than this model takes at this scale.

    ``pixels`` is the most that a picture of this shape may have.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)
        self.pixels = pixels


class TooLarge(TooMuch):
    """The result would have more pixels, or a longer side, than `MAX_OUTPUT` and `MAX_SIDE`."""


class TooSlow(TooMuch):
    """It would take this model too long without a GPU."""


def needed(*, model: str) -> tuple[str, ...]:
    """The names of the weights for this: the colours' first, and those for alpha."""
    return tuple(dict.fromkeys((MODELS[model].weights, SPAN.weights)))


def warm(*, model: str) -> None:
    """Load the network now rather than with the first picture."""
    weights.session(MODELS[model].weights)


def upscale(
    image: Image.Image, *, scale: int, model: str, window: int | None = None
) -> Image.Image:
    """The picture with ``scale`` times as many pixels each way, mode RGB or RGBA.

    ``window`` overrides what the network sees at a time. Where memory runs out, a window of half
    the side is tried once. Raises `TooLarge`, `TooSlow`, and what `weights.session` and
    `weights.run` raise.
    """
    if image.mode not in {"RGB", "RGBA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    _check_size(image, scale=scale)
    network = MODELS[model]
    _check_time(image, model=model, network=network)
    window = window or network.window
    try:
        return _upscaled(image, scale=scale, network=network, window=window)
    except weights.ModelOutOfMemory:
        half = window // 2
        if half <= 2 * network.margin:
            raise
    return _upscaled(image, scale=scale, network=network, window=half)


def _check_size(image: Image.Image, *, scale: int) -> None:
    pixels, longest = image.width * image.height, max(image.size)
    by_side = int(pixels * (MAX_SIDE / (longest * scale)) ** 2)
    most = min(MAX_OUTPUT // scale**2, by_side)
    if pixels > most:
        raise TooLarge(most)


def _check_time(image: Image.Image, *, model: str, network: Network) -> None:
    """Raises `TooSlow` where there is no GPU and too much to do."""
    most = CPU_PIXELS.get(model)
    if most is None or image.width * image.height <= most:
        return
    if "CUDAExecutionProvider" not in weights.session(network.weights).get_providers():
        raise TooSlow(most)


def _upscaled(image: Image.Image, *, scale: int, network: Network, window: int) -> Image.Image:
    if image.mode == "RGB":
        return _enlarged(image, scale=scale, network=network, window=window)
    alpha = image.getchannel("A")
    shape = _enlarged_alpha(alpha, scale=scale, window=window)
    colours = _enlarged(
        _without_bleeding(image), scale=scale, network=network, window=window, shown=alpha
    )
    colours.paste((0, 0, 0), mask=shape.point(lambda value: 0 if value else 255))
    colours.putalpha(shape)
    return colours


# --- Transparency ---------------------------------------------------------------------------------


def _enlarged_alpha(alpha: Image.Image, *, scale: int, window: int) -> Image.Image:
    """A mask through the fast network, which keeps its edges sharp.

    A network overshoots beside an edge; a pixel of the result stays within what the original has
    there and around. What was opaque or transparent on all sides is so after.
    """
    if alpha.getextrema()[0] == 255:
        return Image.new("L", (alpha.width * scale, alpha.height * scale), 255)
    window = min(window, SPAN.window)
    shape = _enlarged(alpha, scale=scale, network=SPAN, window=window, shown=alpha)
    lowest = alpha.filter(ImageFilter.MinFilter(3)).resize(shape.size, Image.Resampling.NEAREST)
    shape = ImageChops.lighter(shape, lowest)
    highest = alpha.filter(ImageFilter.MaxFilter(3)).resize(shape.size, Image.Resampling.NEAREST)
    return ImageChops.darker(shape, highest)


def _without_bleeding(image: Image.Image) -> Image.Image:
    """The colours of an RGBA picture, with those of its surroundings where nothing shows.

    Otherwise the black, or whatever lies in transparent pixels, would be mixed into the edge.
    The surroundings come from ever smaller copies in which alpha weighs the colours.
    """
    colours = image.convert("RGB")
    visible = image.getchannel("A").point(lambda value: 255 if value >= OPAQUE_ENOUGH else 0)
    if visible.getextrema()[0] == 255 or min(image.size) == 1:
        return colours
    weighed = colours.copy()
    weighed.putalpha(visible)
    smaller = weighed.convert("RGBa").reduce(2).convert("RGBA")
    around = _without_bleeding(smaller).resize(image.size, Image.Resampling.BILINEAR)
    around.paste(colours, mask=visible)
    return around


# --- Tiles ----------------------------------------------------------------------------------------


def _enlarged(
    image: Image.Image,
    *,
    scale: int,
    network: Network,
    window: int,
    shown: Image.Image | None = None,
) -> Image.Image:
    """An RGB or L picture through the network; what is transparent in ``shown`` stays black."""
    import numpy as np

    session = weights.session(network.weights)
    margin = network.margin
    pixels = np.atleast_3d(np.asarray(image))
    # Mirrored borders: a network that is given none takes grey for what lies outside.
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    result = np.zeros((image.height * scale, image.width * scale, pixels.shape[2]), dtype=np.uint8)
    core = window - 2 * margin
    rows, height = _steps(image.height, core)
    columns, width = _steps(image.width, core)
    for top in rows:
        for left in columns:
            if shown is not None and not _shows(shown, left, top, width, height):
                continue
            seen = padded[top : top + height + 2 * margin, left : left + width + 2 * margin]
            tile = _run(session, seen, scale=scale)
            tile = tile[:, :, : pixels.shape[2]]
            _lay(tile, result, left=left, top=top, margin=margin, scale=scale)
    return Image.fromarray(result if image.mode == "RGB" else result[:, :, 0])


def _shows(alpha: Image.Image, left: int, top: int, width: int, height: int) -> bool:
    """Whether anything of a tile, or right beside it, is not transparent."""
    reach = FADE + 2  # where it is laid, and a pixel of the original that may show there
    box = (left - reach, top - reach, left + width + reach, top + height + reach)
    return alpha.crop(box).getbbox() is not None


def _steps(length: int, core: int) -> tuple[list[int], int]:
    """Where tiles begin along one side, and their common length.

    All are of one size (every new size costs the runtime memory), spread evenly.
    """
    count = -(-length // core)
    size = -(-length // count)
    return [number * (length - size) // max(count - 1, 1) for number in range(count)], size


def _run(session: Any, seen: "Pixels", *, scale: int) -> "Pixels":
    """One window, enlarged, margins and all: height x width x 3. Grey counts as a colour."""
    import numpy as np

    if seen.shape[2] == 1:
        seen = seen.repeat(3, axis=2)
    pixels = seen.transpose(2, 0, 1)[None].astype(np.float32)
    pixels /= 255
    made = weights.run(session, pixels)[0]
    np.clip(made, 0, 1, out=made)
    made *= 255
    made += 0.5
    tile = made.astype(np.uint8).transpose(1, 2, 0)
    if scale == SCALE:
        return tile
    # A pixel of the original begins on a whole pixel before and after, so tiles stay in step.
    height, width = seen.shape[:2]
    reduced = Image.fromarray(np.ascontiguousarray(tile)).resize(
        (width * scale, height * scale), Image.Resampling.BOX
    )
    return np.asarray(reduced)


def _lay(tile: "Pixels", result: "Pixels", *, left: int, top: int, margin: int, scale: int) -> None:
    """Put a window's inner part in its place, faded into what lies above and to the left."""
    import numpy as np

    height, width = (length // scale - 2 * margin for length in tile.shape[:2])
    fade = min(FADE, margin)
    # The part to keep, in pixels of the original, and where it begins within the window.
    y0, x0 = max(top - fade, 0), max(left - fade, 0)
    y1 = min(top + height + fade, result.shape[0] // scale)
    x1 = min(left + width + fade, result.shape[1] // scale)
    down, right = y0 - top + margin, x0 - left + margin
    part = tile[down * scale : (down + y1 - y0) * scale, right * scale : (right + x1 - x0) * scale]
    place = result[y0 * scale : y1 * scale, x0 * scale : x1 * scale]
    ramp = (np.arange(2 * fade * scale, dtype=np.float32) + 0.5) / (2 * fade * scale)
    before = place.copy() if top or left else None
    place[...] = part
    if before is None:
        return
    for present, strip, weight in (
        (left, np.s_[:, : len(ramp)], ramp[None, :, None]),
        (top, np.s_[: len(ramp), :], ramp[:, None, None]),
    ):
        if present:
            mixed = before[strip] + (place[strip] - before[strip].astype(np.float32)) * weight
            place[strip] = (mixed + 0.5).astype(np.uint8)
