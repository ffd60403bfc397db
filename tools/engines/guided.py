"""The guided filter: what a rough field would be if it followed the edges of a picture.

He, Sun and Tang, "Guided image filtering", 2013. Slope and offset are smooth: found on a small
picture they can be enlarged and applied to the full one (He and Sun, "Fast guided filter", 2015).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Field = np.ndarray[Any, Any]


def line(
    guide: "Field", wanted: "Field", *, radius: int, smoothness: float
) -> "tuple[Field, Field]":
    """Slope and offset that make ``wanted`` out of ``guide`` around each pixel.

    Both are height x width; ``radius`` is in pixels, ``smoothness`` the variance of the guide
    below which it counts as plain.
    """

    def mean(field: "Field") -> "Field":
        return box(field, radius)

    guide_mean, wanted_mean = mean(guide), mean(wanted)
    variance = mean(guide * guide) - guide_mean**2
    covariance = mean(guide * wanted) - guide_mean * wanted_mean
    slope = covariance / (variance + smoothness)
    return mean(slope), mean(wanted_mean - slope * guide_mean)


def box(field: "Field", radius: int) -> "Field":
    """The mean over a square around each pixel."""
    from scipy.ndimage import uniform_filter

    averaged: Field = uniform_filter(field, 2 * radius + 1, mode="nearest")
    return averaged


def smooth(field: "Field", guide: "Field", *, radius: int, edge: float = 0.06) -> "Field":
    """``field`` smoothed where ``guide`` has no edge higher than ``edge``."""
    slope, offset = line(guide, field, radius=radius, smoothness=edge**2)
    return slope * guide + offset
