import numpy as np
import pytest
from scipy.spatial import cKDTree

from mesoface.captures.capture import Capture, View
from mesoface.files.meshes import read_mesh
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import unit
from mesoface.landmarks import Landmarks2D, align_landmarks, triangulate

RADIUS = 80.0


def ball_capture(texture: float) -> Capture:
    """A finely textured ball seen by five cameras; ``texture`` is its contrast."""
    rng = np.random.default_rng(7)
    waves = rng.normal(size=(40, 3)) * rng.uniform(0.1, 0.8, (40, 1))
    views = []
    for i, angle in enumerate(np.radians([-40, -20, 0, 20, 40])):
        center = 600 * np.array([np.sin(angle), 0.1 * i - 0.2, np.cos(angle)])
        R, t = look_at(center, (0, 0, 0))
        camera = Camera(np.array([[1100.0, 0, 160], [0, 1100, 200], [0, 0, 1]]), R, t, 320, 400)
        rays = camera.rays(camera.pixel_grid())
        along = rays @ center
        inside = along**2 - (center @ center - RADIUS**2)
        surface = center + rays * (-along - np.sqrt(np.maximum(inside, 0)))[..., None]
        grey = 0.5 + texture * np.sin(surface @ waves.T).mean(-1)
        grey = np.where(inside > 0, grey * (1 - 0.1 * i), 0.1)  # every camera has its own gain
        views.append(View(str(i), np.repeat(grey[..., None], 3, 2).astype(np.float32), camera))
    return Capture(tuple(views))


def points_on_the_ball() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-0.55, 0.55, 9), np.linspace(-0.55, 0.55, 9))
    return RADIUS * unit(
        np.column_stack([x.ravel(), y.ravel(), np.sqrt(1 - x.ravel() ** 2 - y.ravel() ** 2)])
    )


def noisy_landmarks(capture: Capture, points: np.ndarray) -> Landmarks2D:
    """As a detector errs: differently in every view, smoothly over the face."""
    rng = np.random.default_rng(5)
    pixels = []
    for view in capture.views:
        wave = rng.normal(size=(2, 3)) / RADIUS
        pixels.append(
            view.camera.project(points)[0] + 3.0 * np.sin(points @ wave.T * 2 + rng.uniform(0, 6, 2))
        )
    return Landmarks2D(np.stack(pixels), np.ones((len(capture), len(points))), scheme="ball")


def off_the_ball(points: np.ndarray) -> np.ndarray:
    return np.abs(np.linalg.norm(points, axis=1) - RADIUS)


@pytest.fixture
def ball(request):
    """Capture, landmarks and triangulated landmarks of a ball; the parameter is its texture's contrast."""
    capture = ball_capture(texture=getattr(request, "param", 1.0))
    landmarks = noisy_landmarks(capture, points_on_the_ball())
    return capture, landmarks, triangulate(capture.cameras, landmarks)


def test_alignment_brings_landmarks_onto_the_surface(ball):
    before = ball[2]
    moved, after = align_landmarks(*ball)
    assert np.median(off_the_ball(before.points)) > 1.0
    assert np.median(off_the_ball(after.points)) < 0.25
    assert np.quantile(off_the_ball(after.points), 0.9) < 0.8
    counted = moved.weights > 0
    assert np.nanmedian(after.residuals[counted]) < 0.3
    assert np.nanmedian(before.residuals) > 1.0


@pytest.mark.parametrize("ball", [0.0], indirect=True)
def test_skin_without_texture_is_left_alone(ball):
    _, after = align_landmarks(*ball)
    assert np.median(off_the_ball(after.points)) < 1.5 * np.median(off_the_ball(ball[2].points))


def test_distrusted_views_are_not_used(ball):
    ball[2].distrusted[1] = True
    moved, after = align_landmarks(*ball)
    assert not moved.weights[1].any()
    assert after.distrusted[1]
    assert np.median(off_the_ball(after.points)) < 0.4


def test_it_brings_the_real_face_closer_to_its_scan(scanned, shared):
    capture, detected = scanned
    surface = cKDTree(read_mesh(shared("captures/lps/gt.ply")).vertices)  # 0.15 mm apart
    plain = triangulate(capture.cameras, detected)
    _, aligned = align_landmarks(capture, detected, plain)
    assert np.median(surface.query(aligned.points)[0]) < 0.5
    assert np.median(surface.query(aligned.points)[0]) < 0.5 * np.median(surface.query(plain.points)[0])
