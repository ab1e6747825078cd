"""Sizes, bands and threads change nothing but the resolution."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mesoface.texture.lookup import enlarge_rows
from mesoface.texture.paint import paint
from mesoface.texture.plan import plan_texture


@pytest.fixture(scope="module")
def plan(cap):
    return plan_texture(cap.skin, [cap.photograph(angle) for angle in (-20, 20)])


def test_threads_do_not_matter(plan):
    np.testing.assert_array_equal(paint(plan, 200, threads=1), paint(plan, 200, threads=3))


@pytest.mark.parametrize("size", [64, 100, 300])
def test_any_size_shows_the_same(plan, cap, size):
    color = paint(plan, size)
    assert color.shape == (size, size, 3)
    assert color.dtype == np.float32
    reference = cv2.resize(paint(plan, 512), (size, size), interpolation=cv2.INTER_AREA)
    inner = cap.inner(size)
    assert np.abs(color - reference)[inner].mean() < 0.02


def test_progress_is_told_of_every_photo(plan):
    calls = []
    paint(plan, 64, progress=lambda *call: calls.append(call))
    assert calls == [("Texture", 0, 2), ("Texture", 1, 2), ("Texture", 2, 2)]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize(("old", "size"), [(16, 64), (50, 130), (40, 40), (64, 20)])
def test_bands_are_the_whole_map_in_pieces(old, size, channels):
    values = np.random.default_rng(1).random((old, old, *channels), np.float32)
    whole = enlarge_rows(values, range(size), size)
    bands = [enlarge_rows(values, range(start, min(start + 7, size)), size) for start in range(0, size, 7)]
    np.testing.assert_allclose(np.concatenate(bands), whole, atol=1e-6)
    if size >= old:
        np.testing.assert_allclose(
            whole, cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR), atol=1e-5
        )


def test_convention_texel_centres_at_half_integers():
    """A ramp in u and v keeps its values at the texels' own (u, v)."""
    at = (np.arange(32) + 0.5) / 32
    ramp = np.stack(np.meshgrid(at, at), -1).astype(np.float32)
    fine = (np.arange(96) + 0.5) / 96
    expected = np.clip(np.stack(np.meshgrid(fine, fine), -1), at[0], at[-1])
    np.testing.assert_allclose(enlarge_rows(ramp, range(96), 96), expected, atol=1e-6)
