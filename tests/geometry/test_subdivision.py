"""Subdivision against surfaces whose limit is known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.subdivision import split_long_edges, subdivide_loop
from tests.cap import grid_triangles, grid_uv


@pytest.fixture
def sphere() -> Mesh:
    ball = trimesh.creation.icosphere(2, 10.0)
    return Mesh(ball.vertices, ball.faces)


def is_closed(faces: np.ndarray) -> bool:
    sides = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    return {tuple(s) for s in sides.tolist()} == {tuple(s[::-1]) for s in sides.tolist()}


def test_loop_quarters_faces_and_stays_closed(sphere: Mesh) -> None:
    vertices, faces = subdivide_loop(sphere.vertices, sphere.faces)
    assert len(faces) == 4 * len(sphere.faces)
    assert len(vertices) - len(faces) * 3 // 2 + len(faces) == 2  # Euler
    assert is_closed(faces)


def test_loop_is_smoother_than_the_facets(sphere: Mesh) -> None:
    vertices, faces = subdivide_loop(*subdivide_loop(sphere.vertices, sphere.faces))
    radius = np.linalg.norm(vertices, axis=1)
    assert np.ptp(radius) < 0.1
    fine = Mesh(vertices, faces)
    cosine = (fine.face_normals() * (unit(fine.face_corners().mean(1)))).sum(1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 4


def test_loop_keeps_a_plane_and_its_straight_border() -> None:
    flat = np.column_stack([grid_uv(5, 0, 4), np.zeros(25)])
    vertices, faces = subdivide_loop(flat, grid_triangles(5))
    assert np.abs(vertices[:, 2]).max() == 0
    assert Mesh(vertices, faces).face_normals()[:, 2].min() > 0.99
    assert ((vertices[:, :2] >= 0) & (vertices[:, :2] <= 4)).all()


def test_loop_carries_columns_like_positions(sphere: Mesh) -> None:
    values = np.column_stack([sphere.vertices, 3 * sphere.vertices + 1])
    out, _ = subdivide_loop(values, sphere.faces)
    np.testing.assert_allclose(out[:, 3:], 3 * out[:, :3] + 1, atol=1e-9)


def test_split_obeys_the_length_and_leaves_no_crack(sphere: Mesh) -> None:
    wanted = sphere.vertices[sphere.faces].mean(1)[:, 2] > 3
    vertices, faces, parent, _ = split_long_edges(sphere.vertices, sphere.faces, wanted, 0.7)
    fine = faces[wanted[parent]]
    edges = np.linalg.norm(vertices[fine] - vertices[np.roll(fine, -1, 1)], axis=2)
    assert edges.max() <= 0.7
    assert is_closed(faces)
    assert len(faces) < 0.8 * len(split_long_edges(sphere.vertices, sphere.faces, wanted | True, 0.7)[1])


def test_split_follows_the_curvature(sphere: Mesh) -> None:
    everywhere = np.ones(len(sphere.faces), bool)
    vertices, faces, _, _ = split_long_edges(sphere.vertices, sphere.faces, everywhere, 0.7)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 10).max() < 0.03  # chords would be off by 0.24
    assert (Mesh(vertices, faces).face_normals() * vertices[faces].mean(1)).sum(1).min() > 0


def test_split_does_nothing_when_all_is_short(sphere: Mesh) -> None:
    everywhere = np.ones(len(sphere.faces), bool)
    vertices, faces, parent, _ = split_long_edges(sphere.vertices, sphere.faces, everywhere, 99.0)
    assert len(vertices) == len(sphere.vertices)
    np.testing.assert_array_equal(faces, sphere.faces)
    np.testing.assert_array_equal(parent, np.arange(len(faces)))
