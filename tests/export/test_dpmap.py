"""FaceScape's layout of displacement maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import mesoface.export.dpmap
import mesoface.files.dpmap
from mesoface.errors import MesofaceError
from mesoface.export.dpmap import displace_by_dpmap, export_dpmap
from mesoface.files.dpmap import FULL_SCALE_MM, MIDDLE, decode_dpmap, encode_dpmap, read_dpmap
from mesoface.files.maps import write_png
from mesoface.geometry.mesh import Mesh

SIZE = 512


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Maps of 512² instead of 4096², whose PNG alone takes seconds."""
    monkeypatch.setattr(mesoface.files.dpmap, "SIZE", SIZE)
    monkeypatch.setattr(mesoface.export.dpmap, "SIZE", SIZE)


def test_the_detailed_mesh_is_facescapes(shared):
    """``displace_golden``: subdivided at the middles, moved along the normals by the nearest texel."""
    with np.load(shared("reference/displace_golden.npz")) as golden:
        mesh = Mesh(golden["verts"], golden["faces"], golden["uv"])
        fine = displace_by_dpmap(mesh, golden["dpmap"])
        np.testing.assert_array_equal(fine.faces, golden["sub_faces"])
        np.testing.assert_allclose(fine.uv, golden["sub_uv"], atol=1e-9)
        np.testing.assert_allclose(fine.vertices, golden["out_verts"], atol=1e-4)


def test_full_scale_is_0_914_mm_and_the_middle_is_none():
    assert decode_dpmap(np.array([[0, MIDDLE]], np.uint16)).tolist() == [[-FULL_SCALE_MM, 0]]
    displacement = np.linspace(-0.9, 0.9, 1001)[None]
    np.testing.assert_allclose(decode_dpmap(encode_dpmap(displacement)), displacement, atol=0.914 / 65536)
    assert encode_dpmap(np.array([[-5.0, 5.0]])).tolist() == [[0, 65535]]


def test_facescapes_formula_finds_what_was_measured(upright_cap, tmp_path):
    (line,) = export_dpmap(upright_cap, tmp_path)
    assert "0.0 % of the displaced texels clipped" in line
    dpmap = read_dpmap(tmp_path / "dpmap.png")
    detail = upright_cap.detail
    row, column = np.mgrid[30:100:7, 30:100:7]
    u, v = (column + 0.5) / detail.size, 1 - (row + 0.5) / detail.size
    found = decode_dpmap(dpmap[SIZE - (v * SIZE).astype(int), (u * SIZE).astype(int)])
    # nearest lookup is off by half a texel at most
    np.testing.assert_allclose(found, detail.displacement[row, column], atol=0.015)
    assert np.abs(found).max() > 0.15


def test_the_mesh_displaced_by_it_follows_the_surface(upright_cap, tmp_path):
    export_dpmap(upright_cap, tmp_path)
    base = upright_cap.base
    fine = displace_by_dpmap(base, read_dpmap(tmp_path / "dpmap.png"))
    own = fine.vertices[: len(base.vertices)]
    inner = np.linalg.norm(base.uv - 0.5, axis=1) < 0.25
    inner &= np.linalg.norm(base.uv - (0.65, 0.5), axis=1) > 0.1  # nothing was measured there
    height = np.linalg.norm(own, axis=1) - 80
    wanted = 0.2 * np.sin(50 * base.uv[:, 0]) * np.cos(40 * base.uv[:, 1])
    np.testing.assert_allclose(height[inner], wanted[inner], atol=0.015)


def small(path):
    write_png(path, np.full((100, 100), MIDDLE, np.uint16))


def eight_bits(path):
    write_png(path, np.full((SIZE, SIZE), 128, np.uint8))


def no_image(path):
    path.write_bytes(b"no image")


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 65535, (SIZE, SIZE)).astype(np.uint16)
    data = cv2.imencode(".png", noise, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()
    path.write_bytes(data[:200])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (small, "100 × 100 pixels, a dpmap has 512 × 512"),
        (eight_bits, "16-bit"),
        (no_image, "dpmap.png"),
        (truncated, "dpmap.png"),
    ],
)
def test_what_is_no_dpmap_is_refused_by_name(tmp_path, make, what):
    make(tmp_path / "dpmap.png")
    with pytest.raises(MesofaceError, match=what) as error:
        read_dpmap(tmp_path / "dpmap.png")
    assert error.value.path == tmp_path / "dpmap.png"


@pytest.mark.parametrize("uv", [None, np.zeros((3, 2))])
def test_a_mesh_without_a_uv_for_every_vertex_is_refused(uv):
    faces = np.array([[0, 1, 2]])
    mesh = Mesh(np.eye(3), faces, uv, None if uv is None else faces)
    with pytest.raises(ValueError, match="one UV"):
        displace_by_dpmap(mesh, np.zeros((4, 4), np.uint16))
