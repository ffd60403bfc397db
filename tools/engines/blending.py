"""Make a cut-out belong to the picture that it is put into.

Colours are judged in OKLab (Björn Ottosson, 2020), where equal distances look equally large,
and moved a little: a customer must get the colour that the picture shows.
"""

from PIL import Image, ImageChops, ImageFilter

from tools.engines import srgb

TABLE = 17
"""Points along each edge of the colour table; between them the colours are interpolated."""
STRIP = 256
"""Rows that are worked on at once, so that a large photo needs little memory."""


def match(
    colours: Image.Image,
    surroundings: Image.Image,
    *,
    tint: float = 0.25,
    light: float = 0.15,
    furthest: float = 0.02,
) -> Image.Image:
    """The subject's colours, moved towards the light of its surroundings.

    ``tint`` and ``light`` are the shares of the surroundings' tint and of their difference
    in brightness that it takes on, ``furthest`` the most that any colour moves (in OKLab,
    where black and white are 1 apart and a difference of 0.02 is just seen).
    """
    import numpy as np

    few = np.asarray(surroundings.convert("RGB").resize((32, 32)), np.float32) / 255
    around = srgb.oklab(srgb.to_linear(few))
    lightness, *hue = around.reshape(-1, 3).mean(0)
    axis = np.linspace(0, 1, TABLE, dtype=np.float32)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    table = srgb.oklab(srgb.to_linear(np.stack((red, green, blue), -1)))
    shift = np.zeros_like(table)
    # Black stays black; between it and white all of the tint is seen.
    shift[..., 1:] = tint * np.float32(hue) * np.clip(table[..., :1] * 2, 0, 1)
    shift[..., 0] = light * (lightness - 0.72) * np.clip(table[..., 0] * 2, 0, 1)
    # A bright place adds nothing to a subject that was lit well.
    shift[..., 0] = np.minimum(shift[..., 0], 0.25 * furthest)
    length = np.linalg.norm(shift, axis=-1, keepdims=True)
    shift *= np.minimum(1, furthest / np.maximum(length, 1e-6))
    moved = np.clip(srgb.from_linear(srgb.from_oklab(table + shift)), 0, 1)
    return colours.filter(ImageFilter.Color3DLUT(TABLE, moved.ravel().tolist()))


def wrap(
    colours: Image.Image, surroundings: Image.Image, rim: Image.Image, *, strength: float
) -> Image.Image:
    """Let the light of the surroundings run over the subject's edge.

    ``rim`` (L) says how near the edge a pixel is. The light is the blurred surroundings, and
    it only brightens: a dark backdrop takes no light away.
    """
    blur = max(0.02 * max(surroundings.size), 1)
    small = surroundings.resize([max(side // 4, 1) for side in surroundings.size])
    light = small.filter(ImageFilter.GaussianBlur(blur / 4)).resize(
        colours.size, Image.Resampling.BILINEAR
    )
    brighter = ImageChops.lighter(colours, light)
    return Image.composite(brighter, colours, rim.point([round(v * strength) for v in range(256)]))


def shade(canvas: Image.Image, darkness: Image.Image, *, tint: tuple[float, ...]) -> None:
    """Darken the canvas in place; ``tint`` is what full darkness leaves of each colour."""
    box = darkness.getbbox()
    if box is None:
        return
    part = canvas.crop(box)
    dark = part.point([round(v * share) for share in tint for v in range(256)])
    canvas.paste(Image.composite(dark, part, darkness.crop(box)), box)


def sidelight(colours: Image.Image, *, side: float, strength: float) -> Image.Image:
    """Darken the side that is turned away from the light (``side``: -1 it is left, 1 right)."""
    import numpy as np

    across = np.linspace(-1, 1, max(colours.width, 2))
    away = np.clip(0.5 - 0.5 * side * across, 0, 1) ** 1.5
    levels = ((1 - abs(side) * strength * away) * 255 + 0.5).astype(np.uint8)
    gradient = Image.fromarray(levels[None]).resize(colours.size)
    return ImageChops.multiply(colours, Image.merge("RGB", [gradient] * 3))


def grain(image: Image.Image, *, amount: float, seed: int) -> None:
    """Give the picture the grain of a sensor, in place: ``amount`` levels of deviation.

    A drawn backdrop has none, which one sees beside a photographed subject; and it hides the
    steps of smooth gradients.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    speckle = np.clip(rng.normal(128, amount, (STRIP, image.width)) + 0.5, 0, 255)
    layer = Image.merge("RGB", [Image.fromarray(speckle.astype(np.uint8))] * 3)
    for top in range(0, image.height, STRIP):
        box = (0, top, image.width, min(top + STRIP, image.height))
        # Another part of the same noise each time, so that no pattern of strips is seen.
        moved = ImageChops.offset(layer, int(rng.integers(image.width)), int(rng.integers(STRIP)))
        part = moved.crop((0, 0, image.width, box[3] - top))
        image.paste(ImageChops.add(image.crop(box), part, 1, -128), box)


def lay(canvas: Image.Image, colours: Image.Image, alpha: Image.Image, at: tuple[int, int]) -> None:
    """Put a picture on the canvas in place, through its mask; what hangs over is cut off."""
    canvas.paste(colours, at, alpha)
