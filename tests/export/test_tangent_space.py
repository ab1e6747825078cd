"""Tangent space per vertex: MikkTSpace's, to the reference implementation's last digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.export.tangent_space import render_mesh
from mesoface.geometry.mesh import Mesh

# A sheet of our own, folded in UV so that its left half is mirrored, and what the reference implementation
# (mikktspace 1.1.1 from npm) answers for its corners, from the normals that `render_mesh` gives them.
GOLDEN = Path(__file__).parent / "mikktspace_golden.npz"


def square(uv) -> Mesh:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]]), np.array(uv, float))


def test_tangents_are_the_reference_implementations():
    with np.load(GOLDEN) as data:
        mesh, reference = Mesh(data["vertices"], data["faces"], data["uv"]), data["reference"]
    drawn = render_mesh(mesh)
    assert set(reference[..., 3].ravel()) == {-1.0, 1.0}, "both hands are tried"
    np.testing.assert_allclose(drawn.tangent[drawn.faces], reference, atol=2e-6)
    assert len(drawn.position) == len(mesh.vertices) + 13, "the fold's vertices are there for both sides"


def test_convention_u_is_the_tangent_and_v_the_bitangent():
    drawn = render_mesh(square([[0, 0], [1, 0], [1, 1], [0, 1]]))
    np.testing.assert_allclose(drawn.tangent, [[1, 0, 0, 1]] * 4, atol=1e-12)
    np.testing.assert_allclose(drawn.bitangent, [[0, 1, 0]] * 4, atol=1e-12)


def test_mirrored_uvs_have_the_other_hand():
    drawn = render_mesh(square([[1, 0], [0, 0], [0, 1], [1, 1]]))
    np.testing.assert_allclose(drawn.tangent, [[-1, 0, 0, -1]] * 4, atol=1e-12)
    np.testing.assert_allclose(drawn.bitangent, [[0, 1, 0]] * 4, atol=1e-12)


def test_a_seam_repeats_its_vertices():
    uv = np.array([[0, 0], [1, 0], [1, 1], [0.5, 0.5], [0.6, 0.6], [0.5, 0.6]], float)
    mesh = replace(square(uv), uv_faces=np.array([[0, 1, 2], [3, 4, 5]]))
    drawn = render_mesh(mesh)
    assert len(drawn.position) == 6
    np.testing.assert_allclose(drawn.uv[drawn.faces], uv[mesh.uv_faces])
    np.testing.assert_allclose(drawn.position[drawn.faces], mesh.vertices[mesh.faces])


def test_faces_without_area_are_left_out_and_everything_stays_a_unit_vector():
    mesh = square([[0, 0], [0, 0], [0, 0], [0, 0]])  # no direction of u
    mesh = replace(mesh, faces=np.concatenate([[[0, 0, 1]], mesh.faces]), uv_faces=None)
    drawn = render_mesh(mesh)
    assert drawn.source.tolist() == [1, 2]
    np.testing.assert_allclose(np.linalg.norm(drawn.tangent[:, :3], axis=1), 1)
    np.testing.assert_allclose(np.einsum("nk,nk->n", drawn.tangent[:, :3], drawn.normal), 0, atol=1e-12)


def test_a_vertex_whose_faces_cancel_out_has_some_normal():
    mesh = square([[0, 0], [1, 0], [1, 1], [0, 1]])
    drawn = render_mesh(replace(mesh, faces=np.array([[0, 1, 2], [2, 1, 0]])))
    np.testing.assert_allclose(np.linalg.norm(drawn.normal, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(drawn.tangent[:, :3], axis=1), 1)


@pytest.mark.parametrize("uv", [None, [[0, 0], [1, 0], [1, 1], [0, 1]]])
def test_meshes_without_uvs_or_area_are_refused(uv):
    mesh = square([[0, 0]] * 4)
    mesh = replace(mesh, uv=uv if uv is None else np.array(uv, float), vertices=np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"UVs|area"):
        render_mesh(mesh)
