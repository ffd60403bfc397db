"""What the tests of tools share."""

import numpy as np
import pytest

from tools.engines import weights


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
    """Models that see a subject in the middle of everything."""

    def run(_session, pixels):
        y, x = np.mgrid[-1 : 1 : pixels.shape[2] * 1j, -1 : 1 : pixels.shape[3] * 1j]
        return np.exp(-4 * (x**2 + y**2)).astype(np.float32)[None, None]

    monkeypatch.setattr(weights, "session", lambda _name, **_how: object())
    monkeypatch.setattr(weights, "run", run)
