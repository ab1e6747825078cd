"""PLY (Turk, 1994): binary of either byte order and ASCII in, binary little endian out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.files.atomic import atomic_file
from mesoface.geometry.mesh import Mesh, fan, unit

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": None}
_UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_MAX_HEADER = 1 << 16


@dataclass
class _Property:
    name: str
    dtype: str
    count_dtype: str | None = None  # set for a list


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)


@dataclass
class _Column:
    """A property's values of all rows, one after another; ``counts`` (rows,) for a list, else None."""

    values: NDArray
    counts: NDArray[np.int64] | None = None


def parse_ply(data: bytes) -> Mesh:
    """The mesh in a PLY file's bytes.

    Raises:
        ValueError: the header or the body is not valid PLY.
    """
    order, elements, offset = _parse_header(data)
    if order is None:  # ASCII: from here on a binary file in which every number is a double
        data, offset, order = np.array(data[offset:].split(), "S32").astype("<f8").tobytes(), 0, "<"
        for p in (p for element in elements for p in element.properties):
            p.dtype, p.count_dtype = "f8", p.count_dtype and "f8"
    tables: dict[str, dict[str, _Column]] = {}
    for element in elements:
        tables[element.name], offset = _read_element(data, offset, element, order)
    if "vertex" not in tables or "face" not in tables:
        raise ValueError("no vertex or no face element in the PLY header")
    return _assemble(tables["vertex"], tables["face"])


def _parse_header(data: bytes) -> tuple[str | None, list[_Element], int]:
    """Byte order (None for ASCII), elements, and where the body begins."""
    if not data.startswith(b"ply"):
        raise ValueError("it does not begin with 'ply'")
    end = data.find(b"end_header", 0, _MAX_HEADER)
    newline = data.find(b"\n", end) if end >= 0 else -1
    if newline < 0:
        raise ValueError("the PLY header has no end_header line")
    orders, elements = list[str | None](), list[_Element]()
    for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format":
                orders.append(_ORDERS[words[1]])
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2])))
                if elements[-1].count < 0:
                    raise ValueError
            elif words[0] == "property" and words[1] == "list":
                count_dtype = _TYPES[words[2]]
                if count_dtype[0] == "f":
                    raise ValueError
                elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], count_dtype))
            elif words[0] == "property":
                elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
            else:
                raise ValueError
        except (ValueError, KeyError, IndexError):
            raise ValueError(f"PLY header line {line[:60]!r} is not understood") from None
    if not orders:
        raise ValueError("the PLY header names no format")
    for element in elements:
        names = [p.name for p in element.properties]
        if len(set(names)) != len(names):
            raise ValueError(f"PLY element {element.name} has two properties of one name")
    return orders[-1], elements, newline + 1


def _row_dtype(element: _Element, order: str, counts: list[int]) -> np.dtype:
    """Row layout when the lists have ``counts`` entries."""
    fields: list[tuple] = []
    remaining = iter(counts)
    for p in element.properties:
        if p.count_dtype is None:
            fields.append((p.name, order + p.dtype))
        else:
            # \0 cannot occur in a property's name, so this never clashes
            fields.append((p.name + "\0n", order + p.count_dtype))
            fields.append((p.name, order + p.dtype, (next(remaining),)))
    return np.dtype(fields)


def _first_counts(data: bytes, offset: int, element: _Element, order: str) -> list[int]:
    """Lengths of the lists in the row that begins at ``offset``."""
    counts = []
    for p in element.properties:
        if p.count_dtype is None:
            offset += np.dtype(p.dtype).itemsize
            continue
        kind = np.dtype(order + p.count_dtype)
        if offset + kind.itemsize > len(data):
            raise ValueError(f"truncated: the file ends inside the {element.name} element")
        count = float(np.frombuffer(data, kind, 1, offset)[0])
        if count < 0 or not count.is_integer():
            raise ValueError(f"a list of {count:g} entries in the {element.name} element")
        counts.append(int(min(count, len(data))))  # more are too many as well, and a size that NumPy allows
        offset += kind.itemsize + counts[-1] * np.dtype(p.dtype).itemsize
    return counts


def _read_element(data: bytes, offset: int, element: _Element, order: str) -> tuple[dict[str, _Column], int]:
    """Columns of ``element`` and where it ends: runs of rows with equal list lengths are read at once."""
    lists = [p.name for p in element.properties if p.count_dtype is not None]
    parts: list[NDArray] = []
    done = 0
    while done < element.count:
        dtype = _row_dtype(element, order, _first_counts(data, offset, element, order))
        if dtype.itemsize == 0:
            raise ValueError(f"PLY element {element.name} has no properties")
        fits = min(element.count - done, (len(data) - offset) // dtype.itemsize)
        if fits == 0:
            raise ValueError(
                f"truncated: {done} of {element.count} rows of the {element.name} element are there"
            )
        # A mixed mesh changes its row length every few rows; look ahead only as far as it has paid off.
        ahead = fits if not parts else min(fits, max(64, 4 * len(parts[-1])))
        rows = np.frombuffer(data, dtype, ahead, offset)
        same = np.ones(ahead, bool)
        for name in lists:
            same &= rows[name + "\0n"] == rows[name + "\0n"][0]
        run = ahead if same.all() else int(np.argmin(same))
        parts.append(rows[:run])
        offset += run * dtype.itemsize
        done += run
    columns: dict[str, _Column] = {}
    for p in element.properties:
        values = np.concatenate([part[p.name].ravel() for part in parts] or [np.zeros(0)])
        counts = None
        if p.count_dtype is not None:
            lengths = [np.full(len(part), part[p.name].shape[1], np.int64) for part in parts]
            counts = np.concatenate(lengths or [np.zeros(0, np.int64)])
        columns[p.name] = _Column(values, counts)
    return columns, offset


def _assemble(vertex: dict[str, _Column], face: dict[str, _Column]) -> Mesh:
    """The mesh in the columns of the two elements."""

    def stack(*names: str) -> NDArray[np.float64] | None:
        if any(name not in vertex or vertex[name].counts is not None for name in names):
            return None
        return np.column_stack([vertex[name].values.astype(np.float64) for name in names])

    vertices = stack("x", "y", "z")
    if vertices is None:
        raise ValueError("the PLY vertices have no x, y, z")
    polygons = face.get("vertex_indices") or face.get("vertex_index")
    if polygons is None or polygons.counts is None:
        raise ValueError("the PLY faces have no vertex_indices list")
    corners = fan(polygons.counts)
    faces = polygons.values.astype(np.int64)[corners]
    uv, uv_faces = next((uv for names in _UV_NAMES if (uv := stack(*names)) is not None), None), None
    wedges = face.get("texcoord")
    if uv is None and wedges is not None and wedges.counts is not None:
        if not np.array_equal(wedges.counts, 2 * polygons.counts):
            raise ValueError("the PLY faces' texcoord lists do not fit their vertex_indices lists")
        uv, uv_faces = wedges.values.astype(np.float64).reshape(-1, 2), corners
    normals, colors = stack("nx", "ny", "nz"), stack("red", "green", "blue")
    measured, uncertainty = stack("measured"), stack("uncertainty")
    if colors is not None and vertex["red"].values.dtype.kind == "f" and colors.max(initial=0) <= 1:
        colors = colors * 255
    return Mesh(
        vertices,
        faces,
        uv,
        uv_faces,
        None if normals is None else unit(normals),
        None if colors is None else np.clip(np.rint(colors), 0, 255).astype(np.uint8),
        None if measured is None else measured[:, 0] != 0,
        None if uncertainty is None else uncertainty[:, 0],
    )


def write_ply(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Write binary little-endian PLY: float32 positions, and normals, ``s t`` UVs, uint8 colours if any.

    Vertices of a mesh that knows which of them were measured have the property ``measured``, 1 or 0; those of
    a mesh with uncertainties have ``uncertainty``, float32 mm, 0 where none is known.

    PLY knows UVs per vertex only, so vertices on a UV seam are written once for each of their UVs.

    Raises:
        MesofaceError: the file cannot be written.
    """
    mesh = mesh.with_one_index()
    vertices, faces = mesh.vertices, mesh.faces
    groups: list[tuple[str, str, tuple[str, ...], NDArray | None]]
    groups = [("float", "<f4", ("x", "y", "z"), vertices), ("float", "<f4", ("nx", "ny", "nz"), mesh.normals)]
    groups += [("float", "<f4", ("s", "t"), mesh.uv), ("uchar", "u1", ("red", "green", "blue"), mesh.colors)]
    groups += [("uchar", "u1", ("measured",), None if mesh.measured is None else mesh.measured[:, None])]
    sigma = None if mesh.uncertainty is None else mesh.uncertainty[:, None]
    groups += [("float", "<f4", ("uncertainty",), sigma)]
    header, layout = [f"element vertex {len(vertices)}"], []
    for kind, dtype, names, values in groups:
        if values is not None:
            header += [f"property {kind} {name}" for name in names]
            layout += [(name, dtype) for name in names]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    rows = np.empty(len(vertices), layout)
    for _, _, names, values in groups:
        if values is not None:
            for column, name in enumerate(names):
                rows[name] = values[:, column]
    triangles = np.empty(len(faces), [("n", "u1"), ("corners", "<i4", (3,))])
    triangles["n"], triangles["corners"] = 3, faces
    with atomic_file(Path(path)) as temporary, temporary.open("wb") as file:
        file.write(("ply\nformat binary_little_endian 1.0\n" + "\n".join(header) + "\n").encode("ascii"))
        rows.tofile(file)
        triangles.tofile(file)
