"""STL, binary and ASCII: a triangle soup, whose equal corners become one vertex."""

from __future__ import annotations

import re

import numpy as np

from mesoface.geometry.mesh import Mesh

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
