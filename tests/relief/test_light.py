"""Light told from texture and form."""

import numpy as np
import pytest

from mesoface.relief.inputs import slopes
from mesoface.relief.light import fit_illumination, light_slopes


def test_the_fitted_light_changes_as_the_true_one(lit):
    ground = lit.ground
    light = fit_illumination(ground.color, ground.normal, ground.valid)
    assert light is not None
    fitted = light.log_gradient(ground.normal)
    for field in (fitted, lit.gradient):  # only along the surface does it show
        field -= np.einsum("hwk,hwk->hw", field, ground.normal)[..., None] * ground.normal
    error = np.linalg.norm(fitted - lit.gradient, axis=-1)
    assert np.median(error / np.linalg.norm(lit.gradient, axis=-1)) < 0.35
    assert light.spread < 0.1


def test_light_slopes_say_how_relief_is_shaded(lit):
    """Convention: luminance rises where the slope leans towards the light; rows count downwards."""
    ground = lit.ground
    light = fit_illumination(ground.color, ground.normal, ground.valid)
    columns, rows = slopes(lit.bumps / ground.texel_mm)
    told = light_slopes(light, ground.form, ground.normal, ground.texel_mm)
    shading = told[..., 0] * columns + told[..., 1] * rows
    luminance = np.log(ground.color.mean(-1))
    inside = slice(20, -20)
    local = luminance - np.mean(luminance, axis=1, keepdims=True)
    assert np.corrcoef(shading[inside, inside].ravel(), local[inside, inside].ravel())[0, 1] > 0.6


def test_gradient_is_that_of_the_luminance(lit):
    ground = lit.ground
    light = fit_illumination(ground.color, ground.normal, ground.valid)
    step = np.float32(1e-3) * np.array([0.6, -0.3, 0.2], np.float32)
    ahead, behind = (np.log(light.luminance(ground.normal + sign * step)) for sign in (1, -1))
    told = light.log_gradient(ground.normal) @ (2 * step)
    np.testing.assert_allclose(told, ahead - behind, atol=2e-6)


def test_nothing_is_told_of_a_few_texels(lit):
    few = np.zeros_like(lit.ground.valid)
    few[:10, :10] = True
    assert fit_illumination(lit.ground.color, lit.ground.normal, few) is None
    unknown = light_slopes(None, lit.ground.form, lit.ground.normal, 0.2)
    assert unknown.shape == (*few.shape, 2)
    assert not unknown.any()


@pytest.mark.parametrize("exposure", [0.5, 1.8])
def test_exposure_does_not_matter(lit, exposure):
    """As far as nothing clips: luminance is compared with its own median."""
    ground = lit.ground
    linear = np.clip(ground.color, 0, 1) ** 2.2
    color = np.clip(linear * exposure, 0, 1) ** (1 / 2.2)
    first = fit_illumination(ground.color, ground.normal, ground.valid)
    second = fit_illumination(color.astype(np.float32), ground.normal, ground.valid)
    difference = first.log_gradient(ground.normal) - second.log_gradient(ground.normal)
    assert np.median(np.abs(difference)) < 0.1
