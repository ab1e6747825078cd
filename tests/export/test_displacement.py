"""Displacement maps: what is in the files is what was measured; FaceScape's layout of them."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh

import mesoface.export.displacement
import mesoface.files.maps
from mesoface.errors import MesofaceError
from mesoface.export.displacement import encode_displacement, export_dpmap, export_exr, export_png, full_scale
from mesoface.export.normals import export_normals
from mesoface.files.maps import (
    FULL_SCALE_MM,
    MIDDLE,
    decode_dpmap,
    encode_dpmap,
    read_dpmap,
    read_exr,
    write_png,
)
from mesoface.geometry.mesh import Mesh, unit

SIZE = 512  # of a dpmap


def test_exr_is_millimetres_without_holes(upright_cap, tmp_path):
    export_exr(upright_cap, tmp_path)
    values = read_exr(tmp_path / "displacement.exr")
    np.testing.assert_array_equal(values, upright_cap.detail.displacement)
    assert np.isfinite(values).all()
    assert values[0, 0] == 0


def test_png_and_its_sidecar_give_the_millimetres_back(upright_cap, tmp_path):
    export_png(upright_cap, tmp_path)
    values = cv2.imread(str(tmp_path / "displacement.png"), cv2.IMREAD_UNCHANGED)
    about = json.loads((tmp_path / "displacement.json").read_text())
    assert values.dtype == np.uint16
    assert about["unit"] == "mm"
    found = (values / 65535 - about["midlevel"]) * about["scale"]
    np.testing.assert_allclose(found, upright_cap.detail.displacement, atol=0.51 * about["scale"] / 65535)
    assert values[0, 0] == MIDDLE, "no displacement is exactly the midlevel"


@pytest.mark.parametrize("reach", [0.0, 0.3, 0.5, 7.77])
def test_the_scale_holds_everything_and_zero_is_exact(reach):
    displacement = np.array([[-reach, 0, reach]], np.float32)
    scale = full_scale(displacement)
    values = encode_displacement(displacement, scale)
    assert values[0, 1] == MIDDLE
    found = (values.astype(float) - MIDDLE) / 65535 * scale
    np.testing.assert_allclose(found, displacement, atol=0.51 * scale / 65535)


def test_displacement_beyond_the_scale_is_clipped():
    values = encode_displacement(np.array([[-9.0, 9.0]], np.float32), 1.0)
    assert values.tolist() == [[0, 65535]]


def test_normal_maps_have_16_bits(upright_cap, tmp_path):
    export_normals(upright_cap, tmp_path)
    for name in ("normal_tangent.png", "normal_object.png"):
        values = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert values.dtype == np.uint16
        length = np.linalg.norm(values / 65535 * 2 - 1, axis=-1)
        np.testing.assert_allclose(length, 1, atol=1e-4)
    middle = values[64, 64] / 65535 * 2 - 1
    assert middle[2] > 0.95, "the middle of the face looks along z"


@pytest.mark.parametrize("write", [export_exr, export_png, export_normals])
def test_a_run_that_measured_nothing_has_none(base_only, tmp_path, write):
    with pytest.raises(MesofaceError, match="stopped at the base"):
        write(base_only, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Maps of 512² instead of 4096², whose PNG alone takes seconds."""
    monkeypatch.setattr(mesoface.files.maps, "DPMAP_SIZE", SIZE)
    monkeypatch.setattr(mesoface.export.displacement, "DPMAP_SIZE", SIZE)


def detailed_by_facescape(mesh, dpmap):
    """FaceScape's detailed mesh: subdivided once at the edges' middles, moved along the vertex normals.

    Normals are the sum of the unit normals of the faces around; the map is read at the nearest texel.
    """
    columns, faces = trimesh.remesh.subdivide(np.column_stack([mesh.vertices, mesh.uv]), mesh.faces)
    vertices, uv = columns[:, :3], columns[:, 3:]
    fine = Mesh(vertices, faces, uv)
    normal = np.zeros_like(vertices)
    np.add.at(normal, faces, fine.face_normals()[:, None])
    size = len(dpmap)
    row = np.clip(size - (uv[:, 1] * size).astype(int), 0, size - 1)
    column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
    return replace(fine, vertices=vertices + unit(normal) * decode_dpmap(dpmap[row, column])[:, None])


def test_the_detailed_mesh_is_facescapes(shared):
    """``displace_golden``: subdivided at the middles, moved along the normals by the nearest texel."""
    with np.load(shared("reference/displace_golden.npz")) as golden:
        mesh = Mesh(golden["verts"], golden["faces"], golden["uv"])
        fine = detailed_by_facescape(mesh, golden["dpmap"])
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
    fine = detailed_by_facescape(base, read_dpmap(tmp_path / "dpmap.png"))
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
