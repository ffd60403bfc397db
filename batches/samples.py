"""Photos for a first try: those that the scikit-image package carries, CC0 or public domain."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "camera.png", "retina.jpg")
FEW = 3
"""How many somebody is offered who has none at hand."""


class Missing(Exception):
    """The package that carries the photos is not installed."""


def photos() -> Iterator[Path]:
    """The photos' files, found without importing the package. Raises `Missing`."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise Missing("The scikit-image package is missing: run `make setup`.")
    for name in PHOTOS:
        yield Path(spec.origin).parent / "data" / name
