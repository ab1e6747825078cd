"""Patches: the random fields they are drawn from, their surfaces and rays, photos that agree on the truth."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.lab.training.patches import SkinPatch, draw_patch, patch_tile
from mesoface.lab.training.patches.cameras import draw_directions, draw_pose
from mesoface.lab.training.patches.fields import hairs, spots, waves, wrinkles
from mesoface.lab.training.patches.patch import draw_space, middle_of, moved, true_displacement
from mesoface.lab.training.patches.photo import Flaws, first_hits
from mesoface.lab.training.patches.surface import (
    Bend,
    HeightField,
    draw_phone_scale,
    draw_scale,
    draw_surface,
    faded,
)
from mesoface.matching.displacement import find_peak
from mesoface.matching.ncc import choose_pairs, ncc_scores, prepare_image
from mesoface.uvd.maps import grid_faces
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import cast_visibility

N = 192


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("slope", [1.0, 3.0])
def test_power_falls_as_told(slope):
    fields = [waves(np.random.default_rng(k), N, shortest=2, longest=N, slope=slope) for k in range(12)]
    power = np.mean(np.abs(np.fft.fft2(fields)) ** 2, axis=0)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N)))
    band = (f > 0.02) & (f < 0.2)
    measured, _ = np.polyfit(np.log(f[band]), np.log(power[band]), 1)
    assert -measured == pytest.approx(slope, abs=0.15)


@pytest.mark.parametrize(("shortest", "longest"), [(4, 40), (60, 192)])
def test_waves_stay_in_their_band(shortest, longest):
    field = waves(rng(), N, shortest=shortest, longest=longest, slope=2)
    assert field.mean() == pytest.approx(0, abs=0.05)
    assert field.std() == pytest.approx(1, abs=0.05)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N)))
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2
    assert power[(f > 1.3 / shortest)].sum() < 0.01 * power.sum()
    assert power[(f < 0.8 / longest)].sum() < 0.01 * power.sum()


def test_lone_spots_have_their_size_and_height():
    field = spots(rng(), N, sigma=3, density=0.0008)
    assert field.min() >= 0
    assert 0.25 < field.max() < 1.1
    row, column = np.unravel_index(field.argmax(), field.shape)
    assert field[row, (column + 3) % N] == pytest.approx(field.max() * np.exp(-0.5), rel=0.15)


def test_wrinkles_and_hairs_stay_between_none_and_all():
    drawn = wrinkles(rng(), N, spacing=24, width=3), hairs(rng(), N, width=2, length=30, density=2)
    for field in drawn:
        assert 0 <= field.min() < 0.05
        assert 0.7 < field.max() <= 1
        assert field.shape == (N, N)
    assert hairs(rng(), N, width=2, length=30, density=0).max() == 0


SPACING = 0.1


def sampled(function, n: int = 192) -> HeightField:
    flat = HeightField(np.zeros((n, n), np.float32), SPACING)
    x, y = flat.plane()
    return replace(flat, z=(function(x, y) + 0 * x * y).astype(np.float32))


def camera_at(center, size: int = 96, pixel: float = 0.15) -> Camera:
    R, t = look_at(center, (0, 0, 0))
    focal = float(np.linalg.norm(center)) / pixel
    middle = (size - 1) / 2
    return Camera(np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), R, t, size, size)


def as_mesh(heights: HeightField) -> Mesh:
    x, y = heights.plane()
    grid = np.stack(np.broadcast_arrays(x, y, heights.z), -1).astype(np.float64)
    return Mesh(grid.reshape(-1, 3), grid_faces(np.ones(heights.z.shape, bool)))


def test_convention_rows_run_down_and_columns_right():
    tilted = sampled(lambda x, y: 0.3 * x + 0.1 * y)
    assert tilted.at(np.array([[2.0, 1.0]])) == pytest.approx(0.7, abs=1e-5)
    np.testing.assert_allclose(tilted.index(np.array([2.0, 1.0])), [95.5 + 20, 95.5 - 10])
    normal = np.array([-0.3, -0.1, 1]) / np.linalg.norm([0.3, 0.1, 1])
    np.testing.assert_allclose(tilted.normals()[50, 60], normal, atol=1e-4)


def test_texels_are_evenly_spaced_along_a_bent_base():
    bend = Bend(1 / 9)
    t = bend.at_arc(np.linspace(-12, 12, 49))
    points = np.column_stack([t, bend.height(t)])
    np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 0.5, rtol=4e-3)
    np.testing.assert_allclose(bend.height(np.array([0.1])), -0.01 / 18, rtol=1e-3)  # a circle's sagitta
    assert (np.abs(np.diff(points[:, 1]) / np.diff(points[:, 0])) < 1.6).all()


@pytest.mark.parametrize("center", [(0, 0, 600), (350, 100, 450), (-500, 200, 300)])
def test_rays_hit_where_embree_says(center):
    waves = sampled(lambda x, y: 1.2 * np.sin(x / 1.1) * np.cos(y / 1.6) - x**2 / 60)
    camera = camera_at(center)
    column, row = first_hits(camera, waves, 2)
    # The mean of the rays in a pixel is the ray through its centre, to second order.
    column, row = (a.reshape(96, 2, 96, 2).mean((1, 3)) for a in (column, row))
    hits = RayCaster(as_mesh(waves)).render(camera)
    mesh = as_mesh(waves)
    expected = waves.index(hits.interpolate(mesh.vertices, mesh.faces)[:, :2]).reshape(96, 96, 2)
    away = np.hypot(column - expected[..., 0], row - expected[..., 1])[hits.hit.reshape(96, 96)]
    # A sample is a quarter of a texel; edges of what hides itself differ by whole waves.
    assert np.median(away) < 0.05
    assert np.mean(away < 0.5) > 0.93


def test_the_nearer_of_two_hills_hides_the_valley():
    hills = sampled(lambda x, y: 2.5 * np.exp(-((np.abs(x) - 4) ** 2)))
    camera = camera_at((600, 0, 160))  # low, from the right: the foot of the right hill's far side is hidden
    column, _ = first_hits(camera, hills, 2)
    x = (column - (hills.size - 1) / 2) * SPACING
    seen = np.histogram(x, np.arange(-8, 8.5, 0.5))[0]
    hidden = (np.arange(-8, 8, 0.5) >= 0) & (np.arange(-8, 8, 0.5) < 2.5)
    assert seen[hidden].max() < 0.1 * seen.max()


def flat_space(half: float, n: int) -> UVDSpace:
    """n × n texels of a square of the plane, ``half`` mm to each side of its middle."""
    line = np.linspace(-half, half, n)
    x, y = np.meshgrid(line, -line)
    normal = np.tile(np.float32([0, 0, 1]), (n, n, 1))
    return UVDSpace(np.stack([x, y, 0 * x], -1).astype(np.float32), normal, np.ones((n, n), bool))


def test_truth_of_a_plane_and_of_a_sphere():
    flat = flat_space(3, 24)
    x = np.tile(np.linspace(-3, 3, 24), (24, 1))
    tilted = sampled(lambda x, y: 0.2 * x + 0.4)
    np.testing.assert_allclose(true_displacement(flat, tilted, 3.0), 0.2 * x + 0.4, atol=2e-3)
    # Along slanted normals the surface is further.
    slanted = replace(flat, normal=np.broadcast_to(np.array([0.6, 0, 0.8], np.float32), flat.normal.shape))
    expected = (0.2 * x + 0.4) / (0.8 - 0.2 * 0.6)
    np.testing.assert_allclose(true_displacement(slanted, tilted, 3.0), expected, atol=2e-3)


def test_truth_is_nan_where_the_surface_is_out_of_reach():
    space = flat_space(1, 8)
    assert np.isnan(true_displacement(space, sampled(lambda x, y: 2.6), 1.0)).all()
    assert np.isfinite(true_displacement(space, sampled(lambda x, y: 2.4), 1.0)).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_truth_lies_on_the_surface(seed):
    rng = np.random.default_rng(seed)
    scale = draw_scale(rng, 32)
    surface = draw_surface(rng, scale)
    space = middle_of(draw_space(rng, surface, scale))
    truth = true_displacement(space, surface.heights, scale.reach * scale.step * space.texel_mm)
    points = space.displaced(truth).astype(np.float64)
    above = points[..., 2] - surface.heights.at(points[..., :2])
    assert np.isfinite(truth).mean() > 0.9
    assert np.nanmax(np.abs(above)) < 0.01 * space.texel_mm


def test_moving_the_world_moves_positions_and_turns_normals():
    along_x = np.tile(np.float32([1, 0, 0]), (4, 4, 1))
    space = UVDSpace(np.ones_like(along_x), along_x, np.ones((4, 4), bool))
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    there = moved(space, turn, np.array([0.0, 0, 5]))
    np.testing.assert_allclose(there.position[0, 0], [-1, 1, 6])
    np.testing.assert_allclose(there.normal[0, 0], [0, 1, 0])


def test_every_pose_is_seen_by_two_cameras():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        directions = draw_directions(rng)
        pose = draw_pose(rng, directions)
        np.testing.assert_allclose(pose @ pose.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose) > 0
        assert (directions @ pose[:, 2] > 0.3).sum() >= 2


SIZE = 48
SEEDS = range(8)


@lru_cache(maxsize=32)
def patch(seed: int, ideal: bool) -> SkinPatch:
    return draw_patch(np.random.default_rng(seed), size=SIZE, ideal=ideal)


def disagreement(patch: SkinPatch, displacement: np.ndarray) -> float:
    """Median variance, over the views that see a texel well, of what they show at ``displacement``."""
    points = patch.space.displaced(np.nan_to_num(displacement))

    def shown(view: View) -> np.ndarray:
        x, y = np.moveaxis(view.camera.project(points)[0].astype(np.float32), -1, 0)
        return cv2.remap(view.image, x, y, cv2.INTER_CUBIC).mean(-1)

    colour = np.stack([shown(view) for view in patch.views])
    weight = patch.visibility > 0.6
    mean = (colour * weight).sum(0) / np.maximum(weight.sum(0), 1)
    variance = (weight * (colour - mean) ** 2).sum(0) / np.maximum(weight.sum(0) - 1, 1)
    # The median: what hides itself by less than the ray casting's tolerance disagrees rightly.
    return float(np.median(variance[weight.sum(0) >= 2]))


@pytest.mark.parametrize("seed", SEEDS)
def test_ideal_photos_agree_at_the_truth_and_not_beside_it(seed):
    drawn = patch(seed, True)
    at_truth = disagreement(drawn, drawn.truth)
    assert np.sqrt(at_truth) < 0.02
    for aside in (-1, 1):
        assert disagreement(drawn, drawn.truth + aside * drawn.step_mm) > at_truth


def test_the_truth_is_where_they_agree_best_to_a_fiftieth_of_a_texel():
    offsets = []
    for seed in SEEDS:
        drawn = patch(seed, True)
        aside = np.linspace(-0.75, 0.75, 5)
        costs = [disagreement(drawn, drawn.truth + k * drawn.step_mm) for k in aside]
        a, b, _ = np.polyfit(aside, costs, 2)
        offsets.append(-b / (2 * a) * drawn.step_mm / drawn.space.texel_mm)
    assert abs(np.median(offsets)) < 0.02


def test_the_classical_matcher_finds_the_truth_on_ideal_photos():
    errors = []
    for seed in SEEDS:
        drawn = patch(seed, True)
        cameras = [view.camera for view in drawn.views]
        pairs = choose_pairs(cameras, drawn.space.position.reshape(-1, 3).mean(0))
        images = [prepare_image(view, drawn.space, 1.5, drawn.reach_mm) for view in drawn.views]
        count = round(drawn.reach_mm / drawn.step_mm)
        steps = np.arange(-count, count + 1) * drawn.step_mm
        scores = ncc_scores(drawn.space, images, drawn.visibility, pairs, steps, 2.0, threads=1)
        seen = (drawn.visibility > 0.4).sum(0) >= 2
        error = np.abs(find_peak(scores, steps).displacement - drawn.truth)[seen] / drawn.step_mm
        errors.append(np.nanmedian(error))
    assert np.median(errors) < 0.3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_patch_is_what_a_level_of_the_cascade_starts_from(seed):
    drawn = patch(seed, False)
    assert drawn.space.size == SIZE
    assert drawn.space.valid.all()
    assert 0.12 < drawn.space.texel_mm < 4.5
    np.testing.assert_allclose(np.linalg.norm(drawn.space.normal, axis=-1), 1, atol=1e-4)
    assert 0.2 < drawn.step_mm / drawn.space.texel_mm < 0.61
    assert 4 <= round(drawn.reach_mm / drawn.step_mm) <= 12
    assert drawn.truth.dtype == np.float32
    assert (np.abs(drawn.truth) < drawn.reach_mm).mean() > 0.85
    assert 2 <= len(drawn.views) <= 12
    assert all(view.image.min() >= 0 and view.image.max() <= 1 for view in drawn.views)
    assert ((drawn.visibility > 0).sum(0) >= 2).mean() > 0.5
    # Like ray casting against the patch alone, but for what its surroundings and occluders hide.
    alone = cast_visibility(drawn.space, drawn.views)
    assert np.mean(drawn.visibility <= alone + 0.1) > 0.95
    assert np.mean(np.abs(drawn.visibility - alone) < 0.1) > 0.5


def test_the_same_chance_gives_the_same_patch():
    again = draw_patch(np.random.default_rng(3), size=SIZE)
    np.testing.assert_array_equal(again.truth, patch(3, False).truth)
    for view, other in zip(again.views, patch(3, False).views, strict=True):
        np.testing.assert_array_equal(view.image, other.image)
        np.testing.assert_array_equal(view.camera.P, other.camera.P)
    assert not np.array_equal(patch(4, False).truth, patch(3, False).truth)


def test_sizes_and_flaws_cover_their_ranges():
    """Fine and coarse texels, few and many views, sharp and noisy photos are all among a few patches."""
    drawn = [patch(seed, False) for seed in SEEDS]
    texels = [one.space.texel_mm for one in drawn]
    assert min(texels) < 0.45 < 0.8 < max(texels)
    assert min(len(one.views) for one in drawn) <= 4 < 7 <= max(len(one.views) for one in drawn)

    def grain(one: SkinPatch) -> float:
        return float(np.median([np.abs(cv2.Laplacian(view.image, cv2.CV_32F)).mean() for view in one.views]))

    assert max(map(grain, drawn)) > 3 * min(map(grain, drawn))


def test_a_tile_holds_the_patch():
    tile, drawn = patch_tile(np.random.default_rng(5), SIZE), patch(5, False)
    np.testing.assert_array_equal(tile.truth, drawn.truth)
    assert tile.step_mm == drawn.step_mm
    assert tile.reach_mm == drawn.reach_mm
    assert 2 <= len(tile.images) <= len(drawn.views)
    np.testing.assert_allclose(tile.position.reshape(-1, 3).mean(0), 0, atol=1e-3)
    # The photos are brought to 1.5 pixels a texel, and the patch lies well inside of them.
    for image, P in zip(tile.images, tile.projections, strict=True):
        xyw = np.c_[tile.position.reshape(-1, 3), np.ones(SIZE * SIZE)] @ P.T
        pixels = xyw[:, :2] / xyw[:, 2:]
        assert (pixels > 1).all()
        assert (pixels < np.array(image.shape[1::-1]) - 2).all()


def test_frames_of_a_video_are_few_as_often_as_many():
    rng = np.random.default_rng(0)
    counts = [len(draw_directions(rng, video=True)) for _ in range(1000)]
    assert min(counts) == 3
    assert 36 < max(counts) <= 40
    assert 10 <= np.median(counts) <= 12, "√(3 · 40) is 11"


def test_a_patch_as_a_phone_takes_it_is_the_same_every_time_and_another():
    once, again = (draw_patch(np.random.default_rng(3), size=16, phone=True) for _ in range(2))
    np.testing.assert_array_equal(again.truth, once.truth)
    for view, other in zip(again.views, once.views, strict=True):
        np.testing.assert_array_equal(view.image, other.image)
        np.testing.assert_array_equal(view.camera.P, other.camera.P)
    studio = draw_patch(np.random.default_rng(3), size=16)
    assert len(once.views) != len(studio.views) or once.step_mm != studio.step_mm


def test_flaws_of_a_phone_cover_their_ranges():
    rngs = [np.random.default_rng(seed) for seed in range(200)]
    scales = [draw_phone_scale(rng, 64) for rng in rngs]
    pixels = [scale.photo_mm for scale in scales]
    assert 0.05 <= min(pixels) < 0.1 < 0.9 < max(pixels) <= 1.0
    flaws = [Flaws.draw_phone(rng, scale) for rng, scale in zip(rngs, scales, strict=True)]
    off = [one.sensor.calibration_px for one in flaws]
    assert 1.2 < max(off) <= 1.5
    contrast = [one.sensor.skin_contrast for one in flaws]
    assert 1 / 3 <= min(contrast) < 0.4 < 0.95 < max(contrast) <= 1
    assert 0.3 < np.mean([one.sensor.video_qp > 0 for one in flaws]) < 0.7
    assert all((one.sensor.video_qp > 0) != (one.jpeg_quality is not None) for one in flaws[:50])


def test_faded_colour_keeps_its_mean_and_a_share_of_its_contrast():
    albedo = np.random.default_rng(0).uniform(0.1, 0.8, (32, 32, 3)).astype(np.float32)
    low = faded(albedo, 0.25)
    np.testing.assert_allclose(np.log(low).mean((0, 1)), np.log(albedo).mean((0, 1)), atol=1e-4)
    np.testing.assert_allclose(np.log(low).std((0, 1)), 0.25 * np.log(albedo).std((0, 1)), rtol=1e-3)


def test_a_patch_of_a_few_texels_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        draw_patch(np.random.default_rng(0), size=8)
