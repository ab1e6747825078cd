"""A true surface: refused where the photos do not show it; displacements against analytic spheres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from mesoface.captures.capture import Capture
from mesoface.captures.load import load_capture
from mesoface.files.meshes import read_mesh
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.lab.training.truth import TrueSurface, TruthError, check_truth
from mesoface.landmarks.types import Landmarks3D
from mesoface.uvd.space import UVDSpace


@pytest.fixture(scope="module")
def capture(sample_capture: Path) -> Capture:
    return load_capture(sample_capture).select([1, 3, 4, 6])


@pytest.fixture(scope="module")
def truth(sample_capture: Path) -> Mesh:
    return read_mesh(sample_capture / "gt.ply")


def landmarks(points: np.ndarray) -> Landmarks3D:
    ones = np.ones((4, len(points)))
    return Landmarks3D(points, ones, 0 * ones, np.zeros(4, bool))


def test_the_truth_passes(capture: Capture, truth: Mesh) -> None:
    check_truth(capture, truth)
    near = truth.vertices[::40] + [0.0, 0.0, 6.0]
    near[0] = np.nan
    check_truth(capture, truth, landmarks(near))


def moved(truth: Mesh, *by: float) -> Mesh:
    return truth.with_vertices(truth.vertices + np.array(by))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda truth: truth.with_vertices(truth.vertices * 1e-3), r"0\.\d+ mm across.*--scale"),
        (lambda truth: truth.with_vertices(truth.vertices * 1e3), "across.*--scale"),
        (lambda truth: moved(truth, 0, 0, 3000.0), "behind view [1346]"),
        (lambda truth: moved(truth, 0, 900.0, 0), "view [1346] shows 0 % of the true surface"),
        (lambda truth: moved(truth, 0, 0, 4.0), "agree better 3 mm behind the true surface"),
        (lambda truth: moved(truth, 0, 0, -4.0), "agree better 3 mm before the true surface"),
        (lambda truth: moved(truth, 0, 0, 30.0), "agree better|agrees with no other"),
        (lambda truth: Mesh(truth.vertices, truth.faces[:, ::-1]), "wound outward"),
        (lambda truth: Mesh(truth.vertices, truth.faces[:0]), "no faces"),
        (lambda truth: Mesh(truth.vertices * np.nan, truth.faces), "not finite"),
    ],
)
def test_another_surface_is_refused(
    capture: Capture, truth: Mesh, wrong: Callable[[Mesh], Mesh], says: str
) -> None:
    with pytest.raises(TruthError, match=says):
        check_truth(capture, wrong(truth))


def test_the_view_whose_photo_is_anothers_is_named(capture: Capture, truth: Mesh) -> None:
    views = list(capture.views)
    views[2] = replace(views[2], image=np.ascontiguousarray(views[2].image[::-1]))
    with pytest.raises(TruthError, match="view 4 agrees with no other"):
        check_truth(replace(capture, views=tuple(views)), truth)


def test_landmarks_of_another_face_are_told(capture: Capture, truth: Mesh) -> None:
    with pytest.raises(TruthError, match=r"landmarks are \d\d mm from"):
        check_truth(capture, truth, landmarks(truth.vertices[::40] + [0.0, 0.0, 30.0]))


RADIUS = 60.0
CENTRES = ((0.0, 0.0, 600.0), (250.0, 50.0, 550.0))


def sphere(radius: float) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return Mesh(ball.vertices, ball.faces)


def cameras() -> list[Camera]:
    K = [[900, 0, 200], [0, 900, 150], [0, 0, 1]]
    return [Camera(K, *look_at(center, (0, 0, 0)), 401, 301) for center in CENTRES]


def cap(radius: float, *, half: float = 0.5, size: int = 24, center: tuple = (0, 0, 0)) -> UVDSpace:
    """A square of a sphere's front as a UVD space, its normals the sphere's."""
    x, y = np.meshgrid(np.linspace(-half, half, size), np.linspace(half, -half, size))
    normal = np.stack([x, y, np.sqrt(1 - x**2 - y**2)], -1).astype(np.float32)
    valid = np.ones((size, size), bool)
    valid[0] = False
    return UVDSpace((radius * normal + np.array(center)).astype(np.float32), normal, valid)


@pytest.mark.parametrize("inside", [-3.0, 0.0, 2.0])
def test_displacement_is_the_distance_along_the_normal(inside: float) -> None:
    space = cap(RADIUS - inside)
    true = TrueSurface(sphere(RADIUS), cameras()).along(space, 5.0)
    assert np.isnan(true.displacement[~space.valid]).all()
    known = true.displacement[space.valid]
    # An icosphere of 5 subdivisions lies at most 0.02 mm inside of its sphere.
    np.testing.assert_allclose(known, inside, atol=0.03)
    assert np.nanmax(true.tilt) < 0.02


def test_tilt_is_the_angle_between_surface_and_normal() -> None:
    space = cap(RADIUS)
    turned = np.array([[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]], np.float32)
    space = UVDSpace(space.position, space.normal @ turned.T, space.valid)
    axis = np.array([0.0, 1.0, 0.0])
    true = TrueSurface(sphere(RADIUS), cameras()).along(space, 5.0)
    untouched = np.abs(cap(RADIUS).normal @ axis) < 0.02
    np.testing.assert_allclose(true.tilt[untouched & space.valid], 0.3, atol=0.02)


def test_nothing_beyond_the_reach() -> None:
    surface = TrueSurface(sphere(RADIUS), cameras())
    assert np.isnan(surface.along(cap(RADIUS - 5), 4.9).displacement).all()
    assert np.isfinite(surface.along(cap(RADIUS - 5), 5.1).displacement).any()
    assert np.isnan(surface.along(cap(RADIUS + 5), 4.9).displacement).all()


def test_layers_behind_the_skin_do_not_count() -> None:
    """A base that lies near an inner layer must meet the skin, or nothing."""
    skin, inner = sphere(RADIUS), sphere(RADIUS - 4)
    faces = np.concatenate([skin.faces, inner.faces + len(skin.vertices)])
    both = Mesh(np.concatenate([skin.vertices, inner.vertices]), faces)
    surface = TrueSurface(both, cameras())
    near_inner = surface.along(cap(RADIUS - 4.5), 8.0)
    assert not np.isfinite(near_inner.displacement).any()
    between = surface.along(cap(RADIUS - 1), 8.0)
    np.testing.assert_allclose(between.displacement[between.displacement > -9], 1, atol=0.03)
    assert np.isfinite(between.displacement).sum() == between.displacement[1:].size


def test_backs_do_not_count() -> None:
    inside_out = Mesh(sphere(RADIUS).vertices, sphere(RADIUS).faces[:, ::-1])
    assert np.isnan(TrueSurface(inside_out, cameras()).along(cap(RADIUS - 1), 5.0).displacement).all()


def test_what_no_camera_sees_is_not_known() -> None:
    """A lid before the sphere hides its middle from the only camera."""
    lid = Mesh([[-12, -12, 90], [12, -12, 90], [12, 12, 90], [-12, 12, 90]], [[0, 1, 2], [0, 2, 3]])
    ball = sphere(RADIUS)
    scene = Mesh(
        np.concatenate([ball.vertices, lid.vertices]),
        np.concatenate([ball.faces, lid.faces + len(ball.vertices)]),
    )
    space = cap(RADIUS - 1)
    known = np.isfinite(TrueSurface(scene, cameras()[:1]).along(space, 5.0).displacement)
    across = np.abs(space.position[..., :2]).max(-1)
    assert not known[across < 11].any()
    assert known[(across > 15) & space.valid].all()
