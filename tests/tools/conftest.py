"""What the tests of tools share."""

import numpy as np
import pytest

from tools.engines import weights


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An installation whose weights nobody has fetched yet."""
    monkeypatch.setattr(weights, "_folder", tmp_path / "no-weights")


@pytest.fixture
def faked_engine(monkeypatch):
    """Models that see a subject in the middle of everything."""

    def run(_session, pixels):
        y, x = np.mgrid[-1 : 1 : pixels.shape[2] * 1j, -1 : 1 : pixels.shape[3] * 1j]
        return np.exp(-4 * (x**2 + y**2)).astype(np.float32)[None, None]

    monkeypatch.setattr(weights, "session", lambda _name, **_how: object())
    monkeypatch.setattr(weights, "run", run)
