"""The photos show the true surface, through the cameras that come with them; smaller truths stand for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from scipy.ndimage import map_coordinates

from mesoface.geometry.camera import Camera, OpenCVLens, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.geometry.subdivision import split_long_edges
from mesoface.lab.synthesis.cameras import ray_grid
from mesoface.lab.synthesis.capture import SyntheticCapture, photograph
from mesoface.lab.synthesis.head import CoarseFace, coarse_truth
from mesoface.lab.synthesis.settings import SynthesisSettings


@pytest.fixture(scope="module")
def synthetic() -> SyntheticCapture:
    settings = SynthesisSettings(views=4, width=400, height=600, detail_mm=1.5)
    return photograph(seed=3, model="generic", settings=settings)


def sample(photo: np.ndarray, camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N,) brightness of points in a photo, smoothed over about a pixel."""
    column, row = camera.project(points)[0].T
    soft = cv2.GaussianBlur(photo.mean(-1), (0, 0), 0.7)
    return map_coordinates(soft, [row, column], order=1, mode="nearest")


def seen_by(
    synthetic: SyntheticCapture, camera: Camera, points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    view = camera.center - points
    facing = (normals * view).sum(1) > 0.5 * np.linalg.norm(view, axis=1)
    origins = np.broadcast_to(camera.center, points.shape)
    return facing & ~synthetic.scene.caster.blocked(origins, points, 0.5)


def disagreement(synthetic: SyntheticCapture, offset: float) -> float:
    """Median distance between neighbouring views' contrast patterns at the truth moved out by ``offset`` mm.

    Colours are compared as correlation of small patches of texture: what stereo matching sees.
    """
    truth, rng = synthetic.truth, np.random.default_rng(0)
    picked = rng.choice(len(truth.vertices), 1500, replace=False)
    normals = truth.vertex_normals()[picked]
    side = np.cross(normals, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(normals, side)
    steps = np.arange(-3, 4) * 1.1
    patch = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    centers = truth.vertices[picked]
    # Points of the patch lie on the true surface, then move along the centre's normal.
    flat = centers[:, None] + patch[:, :1] * side[:, None] + patch[:, 1:] * up[:, None]
    caster = RayCaster(truth)
    start = flat + 5 * normals[:, None]
    hits = caster.cast(start.reshape(-1, 3), np.repeat(-normals, len(patch), 0))
    depth = hits.distance.reshape(len(picked), -1)
    smooth = np.isfinite(depth).all(1) & (np.abs(depth - 5) < 3).all(1)
    points = start + (offset - np.where(smooth[:, None], depth, 5.0))[..., None] * normals[:, None]
    scores = []
    for i in range(len(synthetic.cameras) - 1):
        both = smooth.copy()
        looks = []
        for camera, photo in zip(synthetic.cameras[i : i + 2], synthetic.photos[i : i + 2], strict=True):
            both &= seen_by(synthetic, camera, centers, normals)
            grey = sample(photo, camera, points.reshape(-1, 3)).reshape(len(picked), -1)
            grey -= grey.mean(1, keepdims=True)
            looks.append(grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6))
        scores.append(1 - (looks[0] * looks[1]).sum(1)[both])
    return float(np.median(np.concatenate(scores)))


def test_views_agree_on_the_true_surface_and_nowhere_else(synthetic: SyntheticCapture) -> None:
    at_truth = disagreement(synthetic, 0.0)
    assert at_truth < 0.06
    for offset in (-1.0, 1.0):
        assert disagreement(synthetic, offset) > 3 * at_truth
    for offset in (-2.0, 2.0):
        assert disagreement(synthetic, offset) > 8 * at_truth


def test_silhouettes_agree(synthetic: SyntheticCapture) -> None:
    """Where rays hit the head the photo differs from the wall, and nowhere else."""
    for photo, camera in zip(synthetic.photos, synthetic.cameras, strict=True):
        hit = synthetic.scene.caster.render(camera).hit.reshape(photo.shape[:2])
        wall = np.median(photo[~hit], axis=0)
        differs = np.abs(photo.astype(float) - wall).max(-1) > 30
        inner = cv2.erode(hit.astype(np.uint8), np.ones((5, 5))) > 0
        outer = cv2.dilate(hit.astype(np.uint8), np.ones((5, 5))) == 0
        assert differs[inner].mean() > 0.95
        assert differs[outer].mean() < 0.01


def test_truth_is_the_face_alone_and_is_what_is_photographed(synthetic: SyntheticCapture) -> None:
    truth = synthetic.truth
    size = np.ptp(truth.vertices, axis=0)
    assert 110 < size[0] < 220
    assert 130 < size[1] < 280
    front = synthetic.cameras[len(synthetic.cameras) // 2]
    centers = truth.face_corners().mean(1)
    seen = seen_by(synthetic, front, centers, truth.face_normals())
    assert 0.3 < seen.mean() < 0.95
    hits = synthetic.scene.caster.cast(front.center, front.rays(front.project(centers[seen])[0]))
    gap = hits.distance - np.linalg.norm(centers[seen] - front.center, axis=1)
    assert np.mean(np.abs(gap) < 1e-3) > 0.995


def test_face_fills_the_picture(synthetic: SyntheticCapture) -> None:
    for camera in synthetic.cameras:
        pixels, depth = camera.project(synthetic.truth.vertices)
        assert (depth > 0).all()
        assert pixels.min() > -0.02 * camera.width
        assert (pixels.max(0) < [1.02 * camera.width, 1.02 * camera.height]).all()
        assert np.ptp(pixels[:, 1]) > 0.45 * camera.height


def test_cameras_span_the_asked_angle(synthetic: SyntheticCapture) -> None:
    middle = synthetic.truth.vertices.mean(0)
    direction = np.array([camera.center - middle for camera in synthetic.cameras])
    azimuth = np.degrees(np.arctan2(direction[:, 0], direction[:, 2]))
    assert abs(np.ptp(azimuth) - synthetic.subject.settings.spread_deg) < 8
    assert (np.diff(azimuth) > 10).all()


def test_quick_rays_are_the_cameras_own() -> None:
    R, t = look_at((100, 50, 900), (0, 0, 0))
    lens = OpenCVLens((-0.12, 0.1, 0.002, -0.001, 0.0))
    camera = Camera([[2000, 0, 210], [0, 2010, 290], [0, 0, 1]], R, t, 400, 600, lens)
    columns, rows = np.linspace(3, 391, 40), np.linspace(-0.4, 599.3, 50)
    pixels = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    back, _ = camera.project(camera.center + ray_grid(camera)(columns, rows))
    assert np.abs(back - pixels).max() < 1e-5


def test_number_of_views_does_not_change_the_head(synthetic: SyntheticCapture) -> None:
    settings = SynthesisSettings(views=2, width=64, height=96, detail_mm=1.5, supersample=1)
    other = photograph(seed=3, model="generic", settings=settings)
    np.testing.assert_array_equal(other.truth.vertices, synthetic.truth.vertices)


def test_in_memory_capture_is_undistorted_metric_and_the_seeds_own() -> None:
    small = SynthesisSettings(views=3, width=128, height=192, detail_mm=3, supersample=1)
    made = photograph(seed=4, model="generic", settings=small)
    capture, truth = made.undistorted(), made.truth
    assert len(capture) == 3
    assert capture.mm_per_unit == 1.0
    assert isinstance(truth, Mesh)
    other = photograph(seed=5, model="generic", settings=small).undistorted()
    assert np.abs(other.views[1].image.mean() - capture.views[1].image.mean()) > 1e-4
    for view in capture.views:
        assert view.camera.lens is None
        pixels, _ = view.camera.project(truth.vertices)
        assert np.abs(pixels.mean(0) - [64, 96]).max() < 40


@pytest.mark.parametrize("model", ["generic", pytest.param("ict", marks=pytest.mark.slow)])
def test_detector_finds_the_face_in_every_view(
    model: str, synthetic: SyntheticCapture, shared: Callable[[str], Path]
) -> None:
    from mesoface.landmarks import MediapipeDetector

    made, settings = synthetic, synthetic.subject.settings
    if model == "ict":
        made = photograph(seed=5, model=str(shared("ict/ict_facekit_mm.npz")), settings=settings)
    assert MediapipeDetector().detect(made.undistorted()).found.all()


def test_fit_is_better_than_sampling() -> None:
    ball = trimesh.creation.icosphere(3, 10.0)
    everywhere = np.ones(len(ball.faces), bool)
    vertices, faces, _, rounds = split_long_edges(ball.vertices, ball.faces, everywhere, 0.5)
    bumpy = vertices * (1 + 0.004 * np.sin(3 * vertices).sum(1, keepdims=True))
    coarse = CoarseFace(ball.faces, len(ball.vertices), rounds)
    fitted, error = coarse_truth(coarse, Mesh(bumpy, faces), np.ones(len(faces), bool))
    np.testing.assert_array_equal(fitted.faces, ball.faces)
    sampled = bumpy[: len(ball.vertices)]
    assert np.linalg.norm(fitted.vertices - sampled, axis=1).max() < 0.3  # it is the same surface
    chords = sampled
    for ends in rounds:
        chords = np.concatenate([chords, chords[ends].mean(1)])
    of_sampling = np.abs(((bumpy - chords) * Mesh(bumpy, faces).vertex_normals()).sum(1))
    assert error.mean() < 0.9 * of_sampling.mean()


def test_surface_that_the_coarse_mesh_can_follow_is_met_exactly() -> None:
    ball = trimesh.creation.icosphere(2, 10.0)
    flat = np.column_stack([ball.vertices[:, :2], np.zeros(len(ball.vertices))])
    keep = ball.vertices[ball.faces].mean(1)[:, 2] > 0
    vertices, faces, parent, rounds = split_long_edges(flat, ball.faces, keep, 0.7)
    tilted = vertices @ np.diag([1, 1, 1]) + vertices[:, :1] * [0, 0, 0.3]
    coarse = CoarseFace(ball.faces[keep], len(flat), rounds)
    fitted, error = coarse_truth(coarse, Mesh(tilted, faces), keep[parent])
    assert error.max() < 1e-6
    np.testing.assert_allclose(fitted.vertices[:, 2], 0.3 * fitted.vertices[:, 0], atol=1e-6)


def test_small_truth_lies_on_the_photographed_face(synthetic: SyntheticCapture) -> None:
    settings = SynthesisSettings(views=2, width=64, height=96, detail_mm=1.5, truth_mm=3.0)
    made = photograph(seed=3, settings=settings)
    assert len(made.truth.vertices) < 0.5 * len(synthetic.truth.vertices)
    assert 0 < made.truth_error.mean() < 0.06
    area = made.truth.face_areas().sum()
    assert abs(area / synthetic.truth.face_areas().sum() - 1) < 0.03
