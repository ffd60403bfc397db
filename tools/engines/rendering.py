"""Draw a stage: its wall, its surface in perspective, its light and its depth of field.

All light is added up linearly, as a sensor does, and becomes sRGB at the end. Only workers
import this module: it needs numpy from the start.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tools.engines import blending, painting, textures
from tools.engines.shadows import LIGHTS
from tools.engines.stages import Rendered, Stage
from tools.engines.textures import SIDE, Array, floats, linear, to_linear, to_srgb

PIXELS = 1_300_000
"""A backdrop is drawn on at most so many pixels, and enlarged softly."""
FOCAL = 1.3
"""Focal length, in sizes of the picture: a normal lens."""
HORIZON = 0.36
"""How far above the back edge of the surface the horizon lies, in sizes of the picture."""
BEHIND = 0.014
"""How far a picture behind the surface is out of focus, in sizes of the picture."""
GRAIN = 1.4
"""Levels of noise that a drawn backdrop gets, like a photo at a low ISO."""


def render(
    stage: Stage,
    size: tuple[int, int],
    *,
    ground: float | None,
    centre: float = 0.5,
    seed: int = 0,
    light: str | None = None,
    behind: Image.Image | None = None,
) -> Rendered:
    """Draw the stage in this size.

    ``ground`` is the height at which the subject stands and ``centre`` where, as shares of
    the picture; without a ground there is only the wall. Another ``seed`` gives another piece
    of each material, other leaves before the light and so on; ``light`` replaces the
    stage's. A picture ``behind`` takes the place of the wall, out of focus, and lends the
    surface its tint.
    """
    factor = min(1.0, (PIXELS / (size[0] * size[1])) ** 0.5)
    width, height = (max(round(side * factor), 8) for side in size)
    painter = _Painter(
        stage,
        (width, height),
        ground=ground,
        centre=centre,
        seed=seed,
        light=light or stage.light,
        behind=behind,
    )
    image = painter.paint()
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    blending.grain(image, amount=GRAIN, seed=seed)
    return Rendered(
        image,
        light=painter.light,
        softness=stage.softness,
        darkness=stage.darkness,
        gloss=stage.surface.gloss if ground is not None else 0.0,
    )


class _Painter:
    """One picture in the making; ``unit`` is the side of a square of its area."""

    def __init__(
        self,
        stage: Stage,
        size: tuple[int, int],
        *,
        ground: float | None,
        centre: float,
        seed: int,
        light: str,
        behind: Image.Image | None,
    ) -> None:
        self.stage, self.light = stage, light
        self.width, self.height = width, height = size
        self.behind = behind and painting.backdrop(behind, (width, height))
        self.rng = np.random.default_rng([seed, *stage.phrases[0].encode()])
        self.seed = seed
        self.unit = math.sqrt(width * height)
        self.centre = centre * width
        if ground is None:
            self.ground, self.edge = height * 1.5, height
        else:
            self.ground = ground * height
            depth = stage.depth * min(self.unit, height)
            self.edge = int(np.clip(self.ground - depth, 0.05 * height, height))
        self.side = float(np.sign(LIGHTS[light][0]))
        self.y = np.arange(height, dtype=np.float32)[:, None]
        self.x = np.arange(width, dtype=np.float32)[None]

    def paint(self) -> Image.Image:
        if self.stage.sweep and self.behind is None:
            picture = self._sweep()
        else:
            picture = self._wall()
            if self.edge < self.height:
                surface = self._surface() + self._mirrored(picture)
                # Where the surface ends far behind the focus, it ends softly.
                soft = max(self.stage.wall.blur * 0.35 * self.unit, 0.7)
                share = np.clip((self.y - self.edge) / soft + 0.5, 0, 1)[..., None]
                top = max(self.edge - int(soft) - 1, 0)
                part = picture[top:] * (1 - share[top:]) + surface[top:] * share[top:]
                picture[top:] = part
        picture *= self._tint()
        # Film's shoulder: what is very bright is pressed together and not cut off.
        bright = np.maximum(picture - 0.72, 0)
        picture = np.minimum(picture, 0.72) + 0.27 * (1 - np.exp(-bright / 0.27))
        image = Image.fromarray((to_srgb(picture) * 255 + 0.5).astype(np.uint8))
        return self._focused(image) if self.edge < self.height else image

    # --- Wall and surface ---

    def _wall(self) -> Array:
        stage = self.stage
        if self.behind is not None:
            soft = self.behind.filter(ImageFilter.GaussianBlur(BEHIND * self.unit))
            photographed: Array = to_linear(np.asarray(soft, np.float32) / 255)
            # It brings its own light; ours only falls on it a little.
            return photographed * (0.8 + 0.25 * self._wall_light()[..., None])
        albedo = self._wall_albedo()
        light = self._wall_light()
        if self.edge < self.height:
            above = (self.edge - self.y) / (0.035 * self.unit)
            light = light * (1 - 0.22 * np.exp(-np.maximum(above, 0)))
        picture: Array = (albedo * light[..., None]).astype(np.float32)
        if stage.bokeh:
            self._add_bokeh(picture)
        return picture

    def _wall_albedo(self) -> Array:
        """The wall's own colours, out of focus: on fewer pixels, the blurrier it is."""
        wall = self.stage.wall
        radius = wall.blur * self.unit
        step = 4 if radius > 10 else 2 if radius > 4 else 1
        # A few rows more than are seen: the blur looks beyond the edge.
        bottom = min(self.height, self.edge + int(2 * radius) + 2 * step)
        y, x = self.y[:bottom:step], self.x[:, ::step]
        match wall.texture:
            case "gradient":
                albedo = np.repeat(self._gradient(wall.colours, y), x.shape[1], 1)
            case "panes":
                albedo = self._panes(wall.colours, y, x)
            case _:
                scale = SIDE * wall.scale / self.unit
                tile = textures.tile(wall.texture, wall.colours, self.seed % 3)
                shift = self.rng.uniform(0, SIDE, 2)
                albedo = _sample(
                    tile,
                    (y - self.edge) * scale + shift[0] + 0 * x,
                    (x - self.centre) * scale + shift[1] + 0 * y,
                    np.full(len(y), scale * step),
                )
        if radius <= 0.5:
            return self._filled_up(albedo)
        flat = Image.fromarray((to_srgb(albedo) * 255 + 0.5).astype(np.uint8))
        blurred = flat.filter(ImageFilter.GaussianBlur(radius / step))
        if step > 1:
            blurred = blurred.resize((self.width, bottom), Image.Resampling.BICUBIC)
        return self._filled_up(to_linear(np.asarray(blurred, np.float32) / 255))

    def _filled_up(self, rows: Array) -> Array:
        """Upper rows of the picture as all of it, the last one repeated."""
        missing = self.height - len(rows)
        return np.pad(rows, ((0, missing), (0, 0), (0, 0)), mode="edge") if missing else rows

    def _wall_light(self) -> Array:
        stage, unit = self.stage, self.unit
        glow_x = self.centre - 0.32 * self.side * unit * (1 - stage.spot)
        glow_y = self.edge - 0.3 * unit if self.edge < self.height else 0.4 * self.height
        away = np.hypot(self.x - glow_x, (self.y - glow_y) * 1.1) / unit
        spread = 0.85 - 0.5 * stage.spot
        glow = np.exp(-((away / spread) ** 2))
        ambient = stage.ambient * (1 - 0.55 * stage.spot)
        return ambient + stage.key * (1 + 0.4 * stage.spot) * glow * self._gobo

    def _surface(self) -> Array:
        surface, unit = self.stage.surface, self.unit
        rows = np.maximum(self.y, self.edge)
        horizon = self.edge - HORIZON * unit
        # 1 where the subject stands, more farther back.
        distance = (self.ground - horizon) / (rows - horizon)
        scale = SIDE * surface.scale / unit
        across = (self.x - self.centre) * distance * scale
        along = FOCAL * unit * distance * scale + 0 * self.x
        tile = textures.tile(surface.texture, surface.colours, self.seed % 3)
        shift = self.rng.uniform(0, SIDE, 2)
        # Pixels of the tile that one pixel of a row covers: the mean of both directions.
        slant = FOCAL * unit / (self.ground - horizon) * distance
        reach = scale * distance * np.sqrt(np.maximum(slant, 1)) * 0.8
        top = max(self.edge - 8, 0)
        u, v = across + shift[1], -along + shift[0]
        if surface.turned:
            u, v = v, u
        albedo = np.zeros((self.height, self.width, 3), np.float32)
        albedo[top:] = _sample(tile, v[top:], u[top:], reach[top:, 0])
        if self.behind is not None:
            mean = to_linear(np.asarray(self.behind.resize((16, 16)), np.float32) / 255).mean(
                (0, 1)
            )
            albedo *= 1 + 0.5 * (mean / max(float(mean.mean()), 1e-3) - 1)
        return albedo * self._surface_light(distance)[..., None]

    def _mirrored(self, wall: Array) -> Array | float:
        """What a polished surface shows of the wall: more, the flatter one looks at it."""
        gloss = self.stage.surface.gloss
        if not gloss:
            return 0.0
        rows = np.clip(2 * self.edge - np.arange(self.height), 0, self.edge)
        flat = Image.fromarray((to_srgb(wall[rows]) * 255).astype(np.uint8))
        soft = flat.filter(ImageFilter.GaussianBlur((0.006 * self.unit, 0.025 * self.unit)))
        behind = np.clip((self.y - self.edge) / max(self.height - self.edge, 1), 0, 1)
        share = gloss * (0.25 + 0.75 * (1 - behind) ** 1.5)
        mirrored: Array = to_linear(np.asarray(soft, np.float32) / 255) * share[..., None]
        return mirrored

    def _surface_light(self, distance: Array) -> Array:
        stage, unit = self.stage, self.unit
        pool_x = self.centre - 0.18 * self.side * unit
        # The ground is seen at a slant: a round pool of light is a flat ellipse.
        away = np.hypot((self.x - pool_x) / 1.05, (self.y - self.ground) * 1.5) / unit
        pool = np.exp(-((away / (0.8 - 0.3 * stage.spot)) ** 2))
        light = stage.ambient * 0.95 + stage.key * 1.05 * pool * self._gobo
        behind = np.maximum(self.y - self.edge, 0) / (0.02 * unit)
        light = light * (1 - 0.3 * np.exp(-behind))
        # A little of what is bright behind shows on every ground, seen so flat.
        sheen = (0.05 + 0.25 * stage.surface.gloss) * np.clip(distance - 0.85, 0, 1)
        lit: Array = light * (1 + sheen)
        return lit

    def _sweep(self) -> Array:
        """One material that bends from the ground up into the wall."""
        colour = floats(linear(self.stage.wall.colours[0]))
        floor = floats(linear(self.stage.surface.colours[0]))
        if self.edge >= self.height:
            return self._wall_light()[..., None] * colour
        bend = 0.2 * self.unit
        share = np.clip((self.y - self.edge + bend) / (2 * bend), 0, 1)
        share = share * share * (3 - 2 * share)
        glow_x = self.centre - 0.26 * self.side * self.unit * (1 - self.stage.spot)
        glow_y = self.ground - 0.42 * self.unit
        away = np.hypot(self.x - glow_x, (self.y - glow_y) * 0.85) / self.unit
        glow = np.exp(-((away / (0.9 - 0.45 * self.stage.spot)) ** 2))
        ambient = self.stage.ambient * (1 - 0.5 * self.stage.spot)
        light = ambient + self.stage.key * (1 + 0.3 * self.stage.spot) * glow
        # The floor faces the lamps above it, the bend least of all.
        hollow = np.exp(-(((self.y - self.edge) / bend) ** 2))
        light = light * (1 + 0.07 * share - 0.07 * hollow)
        paper = (colour * (1 - share) + floor * share)[:, None]
        swept: Array = light[..., None] * paper
        return swept

    def _gradient(self, colours: tuple[str, ...], y: Array) -> Array:
        """One colour for each row, shape (rows, 1, 3)."""
        stops = floats([linear(colour) for colour in colours])
        at = np.linspace(0, 1, len(stops))
        rows = np.clip(y[:, 0] / max(self.edge, 1), 0, 1)
        bands = np.stack([np.interp(rows, at, stops[:, band]) for band in range(3)], -1)
        gradient: Array = bands[:, None].astype(np.float32)
        return gradient

    def _panes(self, colours: tuple[str, ...], y: Array, x: Array) -> Array:
        """A bright window seen from inside; the last colour is that of its frame."""
        view = self._gradient(colours[:-1], y)
        frame = floats(linear(colours[-1]))
        pitch, bar = 0.42 * self.unit, 0.028 * self.unit
        shift = self.rng.uniform(0, pitch)
        upright = np.abs((x - self.centre + shift) % pitch - pitch / 2) < bar / 2
        level = np.abs(self.edge - y - 0.4 * self.unit) < bar / 2
        sill = self.edge - y < 0.07 * self.unit
        covered = (upright | level | sill)[..., None]
        panes: Array = np.where(covered, frame * 0.9, view)
        return panes

    def _tint(self) -> Any:
        warmth = self.stage.warmth
        return floats([1 + 0.09 * warmth, 1.0 + 0.01 * warmth, 1 - 0.13 * warmth])

    # --- Light's obstacles and lights out of focus ---

    @cached_property
    def _gobo(self) -> Array:
        """How much of the key light comes through, 0 to 1, for all of the picture."""
        kind = self.stage.gobo
        if kind == "none":
            return np.ones((1, 1), np.float32)
        factor = 480 / self.unit
        width, height = round(self.width * factor), round(self.height * factor)
        origin = np.array((self.centre, min(self.edge, self.height)), float) * factor
        draw = {
            "window": _window,
            "leaves": _leaves,
            "blinds": _blinds,
            "dapple": _dapple,
        }[kind]
        mask = draw(self.rng, (width, height), origin, self.side or 1.0)
        large = mask.resize((self.width, self.height), Image.Resampling.BICUBIC)
        through: Array = np.asarray(large, np.float32) / 255
        return through

    def _add_bokeh(self, picture: Array) -> None:
        """Discs of light: points out of focus, somewhat brighter at their rim."""
        colours = [floats(linear(colour)) for colour in self.stage.bokeh]
        bottom = min(self.edge, self.height)
        for number in range(38):
            size = self.unit * self.rng.uniform(0.014, 0.05)
            cx = self.rng.uniform(0, self.width)
            cy = bottom * (1 - self.rng.beta(1.3, 1.5))
            strength = 0.4 * self.rng.uniform(0.15, 1.0) ** 1.6
            left, top = max(int(cx - size - 3), 0), max(int(cy - size - 3), 0)
            right, low = int(cx + size + 4), min(int(cy + size + 4), bottom)
            if low <= top or left >= self.width:
                continue
            away = np.hypot(self.x[:, left:right] - cx, self.y[top:low] - cy) / size
            disc = np.clip((1 - away) / 0.12, 0, 1) * (0.78 + 0.22 * np.clip(away, 0, 1) ** 4)
            picture[top:low, left:right] += (
                strength * disc[..., None] * colours[number % len(colours)]
            )

    def _focused(self, image: Image.Image) -> Image.Image:
        """Blur what is nearer or farther than the subject, more with each step away."""
        horizon = self.edge - HORIZON * self.unit
        rows = np.maximum(self.y[:, 0], self.edge)
        step = np.abs(1 - (rows - horizon) / (self.ground - horizon))
        circle = np.clip((step - 0.07) * 0.011 * self.unit, 0, None)
        done = image
        for radius in (0.0016 * self.unit, 0.0045 * self.unit):
            # The wall has a blur of its own.
            share = np.where(self.y[:, 0] < self.edge, 0, np.clip(circle / radius - 0.4, 0, 1))
            if share.max() > 0:
                mask = Image.fromarray((share * 255).astype(np.uint8)[:, None])
                blurred = image.filter(ImageFilter.GaussianBlur(radius))
                done = Image.composite(blurred, done, mask.resize(image.size))
        return done


def _sample(tile: Array, v: Array, u: Array, reach: Array) -> Array:
    """The tile at these places (its own pixels, wrapped), one row of places for each row.

    ``reach`` says how many pixels of the tile a pixel of the row covers: rows far away read
    from smaller copies of the tile, or they would glitter.
    """
    levels = [tile]
    deepest = int(np.clip(math.ceil(math.log2(max(float(reach.max()), 1))), 0, 6))
    for _ in range(deepest + 1):
        last = levels[-1]
        levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    wanted = np.log2(np.maximum(reach, 1))
    done = np.empty((*v.shape, 3), np.float32)
    for level in range(deepest + 1):
        rows = np.flatnonzero((wanted >= level) & (wanted < level + 1))
        if not len(rows):
            continue
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        near = _bilinear(levels[level], v[band], u[band], 2**level)
        far = _bilinear(levels[level + 1], v[band], u[band], 2 ** (level + 1))
        share = (wanted[band] - level).astype(np.float32)[:, None, None]
        done[band] = near * (1 - share) + far * share
    return done


def _bilinear(tile: Array, v: Array, u: Array, shrunk: int) -> Array:
    height, width, _ = tile.shape
    # Pixel centres of a smaller copy lie between those of the tile.
    v = (v + 0.5) / shrunk - 0.5
    u = (u + 0.5) / shrunk - 0.5
    top, left = np.floor(v), np.floor(u)
    down, right = (v - top)[..., None].astype(np.float32), (u - left)[..., None].astype(np.float32)
    y0, x0 = top.astype(np.int32) % height, left.astype(np.int32) % width
    y1, x1 = (y0 + 1) % height, (x0 + 1) % width
    flat = tile.reshape(-1, 3)
    upper = flat[y0 * width + x0] * (1 - right) + flat[y0 * width + x1] * right
    lower = flat[y1 * width + x0] * (1 - right) + flat[y1 * width + x1] * right
    mixed: Array = upper * (1 - down) + lower * down
    return mixed


# --- What stands in the light's way ---------------------------------------------------------

Size = tuple[int, int]


def _window(rng: np.random.Generator, size: Size, origin: Any, side: float) -> Image.Image:
    """Sun through a window with bars, slanting over wall and table."""
    mask = Image.new("L", size, 40)
    draw = ImageDraw.Draw(mask)
    slant = 0.45 * side
    wide, tall, bar = 105, 110, 10
    start = origin + np.array(
        [-140 - 60 * side + rng.uniform(-30, 30), -330 + rng.uniform(-30, 30)]
    )
    for row in range(5):
        for column in range(3):
            x, y = start[0] + column * (wide + bar), start[1] + row * (tall + bar)
            corners = [(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)]
            # The whole window leans away from the light.
            draw.polygon(
                [
                    (cx + slant * (cy - start[1]), cy + 0.16 * side * (cx - start[0]))
                    for cx, cy in corners
                ],
                fill=255,
            )
    return mask.filter(ImageFilter.GaussianBlur(4.5))


def _blinds(rng: np.random.Generator, size: Size, origin: Any, side: float) -> Image.Image:
    """Sun between the slats of a blind."""
    mask = Image.new("L", size, 60)
    draw = ImageDraw.Draw(mask)
    reach, pitch = 2 * max(size), 46
    phase = rng.uniform(0, pitch)
    for y in np.arange(-reach, reach, pitch):
        top = y + phase + origin[1]
        lean = 0.3 * side * reach
        draw.polygon(
            [
                (origin[0] - reach, top - lean),
                (origin[0] + reach, top + lean),
                (origin[0] + reach, top + lean + 0.56 * pitch),
                (origin[0] - reach, top - lean + 0.56 * pitch),
            ],
            fill=255,
        )
    return mask.filter(ImageFilter.GaussianBlur(5))


def _leaves(rng: np.random.Generator, size: Size, origin: Any, side: float) -> Image.Image:
    """Palm fronds in the sun: the nearer one sharper, the farther one soft."""
    mask = Image.new("L", size, 255)
    for number, (blur, tone) in enumerate(((11, 120), (5, 70))):
        layer = Image.new("L", size, 255)
        draw = ImageDraw.Draw(layer)
        for frond in range(3):
            base = np.array(
                [
                    origin[0] - side * rng.uniform(230, 360),
                    origin[1] - rng.uniform(60, 420) + 60 * frond,
                ]
            )
            aim = rng.uniform(-0.75, 0.35) + 0.12 * number
            _frond(draw, rng, base, angle=aim, side=side, length=rng.uniform(300, 430), fill=tone)
        soft = layer.filter(ImageFilter.GaussianBlur(blur))
        mask = Image.fromarray(
            (np.asarray(mask, np.float32) * np.asarray(soft, np.float32) / 255).astype(np.uint8)
        )
    return mask


def _frond(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    base: Any,
    *,
    angle: float,
    side: float,
    length: float,
    fill: int,
) -> None:
    """A bent stem with long pointed leaves on both sides."""
    bend = rng.uniform(0.3, 0.9)
    steps = 26
    at = base.astype(float)
    for step in range(steps):
        along = step / steps
        way = angle + bend * along
        ahead = np.array([side * math.cos(way), math.sin(way)])
        after = at + ahead * length / steps
        draw.line([tuple(at), tuple(after)], fill=fill, width=3)
        leaf = length * 0.42 * math.sin(math.pi * min(along * 0.85 + 0.15, 1)) + 8
        for turn in (-1, 1):
            out = way + turn * (0.95 - 0.45 * along) + rng.uniform(-0.08, 0.08)
            tip = at + leaf * np.array([side * math.cos(out), math.sin(out)])
            middle = (at + tip) / 2
            normal = np.array([-(tip - at)[1], (tip - at)[0]]) / max(leaf, 1) * 5.5
            draw.polygon(
                [tuple(at), tuple(middle + normal), tuple(tip), tuple(middle - normal)], fill=fill
            )
        at = after


def _dapple(rng: np.random.Generator, size: Size, origin: Any, side: float) -> Image.Image:  # noqa: ARG001
    """Sun through the crown of a tree: every gap is a round image of the sun."""
    mask = Image.new("L", size, 70)
    draw = ImageDraw.Draw(mask)
    for _ in range(round(0.0013 * size[0] * size[1])):
        cx, cy = rng.uniform(-20, size[0] + 20), rng.uniform(-20, size[1] + 20)
        radius = rng.uniform(5, 17)
        draw.ellipse((cx - radius, cy - 0.7 * radius, cx + radius, cy + 0.7 * radius), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(6))
