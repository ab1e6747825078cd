"""A square laid otherwise is what would have come of light, skin and relief laid otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.files.colour import encode_srgb
from mesoface.lab.training.relief.pool import WAYS, Square, laid
from mesoface.relief.inputs import make_inputs, slopes

N = 48
LAMP = np.array([0.5, -0.3, 0.8])  # along columns, along rows, outward


def lit(height: np.ndarray, valid: np.ndarray, lamp: np.ndarray) -> Square:
    """Even skin on a plane under one lamp (Lambert), and what is known of that: its derivative at rest."""
    along_columns, along_rows = slopes(height)
    normal = np.stack([-along_columns, -along_rows, np.ones_like(height)], -1)
    shade = 0.3 * (normal @ lamp) / np.linalg.norm(normal, axis=-1)
    color = encode_srgb(np.repeat(shade[..., None], 3, 2).astype(np.float32))
    light = np.broadcast_to(-lamp[:2] / lamp[2], (*height.shape, 2)).astype(np.float32)
    maps = make_inputs(color, light, 0.5 * height, valid)
    return Square(maps, height, valid, np.rint(color * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def height() -> np.ndarray:
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(N), np.arange(N))
    waves = [np.sin(rng.normal(0, 0.5) * x + rng.normal(0, 0.5) * y + rng.uniform(0, 6)) for _ in range(8)]
    return (0.05 * np.sum(waves, 0)).astype(np.float32)


@pytest.fixture(scope="module")
def valid() -> np.ndarray:
    valid = np.ones((N, N), bool)
    valid[:5, :30] = False
    return valid


def test_the_shading_tells_the_slopes(height, valid):
    """That the test's light is the network's: luminance goes along light times slope."""
    square = lit(height, valid, LAMP)
    inside = np.s_[8:-8, 8:-8]
    along_columns, along_rows = slopes(height)
    told = square.maps[3] * along_columns + square.maps[4] * along_rows
    assert np.corrcoef(told[inside].ravel(), square.maps[0][inside].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("way", range(WAYS))
def test_laying_commutes_with_lighting(height, valid, way):
    """Relief, mask and lamp are laid first and lit then, or lit first and laid then."""
    turned, mask, lamp = height, valid, LAMP
    if way & 4:
        turned, mask, lamp = turned.T, mask.T, lamp[[1, 0, 2]]
    if way & 1:
        turned, mask, lamp = turned[:, ::-1], mask[:, ::-1], lamp * [-1, 1, 1]
    if way & 2:
        turned, mask, lamp = turned[::-1], mask[::-1], lamp * [1, -1, 1]
    wanted = lit(np.ascontiguousarray(turned), np.ascontiguousarray(mask), lamp)
    got = laid(lit(height, valid, LAMP), way)
    np.testing.assert_array_equal(got.relief, wanted.relief)
    np.testing.assert_array_equal(got.valid, wanted.valid)
    np.testing.assert_allclose(got.color.astype(int), wanted.color.astype(int), atol=1)
    np.testing.assert_allclose(got.maps, wanted.maps, atol=2e-3)


def test_the_eight_ways_differ_and_leave_the_square_alone(height, valid):
    square = lit(height, valid, LAMP)
    before = square.maps.copy()
    assert len({laid(square, way).relief.tobytes() for way in range(WAYS)}) == WAYS
    np.testing.assert_array_equal(square.maps, before)
