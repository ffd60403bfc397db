"""Colours as light: the curve of sRGB and the space OKLab.

Arrays are of any shape, colours along the last axis, values from 0 to 1; the type of float that
comes in goes out.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Field = np.ndarray[Any, Any]

_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
"""OKLab: Björn Ottosson, "A perceptual color space for image processing", 2020."""


def to_linear(srgb: "Field") -> "Field":
    """Linear light of values of sRGB (IEC 61966-2-1)."""
    import numpy as np

    low = srgb / 12.92
    high = ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, low, high).astype(srgb.dtype)


def from_linear(linear: "Field") -> "Field":
    """The opposite of `to_linear`; what is below 0 or above 1 stays outside."""
    import numpy as np

    low = linear * 12.92
    high = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, low, high).astype(linear.dtype)


def oklab(linear: "Field") -> "Field":
    """Linear colours in OKLab: lightness, green to red, blue to yellow."""
    import numpy as np

    cones = linear @ np.array(_TO_CONES, dtype=linear.dtype).T
    return np.cbrt(cones) @ np.array(_TO_LAB, dtype=linear.dtype).T


def from_oklab(lab: "Field") -> "Field":
    """The opposite of `oklab`; may lie outside 0 to 1."""
    import numpy as np

    cones = lab @ np.linalg.inv(np.array(_TO_LAB)).astype(lab.dtype).T
    return (cones * cones * cones) @ np.linalg.inv(np.array(_TO_CONES)).astype(lab.dtype).T
