"""Normal maps hold what a shader turns back into the detailed surface's normals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.export.normals import encode_normals, object_normal_map, render_mesh, tangent_normal_map
from mesoface.geometry.mesh import Mesh, unit
from mesoface.surface.detail import model_topology_mesh
from mesoface.uvd.maps import rasterize_uv, texel_centers


def degrees_between(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.mark.parametrize("edge", [None, 3.0])
def test_decoded_in_the_meshs_tangent_space_they_are_the_detail(upright_cap, edge):
    source, detail = upright_cap, upright_cap.detail
    mesh, skin = source.base, source.facial
    if edge is not None:
        mesh, skin = model_topology_mesh(mesh, skin, detail, edge)
    drawn = render_mesh(mesh)
    encoded = encode_normals(tangent_normal_map(drawn, skin, detail), np.uint8)

    # what a shader does with it: MikkTSpace leaves the interpolated vectors as they are
    local = encoded / 255 * 2 - 1
    raster = rasterize_uv(drawn.uv, drawn.faces, detail.size)
    t, b, n = (
        raster.interpolate(a, drawn.faces) for a in (drawn.tangent[:, :3], drawn.bitangent, drawn.normal)
    )
    shaded = unit(local[..., :1] * t + local[..., 1:2] * b + local[..., 2:] * n)
    inner = np.linalg.norm(texel_centers(detail.size) - 0.5, axis=-1) < 0.33
    error = degrees_between(shaded, detail.normal)[inner]
    assert error.max() < 0.6, "the steps of 8 bits"
    without = degrees_between(unit(n), detail.normal)[inner]
    assert without.mean() > 3 * error.mean(), "a map of nothing proves nothing"


def test_flat_where_there_is_no_detail(upright_cap):
    detail = upright_cap.detail
    flat = tangent_normal_map(render_mesh(upright_cap.base), upright_cap.facial, detail)
    outside = np.linalg.norm(texel_centers(detail.size) - 0.5, axis=-1) > 0.45
    np.testing.assert_allclose(flat[outside], np.broadcast_to((0, 0, 1), flat[outside].shape), atol=1e-6)


def test_object_space_is_the_ball_with_its_ripple(upright_cap):
    detail = upright_cap.detail
    normals = object_normal_map(detail)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    measured = detail.measured
    position = upright_cap.detail.surface[measured]
    off = degrees_between(normals[measured], unit(position))
    assert off.mean() < 6
    assert off.max() > 4, "the ripple"


def test_convention_of_the_encoding():
    vectors = np.array([[[0, 0, 1], [-1, 0, 0], [0, 1, 0]]], np.float32)
    assert encode_normals(vectors, np.uint8).tolist() == [[[128, 128, 255], [0, 128, 128], [128, 255, 128]]]
    assert encode_normals(vectors, np.uint16)[0, 0].tolist() == [32768, 32768, 65535]


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
