"""The parts of the method alone, as a script of ten lines uses them: no capture on disk, no face model."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mesoface.matching.cascade import choose_matcher, match
from mesoface.matching.displacement import find_peak, smooth_robustly
from mesoface.matching.lookup import compare_views, look_up
from mesoface.matching.matcher import Level, LevelInput, Measurement, well_seen
from mesoface.uvd.space import build_uvd_space
from mesoface.uvd.visibility import cast_visibility


def gradients(image):
    """Features of one's own: (4, h, w), what a photo's brightness does in four directions, of unit length."""
    grey = cv2.GaussianBlur(image.mean(-1), (0, 0), 1.0)
    slopes = [cv2.Sobel(grey, cv2.CV_32F, dx, dy) for dx, dy in ((1, 0), (0, 1), (2, 0), (0, 2))]
    stacked = np.stack(slopes)
    return stacked / (np.linalg.norm(stacked, axis=0) + 0.02)


class GradientMatcher:
    """A matcher of one's own, from parts."""

    presets = {"default": (Level(64, 5.0, 0.5, 4.0, 9.0), Level(128, 2.0, 0.25, 2.0, 4.0))}  # noqa: RUF012

    def measure(self, start: LevelInput) -> Measurement:
        features = [gradients(view.image) for view in start.views]
        cameras, steps = [view.camera for view in start.views], start.level.steps
        scores = compare_views(features, cameras, start.space, start.visibility, steps)
        peak = find_peak(np.stack([cv2.GaussianBlur(s, (0, 0), 2.0) for s in scores]), steps)
        trust = (well_seen(start) * np.clip(peak.score, 0, 1) * peak.interior).astype(np.float32)
        how = {"stiffness": 0.25, "sigma": 1.0, "scale_mm": 0.5}
        return Measurement(*smooth_robustly(peak.displacement, trust, start.space.valid, **how))


@pytest.fixture(scope="module")
def base(scenes):
    """A base mesh with UVs that lies 2 mm outside of the true surface, and all of its faces."""
    mesh = scenes.cap(bumps=0.0, offset=2.0).mesh()
    return mesh, np.ones(len(mesh.faces), bool)


@pytest.fixture(scope="module")
def space(base):
    return build_uvd_space(*base, 48)


def test_a_uvd_space_from_any_mesh_with_uvs(space):
    assert space.position.shape == space.normal.shape == (48, 48, 3)
    np.testing.assert_allclose(np.linalg.norm(space.position[space.valid], axis=-1), 82.0, atol=0.1)


@pytest.mark.parametrize("channels", [1, 17])
def test_any_features_are_looked_up(scenes, space, channels):
    camera, steps = scenes.camera(10.0), np.array([-1.0, 0.0, 2.0])
    rows, columns = np.mgrid[: camera.height, : camera.width]
    features = np.stack([k * columns + rows for k in range(channels)]).astype(np.float32)
    found = look_up(features, camera, space, steps)
    assert found.shape == (channels, 3, 48, 48)
    for k, step in enumerate(steps):
        pixels, _ = camera.project(space.displaced(np.full((48, 48), step)))
        expected = (channels - 1) * pixels[..., 0] + pixels[..., 1]
        np.testing.assert_allclose(found[-1, k], expected, rtol=1e-4)
    in_torch = look_up(torch.from_numpy(features), camera, space, steps)
    torch.testing.assert_close(in_torch, torch.from_numpy(found))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_views_agree_where_the_surface_is(scenes, space, kind):
    views = scenes.views()
    features = [kind(gradients(view.image)) for view in views]
    cameras, steps = [view.camera for view in views], np.arange(-4.0, 1.0)
    scores = compare_views(features, cameras, space, cast_visibility(space, views), steps, groups=2)
    assert type(scores) is type(features[0])
    mean = np.asarray(scores)[:, space.valid].mean(1)
    assert abs(steps[mean.argmax()] + 2.0) <= 1.0


def test_what_does_not_fit_together_is_refused(scenes, space):
    view = scenes.photograph(0.0)
    with pytest.raises(ValueError, match="must be \\(C, h, w\\)"):
        look_up(view.image[..., 0], view.camera, space, np.zeros(1))
    features = [gradients(view.image)] * 2
    seen = np.ones((2, 48, 48), np.float32)
    with pytest.raises(ValueError, match="2 photos, 1 cameras"):
        compare_views(features, [view.camera], space, seen, np.arange(3.0))
    with pytest.raises(ValueError, match="6 channels are not 3 groups"):
        compare_views(features, [view.camera] * 2, space, seen, np.arange(3.0), groups=3)


def errors(scenes, found):
    """(N,) distances of what was measured from the true surface, mm."""
    return np.abs(scenes.cap().distance(found.space.position))[found.measured & found.space.valid]


def test_a_matcher_of_one_s_own(scenes, base):
    found = match(lambda size: build_uvd_space(*base, size), scenes.views(size=480), GradientMatcher())
    assert np.median(errors(scenes, found)) < 0.3


@pytest.mark.parametrize(
    ("name", "sizes"), [("ncc", (64, 128)), ("learned", (64, 128)), ("learned", (64, 512))]
)
def test_plain_levels_of_one_s_own(scenes, base, name, sizes):
    coarse, fine = sizes
    levels = Level(coarse, 6.0, 0.6, 2.0, 4.0), Level(fine, 1.5, 0.3, 1.0, 2.0)
    matcher = choose_matcher(name, threads=1)
    found = match(lambda size: build_uvd_space(*base, size), scenes.views(size=480), matcher, levels=levels)
    assert found.space.size == fine
    assert np.median(errors(scenes, found)) < 0.2


def test_a_plain_level_measures_alone(scenes, base):
    space, views = build_uvd_space(*base, 96), tuple(scenes.views())
    level, sure = Level(96, 4.0, 0.4, 1.0, 2.0), np.ones((96, 96), np.float32)
    start = LevelInput(level, space, views, cast_visibility(space, views), sure)
    measured = choose_matcher("ncc").measure(start)
    moved = replace(space, position=space.displaced(measured.displacement))
    assert np.median(np.abs(scenes.cap().distance(moved.position))[measured.weight > 0.5]) < 0.3
