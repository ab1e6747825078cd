"""Dark is deep."""

from dataclasses import replace

import numpy as np
import pytest

from mesoface.relief.inputs import Ground, high_pass
from mesoface.relief.predict import shading_height, skin_share

SIZE, TEXEL = 160, 0.2
PLACE = np.mgrid[:SIZE, :SIZE].astype(np.float32) - SIZE / 2


def flat(luminance, tint=(1.0, 0.75, 0.65)) -> Ground:
    """A flat square of skin with the given sRGB level (H, W)."""
    rows, columns = PLACE * TEXEL
    position = np.stack([columns, -rows, np.zeros_like(rows)], -1).astype(np.float32)
    normal = np.broadcast_to(np.array([0, 0, 1], np.float32), position.shape).copy()
    color = np.clip(luminance[..., None] * np.array(tint), 0, 1).astype(np.float32)
    return Ground(position, position, normal, color, np.ones((SIZE, SIZE), bool), TEXEL)


def spot(radius: float, row: float = 0, column: float = 0):
    return np.exp(-((PLACE[0] - row) ** 2 + (PLACE[1] - column) ** 2) / radius**2)


def test_a_dark_pore_is_deep_and_a_bright_spot_high():
    ground = flat(0.6 - 0.08 * spot(2, 0, -30) + 0.08 * spot(2, 0, 30))
    height = high_pass(shading_height(ground), ground.valid)
    middle = SIZE // 2
    assert height[middle, middle - 30] < -0.01
    assert height[middle, middle + 30] > 0.01
    assert abs(height[middle + 40, middle]) < 0.002


def test_even_skin_has_no_relief():
    assert np.abs(shading_height(flat(np.full((SIZE, SIZE), 0.6)))).max() < 1e-5


def test_hair_and_lips_are_damped():
    dark = shading_height(flat(0.6 - 0.45 * spot(6)))
    skin = skin_share(flat(0.6 - 0.45 * spot(6)))
    middle = SIZE // 2
    assert skin[middle, middle] < 0.1
    assert skin[10, 10] > 0.9
    faint = shading_height(flat(0.6 - 0.1 * spot(6)))
    assert np.abs(dark[middle - 3 : middle + 3]).max() < np.abs(faint).max()

    red = flat(np.full((SIZE, SIZE), 0.6))
    lips = np.array([0.6, 0.3, 0.32], np.float32)
    color = red.color + spot(20)[..., None].astype(np.float32) * (lips - red.color)
    assert skin_share(replace(red, color=color))[middle, middle] < 0.2


def test_what_measured_form_explains_is_no_pit():
    """A neighbour that stands above the tangent plane counts less than one on it."""
    luminance = 0.6 - 0.08 * spot(2)
    ground = flat(luminance)
    cone = ground.position.copy()
    cone[..., 2] = 1.5 * np.hypot(*PLACE) * TEXEL
    middle = SIZE // 2, SIZE // 2
    on_plane, in_cone = (shading_height(g)[middle] for g in (ground, replace(ground, position=cone)))
    assert on_plane < in_cone <= 0


@pytest.mark.parametrize("sides", [(slice(0, 60), slice(None)), (slice(None), slice(100, None))])
def test_outside_of_the_skin_there_is_nothing(sides):
    ground = flat(0.6 - 0.08 * spot(2))
    valid = ground.valid.copy()
    valid[sides] = False
    assert not shading_height(replace(ground, valid=valid))[~valid].any()
