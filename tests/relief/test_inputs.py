"""What the relief network looks at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mesoface.files.images import decode_srgb, encode_srgb
from mesoface.relief.inputs import (
    CHANNELS,
    fit_illumination,
    high_pass,
    light_slopes,
    make_inputs,
    slopes,
)
from mesoface.relief.network import ReliefGenerator


def inputs(seed: int = 0, size: int = 64, gain: float = 1.0):
    rng = np.random.default_rng(seed)
    linear = (0.2 + 0.1 * rng.random((size, size, 3))).astype(np.float32)
    color = encode_srgb(np.float32(gain) * linear)
    light = rng.normal(0, 0.5, (size, size, 2)).astype(np.float32)
    measured = rng.normal(0, 0.3, (size, size)).astype(np.float32)
    valid = np.ones((size, size), bool)
    valid[:10] = False
    return make_inputs(color, light, measured, valid), valid


def test_maps_are_finite_and_empty_where_there_is_no_skin():
    maps, valid = inputs()
    assert maps.shape == (CHANNELS, 64, 64)
    assert np.isfinite(maps).all()
    assert not maps[:, ~valid].any()
    assert (maps[-1] == valid).all()


def test_exposure_changes_nothing():
    np.testing.assert_allclose(inputs(gain=1.0)[0], inputs(gain=2.0)[0], atol=2e-2)


def test_correlation_says_whether_form_explains_what_is_seen():
    rng = np.random.default_rng(1)
    n = 96
    height = cv2.GaussianBlur(rng.normal(0, 3, (n, n)).astype(np.float32), (0, 0), 4)
    light = np.zeros((n, n, 2), np.float32)
    light[..., 0] = 0.8
    columns, _ = slopes(height)
    shaded = 0.3 * np.exp(0.8 * columns)[..., None] * np.ones(3, np.float32)
    pigment = cv2.GaussianBlur(rng.normal(0, 1, (n, n)).astype(np.float32), (0, 0), 4)
    spotted = 0.3 * np.exp(0.5 * pigment / pigment.std() * columns.std())[..., None] * np.ones(3, np.float32)
    valid = np.ones((n, n), bool)
    colors = encode_srgb(shaded), encode_srgb(spotted)
    explained, unexplained = (make_inputs(color, light, height, valid)[8].mean() for color in colors)
    assert explained > 2.5  # of 3
    assert abs(unexplained) < 1


def test_the_high_pass_takes_away_what_is_smooth():
    y, x = np.mgrid[:128, :128].astype(np.float32)
    valid = np.ones((128, 128), bool)
    inner = slice(30, -30)
    smooth = 0.2 * np.sin(x / 40) + 0.01 * y
    assert np.abs(high_pass(smooth, valid)[inner, inner]).max() < 0.01
    fine = np.sin(2 * np.pi * x / 6).astype(np.float32)
    np.testing.assert_allclose(high_pass(fine, valid)[inner, inner], fine[inner, inner], atol=0.01)


def test_decoding_is_the_inverse_of_encoding():
    linear = np.linspace(0, 1, 100, dtype=np.float32)
    np.testing.assert_allclose(decode_srgb(encode_srgb(linear)), linear, atol=1e-5)


def test_slopes_are_per_texel_along_columns_and_rows():
    y, x = np.mgrid[:8, :8].astype(np.float32)
    columns, rows = slopes(0.5 * x - 0.25 * y)
    np.testing.assert_allclose(columns[1:-1, 1:-1], 0.5)
    np.testing.assert_allclose(rows[1:-1, 1:-1], -0.25)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, CHANNELS, 60, 64), (CHANNELS, 64, 64)])
def test_the_network_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="divisible by 8"):
        ReliefGenerator()(torch.zeros(shape))


def test_the_network_answers_at_full_resolution():
    assert ReliefGenerator()(torch.zeros(2, CHANNELS, 64, 48)).shape == (2, 1, 64, 48)


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
