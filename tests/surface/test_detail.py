"""The detailed surface as maps and as meshes of any density, on a rippled sheet."""

from __future__ import annotations

import numpy as np
import pytest

import mesoface.surface.detail
from mesoface.errors import MesofaceError
from mesoface.geometry.mesh import Mesh
from mesoface.surface.detail import FineMaps, detail_maps, grid_mesh, model_topology_mesh
from mesoface.uvd.maps import grid_faces, texel_centers

SIDE = 64.0  # mm of the sheet over the UV square
SIZE = 128


def wave(uv):
    """(..., 2) → height over the base, mm."""
    return 0.4 * np.sin(40 * uv[..., 0])


def sheet(n=17, seam=None):
    """A flat base over the whole UV square; its skin is a disc of 25.6 mm. ``seam`` cuts it at u = 0.5."""
    u = np.linspace(0, 1, n)
    uv = np.stack(np.meshgrid(u, 1 - u), -1).reshape(-1, 2)
    faces = grid_faces(np.ones((n, n), bool))
    vertices = np.column_stack([SIDE * (uv - 0.5), np.zeros(len(uv))])
    facial = np.linalg.norm(uv[faces].mean(1) - 0.5, axis=1) < 0.4
    if seam is None:
        return Mesh(vertices, faces, uv), facial
    # the right half has UVs of its own, by ``seam`` to the right of where they were
    right = uv[faces].mean(1)[:, 0] > 0.5
    uv_faces = faces + right[:, None] * len(uv)
    return Mesh(vertices, faces, np.concatenate([uv, uv + (seam, 0)]), uv_faces), facial


def measured_waves(radius=0.35):
    uv = texel_centers(SIZE)
    measured = np.linalg.norm(uv - 0.5, axis=-1) < radius
    height = np.where(measured, wave(uv), 0).astype(np.float32)
    position = np.dstack([SIDE * (uv - 0.5), height]).astype(np.float32)
    return FineMaps(np.where(measured[..., None], position, 0), height, measured)


@pytest.fixture(scope="module")
def flat():
    base, facial = sheet()
    fine = measured_waves()
    return base, facial, fine, detail_maps(base, facial, fine)


def from_middle(points):
    return np.linalg.norm(points[..., :2], axis=-1) / SIDE


def test_maps_are_what_was_measured_and_have_no_holes(flat):
    _, _, fine, detail = flat
    inner = np.linalg.norm(texel_centers(SIZE) - 0.5, axis=-1) < 0.29  # 4 mm from the rim of the skin
    np.testing.assert_allclose(detail.position[inner], fine.position[inner], atol=1e-4)
    np.testing.assert_allclose(detail.displacement[inner], fine.displacement[inner], atol=1e-6)
    assert np.isfinite(detail.displacement).all()
    assert np.isfinite(detail.position).all()
    np.testing.assert_allclose(np.linalg.norm(detail.normal, axis=-1), 1, atol=1e-5)


def test_detail_fades_out_to_the_rim_of_the_region(flat):
    _, _, _, detail = flat
    away = np.linalg.norm(texel_centers(SIZE) - 0.5, axis=-1)
    outside = away > 0.44
    assert np.abs(detail.displacement[outside]).max() == 0
    np.testing.assert_allclose(detail.position[outside & detail.facial][..., 2], 0, atol=1e-4)
    # no jump anywhere: the waves themselves change by 0.13 mm a texel, and are 0.4 mm high
    assert np.abs(np.diff(detail.displacement, axis=0)).max() < 0.2
    assert np.abs(np.diff(detail.displacement, axis=1)).max() < 0.2


def test_openings_keep_their_detail_to_the_rim():
    base, facial = sheet()
    opening = np.linalg.norm(base.uv[base.faces].mean(1) - 0.5, axis=1) < 0.1
    fine = measured_waves()
    detail = detail_maps(base, facial & ~opening, fine)
    rim = np.linalg.norm(texel_centers(SIZE) - 0.5, axis=-1) < 0.2
    np.testing.assert_allclose(detail.displacement[rim], fine.displacement[rim], atol=1e-6)


@pytest.mark.parametrize("seam", [None, 0.0])
def test_the_mesh_lies_on_the_measured_surface(seam):
    base, facial = sheet(seam=seam)
    detail = detail_maps(base, facial, measured_waves())
    mesh, skin = model_topology_mesh(base, facial, detail, 1.0)
    inner = from_middle(mesh.vertices) < 0.28
    uv = mesh.vertices[inner, :2] / SIDE + 0.5
    np.testing.assert_allclose(mesh.vertices[inner, 2], wave(uv), atol=0.01)
    assert np.abs(mesh.vertices[inner, 2]).max() > 0.39
    # the UVs of every corner are where the corner is
    places = SIDE * (mesh.uv[mesh.uv_index] - 0.5)
    np.testing.assert_allclose(places, mesh.face_corners()[..., :2], atol=0.02)
    edges = np.linalg.norm(mesh.face_corners() - np.roll(mesh.face_corners(), 1, 1), axis=2)
    assert edges[skin].max() < 1.3  # 1 mm before it was moved
    assert (mesh.face_normals()[:, 2] > 0).all()


def test_a_seam_stays_a_seam_and_opens_no_crack():
    base, facial = sheet(seam=0.01)
    whole, _ = sheet()
    split, _ = model_topology_mesh(base, facial, None, 1.5)
    joined, _ = model_topology_mesh(whole, facial, None, 1.5)
    np.testing.assert_array_equal(split.faces, joined.faces)
    np.testing.assert_array_equal(split.vertices, joined.vertices)
    on_seam = np.isclose(joined.uv[:, 0], 0.5).sum()
    assert len(split.uv) == len(joined.uv) + on_seam
    right = split.vertices[split.faces].mean(1)[:, 0] > 0
    expected = joined.uv[joined.faces] + 0.01 * right[:, None, None] * (1, 0)
    np.testing.assert_allclose(split.uv[split.uv_faces], expected, atol=1e-9)


def test_the_models_own_vertices_come_first(flat):
    base, facial, _, detail = flat
    mesh, _ = model_topology_mesh(base, facial, detail, 1.0)
    np.testing.assert_allclose(mesh.vertices[: len(base.vertices), :2], base.vertices[:, :2], atol=0.02)
    far = from_middle(base.vertices) > 0.48
    np.testing.assert_allclose(mesh.vertices[: len(base.vertices)][far], base.vertices[far], atol=1e-3)


def test_without_detail_the_base_is_subdivided(flat):
    base, facial, _, _ = flat
    mesh, skin = model_topology_mesh(base, facial, None, 1.0)
    assert np.abs(mesh.vertices[:, 2]).max() < 1e-9
    assert skin.sum() > 4 * facial.sum()


@pytest.mark.parametrize(("edge", "spacing"), [(None, 0.5), (1.0, 1.0), (0.25, 0.25)])
def test_the_grid_has_the_wanted_density(flat, edge, spacing):
    _, _, _, detail = flat
    mesh = grid_mesh(detail, edge)
    a, b = mesh.vertices[mesh.faces[: len(mesh.faces) // 2, :2].T]  # along u; the other half's is a diagonal
    side = np.linalg.norm((b - a)[:, :2], axis=1)
    assert np.median(side) == pytest.approx(spacing, rel=0.06)
    inner = from_middle(mesh.vertices) < 0.3
    uv = mesh.vertices[inner, :2] / SIDE + 0.5
    np.testing.assert_allclose(mesh.vertices[inner, 2], wave(uv), atol=0.03)


def test_more_triangles_than_fit_are_refused_before_they_are_made(flat, monkeypatch):
    base, facial, _, detail = flat
    monkeypatch.setattr(mesoface.surface.detail, "MAX_TRIANGLES", 20_000)
    with pytest.raises(MesofaceError, match=r"--detail-edge 0\.\d+ or more"):
        model_topology_mesh(base, facial, detail, 0.1)
    with pytest.raises(MesofaceError, match="million triangles"):
        grid_mesh(detail, 0.1)


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_predicted_relief_lies_on_what_was_measured(flat, size):
    """Along the surface's normal, in all maps and meshes, at the size of the larger maps."""
    base, facial, fine, plain = flat
    relief = np.full((size, size), 0.1, np.float32)
    detail = detail_maps(base, facial, fine, relief)
    assert detail.size == size
    inner = np.linalg.norm(texel_centers(size) - 0.5, axis=-1) < 0.25
    before = plain if size == SIZE else detail_maps(base, facial, fine, np.zeros_like(relief))
    step = (detail.surface - before.surface)[inner]
    np.testing.assert_allclose(np.linalg.norm(step, axis=1), 0.1, atol=1e-4)
    np.testing.assert_allclose(np.einsum("nk,nk->n", step, before.normal[inner]), 0.1, atol=1e-3)
    np.testing.assert_allclose((detail.displacement - before.displacement)[inner], 0.1, atol=1e-5)
    grid = grid_mesh(detail)
    middle = from_middle(grid.vertices) < 0.2
    raised = grid.vertices[middle, 2] - wave(grid.vertices[middle, :2] / SIDE + 0.5)
    assert np.median(raised) == pytest.approx(0.1, abs=0.02)
