"""The packed surfaces say what the meshes say."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest

from mesoface.geometry.mesh import Mesh
from mesoface.rendering.page import Shading, TurnableSurface, turnable
from tests.cap import grid_triangles, grid_uv
from tests.rendering.test_page import parse

VERTEX = np.dtype([("position", "<u2", 4), ("normal", "<i2", 4), ("uv", "<u2", 2)])
CLAY = Shading("clay", "clay")


def payload(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def packed(mesh: Mesh) -> dict:
    """The mesh as the page holds it."""
    return payload(turnable([TurnableSurface("a", mesh, ["clay"])], [CLAY]))["surfaces"][0]


def unpacked(surface: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    data = np.frombuffer(base64.b64decode(surface["vertices"]), VERTEX)
    kind = "<u4" if surface["wide"] else "<u2"
    faces = np.frombuffer(base64.b64decode(surface["faces"]), kind).reshape(-1, 3)
    assert faces.size == surface["corners"]
    vertices = surface["origin"] + data["position"][:, :3] / 65535 * np.array(surface["extent"])
    return vertices, data["normal"][:, :3] / 32767, data["uv"] / 65535, faces.astype(int)


def test_positions_normals_and_uvs_survive(drawn_face):
    mesh = drawn_face.fine.mesh
    vertices, normals, uv, faces = unpacked(packed(mesh))
    np.testing.assert_allclose(vertices, mesh.vertices, atol=0.002)
    np.testing.assert_allclose(normals, mesh.normals, atol=1e-4)
    np.testing.assert_allclose(uv, np.column_stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]]), atol=1e-5)
    np.testing.assert_array_equal(faces, mesh.faces)


def test_seams_are_opened():
    """Two triangles that share an edge in space, not in UV."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    uv = np.array([[0, 0], [0.4, 0], [0, 0.4], [0.6, 0.5], [1, 1], [0.5, 1]])
    mesh = Mesh(corners, faces, uv, np.array([[0, 1, 2], [3, 4, 5]]))
    vertices, _, place, corner = unpacked(packed(mesh))
    assert len(vertices) == 6
    np.testing.assert_allclose(vertices[corner], corners[faces], atol=1e-4)
    expected = np.column_stack([uv[:, 0], 1 - uv[:, 1]]).reshape(2, 3, 2)
    np.testing.assert_allclose(place[corner], expected, atol=1e-4)


@pytest.mark.parametrize(("count", "wide"), [(200, False), (300, True)])
def test_indices_are_as_wide_as_they_must_be(count, wide):
    mesh = Mesh(np.column_stack([grid_uv(count), np.zeros(count**2)]), grid_triangles(count))
    surface = packed(mesh)
    assert surface["wide"] is wide
    np.testing.assert_array_equal(unpacked(surface)[3], mesh.faces)


def test_relief_keeps_its_normals_and_its_mask(drawn_face):
    relief = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    data = payload(turnable([TurnableSurface("a", drawn_face.fine.mesh, ["clay"], relief)], [CLAY]))
    picture = data["pictures"][data["surfaces"][0]["relief"]]
    assert picture["type"] == "image/png"
    encoded = np.frombuffer(base64.b64decode(picture["data"]), np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., [2, 1, 0, 3]], relief)


def test_no_name_ends_the_script_or_becomes_a_tag(drawn_face):
    evil = '</script><img src="x">'
    shading = Shading(evil, "bare", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))
    text = turnable([TurnableSurface(evil, drawn_face.base, [evil])], [CLAY, shading])
    assert text.count("</script>") == 2
    assert payload(text)["surfaces"][0]["name"] == evil
    assert all(source.startswith("data:") for source in parse(text).sources)


def test_even_pictures_of_noise_leave_room_in_the_page():
    """A page may have 15 MB: the largest surface and pictures of a face, incompressible, stay below 12."""
    rng = np.random.default_rng(0)
    points, normals = rng.normal(size=(2, 250 * 250, 3))
    mesh = Mesh(points, grid_triangles(250), grid_uv(250), None, normals)
    relief = rng.integers(0, 256, (1024, 1024, 4), np.uint8)
    relief[..., 3] = 255
    shadings = [
        Shading("texture", "bare", rng.integers(0, 256, (1024, 1024, 3), np.uint8)),
        Shading("confidence", "lit", rng.integers(0, 256, (512, 512, 3), np.uint8)),
        Shading("error", "lit", rng.integers(0, 256, (512, 512, 3), np.uint8)),
    ]
    text = turnable([TurnableSurface("a", mesh, [], relief), TurnableSurface("b", mesh, [])], shadings)
    assert len(text) < 12e6
