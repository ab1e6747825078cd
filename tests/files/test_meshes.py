"""Meshes to files and back; files that are broken or hostile."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mesoface.files.meshes
from mesoface.errors import MesofaceError
from mesoface.files.meshes import read_mesh, write_obj, write_ply
from mesoface.geometry.mesh import Mesh, unit


@pytest.fixture
def mesh() -> Mesh:
    """A bumpy 6 × 7 grid with normals, colours and UVs that have a seam of their own."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:6, :7].astype(float)
    vertices = np.column_stack([x.ravel(), y.ravel(), rng.normal(size=42)]) * 10
    a = (np.arange(5)[:, None] * 7 + np.arange(6)).ravel()
    faces = np.concatenate([np.column_stack([a, a + 1, a + 8]), np.column_stack([a, a + 8, a + 7])])
    uv_faces = faces.copy()
    uv_faces[-5:] += 42
    return Mesh(
        vertices,
        faces,
        uv=rng.random((84, 2)),
        uv_faces=uv_faces,
        normals=unit(rng.normal(size=(42, 3))),
        colors=rng.integers(0, 256, (42, 3), dtype=np.uint8),
    )


def corner_uv(mesh: Mesh) -> np.ndarray:
    return mesh.uv[mesh.faces if mesh.uv_faces is None else mesh.uv_faces]


def test_obj_round_trip_keeps_uv_seams_and_order(mesh: Mesh, tmp_path: Path) -> None:
    write_obj(tmp_path / "a.obj", mesh)
    back = read_mesh(tmp_path / "a.obj")
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    np.testing.assert_array_equal(back.uv_faces, mesh.uv_faces)
    np.testing.assert_allclose(back.uv, mesh.uv, atol=1e-6)
    np.testing.assert_allclose(back.normals, mesh.normals, atol=2e-6)


@pytest.mark.parametrize("drop", [(), ("uv", "uv_faces"), ("normals",), ("uv", "uv_faces", "normals")])
def test_obj_with_every_combination_of_attributes(mesh: Mesh, tmp_path: Path, drop: tuple[str, ...]) -> None:
    kept = {name: None if name in drop else getattr(mesh, name) for name in ("uv", "uv_faces", "normals")}
    write_obj(tmp_path / "a.obj", Mesh(mesh.vertices, mesh.faces, **kept))
    back = read_mesh(tmp_path / "a.obj")
    np.testing.assert_array_equal(back.faces, mesh.faces)
    assert (back.uv is None) == ("uv" in drop)
    assert (back.normals is None) == ("normals" in drop)


def test_obj_is_written_the_same_twice(mesh: Mesh, tmp_path: Path) -> None:
    write_obj(tmp_path / "a.obj", mesh)
    write_obj(tmp_path / "b.obj", mesh)
    assert (tmp_path / "a.obj").read_bytes() == (tmp_path / "b.obj").read_bytes()


def test_ply_round_trip_splits_vertices_at_uv_seams(mesh: Mesh, tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", mesh)
    back = read_mesh(tmp_path / "a.ply")
    assert back.uv_faces is None
    np.testing.assert_allclose(back.vertices[back.faces], mesh.vertices[mesh.faces], rtol=1e-6)
    np.testing.assert_allclose(corner_uv(back), corner_uv(mesh), rtol=1e-6)
    np.testing.assert_allclose(back.normals[back.faces], mesh.normals[mesh.faces], atol=1e-6)
    np.testing.assert_array_equal(back.colors[back.faces], mesh.colors[mesh.faces])


def test_ply_without_seams_keeps_the_vertex_order(mesh: Mesh, tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", Mesh(mesh.vertices, mesh.faces, uv=mesh.uv[:42]))
    back = read_mesh(tmp_path / "a.ply")
    np.testing.assert_allclose(back.vertices, mesh.vertices, rtol=1e-6)
    np.testing.assert_array_equal(back.faces, mesh.faces)


def test_ply_keeps_what_was_measured(mesh: Mesh, tmp_path: Path) -> None:
    flags = np.arange(len(mesh.vertices)) % 3 > 0
    write_ply(tmp_path / "mesh.ply", replace(mesh, measured=flags))
    copy = read_mesh(tmp_path / "mesh.ply")
    expected = replace(mesh, measured=flags).with_one_index().measured
    np.testing.assert_array_equal(copy.measured, expected)
    write_ply(tmp_path / "mesh.ply", mesh)
    assert read_mesh(tmp_path / "mesh.ply").measured is None


def test_trimesh_reads_what_we_write(mesh: Mesh, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    write_ply(tmp_path / "a.ply", mesh)
    write_obj(tmp_path / "a.obj", mesh)
    for name in ("a.ply", "a.obj"):
        other = trimesh.load(tmp_path / name, process=False)
        np.testing.assert_allclose(
            other.vertices[other.faces], mesh.vertices[mesh.faces], rtol=1e-6, atol=1e-5, err_msg=name
        )


HEADER = "ply\nformat {} 1.0\ncomment hand made\nelement vertex 5\nproperty double x\nproperty double y\n"
HEADER += "property double z\nelement face 2\nproperty list uchar int vertex_index\nend_header\n"
QUAD_AND_TRIANGLE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 2, 0]]


@pytest.mark.parametrize(("name", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_ply_with_polygons_of_mixed_size(tmp_path: Path, name: str, order: str) -> None:
    body = struct.pack(f"{order}15d", *np.ravel(QUAD_AND_TRIANGLE))
    body += struct.pack(f"{order}B4iB3i", 4, 0, 1, 2, 3, 3, 2, 4, 3)
    (tmp_path / "a.ply").write_bytes(HEADER.format(name).encode() + body)
    mesh = read_mesh(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [2, 4, 3]])
    np.testing.assert_array_equal(mesh.vertices, QUAD_AND_TRIANGLE)


def test_ascii_ply(tmp_path: Path) -> None:
    rows = "\n".join(" ".join(map(str, row)) for row in QUAD_AND_TRIANGLE)
    (tmp_path / "a.ply").write_text(HEADER.format("ascii") + rows + "\n4 0 1 2 3\n3 2 4 3\n")
    mesh = read_mesh(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [2, 4, 3]])


def test_ply_with_uvs_per_face_corner(tmp_path: Path) -> None:
    text = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    text += "element face 1\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
    text += "end_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 6 0.1 0.2 0.3 0.4 0.5 0.6\n"
    (tmp_path / "a.ply").write_text(text)
    np.testing.assert_allclose(
        corner_uv(read_mesh(tmp_path / "a.ply"))[0], [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    )


def test_obj_as_other_programs_write_it(tmp_path: Path) -> None:
    text = "# Blender\nmtllib ../../../etc/passwd\no Face\nv 0 0 0\r\nv  1 0 0\nv 1 1 0\nv 0 1 0\n"
    text += (
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\nusemtl skin\ns 1\nf 1/1/1 2/2/1 3/3/1 \\\n 4/4/1\nl 1 2\n"
    )
    (tmp_path / "a.obj").write_text(text)
    mesh = read_mesh(tmp_path / "a.obj")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(mesh.normals, np.tile([0, 0, 1.0], (4, 1)))
    np.testing.assert_array_equal(mesh.uv, [[0, 0], [1, 0], [1, 1], [0, 1]])


def test_obj_negative_indices_count_back_from_the_face(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 0 0 1\nv 1 0 1\nv 0 1 1\nf -3 -2 -1\n"
    (tmp_path / "a.obj").write_text(text)
    np.testing.assert_array_equal(read_mesh(tmp_path / "a.obj").faces, [[0, 1, 2], [3, 4, 5]])


def test_obj_vertex_colors(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 0.5\nf 1 2 3\n")
    np.testing.assert_array_equal(
        read_mesh(tmp_path / "a.obj").colors, [[255, 0, 0], [0, 255, 0], [0, 0, 128]]
    )


@pytest.mark.parametrize("binary", [True, False])
def test_stl_corners_become_shared_vertices(tmp_path: Path, binary: bool) -> None:
    triangles = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0], [0, 1, 0]]], np.float32)
    if binary:
        rows = b"".join(bytes(12) + t.tobytes() + b"\0\0" for t in triangles)
        data = b"solid but binary".ljust(80) + struct.pack("<I", 2) + rows
    else:
        facets = "".join(
            "facet normal 0 0 1\nouter loop\n"
            + "".join(f"vertex {x:g} {y:g} {z:g}\n" for x, y, z in t)
            + "endloop\nendfacet\n"
            for t in triangles
        )
        data = f"solid s\n{facets}endsolid s\n".encode()
    (tmp_path / "a.stl").write_bytes(data)
    mesh = read_mesh(tmp_path / "a.stl")
    assert len(mesh.vertices) == 4
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], triangles)


def binary_ply(
    vertices: int = 3, faces: int = 1, corners: tuple[int, ...] = (0, 1, 2), cut: int = 0
) -> bytes:
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {vertices}\nproperty float x\n"
    head += f"property float y\nproperty float z\nelement face {faces}\n"
    head += "property list uchar int vertex_indices\nend_header\n"
    body = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack(
        f"<B{len(corners)}i", len(corners), *corners
    )
    return head.encode() + body[: len(body) - cut]


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.ply", b"", "does not begin"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\n", "end_header"),
        ("a.ply", b"ply\nformat ebcdic 1.0\nend_header\n", "not understood"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex x\nend_header\n", "not understood"),
        ("a.ply", b"ply\nformat ascii 1.0\nend_header\n", "no vertex or no face"),
        ("a.ply", binary_ply(cut=1), "truncated"),
        ("a.ply", binary_ply(cut=20), "truncated"),
        ("a.ply", binary_ply(vertices=4_000_000_000), "truncated"),
        ("a.ply", binary_ply(faces=4_000_000_000), "truncated"),
        ("a.ply", binary_ply(corners=(0, 1, 3)), "out of range"),
        ("a.ply", binary_ply(corners=(0, 1, -1)), "out of range"),
        ("a.ply", binary_ply(corners=(0, 1)), "at least one face"),
        ("a.ply", HEADER.format("ascii").encode() + b"0 0 0 1 0", "truncated"),
        ("a.obj", b"\x00\xff\xfe", "no faces"),
        ("a.obj", TRIANGLE.encode(), "no faces"),
        ("a.obj", (TRIANGLE + "f 1 2 4\n").encode(), "out of range"),
        ("a.obj", (TRIANGLE + "f 1 2 0\n").encode(), "begin at 1"),
        ("a.obj", (TRIANGLE + "f 1 2 three\n").encode(), "whole number"),
        ("a.obj", (TRIANGLE + "f 1 2 2.5\n").encode(), "whole number"),
        ("a.obj", (TRIANGLE + "vt 0 0\nf 1/1 2 3/1/1\n").encode(), "mix corners"),
        ("a.obj", (TRIANGLE + "vt 0 0\nf 1/1 2/9 3/1\n").encode(), "texture index"),
        ("a.obj", (TRIANGLE + "vn 0 0 1\nf 1//1 2//9 3//1\n").encode(), "out of range"),
        ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("a.obj", b"v 0 0 zero\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not a number"),
        ("a.obj", b"v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "numbers"),
        ("a.stl", b"x" * 84, "announces"),
        ("a.stl", bytes(80) + struct.pack("<I", 1 << 31), "announces"),
        ("a.fbx", b"Kaydara", "not a mesh format"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MesofaceError, match=words) as caught:
        read_mesh(tmp_path / name)
    assert name in str(caught.value)
    assert caught.value.remedy


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.ply").mkdir()
    for name in ("missing.ply", "folder.ply"):
        with pytest.raises(MesofaceError, match="cannot be read"):
            read_mesh(tmp_path / name)


def test_a_file_over_the_limit_is_not_opened(mesh, tmp_path, monkeypatch):
    write_ply(tmp_path / "a.ply", mesh)
    monkeypatch.setattr(mesoface.files.meshes, "MAX_BYTES", 100)
    with pytest.raises(MesofaceError, match="at most"):
        read_mesh(tmp_path / "a.ply")


def test_writing_leaves_nothing_behind_when_it_fails(mesh: Mesh, tmp_path: Path) -> None:
    broken = Mesh(mesh.vertices, mesh.faces, uv=np.array([["x"] * 2] * 42, object))
    with pytest.raises((TypeError, ValueError)):
        write_obj(tmp_path / "a.obj", broken)
    assert not list(tmp_path.iterdir())
