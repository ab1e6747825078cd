"""The levels of a tracked frame, and its relief: carried along where the frame cannot resolve it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.sequence.warm import levels_of, with_relief
from mesoface.surface.fine import smooth_base
from mesoface.uvd.space import Match, UVDSpace

SIZE, TEXEL = 160, 0.3
FINEST = 0.45  # mm that a frame's own level can tell
ALL = np.ones((SIZE, SIZE), bool)


def surface(height):
    x, y = np.meshgrid(np.arange(SIZE) * TEXEL, -np.arange(SIZE) * TEXEL)
    position = np.stack([x, y, height], -1).astype(np.float32)
    normal = np.zeros_like(position)
    normal[..., 2] = 1
    return Match(
        UVDSpace(position, normal, ALL), ALL, np.ones((SIZE, SIZE), np.float32), (), np.zeros(0), (), ()
    )


def noise(sigma_mm, strength, seed):
    white = np.random.default_rng(seed).normal(size=(SIZE, SIZE)).astype(np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), sigma_mm / TEXEL)
    return strength * smooth / smooth.std()


def detail(match):
    base = smooth_base(match.space, match.measured)
    return np.einsum("hwk,hwk->hw", match.space.position - base.position, base.normal)


def rms(a):
    return float(np.sqrt((a[20:-20, 20:-20] ** 2).mean()))


def test_noise_is_averaged_and_pores_stay():
    pores = noise(0.3, 0.03, 1)
    now = surface(pores + noise(0.35, 0.02, 2))
    fused = with_relief(now, detail(surface(pores)), ALL, 4, finest_mm=FINEST)
    truth = surface(pores)
    assert rms(detail(fused) - detail(truth)) < 0.6 * rms(detail(now) - detail(truth))


def test_what_this_frame_was_too_coarse_for_is_carried():
    pores = noise(0.25, 0.03, 1)
    coarse = cv2.GaussianBlur(pores, (0, 0), FINEST / TEXEL)
    fused = with_relief(surface(coarse), detail(surface(pores)), ALL, 1, finest_mm=FINEST)
    truth = detail(surface(pores))
    assert rms(detail(fused) - truth) < 0.5 * rms(detail(surface(coarse)) - truth)


def test_large_relief_is_this_frame_s_own():
    fold = noise(3.0, 0.3, 5)
    fused = with_relief(surface(fold), np.zeros((SIZE, SIZE), np.float32), ALL, 4, finest_mm=FINEST)
    assert rms(detail(fused) - detail(surface(fold))) < 0.1 * rms(detail(surface(fold)))


def test_a_wrinkle_that_comes_is_not_held_back():
    wrinkle = np.zeros((SIZE, SIZE), np.float32)
    wrinkle[78:82] = -0.5
    wrinkle = cv2.GaussianBlur(wrinkle, (0, 0), 1.0)
    fused = with_relief(surface(wrinkle), np.zeros((SIZE, SIZE), np.float32), ALL, 4, finest_mm=FINEST)
    depth = fused.space.position[78:82, 40:-40, 2].mean()
    assert depth < 0.8 * wrinkle[78:82, 40:-40].mean()


@pytest.mark.parametrize("known", [False, True])
def test_nothing_is_made_up_where_nothing_was_known(known):
    now, kept = surface(noise(0.3, 0.03, 9)), np.full((SIZE, SIZE), known)
    fused = with_relief(now, noise(0.3, 0.03, 1), kept, 4, finest_mm=FINEST)
    changed = np.abs(fused.space.position - now.space.position).max() > 1e-6
    assert changed == known


@pytest.mark.parametrize(
    ("preset", "enlarged", "largest", "sizes"),
    [
        ("fast", 4.0, 1024, [256, 512, 512]),
        ("default", 4.0, 1024, [256, 512, 640]),
        ("best", 4.0, 1024, [256, 512, 768]),
        ("default", 1.0, 1024, [256, 512, 512]),
        ("best", 1.0, 1024, [256, 512, 512]),
        ("default", 4.0, 512, [256, 512, 512]),
        ("best", 4.0, 256, [256]),
    ],
)
def test_levels_are_as_fine_as_the_photos_and_the_first_frame(plate, preset, enlarged, largest, sizes):
    """A pixel of the plate's photos is some 0.5 mm; a texel 0.35 mm at 512², 0.28 at 640²."""
    zoom = (enlarged, enlarged, 1.0)
    views = [
        replace(view, camera=replace(view.camera, K=(view.camera.K.T * zoom).T)) for view in plate.views()
    ]
    levels = levels_of(preset, views, plate.space(), largest)
    assert [level.size for level in levels] == sizes
