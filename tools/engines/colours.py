"""Name the colours of a picture as people do: few, and by their looks and not their numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from tools.engines import srgb

if TYPE_CHECKING:
    import numpy as np

VERSION = "colours 1"

SAMPLES = 4096
"""Pixels that are looked at: colours are large or they are not worth a word."""
CLUSTERS = 7
ROUNDS = 12

NEUTRAL = 9
"""Chroma (of CIE L*a*b*) below which a colour is a grey."""
GREYS = ((16, "black"), (40, "dark grey"), (66, "grey"), (88, "light grey"), (101, "white"))
"""Greys by the L* that they end at."""

NAMED = {
    "cream": ("#f4e9cc",),
    "beige": ("#d9c4a2", "#c9b190"),
    "brown": ("#80502c", "#a06a3c", "#8f7358"),
    "dark brown": ("#3c2415", "#503a2c"),
    "dark red": ("#721a1c", "#8a2a22"),
    "red": ("#c8201f", "#d9382c", "#a3341c"),
    "orange": ("#e8761c", "#f29a3c", "#de5e2c"),
    "yellow": ("#f0d026", "#f5e27a"),
    "olive green": ("#73702c", "#8a8a50"),
    "light green": ("#a2d48e",),
    "green": ("#34983e", "#5c9a50"),
    "dark green": ("#1a4428", "#34503a"),
    "turquoise": ("#2cb4aa", "#4a9a9a"),
    "light blue": ("#9ec8ea", "#b4cfe0"),
    "blue": ("#0000ff", "#2560c6", "#4a82b8", "#5a7494"),
    "dark blue": ("#14264e", "#2a3a56"),
    "purple": ("#6c3a9a", "#503060"),
    "lilac": ("#c2a6dc",),
    "pink": ("#f09cba", "#d65a90", "#e6b4b0"),
}
"""What is called by a name, as examples of it."""

FAMILIES = {
    "dark brown": "brown",
    "dark red": "red",
    "dark green": "green",
    "light green": "green",
    "olive green": "green",
    "dark blue": "blue",
    "light blue": "blue",
    "dark grey": "grey",
    "light grey": "grey",
    "cream": "beige",
    "lilac": "purple",
}
"""Shades of one colour: to name two of them would say little."""


@dataclass(frozen=True)
class Colour:
    """A colour by name and the share of the pixels that have it, 0 to 1."""

    name: str
    share: float


def dominant(image: Image.Image, *, where: Image.Image | None = None) -> list[Colour]:
    """The colours of an RGB picture, the most striking first; one of each family.

    ``where`` (mode L, same size) says how much each pixel counts. A vivid colour strikes more
    than a dull one of its size.
    """
    import numpy as np

    pixels, counts = _sampled(image, where)
    if not counts.sum():
        return []
    centres, shares = _clustered(_lab(pixels), counts)
    families: dict[str, list[tuple[float, float, str]]] = {}
    for centre, share in zip(centres, shares, strict=True):
        name = _named(centre)
        striking = share * (1 + float(np.hypot(centre[1], centre[2])) / 60)
        families.setdefault(FAMILIES.get(name, name), []).append((striking, float(share), name))
    found = [
        # A family goes by the shade that has most of it.
        (sum(each[0] for each in shades), Colour(max(shades)[2], sum(each[1] for each in shades)))
        for shades in families.values()
    ]
    return [colour for _striking, colour in sorted(found, key=lambda each: -each[0])]


def is_grey(image: Image.Image) -> bool:
    """Whether an RGB picture has no colours at all, as one in black and white."""
    import numpy as np

    pixels, _counts = _sampled(image, None)
    return bool((np.ptp(pixels, axis=1) <= 6).mean() > 0.995)


def _sampled(
    image: Image.Image, where: Image.Image | None
) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Pixels of a reduced picture, one a row, and how much each counts."""
    import numpy as np

    scale = min(1.0, (SAMPLES / (image.width * image.height)) ** 0.5)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Existing colours, not averages of two: between red and white there is no pink.
    pixels = np.asarray(image.resize(size, Image.Resampling.NEAREST)).reshape(-1, 3)
    if where is None:
        return pixels, np.ones(len(pixels))
    counts = np.asarray(where.resize(size, Image.Resampling.NEAREST), dtype=float).reshape(-1)
    return pixels, counts / 255


def _lab(pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Values of sRGB (0 to 255) as CIE L*a*b* under D65."""
    import numpy as np

    linear = srgb.to_linear(pixels.astype(np.float64) / 255)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def _clustered(
    colours: "np.ndarray[Any, Any]", counts: "np.ndarray[Any, Any]"
) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Centres of clusters (k-means) and the share of each; the same for the same colours.

    The first centre is the mean, each next one the colour that is furthest from all before it,
    weighed by how much it counts.
    """
    import numpy as np

    centres = np.average(colours, axis=0, weights=counts)[None]
    for _more in range(CLUSTERS - 1):
        distance = ((colours[:, None] - centres[None]) ** 2).sum(2).min(1)
        centres = np.concatenate([centres, colours[[int((distance * counts).argmax())]]])
    for _round in range(ROUNDS):
        nearest = ((colours[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        sums = np.bincount(nearest, counts, minlength=CLUSTERS)
        full = np.maximum(sums, 1e-9)
        centres = np.stack(
            [
                np.bincount(nearest, counts * colours[:, axis], minlength=CLUSTERS) / full
                for axis in range(3)
            ],
            axis=1,
        )
    kept = sums > 0
    return centres[kept], sums[kept] / counts.sum()


def _named(colour: "np.ndarray[Any, Any]") -> str:
    """The name of a colour in L*a*b*."""
    import numpy as np

    lightness, a, b = map(float, colour)
    if np.hypot(a, b) < NEUTRAL or lightness < 6:
        return next(name for end, name in GREYS if lightness < end)
    examples = [(name, example) for name, examples in NAMED.items() for example in examples]
    rgb = np.array([[int(e[i : i + 2], 16) for i in (1, 3, 5)] for _name, e in examples])
    # Hue tells more than lightness: shades of one colour have one name.
    away = (_lab(rgb) - colour) * [0.7, 1, 1]
    return examples[int((away**2).sum(1).argmin())][0]
