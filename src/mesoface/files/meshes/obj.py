"""Wavefront OBJ: positions, UVs, normals and faces; materials and groups are ignored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mesoface.files.atomic import atomic_file
from mesoface.geometry.mesh import Mesh, fan, unit

_CHUNK = 1 << 16
_SPACE, _SLASH = b" /"


def parse_obj(data: bytes) -> Mesh:
    """The mesh in an OBJ file's bytes.

    Normals that differ between a vertex's faces (hard edges) are averaged: a mesh stores one per vertex.

    Raises:
        ValueError: a line is not understood, or an index is out of range.
    """
    if b"\\\n" in data or b"\\\r\n" in data:
        data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    lines: dict[bytes, list[bytes]] = {b"v": [], b"vt": [], b"vn": []}
    polygons: list[bytes] = []
    seen: list[tuple[int, int, int]] = []  # how many v, vt, vn stood before each face: for negative indices
    v, vt, vn = lines.values()
    for line in data.splitlines():
        key, _, rest = line.strip().partition(b" ")
        if key == b"f":
            polygons.append(rest)
            seen.append((len(v), len(vt), len(vn)))
        elif key in lines:
            lines[key].append(rest)
        elif b"\t" in key and key.split(b"\t")[0] in (*lines, b"f"):
            raise ValueError("tabs instead of spaces between an OBJ line's numbers")
    positions = _numbers(v, "v", 3)
    uv = _numbers(vt, "vt", 2)[:, :2] if vt else None
    normals = _numbers(vn, "vn", 3)[:, :3] if vn else None
    counts, corners = _corners(polygons, seen)
    pick = fan(counts)
    faces, uv_faces, normal_faces = (None if c is None else c[pick] for c in corners)
    if faces is None:
        raise ValueError("no faces")
    colors = None
    if positions.shape[1] >= 6:  # the common extension "v x y z r g b"
        colors = np.clip(np.rint(positions[:, 3:6] * 255), 0, 255).astype(np.uint8)
    if uv is None or uv_faces is None:
        uv = uv_faces = None
    elif np.array_equal(uv_faces, faces) and len(uv) == len(positions):
        uv_faces = None
    vertex_normals = None
    if normals is not None and normal_faces is not None:
        vertex_normals = _per_vertex(normals, normal_faces, faces, len(positions))
    return Mesh(positions[:, :3], faces, uv, uv_faces, vertex_normals, colors)


def _numbers(lines: list[bytes], key: str, at_least: int) -> NDArray[np.float64]:
    """(N, C) numbers of ``lines``, each of which has the same count C."""
    if not lines:
        return np.zeros((0, at_least))
    width = len(lines[0].split())
    try:
        values = np.loadtxt(lines, ndmin=2, comments=None)
    except ValueError as error:
        if "could not convert" in str(error):
            raise ValueError(f"an OBJ '{key}' line holds something that is not a number") from None
        values = np.zeros((0, 0))  # lines of several lengths
    if width < at_least or values.shape != (len(lines), width):
        raise ValueError(f"the OBJ '{key}' lines do not all have {max(width, at_least)} numbers")
    return values


def _corners(
    polygons: list[bytes], seen: list[tuple[int, int, int]]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64] | None]]:
    """Corner counts (P,), and zero-based v, vt, vn indices of all corners one after another.

    vt and vn are None unless every corner has them.
    """
    counts = np.array([len(line.split()) for line in polygons], np.int64)
    words = b" ".join(polygons).split()
    if not words:
        return counts, [None, None, None]
    has_uv = b"/" in words[0] and b"//" not in words[0]
    has_normal = words[0].count(b"/") == 2
    empty_uv = has_normal and not has_uv
    text = b" ".join(words)
    marks = np.frombuffer(text + b" ", np.uint8)
    marks = marks[(marks == _SPACE) | (marks == _SLASH)]
    expected = [_SLASH] * words[0].count(b"/") + [_SPACE]
    alike = len(marks) == len(words) * len(expected) and (marks.reshape(-1, len(expected)) == expected).all()
    if not alike or text.count(b"//") != len(words) * empty_uv or b"/ " in text or text.endswith(b"/"):
        raise ValueError("OBJ faces mix corners with and without UVs or normals")
    width = 1 + has_uv + has_normal
    try:
        if text.translate(None, b"+-0123456789 /"):  # loadtxt would round 1.5
            raise ValueError
        table = np.loadtxt([text.replace(b"/", b" ")], np.int64, ndmin=1, comments=None).reshape(-1, width)
    except (ValueError, OverflowError):
        raise ValueError("an OBJ face index is not a whole number") from None
    columns = [0, 1 if has_uv else None, width - 1 if has_normal else None]
    if (table == 0).any():
        raise ValueError("an OBJ face index is 0 (they begin at 1)")
    before = np.repeat(np.array(seen, np.int64), counts, 0) if (table < 0).any() else None
    out: list[NDArray[np.int64] | None] = []
    for kind, column in enumerate(columns):
        if column is None:
            out.append(None)
            continue
        index = table[:, column]
        out.append(index - 1 if before is None else np.where(index < 0, index + before[:, kind], index - 1))
    return counts, out


def _per_vertex(
    normals: NDArray[np.float64], normal_faces: NDArray[np.int64], faces: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """(count, 3) one unit normal per vertex: the mean of the normals of its corners."""
    for what, index, size in (("normal", normal_faces, len(normals)), ("face", faces, count)):
        if len(index) and (index.min() < 0 or index.max() >= size):
            raise ValueError(f"a {what} index is out of range (there are {size})")
    if len(normals) == count and np.array_equal(normal_faces, faces):
        return unit(normals)
    total = np.zeros((count, 3))
    for axis in range(3):
        total[:, axis] = np.bincount(faces.ravel(), normals[normal_faces.ravel(), axis], minlength=count)
    return unit(total)


def write_obj(path: str | os.PathLike[str], mesh: Mesh, *, material: str | None = None) -> None:
    """Write OBJ text, the same bytes for the same mesh: 0.01 µm for positions, 1e-6 for UVs and normals.

    UVs keep their own indices; stored normals share the vertices'. Colours are not written.

    Args:
        path: the file.
        mesh: what is written.
        material: name of the material and of its ``.mtl`` file, which is beside the OBJ; or None.

    Raises:
        MesofaceError: the file cannot be written.
    """
    columns = [mesh.faces]
    slots = ["%d"]
    if mesh.uv is not None:
        columns.append(mesh.uv_index)
        slots.append("%d")
    if mesh.normals is not None:
        columns.append(mesh.faces)
        slots += ["%d"] if mesh.uv is not None else ["", "%d"]
    corner = "/".join(slots)
    indices = np.stack(columns, -1).reshape(len(mesh.faces), -1) + 1
    with atomic_file(Path(path)) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        if material is not None:
            file.write(f"mtllib {material}.mtl\nusemtl {material}\n")
        _write_rows(file, "v %.5f %.5f %.5f\n", mesh.vertices)
        if mesh.uv is not None:
            _write_rows(file, "vt %.6f %.6f\n", mesh.uv)
        if mesh.normals is not None:
            _write_rows(file, "vn %.6f %.6f %.6f\n", mesh.normals)
        _write_rows(file, f"f {corner} {corner} {corner}\n", indices)


def _write_rows(file: IO[str], line: str, rows: NDArray) -> None:
    """One formatted ``line`` for each of ``rows`` (N, C): a chunk's lines in one formatting call."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        file.write(line * len(chunk) % tuple(chunk.ravel().tolist()))
