"""Meshes in and out of files: OBJ, PLY and STL in, OBJ and binary PLY out.

Files are untrusted: sizes are checked before memory is allocated, indices before they are used, and no other
file that one names (a material, a texture) is opened. The readers are our own because trimesh 4 accepts
truncated ASCII files in silence, refuses binary PLY with polygons of several sizes and drops PLY's ``s t``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from mesoface.errors import MesofaceError
from mesoface.files.meshes.obj import parse_obj, write_obj
from mesoface.files.meshes.ply import parse_ply, write_ply
from mesoface.geometry.mesh import Mesh

__all__ = ["MAX_BYTES", "read_mesh", "write_obj", "write_ply"]

MAX_BYTES = 2 << 30
"""Largest mesh file that is opened: 2 GiB, about 60 million triangles in a binary PLY."""


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """Read a triangle mesh; polygons are fanned into triangles, vertex order is kept.

    UVs come from OBJ ``vt``, from PLY vertex properties (``s t``, ``u v`` or ``texture_u texture_v``) or
    from PLY face ``texcoord`` lists. Materials, groups, points and lines are ignored.

    Raises:
        MesofaceError: the file is missing, too large, of another format, truncated, or describes no
            valid surface (an index out of range, a coordinate that is not finite, no face at all).
    """
    path = Path(path)
    parse = {".obj": parse_obj, ".ply": parse_ply, ".stl": parse_stl}.get(path.suffix.lower())
    if parse is None:
        raise MesofaceError(
            f"not a mesh format that can be read ({path.suffix or 'no suffix'})",
            path=path,
            remedy="give an .obj, .ply or .stl file",
        )
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise MesofaceError(
                f"mesh file of {size / 2**30:.1f} GiB, at most {MAX_BYTES >> 30} GiB are read",
                path=path,
                remedy="cut or decimate the mesh",
            )
        data = path.read_bytes()
    except OSError as error:
        raise MesofaceError(
            f"the mesh cannot be read: {error.strerror}",
            path=path,
            remedy="check the path and its permissions",
        ) from error
    try:
        mesh = parse(data)
        _check(mesh)
    except ValueError as error:
        raise MesofaceError(
            f"not a usable mesh: {error}", path=path, remedy="export the mesh again as triangles"
        ) from error
    return mesh


def _check(mesh: Mesh) -> None:
    """Raise ValueError unless ``mesh`` has faces, finite numbers and indices that exist."""
    if not len(mesh.vertices) or not len(mesh.faces):
        raise ValueError(
            f"{len(mesh.vertices)} vertices and {len(mesh.faces)} faces, at least one face expected"
        )
    _check_indices("face", mesh.faces, len(mesh.vertices))
    _check_finite("vertex positions", mesh.vertices)
    if mesh.uv is not None:
        _check_finite("texture coordinates", mesh.uv)
        if mesh.uv_faces is not None:
            _check_indices("texture", mesh.uv_faces, len(mesh.uv))
    if mesh.normals is not None:
        _check_finite("normals", mesh.normals)


def _check_indices(what: str, faces: np.ndarray, count: int) -> None:
    low, high = int(faces.min()), int(faces.max())
    if low < 0 or high >= count:
        raise ValueError(f"a {what} index is out of range ({low if low < 0 else high}, there are {count})")


def _check_finite(what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{what} that are not finite numbers")


_TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER = 84


def parse_stl(data: bytes) -> Mesh:
    """The mesh in an STL file's bytes.

    Raises:
        ValueError: neither a binary STL of the size its header announces nor an ASCII one.
    """
    count = int.from_bytes(data[80:_HEADER], "little") if len(data) >= _HEADER else -1
    if count >= 0 and len(data) == _HEADER + count * _TRIANGLE.itemsize:
        corners = np.frombuffer(data, _TRIANGLE, count, _HEADER)["corners"].reshape(-1, 3).astype(np.float64)
    elif data.lstrip()[:5].lower() == b"solid":
        words = [
            word for match in re.findall(rb"\bvertex\s+(\S+\s+\S+\s+\S+)", data) for word in match.split()
        ]
        corners = np.array(words, "S32").astype(np.float64).reshape(-1, 3)
        if len(corners) % 3:
            raise ValueError("truncated: the last ASCII STL facet has fewer than three vertices")
    else:
        raise ValueError(
            f"the binary STL header announces {max(count, 0)} triangles, which does not match the file's size"
        )
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    return Mesh(vertices, index.reshape(-1, 3))
