"""Holes of a map are filled without a step or a crease."""

import numpy as np
import pytest

from mesoface.uvd.filling import fill_smoothly
from mesoface.uvd.maps import texel_centers


def middle(size, radius):
    """(size, size) a disc around the middle of the map; ``radius`` in shares of its side."""
    return np.linalg.norm(texel_centers(size) - 0.5, axis=-1) < radius


def hill(size):
    """(size, size) a smooth function that is neither harmonic nor flat at the rim of a hole."""
    u, v = np.moveaxis(texel_centers(size), -1, 0)
    return (np.sin(3 * u) * np.cos(2 * v) + u * v).astype(np.float32)


@pytest.mark.parametrize("size", [96, 384])  # solved at once, and from a reduced map on
def test_a_plane_stays_a_plane(size):
    u, v = np.moveaxis(texel_centers(size), -1, 0)
    plane = np.dstack([u - 2 * v, 3 + v])
    domain, hole = middle(size, 0.45), middle(size, 0.2)
    holed = np.where(hole[..., None], 1e3, plane)
    filled = fill_smoothly(holed, domain & ~hole, domain, reach=0.1 * size)
    np.testing.assert_allclose(filled[domain], plane[domain], atol=2e-3)


@pytest.mark.parametrize("size", [96, 384])
def test_value_and_slope_go_on_across_the_seam(size):
    hole = middle(size, 0.15)
    filled = fill_smoothly(np.where(hole, 0, hill(size)), ~hole, np.ones_like(hole), reach=0.1 * size)
    np.testing.assert_array_equal(filled[~hole], hill(size)[~hole])
    np.testing.assert_allclose(filled, hill(size), atol=0.02)
    # A crease would be a second difference of a slope's jump, which does not shrink with the texels' square.
    row, true = filled[size // 2] * size, hill(size)[size // 2] * size
    slopes = np.abs(np.diff(row, 2)).max(), np.abs(np.diff(true)).max()
    assert slopes[0] < 0.1 * slopes[1]


def test_a_membrane_would_have_a_crease():
    """What the plate is for: with hardly any reach the slope breaks at the seam."""
    size, hole = 96, middle(96, 0.15)
    bumpy = hill(size) + 4 * np.linalg.norm(texel_centers(size) - 0.5, axis=-1) ** 2
    breaks = [
        np.abs(np.diff(fill_smoothly(bumpy, ~hole, np.ones_like(hole), reach)[size // 2], 2)).max()
        for reach in (0.01, 20.0)
    ]
    assert breaks[0] > 2 * breaks[1]


def test_far_from_the_seam_nothing_overshoots():
    """A steep slope at the seam does not run away where only one side is known."""
    size = 128
    u = texel_centers(size)[..., 0]
    known = u < 0.3
    filled = fill_smoothly(np.where(known, 10 * u, 0), known, np.ones_like(known), reach=0.03 * size)
    assert filled.max() < 3 + 2 * 10 * 0.03
    assert np.abs(filled[:, -1] - filled[:, size // 2]).max() < 0.02


def test_only_the_domain_is_solved_for():
    size = 96
    domain, hole = middle(size, 0.4), middle(size, 0.1)
    wild = np.where(domain, hill(size), 1e6)
    filled = fill_smoothly(wild, domain & ~hole, domain, reach=8.0)
    np.testing.assert_allclose(filled[domain], hill(size)[domain], atol=0.02)


def test_nothing_known_cannot_be_continued():
    nothing = np.zeros((16, 16), bool)
    with pytest.raises(ValueError, match="nothing is known"):
        fill_smoothly(np.zeros((16, 16)), nothing, ~nothing, 4.0)
