"""Put a subject into a picture: where, how large, and with all that makes it belong there."""

from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, ImageChops

from tools.engines import blending, shadows, subjects
from tools.engines.stages import Rendered
from tools.engines.subjects import Subject

Position = Literal[
    "bottom_center",
    "bottom_left",
    "bottom_right",
    "upper_center",
    "upper_left",
    "upper_right",
    "center_vertical",
    "center_horizontal",
    "left_center",
    "right_center",
]
"""Where in the frame. ``center_vertical`` is half-way up and leaves the subject where it is
from side to side; ``center_horizontal`` is half-way across and leaves its foot where it is."""

POSITIONS: tuple[Position, ...] = get_args(Position)

MARGIN = 0.06
"""Room between the subject and an edge of the frame, as a share of its side."""
LARGEST = 2.5
"""A subject is enlarged at most so often: beyond, it is visibly softer than its surroundings."""
SHADE = (0.10, 0.09, 0.11)
"""What the darkest shadow leaves of red, green and blue: a little light always comes in."""


@dataclass(frozen=True)
class Placed:
    """A subject in its final size, with the corner of its box on the canvas."""

    subject: Subject
    at: tuple[int, int]
    canvas: tuple[int, int]

    @property
    def ground(self) -> float | None:
        """The height at which it stands, as a share of the canvas; None: it does not stand."""
        if not self.subject.stands:
            return None
        return (self.at[1] + self.subject.size[1]) / self.canvas[1]

    @property
    def centre(self) -> float:
        """The middle of its box from side to side, as a share of the canvas."""
        return (self.at[0] + self.subject.size[0] / 2) / self.canvas[0]

    def mask(self) -> Image.Image:
        """The mask on the whole canvas."""
        mask = Image.new("L", self.canvas)
        mask.paste(self.subject.alpha, self.at)
        return mask


def place(
    subject: Subject,
    canvas: tuple[int, int],
    *,
    position: Position | Literal["original"] = "original",
    share: float | None = None,
    foot: float | None = None,
    middle: float = 0.5,
) -> Placed:
    """Where the subject goes on a canvas of this size.

    ``share`` is the part of the canvas (0 to 1) that its box fills in height or breadth,
    whichever is more; without one it keeps the size that it had beside its frame. ``foot``
    puts its lowest point at this share of the canvas's height, and ``middle`` says what counts
    as the middle of its breadth. A subject that the photo cuts
    off stays at that edge of the frame: a half figure must not float.
    """
    kept = min(canvas[0] / subject.frame[0], canvas[1] / subject.frame[1])
    factor = kept
    if share is not None and not _spans(subject):
        factor = share * min(canvas[0] / subject.size[0], canvas[1] / subject.size[1])
        factor = min(factor, LARGEST)
    scaled = subject.scaled(factor)
    width, height = scaled.size
    room_x, room_y = canvas[0] - width, canvas[1] - height
    # Where it was: the middle of its foot stays.
    ratio_x, ratio_y = canvas[0] / subject.frame[0], canvas[1] / subject.frame[1]
    x = round((subject.origin[0] + subject.size[0] / 2) * ratio_x - width / 2)
    y = round((subject.origin[1] + subject.size[1]) * ratio_y - height)
    if factor == kept == 1:
        x, y = subject.origin
    margin_x = min(MARGIN * canvas[0], max(room_x / 2, 0))
    margin_y = min(MARGIN * canvas[1], max(room_y / 2, 0))
    if position != "original":
        x = round(_across(position, x, room_x, margin_x, middle))
        y = round(_down(position, y, room_y, margin_y))
    if foot is not None:
        y = round(min(foot * canvas[1], canvas[1]) - height)
    if room_x >= 0:
        x = min(max(x, 0), room_x)
    if room_y >= 0:
        y = min(max(y, 0), room_y)
    return Placed(scaled, _at_cut_edges(scaled, (x, y), (room_x, room_y)), canvas)


def _across(position: Position, kept: float, room: float, margin: float, middle: float) -> float:
    if "left" in position:
        return margin
    if "right" in position:
        return room - margin
    return kept if position == "center_vertical" else room * middle


def _down(position: Position, kept: float, room: float, margin: float) -> float:
    if "upper" in position:
        return margin
    if "bottom" in position:
        return room - margin
    return kept if position == "center_horizontal" else room / 2


def padded(subject: Subject, padding: float, *, most: int) -> Placed:
    """The subject with room around it: ``padding`` is a share of its longer side.

    It is made smaller where the canvas would have more than ``most`` pixels. At an edge where
    the photo cuts it off there is no room.
    """
    width, height = subject.size
    around = padding * max(width, height)
    factor = min(1.0, (most / ((width + 2 * around) * (height + 2 * around))) ** 0.5)
    scaled = subject.scaled(factor)
    side = round(around * factor)
    left, top, right, bottom = (
        0 if edge in subject.cut_off else side for edge in ("left", "top", "right", "bottom")
    )
    canvas = scaled.size[0] + left + right, scaled.size[1] + top + bottom
    return Placed(scaled, (left, top), canvas)


def with_room(subject: Subject, *, light: str, softness: float) -> Placed:
    """The subject where it was, on a canvas that has grown where its shadow needs room."""
    need = shadows.room(subject.size, light=light, softness=softness, stands=subject.stands)
    x, y = subject.origin
    width, height = subject.size
    left, top, right, bottom = (
        0 if edge in subject.cut_off else max(round(side), 0)
        for edge, side in zip(
            ("left", "top", "right", "bottom"),
            (
                need[0] - x,
                need[1] - y,
                x + width + need[2] - subject.frame[0],
                y + height + need[3] - subject.frame[1],
            ),
            strict=True,
        )
    )
    canvas = subject.frame[0] + left + right, subject.frame[1] + top + bottom
    return Placed(subject, (x + left, y + top), canvas)


def _spans(subject: Subject) -> bool:
    """Whether it goes on outside at both sides of the frame: then it has only one size."""
    return {"left", "right"} <= subject.cut_off or {"top", "bottom"} <= subject.cut_off


def _at_cut_edges(subject: Subject, at: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    x, y = at
    cut = subject.cut_off
    if ("left" in cut) != ("right" in cut):
        x = 0 if "left" in cut else room[0]
    if ("top" in cut) != ("bottom" in cut):
        y = 0 if "top" in cut else room[1]
    return x, y


def compose(
    backdrop: Rendered,
    placed: Placed,
    *,
    shadow: bool = True,
    reflection: float = 0.0,
    honest: bool = True,
) -> Image.Image:
    """The subject on the backdrop, as if it had been photographed there; changes the backdrop.

    ``reflection`` (0 to 1) comes on top of the backdrop's own gloss. ``honest`` keeps colours
    to within what is just seen; otherwise the place's light may be felt.
    """
    canvas, subject, at = backdrop.image, placed.subject, placed.at
    box = (at[0], at[1], at[0] + subject.size[0], at[1] + subject.size[1])
    surroundings = _around(canvas, box)
    mirror = max(reflection, backdrop.gloss)
    if mirror and subject.stands:
        pixels, mask, first = shadows.reflection(
            subject.colours, subject.alpha, strength=mirror, length=0.45
        )
        blending.lay(canvas, pixels, mask, (at[0], at[1] + first))
    if shadow:
        dark = shadows.darkness(
            subject.alpha,
            at,
            placed.canvas,
            light=backdrop.light,
            softness=backdrop.softness,
            opacity=backdrop.darkness,
            stands=subject.stands,
            cast=backdrop.cast,
        )
        blending.shade(canvas, dark, tint=SHADE)
    blending.lay(
        canvas, lit(subject, surroundings, backdrop.light, honest=honest), subject.alpha, at
    )
    return canvas


def pasted(backdrop: Image.Image, placed: Placed) -> Image.Image:
    """The subject on a backdrop as it is, without any of that; changes the backdrop."""
    blending.lay(backdrop, placed.subject.colours, placed.subject.alpha, placed.at)
    return backdrop


def lit(
    subject: Subject, surroundings: Image.Image, light: str | None, *, honest: bool
) -> Image.Image:
    """The subject's colours in the light of its surroundings (RGB, the size of its box)."""
    colours = blending.match(
        subject.colours,
        surroundings,
        tint=0.12 if honest else 0.2,
        light=0.1 if honest else 0.22,
        furthest=0.012 if honest else 0.025,
    )
    if light is not None and not honest:
        side = shadows.LIGHTS[light][0]
        # Light from the left throws to the right.
        colours = blending.sidelight(
            colours, side=-1 if side > 0 else 1 if side < 0 else 0, strength=0.1
        )
    rim = subjects.inner_rim(subject.alpha, 0.007 * max(subject.size))
    return blending.wrap(colours, surroundings, rim, strength=0.25)


def _around(canvas: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """What lies behind the subject's box, small; beyond the canvas its edge goes on."""
    inside = (
        max(box[0], 0),
        max(box[1], 0),
        min(max(box[2], 1), canvas.width),
        min(max(box[3], 1), canvas.height),
    )
    inside = (
        min(inside[0], inside[2] - 1),
        min(inside[1], inside[3] - 1),
        inside[2],
        inside[3],
    )
    part = canvas.crop(inside)
    factor = min(1.0, 400 / max(part.size))
    small = [max(round(side * factor), 1) for side in part.size]
    return part.resize((small[0], small[1]), Image.Resampling.BOX)


def on_nothing(placed: Placed, *, light: str, softness: float, opacity: float) -> Image.Image:
    """The subject and its shadow, on nothing: RGBA. Its opaque pixels are the subject's own."""
    subject = placed.subject
    dark = shadows.darkness(
        subject.alpha,
        placed.at,
        placed.canvas,
        light=light,
        softness=softness,
        opacity=opacity,
        stands=subject.stands,
    )
    mask = placed.mask()
    # Together they let through what both let through.
    through = ImageChops.multiply(ImageChops.invert(mask), ImageChops.invert(dark))
    alpha = ImageChops.invert(through)
    done = Image.new("RGBA", placed.canvas)
    pixels = subject.colours.copy()
    # Where a faint edge lies on the shadow, the colour is what both add up to.
    box = (
        placed.at[0],
        placed.at[1],
        placed.at[0] + subject.size[0],
        placed.at[1] + subject.size[1],
    )
    own_share = _share(subject.alpha, alpha.crop(box))
    pixels = Image.composite(pixels, Image.new("RGB", pixels.size), own_share)
    done.paste(pixels, placed.at)
    done.putalpha(alpha)
    return done


def _share(part: Image.Image, whole: Image.Image) -> Image.Image:
    """255 × ``part`` / ``whole``, pixel by pixel; 255 where both are the same."""
    import numpy as np

    if part.getextrema() == (255, 255):
        return part
    done = Image.new("L", part.size)
    for top in range(0, part.height, 256):
        strip = (0, top, part.width, min(top + 256, part.height))
        share = np.asarray(part.crop(strip), np.float32) / np.maximum(
            np.asarray(whole.crop(strip), np.float32), 1
        )
        done.paste(Image.fromarray((np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)), (0, top))
    return done
