"""Materials, drawn: wood, marble, linen, concrete and the like, each as one square tile.

A tile is a float32 array of `SIDE` × `SIDE` × 3 in linear light (0 to 1) whose edges fit each
other, so that a surface of any size can be laid out with it. Grass and gravel are photographs
(CC0) that come with scikit-image; everything else is arithmetic. The same name,
colours and seed give the same tile.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIDE = 1024
"""Pixels along each edge of a tile."""

Array = np.ndarray[Any, Any]
Colour = tuple[float, float, float]


class UnknownTexture(LookupError):
    """There is no texture of this name."""


@lru_cache(maxsize=8)  # a scene has two; 12 MB each
def tile(name: str, colours: tuple[str, ...], seed: int) -> Array:
    """The tile of one material in these colours (``#rrggbb``), read-only.

    How many colours a material takes, and what for, is in the docstring of its function.
    Raises `UnknownTexture`.
    """
    try:
        draw = _TEXTURES[name]
    except KeyError:
        raise UnknownTexture(name) from None
    rng = np.random.default_rng([seed, *name.encode()])
    drawn = np.clip(draw(rng, [linear(colour) for colour in colours]), 0, 1).astype(np.float32)
    drawn.setflags(write=False)
    return drawn


def linear(colour: str) -> Colour:
    """``#rrggbb`` as linear light, 0 to 1."""
    r, g, b = (to_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return float(r), float(g), float(b)


def to_linear(srgb: Any) -> Any:
    """Linear light of sRGB values 0 to 1 (gamma 2.2: the exact curve looks no different)."""
    return np.power(srgb, 2.2)


def to_srgb(light: Any) -> Any:
    """The opposite of `to_linear`; light above 1 is cut off."""
    return np.power(np.clip(light, 0, 1), 1 / 2.2)


def floats(values: Any) -> Array:
    """Single precision: half the memory, and enough for what becomes 8 bits."""
    return np.asarray(values, np.float32)


# --- Noise ----------------------------------------------------------------------------------


def noise(
    rng: np.random.Generator,
    *,
    falloff: float,
    stretch: tuple[float, float] = (1.0, 1.0),
    coarsest: float = 1.0,
) -> Array:
    """Noise whose edges fit, of mean 0 and deviation 1.

    Its spectrum falls with the power ``falloff`` (0 white, 1 pink, 2 clouds) of the frequency;
    ``stretch`` draws it out along (y, x); nothing is coarser than ``coarsest`` waves a tile.
    """
    y = np.fft.fftfreq(SIDE, 1 / SIDE)[:, None] * stretch[0]
    x = np.fft.rfftfreq(SIDE, 1 / SIDE)[None] * stretch[1]
    # Clouds have next to nothing in their finest waves: leave those out, and save time.
    finest = 96 if falloff >= 1.6 else SIDE
    rows = np.flatnonzero(np.abs(y[:, 0]) <= finest * stretch[0])
    columns = np.flatnonzero(x[0] <= finest * stretch[1])
    frequency = np.hypot(x[:, columns], y[rows]).astype(np.float32)
    weight = np.maximum(frequency, coarsest) ** -falloff
    weight[frequency < coarsest * 0.5] = 0
    waves = rng.standard_normal((2, len(rows), len(columns)), dtype=np.float32) * weight
    spectrum = np.zeros((SIDE, SIDE // 2 + 1), np.complex64)
    spectrum[np.ix_(rows, columns)] = waves[0] + 1j * waves[1]
    field = np.fft.irfft2(spectrum, s=(SIDE, SIDE)).astype(np.float32)
    scaled: Array = (field - field.mean()) / max(float(field.std()), 1e-6)
    return scaled


def _mix(low: Colour, high: Colour, share: Array) -> Array:
    share = np.clip(share, 0, 1)[..., None]
    mixed: Array = floats(low) * (1 - share) + floats(high) * share
    return mixed


def _relief(height: Array, strength: float) -> Array:
    """How light from the upper left falls on a height map: around 1."""
    slope = height - np.roll(height, (1, 1), (0, 1))
    shade: Array = np.clip(1 + strength * slope, 0.4, 1.6)[..., None]
    return shade


def _lookup(field: Array, y: Array, x: Array) -> Array:
    """The field at shifted places, wrapped around, to the next pixel."""
    height, width = field.shape
    found: Array = field[y.astype(np.int32) % height, x.astype(np.int32) % width]
    return found


def _grid() -> tuple[Array, Array]:
    along = np.arange(SIDE, dtype=np.float32)
    return along[:, None], along[None]


# --- Materials ------------------------------------------------------------------------------


def _wood(rng: np.random.Generator, colours: Sequence[Colour], planks: int = 5) -> Array:
    """Sawn planks, grain along x. Colours: early wood, late wood (the dark lines).

    Each plank is a cut through rings around a pith that wanders along it, which gives straight
    grain at the edges of the log and the pointed arches in the middle.
    """
    y, x = _grid()
    turn = x * (2 * np.pi / SIDE)
    wander = noise(rng, falloff=1.6, stretch=(1, 5))
    fibre = noise(rng, falloff=0.35, stretch=(1, 60), coarsest=30)
    pores = noise(rng, falloff=0.25, stretch=(1, 24), coarsest=60)
    breadth = SIDE / planks
    done = np.empty((SIDE, SIDE, 3), np.float32)
    for plank in range(planks):
        top, bottom = round(plank * breadth), round((plank + 1) * breadth)
        rows = slice(top, bottom)
        shift = int(rng.integers(SIDE))
        warp = np.roll(wander[rows], shift, 1)
        across = (y[rows] - top) / breadth - rng.uniform(-0.9, 1.9)
        depth = rng.uniform(0.5, 1.0) + rng.uniform(0.2, 0.45) * np.sin(turn + rng.uniform(0, 6))
        away = np.hypot(across + 0.05 * np.sin(2 * turn + rng.uniform(0, 6)), depth)
        ring = away * rng.uniform(9, 13) + 0.16 * warp
        phase = ring - np.floor(ring)
        # Early wood darkens slowly through the year, and the year ends in a sharp line.
        late = phase**2.2 * np.clip((1 - phase) / 0.1, 0, 1)
        year = _lookup(floats(rng.uniform(0.6, 1.0, (1, 64))), ring * 0, np.floor(ring))
        share = 0.14 + 0.5 * late * year + 0.1 * np.roll(fibre[rows], shift, 1)
        share = share + 0.04 * warp + rng.uniform(-0.07, 0.12)
        body = _mix(colours[0], colours[1], share)
        pore = np.clip(np.roll(pores[rows], shift, 1) - 1.7, 0, 1.2)
        body *= (1 - 0.3 * pore)[..., None]
        gap = np.minimum(y[rows] - top, bottom - 1 - y[rows])
        body *= (0.3 + 0.7 * np.clip((gap - 0.6) / 1.8, 0, 1))[..., None]
        done[rows] = body
    return done


def _butcher(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Narrow glued staves, as in a worktop. Colours as for planks."""
    return _wood(rng, colours, planks=14)


def _marble(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Polished stone. Colours: ground, vein.

    Veins are the zero lines of clouds whose places other clouds have shifted (domain warping),
    thinned out by a third so that they break off.
    """
    y, x = _grid()
    veins = np.zeros((SIDE, SIDE), np.float32)
    cloud = noise(rng, falloff=2.0)
    for scale, width, weight in ((110.0, 0.016, 0.85), (60.0, 0.02, 0.5), (35.0, 0.03, 0.3)):
        shift_y, shift_x = noise(rng, falloff=2.1), noise(rng, falloff=2.1)
        field = noise(rng, falloff=2.6, stretch=(1.0, 0.62))
        warped = _lookup(field, y + scale * shift_y, x + scale * shift_x)
        there = np.clip(noise(rng, falloff=1.8) * 0.7 + 0.25, 0, 1)
        sharp = np.exp(-np.abs(warped) / width) + 0.3 * np.exp(-np.abs(warped) / (width * 7))
        veins = np.maximum(veins, weight * there * sharp)
    veins += 0.09 * np.clip(cloud + 0.3, 0, 2) + 0.012 * noise(rng, falloff=0.4)
    return _mix(colours[0], colours[1], _smooth(veins))


def _smooth(field: Array) -> Array:
    """The mean of each pixel and its neighbours: takes the steps off a lookup."""
    rows = (field + np.roll(field, 1, 0) + np.roll(field, -1, 0)) / 3
    smooth: Array = (rows + np.roll(rows, 1, 1) + np.roll(rows, -1, 1)) / 3
    return smooth


def _linen(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """A plain weave of uneven yarn. Colours: cloth, shade between the threads."""
    threads = 128
    y, x = _grid()
    # A thread is thick and thin along its length; neighbours have other tones.
    wobble_y, wobble_x = noise(rng, falloff=1.3), noise(rng, falloff=1.3)
    slub_y = noise(rng, falloff=0.8, stretch=(1, 20), coarsest=8)
    slub_x = noise(rng, falloff=0.8, stretch=(20, 1), coarsest=8)
    at_y = (y + 1.1 * wobble_y) * (threads / SIDE)
    at_x = (x + 1.1 * wobble_x) * (threads / SIDE)
    weft = np.abs(np.sin(np.pi * at_y)) * (1 + 0.16 * slub_y)
    warp = np.abs(np.sin(np.pi * at_x)) * (1 + 0.16 * slub_x)
    over = (np.floor(at_y) + np.floor(at_x)) % 2
    height = np.where(over > 0, weft * (0.72 + 0.28 * warp), warp * (0.72 + 0.28 * weft))
    tone = np.where(over > 0, slub_y, slub_x)
    cloth = _mix(colours[1], colours[0], 0.3 + 0.75 * height + 0.07 * tone)
    folds = noise(rng, falloff=2.4, stretch=(1.0, 1.6))
    cloth *= (1 + 0.035 * folds + 0.02 * noise(rng, falloff=0.2))[..., None]
    return cloth


def _concrete(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Cast concrete with clouds and small air holes. Colours: dry, damp."""
    share = 0.45 + 0.2 * noise(rng, falloff=1.9) + 0.07 * noise(rng, falloff=1.0, coarsest=20)
    stone = _mix(colours[0], colours[1], share)
    holes = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(holes)
    for cx, cy, size in zip(
        rng.uniform(8, SIDE - 8, 130),
        rng.uniform(8, SIDE - 8, 130),
        rng.gamma(1.6, 1.1, 130) + 0.8,
        strict=True,
    ):
        draw.ellipse((cx - size, cy - size * 0.8, cx + size, cy + size * 0.8), fill=255)
    depth = _smooth(np.asarray(holes, np.float32) / 255)
    stone *= (1 - 0.4 * depth)[..., None] * _relief(-depth, 0.35)
    stone *= (1 + 0.035 * noise(rng, falloff=0.25))[..., None]
    return stone


def _plaster(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """A wall put on with a trowel. Colours: wall, shade."""
    y, x = _grid()
    shift = 40 * noise(rng, falloff=2.0)
    strokes = _lookup(noise(rng, falloff=1.4, stretch=(1, 2.6)), y + shift, x - shift)
    height = 0.7 * _smooth(strokes) + 0.12 * noise(rng, falloff=0.7, coarsest=16)
    wall = _mix(colours[0], colours[1], 0.3 + 0.16 * noise(rng, falloff=2.0) + 0.07 * strokes)
    return wall * _relief(height, 0.16)


def _watercolour(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Thin washes with darker rims, on paper. Colours: paper, wash, second wash."""
    y, x = _grid()
    done = np.broadcast_to(floats(colours[0]), (SIDE, SIDE, 3)).copy()
    shift = 45 * noise(rng, falloff=1.8)
    for number in range(6):
        field = _lookup(noise(rng, falloff=2.4), y + shift, x - shift) - rng.uniform(-0.7, 0.5)
        inside = _smooth(np.clip(field * 5, 0, 1))
        rim = np.exp(-((field / 0.09) ** 2))
        colour = floats(colours[1 + number % (len(colours) - 1)])
        strength = 0.32 * inside * (0.85 + 0.15 * noise(rng, falloff=1.4)) + 0.1 * _smooth(rim)
        done *= 1 - np.clip(strength, 0, 1)[..., None] * (1 - colour)
    return done * _relief(noise(rng, falloff=0.6, coarsest=40), 0.02)


def _terrazzo(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Chips of stone in cement. Colours: cement, then those of the chips."""
    sharp = 2
    chips = Image.new("L", (SIDE * sharp, SIDE * sharp), 0)
    draw = ImageDraw.Draw(chips)
    for _ in range(900):
        size = float(np.clip(rng.lognormal(2.0, 0.65), 3, 34)) * sharp
        cx, cy = rng.uniform(0, SIDE * sharp, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 8))))
        reach = size * rng.uniform(0.65, 1.1, len(angles))
        kind = int(rng.integers(1, len(colours)))
        for shift_y in (-SIDE * sharp, 0, SIDE * sharp):
            for shift_x in (-SIDE * sharp, 0, SIDE * sharp):
                corners = np.column_stack(
                    (
                        cx + shift_x + reach * np.cos(angles),
                        cy + shift_y + 0.8 * reach * np.sin(angles),
                    )
                )
                draw.polygon([tuple(map(float, corner)) for corner in corners], fill=kind)
    kinds = np.asarray(chips)
    cement = _mix(colours[0], colours[0], np.zeros((SIDE, SIDE), np.float32))
    done = cement * (1 + 0.03 * noise(rng, falloff=1.0) + 0.02 * noise(rng, falloff=0.2))[..., None]
    for kind in range(1, len(colours)):
        cover = (kinds == kind).astype(np.float32)
        cover = cover.reshape(SIDE, sharp, SIDE, sharp).mean((1, 3))[..., None]
        stone = floats(colours[kind]) * (1 + 0.09 * noise(rng, falloff=1.2))[..., None]
        done = done * (1 - cover) + stone * cover
    return done


def _sand(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Dry sand with the ripples of the wind. Colours: sun side, shade side."""
    y, x = _grid()
    waves = y * (2 * np.pi * 9 / SIDE) + 1.5 * noise(rng, falloff=2.3) + 0 * x
    ripple = np.sin(waves + 0.45 * np.sin(waves)) * (0.75 + 0.3 * noise(rng, falloff=2.0))
    grain = noise(rng, falloff=0.15)
    dunes = noise(rng, falloff=2.2)
    sand = _mix(colours[1], colours[0], 0.58 + 0.2 * ripple + 0.1 * dunes + 0.1 * grain)
    dark = np.clip(noise(rng, falloff=0.1) - 2.4, 0, 1)
    return sand * (1 - 0.5 * dark)[..., None]


def _tiles(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Glazed tiles in a half bond. Colours: glaze, joint."""
    rows, columns = 8, 4
    y, x = _grid()
    row = np.floor(y * rows / SIDE)
    along = x * columns / SIDE + 0.5 * (row % 2)
    column = np.floor(along) % columns
    tone = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    within_y = (y * rows / SIDE - row) * (SIDE / rows)
    within_x = (along - np.floor(along)) * (SIDE / columns)
    edge = np.minimum(
        np.minimum(within_y, SIDE / rows - within_y),
        np.minimum(within_x, SIDE / columns - within_x),
    )
    glaze = np.clip((edge - 2.5) / 1.5, 0, 1)
    bulge = np.clip(edge / 12, 0, 1) ** 0.5
    face = floats(colours[0]) * (1 + 0.035 * _lookup(tone, row + 0 * x, column))[..., None]
    face = face * (1 + 0.012 * noise(rng, falloff=1.8))[..., None] * _relief(bulge, 0.9)
    joint = floats(colours[1]) * (1 + 0.05 * noise(rng, falloff=0.5))[..., None]
    tiles: Array = joint * (1 - glaze[..., None]) + face * glaze[..., None]
    return tiles


def _brick(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """A wall of old bricks. Colours: brick, burnt brick, mortar."""
    rows, columns = 12, 4
    rough = noise(rng, falloff=1.0, coarsest=10)
    y, x = _grid()
    y, x = y + 1.6 * rough, x + 1.6 * noise(rng, falloff=1.0, coarsest=10)
    row = np.floor(y * rows / SIDE)
    along = x * columns / SIDE + 0.5 * (row % 2)
    column = np.floor(along)
    burnt = rng.beta(1.1, 1.7, (rows, columns)).astype(np.float32)
    within_y = (y * rows / SIDE - row) * (SIDE / rows)
    within_x = (along - column) * (SIDE / columns)
    edge = np.minimum(
        np.minimum(within_y, SIDE / rows - within_y),
        np.minimum(within_x, SIDE / columns - within_x),
    )
    brick = _smooth(np.clip((edge - 5) / 3, 0, 1))
    share = 0.8 * _lookup(burnt, row, column) + 0.09 * noise(rng, falloff=1.3)
    face = _mix(colours[0], colours[1], share) * (1 + 0.05 * noise(rng, falloff=0.4))[..., None]
    mortar = floats(colours[2]) * (0.85 + 0.07 * noise(rng, falloff=0.7))[..., None]
    wall: Array = mortar * (1 - brick[..., None]) + face * brick[..., None]
    return wall * _relief(_smooth(brick + 0.12 * rough), 0.8)


def _foliage(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Leaves far out of focus. Colours: shade, leaf, sun on leaves."""
    blobs = noise(rng, falloff=1.45, coarsest=3)
    leaf = _mix(colours[0], colours[1], 0.5 + 0.42 * blobs)
    sun = np.clip(noise(rng, falloff=1.6, coarsest=4) - 0.75, 0, 1.2)[..., None]
    leaves: Array = leaf * (1 - 0.8 * np.clip(sun, 0, 1)) + floats(colours[2]) * 0.8 * sun
    return leaves


def _paper(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """One even colour with hardly a grain: card, paint, a paper roll. Colours: that one."""
    shade = 1 + 0.012 * noise(rng, falloff=1.6) + 0.008 * noise(rng, falloff=0.3)
    paper: Array = floats(colours[0]) * shade[..., None]
    return paper


def _snow(rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
    """Loose snow. Colours: lit, shade."""
    height = noise(rng, falloff=1.9) + 0.25 * noise(rng, falloff=0.8, coarsest=12)
    snow = _mix(colours[1], colours[0], 0.7 + 0.14 * height + 0.05 * noise(rng, falloff=0.1))
    return snow * _relief(height, 0.5)


# --- Photographs ----------------------------------------------------------------------------


def _photographed(file: str) -> Callable[[np.random.Generator, Sequence[Colour]], Array]:
    def draw(_rng: np.random.Generator, colours: Sequence[Colour]) -> Array:
        """A grey photograph in colour. Colours: shadows, middle, lights."""
        grey = _seamless(np.asarray(_sample(file), np.float32) / 255)
        low, middle, high = (floats(colour) for colour in colours)
        rank = np.clip((grey - np.percentile(grey, 2)) / np.ptp(np.percentile(grey, (2, 98))), 0, 1)
        dark = np.clip(rank * 2, 0, 1)[..., None]
        light = np.clip(rank * 2 - 1, 0, 1)[..., None]
        return low * (1 - dark) + middle * (dark - light) + high * light

    return draw


def _sample(file: str) -> Image.Image:
    """A picture of the scikit-image package, which is found without importing it."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise FileNotFoundError("The scikit-image package is missing: run `make setup`.")
    with Image.open(Path(found.origin).parent / "data" / file) as picture:
        return picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _seamless(grey: Array, band: int = 128) -> Array:
    """Cross-fade the last pixels into what comes before the first: edges fit then."""
    for axis in (0, 1):
        grey = np.moveaxis(grey, axis, 0)
        inner = grey[band:].copy()
        share = np.linspace(0, 1, band, dtype=np.float32)[:, None]
        inner[-band:] = inner[-band:] * (1 - share) + grey[:band] * share
        grey = np.moveaxis(inner, 0, axis)
    picture = Image.fromarray((grey * 255).astype(np.uint8))
    resized: Array = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    return resized / 255


_TEXTURES: dict[str, Callable[[np.random.Generator, Sequence[Colour]], Array]] = {
    "wood": _wood,
    "butcher": _butcher,
    "marble": _marble,
    "linen": _linen,
    "concrete": _concrete,
    "plaster": _plaster,
    "watercolour": _watercolour,
    "terrazzo": _terrazzo,
    "sand": _sand,
    "tiles": _tiles,
    "paper": _paper,
    "snow": _snow,
    "brick": _brick,
    "foliage": _foliage,
    "grass": _photographed("grass.png"),
    "gravel": _photographed("gravel.png"),
}
