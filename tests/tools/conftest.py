"""What the tests of tools share."""

from dataclasses import dataclass

import numpy as np
import pytest

from tools.engines import meaning, weights

ENLARGE = {"span-x4": 4, "real-esrgan-x4plus": 4}
"""How many times networks enlarge."""


@dataclass
class FakeSession:
    """What stands for a session: its name."""

    name: str
    threads: int | None = None

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An installation whose weights nobody has fetched yet."""
    monkeypatch.setattr(weights, "_folder", tmp_path / "no-weights")


@pytest.fixture
def pretended_weights(tmp_path, monkeypatch):
    """An installation that has the files of these names, as far as a glance can tell."""
    monkeypatch.setattr(weights, "_folder", tmp_path)

    def add(*names: str) -> None:
        for name in names:
            artefact = weights.artefact(name)
            with (tmp_path / artefact.file).open("wb") as file:
                file.truncate(artefact.size)  # a hole: it takes no room

    return add


@pytest.fixture
def faked_engine(monkeypatch):
    """Models that see a subject in the middle of all, nothing that is written, or enlarge.

    A sentence is the nearer to a phrase the more words they share.
    """

    def nearest(sentence, phrases):
        words = set(sentence.split())

        def likeness(phrase):
            others = set(phrase.split())
            return len(words & others) / min(len(words), len(others))

        found = [(name, max(map(likeness, said))) for name, said in phrases.items()]
        return sorted(found, key=lambda one: -one[1])

    def run(session, pixels):
        if session.name in ENLARGE:
            scale = ENLARGE[session.name]
            return pixels.repeat(scale, axis=2).repeat(scale, axis=3)
        if session.name == "ppocr-detection":
            return np.zeros((1, 1, *pixels.shape[2:]), dtype=np.float32)
        if session.name == "efficientnet-lite2":
            return np.full((1, 1000), 0.001, dtype=np.float32)
        y, x = np.mgrid[-1 : 1 : pixels.shape[2] * 1j, -1 : 1 : pixels.shape[3] * 1j]
        return np.exp(-4 * (x**2 + y**2)).astype(np.float32)[None, None]

    monkeypatch.setattr(weights, "session", FakeSession)
    monkeypatch.setattr(weights, "run", run)
    monkeypatch.setattr(meaning, "nearest", nearest)
