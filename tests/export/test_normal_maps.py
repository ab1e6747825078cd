"""Normal maps hold what a shader turns back into the detailed surface's normals."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.export.normals import encode_normals, object_normal_map, tangent_normal_map
from mesoface.export.tangent_space import render_mesh
from mesoface.geometry.mesh import unit
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
