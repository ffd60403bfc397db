"""A generative model that paints everything in one colour, and remembers what it was asked."""

from typing import Any

import pytest
from PIL import Image

from tools.engines import generative


class Painter:
    """Stands in for `generative`: install it with `installed`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def background(self, image: Image.Image, subject: Image.Image, **how: Any) -> Image.Image:
        assert subject.mode == "L"
        assert subject.size == image.size
        self.asked.append({"image": image, **how})
        return Image.composite(image, Image.new("RGB", image.size, (1, 2, 3)), subject)


def installed(monkeypatch: pytest.MonkeyPatch) -> Painter:
    """Every generative model is there, and it is this one."""
    painter = Painter()
    monkeypatch.setattr(generative, "background", painter.background)
    monkeypatch.setattr(generative, "missing", lambda _model, _task: None)
    monkeypatch.setattr(generative, "version", lambda model, _task="background": f"{model} 7")
    return painter


def none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has set up a generative model."""
    monkeypatch.setattr(generative, "missing", lambda model, _task: f"Set {model.upper()}_KEY.")
