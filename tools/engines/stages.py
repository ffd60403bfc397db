"""What a picture's backdrop is made of: a wall, something to stand on, and light.

Plain descriptions; `rendering` draws them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image

Gobo = Literal["none", "window", "leaves", "blinds", "dapple"]
"""What stands in the light's way and throws its shadow."""


@dataclass(frozen=True)
class Surface:
    """What the subject stands on: a texture in its colours.

    ``scale`` says how many tiles of the texture lie side by side across a square picture,
    where the subject stands; ``turned`` lays it lengthwise; ``gloss`` (0 to 1) is how much it
    reflects.
    """

    texture: str
    colours: tuple[str, ...]
    scale: float = 1.0
    turned: bool = False
    gloss: float = 0.0


@dataclass(frozen=True)
class Wall:
    """What is behind: a texture as for a `Surface`, or ``gradient`` with colours from top down.

    ``blur`` is how far it is out of focus, as a share of the picture's size.
    """

    texture: str
    colours: tuple[str, ...]
    scale: float = 1.0
    blur: float = 0.004


@dataclass(frozen=True)
class Stage:
    """A backdrop.

    ``light`` is one of `shadows.LIGHTS`; ``key`` its strength beside the ``ambient`` light, and
    ``warmth`` its colour (-1 blue to 1 golden). ``softness`` and ``darkness`` (0 to 1) are
    those of the shadows that it throws. ``bokeh`` are the colours of lights out of focus.
    ``depth`` is the share of the picture's height between the subject's foot and the back
    edge of the surface; a ``sweep`` has no edge there, but bends up into the wall. ``phrases``
    say in several ways what it looks like, for whoever asks for it in words.
    """

    surface: Surface
    wall: Wall
    phrases: Sequence[str]
    light: str = "top-left"
    key: float = 0.55
    ambient: float = 0.55
    warmth: float = 0.0
    softness: float = 0.5
    darkness: float = 0.7
    gobo: Gobo = "none"
    bokeh: tuple[str, ...] = ()
    depth: float = 0.24
    sweep: bool = False
    spot: float = 0.0
    """How much the light is gathered behind the subject, 0 to 1."""


@dataclass(frozen=True)
class Rendered:
    """A drawn backdrop, with what the subject has to know about it."""

    image: "Image.Image"
    light: str = "top-left"
    softness: float = 0.75
    darkness: float = 0.6
    gloss: float = 0.0
    cast: float = 1.0
    """The weight of the thrown silhouette beside the shadow at the foot."""
