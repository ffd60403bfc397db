"""Tools for tests that need more than `fake`: a rival in the middle of a run, odd prices."""

from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from tests.fakes import FakeTool
from tools.base import Output


class ScriptedTool(FakeTool):
    """Calls `before` in each run, while the worker has the item in hand, and then does its work.

    What `before` raises comes out of the run.
    """

    slug = "scripted"
    name = "Scripted"

    def __init__(self) -> None:
        self.runs = 0
        self.before: Callable[[], object] = lambda: None

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        self.runs += 1
        self.before()
        return super().run(image, settings)


class SizedTool(FakeTool):
    """A credit per 32 pixels of width; ten while the width is not known."""

    slug = "sized"
    name = "Sized"

    def price_for(
        self,
        settings: Mapping[str, Any],
        *,
        width: int | None = None,
        height: int | None = None,
    ) -> int:
        return 10 if width is None else width // 32


class FreeTool(FakeTool):
    """Costs nothing."""

    slug = "free"
    name = "Free"
    price = 0
