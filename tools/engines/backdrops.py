"""What can go behind a subject: a colour, a gradient, the photo itself out of focus, a studio."""

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageChops, ImageFilter

from tools.engines import images
from tools.engines.stages import Stage, Surface, Wall

BLUR = 0.03
"""How far a blurred original is out of focus, as a share of its longer side."""


def colour(size: tuple[int, int], value: tuple[int, int, int]) -> Image.Image:
    """One even colour."""
    return Image.new("RGB", size, value)


def gradient(
    size: tuple[int, int], top: tuple[int, int, int], bottom: tuple[int, int, int]
) -> Image.Image:
    """From one colour at the top to another at the bottom, without visible steps."""
    import numpy as np

    share = np.linspace(0, 1, size[1], dtype=np.float32)[:, None]
    ends = np.array((top, bottom), np.float32)
    rows = ends[0] * (1 - share) + ends[1] * share
    # Between two levels, the nearer one is drawn more often: the eye sees no step.
    rng = np.random.default_rng(0)
    done = Image.new("RGB", size)
    for first in range(0, size[1], 256):
        strip = rows[first : first + 256, None]
        threshold = rng.random((len(strip), size[0], 1), dtype=np.float32)
        done.paste(Image.fromarray((strip + threshold).astype(np.uint8)), (0, first))
    return done


def blurred(image: Image.Image, subject: Image.Image) -> Image.Image:
    """The photo out of focus, without a ghost of the subject (its mask) around its edge.

    The surroundings are spread into the place of the subject first: blurring all of the photo
    would smear the subject over what is behind it. Around a cut-out there is white.
    """
    size = image.size
    factor = min(1.0, 640 / max(size))
    small = max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)
    picture = images.flattened(image).resize(small, Image.Resampling.BOX)
    mask = subject.resize(small, Image.Resampling.BOX).filter(ImageFilter.MaxFilter(5))
    filled = filled_in(picture, mask)
    soft = filled.filter(ImageFilter.GaussianBlur(BLUR * max(small)))
    return soft.resize(size, Image.Resampling.BICUBIC)


def filled_in(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with smooth colours of the surroundings where ``mask`` is.

    Small copies are averaged without the masked pixels until nothing is missing, and fill the
    larger ones (push and pull, Gortler 1996).
    """
    import numpy as np

    keep = ImageChops.invert(mask)
    if keep.getextrema()[1] == 0:
        return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 8))
    colours = np.asarray(picture, np.float32)
    weight = np.asarray(keep, np.float32)[..., None] / 255
    levels = [(colours * weight, weight)]
    while max(levels[-1][1].shape) > 1:
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    total, part = levels.pop()
    filled = total / np.maximum(part, 1e-6)
    while levels:
        total, part = levels.pop()
        grown = np.repeat(np.repeat(filled, 2, 0), 2, 1)[: part.shape[0], : part.shape[1]]
        share = np.clip(part, 0, 1)
        filled = grown * (1 - share) + total / np.maximum(part, 1e-6) * share
    done = Image.fromarray(np.clip(filled + 0.5, 0, 255).astype(np.uint8))
    # The pulled part is made of squares of several sizes.
    smooth = done.filter(ImageFilter.GaussianBlur(max(picture.size) / 60))
    return Image.composite(smooth, done, mask)


def _halved(field: Any) -> Any:
    import numpy as np

    padded = np.pad(field, ((0, field.shape[0] % 2), (0, field.shape[1] % 2), (0, 0)))
    return (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4


def _sweep(colour: str, *phrases: str, **more: Any) -> Stage:
    """Seamless paper: it hangs from the wall and runs out over the floor."""
    return Stage(
        surface=Surface("paper", (colour,)),
        wall=Wall("paper", (colour,), blur=0),
        phrases=phrases,
        sweep=True,
        **more,
    )


STUDIOS: Mapping[str, Stage] = {
    "studio-white": _sweep(
        "#fbfbfb",
        "plain white studio background",
        "clean white seamless backdrop",
        "pure white paper sweep",
        "white e-commerce background",
        "bright white infinity cove",
        "simple white",
        "high key white",
        key=0.38,
        ambient=0.72,
        softness=0.6,
        darkness=0.5,
    ),
    "studio-grey": _sweep(
        "#c9cacc",
        "light grey studio background",
        "neutral gray seamless paper",
        "grey photo studio sweep",
        "plain gray backdrop",
        "soft grey gradient backdrop",
        "silver studio wall",
        key=0.6,
        ambient=0.5,
    ),
    "studio-black": _sweep(
        "#2a2b2e",
        "black studio background",
        "dark moody backdrop",
        "low key black background",
        "charcoal seamless paper",
        "plain dark background",
        "night black studio",
        key=0.8,
        ambient=0.35,
        spot=0.55,
        darkness=0.85,
    ),
    "studio-beige": _sweep(
        "#dcc9b2",
        "beige studio background",
        "warm sand coloured paper",
        "cream seamless backdrop",
        "neutral earth tone backdrop",
        "nude natural tone studio",
        "tan background",
        warmth=0.25,
    ),
    "studio-blue": _sweep(
        "#9dbad2",
        "light blue studio background",
        "sky blue paper backdrop",
        "pastel blue seamless",
        "fresh cool blue backdrop",
        "baby blue background",
        "blue studio wall",
    ),
    "studio-pink": _sweep(
        "#e9b9b8",
        "pink studio background",
        "pastel pink paper sweep",
        "rose coloured backdrop",
        "blush background for cosmetics",
        "soft pink seamless",
        "girly pink wall",
        warmth=0.15,
    ),
    "studio-green": _sweep(
        "#a9b99b",
        "sage green studio background",
        "pastel green paper backdrop",
        "muted green seamless",
        "natural green studio wall",
        "mint backdrop",
        "olive background",
    ),
    "spotlight": _sweep(
        "#6f7684",
        "spotlight on a dark wall",
        "dramatic spot light behind the product",
        "vignette with a glow in the middle",
        "stage light",
        "portrait backdrop with halo of light",
        "theatre spotlight",
        key=0.95,
        ambient=0.42,
        spot=0.9,
        darkness=0.8,
    ),
    "marble": Stage(
        Surface("marble", ("#f1efec", "#6f7278"), scale=0.75, gloss=0.22),
        Wall("paper", ("#e6e4e1",), blur=0.004),
        (
            "white marble counter",
            "marble table top",
            "luxury stone surface with veins",
            "carrara marble",
            "elegant polished stone",
            "marble slab",
        ),
        softness=0.55,
    ),
    "wood": Stage(
        Surface("wood", ("#c08f5d", "#6b4423"), scale=0.85),
        Wall("plaster", ("#e7ddd0", "#d3c5b3"), blur=0.008),
        (
            "wooden table",
            "oak table top",
            "rustic wood planks",
            "brown wooden desk",
            "timber board",
            "natural wood surface",
        ),
        warmth=0.3,
    ),
    "concrete": Stage(
        Surface("concrete", ("#b0aeaa", "#888681"), scale=0.8),
        Wall("concrete", ("#b9b7b3", "#97958f"), scale=0.7, blur=0.005),
        (
            "concrete wall and floor",
            "grey cement surface",
            "industrial concrete",
            "urban raw stone",
            "brutalist backdrop",
            "concrete table",
        ),
        key=0.65,
        ambient=0.45,
    ),
    "linen": Stage(
        Surface("linen", ("#e8dfcf", "#9b8d77"), scale=1.3),
        Wall("plaster", ("#efe6d9", "#ddcfbd"), blur=0.008),
        (
            "linen table cloth",
            "natural fabric surface",
            "woven cloth",
            "beige textile background",
            "cotton fabric",
            "canvas cloth backdrop",
        ),
        warmth=0.2,
        softness=0.7,
    ),
    "slate": Stage(
        Surface("concrete", ("#4a4c50", "#2e3034"), scale=0.7, gloss=0.08),
        Wall("plaster", ("#55585d", "#3f4246"), blur=0.006),
        (
            "dark slate stone",
            "black stone table top",
            "anthracite surface",
            "dark grey rock plate",
            "gastronomy dark food background",
            "moody stone",
        ),
        key=0.9,
        ambient=0.5,
        darkness=0.85,
    ),
    "terrazzo": Stage(
        Surface(
            "terrazzo",
            ("#ece7df", "#b5694e", "#3f4a4a", "#d9b48a", "#8d9a8f"),
            scale=0.8,
            gloss=0.12,
        ),
        Wall("paper", ("#d9c3b4",), blur=0.003),
        (
            "terrazzo surface",
            "speckled stone with colourful chips",
            "italian terrazzo table",
            "confetti stone",
            "modern mosaic floor",
            "terrazzo counter",
        ),
        warmth=0.1,
    ),
    "plaster": Stage(
        Surface("plaster", ("#d9a98c", "#c18f72"), scale=0.8),
        Wall("plaster", ("#dfb196", "#c99578"), scale=0.8, blur=0.002),
        (
            "terracotta plaster wall",
            "mediterranean clay wall",
            "warm stucco",
            "orange earth coloured wall",
            "moroccan tadelakt",
            "rough painted wall",
        ),
        warmth=0.35,
        key=0.65,
        ambient=0.48,
        softness=0.35,
    ),
}
"""Studio backdrops by name."""
