"""The paper's UV maps of a base mesh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.face_models import load_face_model
from mesoface.face_models.model import base_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.matching.paper.space import SIZE, paper_space
from mesoface.uvd.rasterize import rasterize_uv


def published_maps(mesh):
    """In the paper's words: positions at 512², rows 72–327 and columns 128–383; and which are valid."""
    raster = rasterize_uv(mesh.uv, mesh.faces, 512)
    window = slice(72, 328), slice(128, 384)
    return raster.interpolate(mesh.vertices, mesh.faces)[window], raster.valid[window]


def test_the_whole_square_of_a_stretched_layout_is_the_published_window(scenes):
    """A layout like FaceScape's, and the same one stretched as our reader of the model stretches it."""
    cap = scenes.cap(bumps=0.0).mesh()
    low, high = np.array([128 / 512, 1 - 328 / 512]), np.array([384 / 512, 1 - 72 / 512])
    published = replace(cap, uv=low - 0.02 + cap.uv * (high - low + 0.04))  # reaches beyond the window
    stretched = replace(published, uv=(published.uv - low) / (high - low))
    expected, valid = published_maps(published)
    space = paper_space(stretched, np.ones(len(stretched.faces), bool))
    assert space.size == SIZE == 256
    np.testing.assert_array_equal(space.valid, valid)
    np.testing.assert_allclose(space.position[valid], expected[valid], atol=1e-4)


def test_positions_are_the_mesh_itself_and_normals_smooth(scenes):
    mesh = scenes.cap(bumps=1.0).mesh(25)  # a coarse polyhedron
    space = paper_space(mesh, np.ones(len(mesh.faces), bool), 64)
    raster = rasterize_uv(mesh.uv, mesh.faces, 64)
    exact = raster.interpolate(mesh.vertices, mesh.faces)
    np.testing.assert_array_equal(space.position[space.valid], exact[space.valid])
    np.testing.assert_allclose(np.linalg.norm(space.normal, axis=-1), 1, atol=1e-5)
    corner = raster.interpolate(mesh.vertex_normals(), mesh.faces)
    inner = np.zeros_like(space.valid)
    inner[16:-16, 16:-16] = True
    turn = [np.linalg.norm(np.diff(n, axis=1), axis=-1)[inner[:, 1:]].mean() for n in (corner, space.normal)]
    assert turn[1] < 0.7 * turn[0]
    assert np.einsum("hwk,hwk->hw", space.normal, scenes.cap().space(64).normal)[space.valid].min() > 0.95


def test_the_mask_of_the_built_in_model_fills_the_square():
    """The map that stands in for FaceScape's crop holds the whole facial mask, at texels of a like size."""
    model = load_face_model("generic")
    neutral = model.shape(np.zeros(model.n_identity), np.zeros(model.n_expression))
    space = paper_space(base_mesh(model, neutral), model.topology.facial)
    rows, columns = np.nonzero(space.valid)
    assert np.ptp(rows) > 200
    assert np.ptp(columns) > 200
    assert 0.5 < space.texel_mm < 1.2
    assert 0.4 < space.valid.mean() < 0.95


def test_refused(scenes):
    mesh = scenes.cap().mesh(9)
    with pytest.raises(ValueError, match="no UVs"):
        paper_space(Mesh(mesh.vertices, mesh.faces), np.ones(len(mesh.faces), bool))
    with pytest.raises(ValueError, match="no facial face"):
        paper_space(mesh, np.zeros(len(mesh.faces), bool))
