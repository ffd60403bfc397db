"""Colours as light, and in OKLab."""

import numpy as np
import pytest

from tools.engines import srgb


def test_the_curve_is_that_of_the_standard():
    linear = srgb.to_linear(np.array([0.0, 0.04045, 0.5, 1.0]))

    assert linear == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=1e-6)


def test_oklab_agrees_with_its_publication():
    lab = srgb.oklab(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))

    assert lab[0] == pytest.approx([1, 0, 0], abs=2e-4)
    assert lab[1] == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)
    assert lab[2] == pytest.approx([0.452, -0.032, -0.312], abs=1e-3)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_there_and_back_is_where_it_was(kind):
    colours = np.random.default_rng(0).random((200, 3)).astype(kind)

    linear = srgb.to_linear(colours)
    back = srgb.from_linear(srgb.from_oklab(srgb.oklab(linear)))

    assert linear.dtype == back.dtype == kind
    assert back == pytest.approx(colours, abs=2e-5)
