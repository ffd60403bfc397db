"""Find faces that look at the camera.

The detectors are two Haar cascades (Viola and Jones; trained by Rainer Lienhart) that OpenCV 4
carries. Either alone sees a face in a spoon now and then; where both see one, there nearly always
is one. They find upright faces seen from the front, and miss profiles and tilted heads.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

VERSION = "haar frontalface_alt2+alt"

SEEN_AT = 960
"""Pixels of the longer side that the detectors look at."""
SMALLEST = 1 / 18
"""Side of the smallest face that counts, as a share of the picture's shorter side."""
LEAST_PIXELS = 20
"""What the cascades were trained on; below it nothing can be found."""


@dataclass(frozen=True)
class Face:
    """A square from the brows to the chin, in pixels of the picture."""

    left: int
    top: int
    right: int
    bottom: int

    def head(self) -> tuple[float, float, float, float]:
        """The face with its hair, ears and chin: left, top, right, bottom."""
        side = self.right - self.left
        return (
            self.left - 0.15 * side,
            self.top - 0.4 * side,
            self.right + 0.15 * side,
            self.bottom + 0.2 * side,
        )


def find(image: Image.Image) -> list[Face]:
    """All faces in a picture, RGB or RGBA, from left to right."""
    import numpy as np

    scale = min(1.0, SEEN_AT / max(image.size))
    size = [max(1, round(side * scale)) for side in image.size]
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    # As it is: evening out the light first finds no more faces, but some in gravel.
    grey = np.asarray(small.convert("L"))
    least = max(LEAST_PIXELS, round(min(size) * SMALLEST))
    found = [
        _in_full(left, top, side, scale=scale, within=image.size)
        for left, top, side in _detected("frontalface_alt2", grey, least=least, neighbours=6)
        if _confirmed(grey, left, top, side)
    ]
    return sorted(found, key=lambda face: (face.left, face.top))


def warm() -> None:
    """Load the detectors now rather than with the first picture."""
    _cascade("frontalface_alt2")
    _cascade("frontalface_alt")


def _confirmed(grey: "np.ndarray[Any, Any]", left: int, top: int, side: int) -> bool:
    """Whether the second detector sees the face that the first one has found."""
    margin = side // 2
    around = grey[max(0, top - margin) : top + side + margin]
    around = around[:, max(0, left - margin) : left + side + margin]
    least = max(LEAST_PIXELS, side * 6 // 10)
    found = _detected("frontalface_alt", around, least=least, neighbours=5)
    return any(other < side * 1.6 for _left, _top, other in found)


def _detected(
    name: str, grey: "np.ndarray[Any, Any]", *, least: int, neighbours: int
) -> list[tuple[int, int, int]]:
    """Left, top and side of what one detector takes for faces."""
    import numpy as np

    found = _cascade(name).detectMultiScale(
        np.ascontiguousarray(grey), scaleFactor=1.1, minNeighbors=neighbours, minSize=(least, least)
    )
    return [(int(left), int(top), int(side)) for left, top, side, _height in found]


def _in_full(left: int, top: int, side: int, *, scale: float, within: tuple[int, int]) -> Face:
    return Face(
        max(0, round(left / scale)),
        max(0, round(top / scale)),
        min(within[0], round((left + side) / scale)),
        min(within[1], round((top + side) / scale)),
    )


@cache
def _cascade(name: str) -> Any:
    import cv2

    # Several workers share the machine, and one thread finds the same faces in the same order.
    cv2.setNumThreads(1)
    folder = files("cv2") / "data"
    return cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml"))
