"""A triangle mesh with optional UVs: the only mesh type inside mesoface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, wound counter-clockwise seen from outside.

    Args:
        vertices: (N, 3) float64, millimetres.
        faces: (F, 3) int64.
        uv: (T, 2) float64, u right, v up, origin bottom-left, or None.
        uv_faces: (F, 3) int64 into ``uv``; None means the same as ``faces``.
        normals: (N, 3) unit vertex normals, or None to have them computed.
        colors: (N, 3) uint8, or None.
        measured: (N,) False where a vertex was filled in, True where it was measured; None: nothing is known
            about that.
        uncertainty: (N,) one standard deviation of a vertex along its normal, mm, 0 where none is known;
            None: none is known anywhere.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    uv: NDArray[np.float64] | None = None
    uv_faces: NDArray[np.int64] | None = None
    normals: NDArray[np.float64] | None = None
    colors: NDArray[np.uint8] | None = None
    measured: NDArray[np.bool_] | None = None
    uncertainty: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertices", np.asarray(self.vertices, np.float64).reshape(-1, 3))
        object.__setattr__(self, "faces", np.asarray(self.faces, np.int64).reshape(-1, 3))

    def face_corners(self) -> NDArray[np.float64]:
        """(F, 3, 3) the corners of every face."""
        return self.vertices[self.faces]

    def face_crosses(self) -> NDArray[np.float64]:
        """(F, 3) normals as long as twice the areas of the faces."""
        a, b, c = self.vertices[self.faces.T]
        return np.cross(b - a, c - a)

    def face_normals(self) -> NDArray[np.float64]:
        """(F, 3) unit normals; zero for a face without area."""
        return unit(self.face_crosses())

    def face_areas(self) -> NDArray[np.float64]:
        """(F,) areas, mm²."""
        return np.linalg.norm(self.face_crosses(), axis=1) / 2

    def vertex_normals(self) -> NDArray[np.float64]:
        """(N, 3) unit normals: the stored ones, else the area-weighted mean of the faces around."""
        if self.normals is not None:
            return self.normals
        cross = self.face_crosses()
        total = np.zeros_like(self.vertices)
        for axis in range(3):
            weights = np.repeat(cross[:, axis], 3)
            total[:, axis] = np.bincount(self.faces.ravel(), weights, minlength=len(self.vertices))
        return unit(total)

    @property
    def uv_index(self) -> NDArray[np.int64]:
        """(F, 3) the UV of every corner: ``uv_faces``, or ``faces`` where positions and UVs share theirs."""
        return self.faces if self.uv_faces is None else self.uv_faces

    def with_vertices(self, vertices: ArrayLike) -> Mesh:
        """The same topology with other positions; stored normals are dropped."""
        return replace(self, vertices=np.asarray(vertices, np.float64), normals=None)

    def select_faces(self, keep: NDArray[np.bool_]) -> Mesh:
        """Only the faces where ``keep`` (F,) is True, with unused vertices and UVs removed."""
        faces, used = compact(self.faces[keep], len(self.vertices))
        uv, uv_faces = self.uv, None
        if self.uv is not None:
            if self.uv_faces is None:
                uv = self.uv[used]
            else:
                uv_faces, used_uv = compact(self.uv_faces[keep], len(self.uv))
                uv = self.uv[used_uv]
        return self._of(used, faces, uv, uv_faces)

    def measured_part(self) -> Mesh:
        """The faces between measured vertices; all of them where nothing is known about that."""
        return self if self.measured is None else self.select_faces(self.measured[self.faces].all(1))

    def filled_part(self) -> Mesh:
        """The other faces."""
        filled = (
            np.zeros(len(self.faces), bool) if self.measured is None else ~self.measured[self.faces].all(1)
        )
        return self.select_faces(filled)

    def with_one_index(self) -> Mesh:
        """The same surface with one index for positions and UVs: vertices on a UV seam are repeated."""
        if self.uv is None or self.uv_faces is None:
            return self
        pairs = self.faces.ravel() * len(self.uv) + self.uv_faces.ravel()
        unique, corner = np.unique(pairs, return_inverse=True)
        return self._of(unique // len(self.uv), corner.reshape(-1, 3), self.uv[unique % len(self.uv)])

    def _of(
        self, index: NDArray, faces: NDArray, uv: NDArray | None, uv_faces: NDArray | None = None
    ) -> Mesh:
        """A mesh of the vertices at ``index``, with all that is known of them."""
        stored = (self.normals, self.colors, self.measured, self.uncertainty)
        normals, colors, measured, sigma = (None if a is None else a[index] for a in stored)
        return Mesh(self.vertices[index], faces, uv, uv_faces, normals, colors, measured, sigma)


def compact(faces: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Renumber ``faces`` so that unused indices vanish; also (count,) which ones are used."""
    used = np.zeros(count, bool)
    used[faces.ravel()] = True
    return (np.cumsum(used) - 1)[faces], used


def fan(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangulate polygons stored one after another as fans around their first corner.

    Args:
        counts: (P,) corners of each polygon; those with fewer than three give no triangle.

    Returns:
        (F, 3) positions in the concatenated corner list, F = Σ max(counts - 2, 0).
    """
    starts = np.cumsum(counts) - counts
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(starts, triangles)
    step = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.column_stack([first, first + step + 1, first + step + 2])


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """(..., 3) vectors scaled to length one, in their own precision; zero stays zero."""
    length = np.sqrt(np.einsum("...k,...k->...", vectors, vectors))[..., None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
