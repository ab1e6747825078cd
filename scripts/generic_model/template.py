"""The template: triangles, UV layout, mean shape and masks, from the anchors' statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generic_model.fields import HarmonicFill, SmoothInterpolation
from generic_model.layout import onto_boundary, relax, signed_areas, triangle_frames
from generic_model.triangulation import RINGS, anchor_triangles, propagate_orientation

LEVELS = 2  # midpoint subdivisions of the anchors' triangles
LID_WEIGHT = 0.1  # how much an opening's distortion counts in the layout, against skin's
SMOOTHING = 1.5  # mm
MASK_BEYOND_OVAL = 1  # rings beyond the oval that are still face: the edge lies just under the jaw


@dataclass(frozen=True, eq=False)
class Template:
    """What the model's shapes have in common, and how values at anchors become values at vertices.

    Args:
        faces: (F, 3) counter-clockwise from outside and in UV.
        uv: (N, 2), one per vertex.
        facial: (F,) see :class:`mesoface.face_models.model.Topology`.
        skin: (F,) False in the openings of eyes and mouth.
        mean: (N, 3) mm.
        anchors: how many; they are the first vertices.
        interpolate: (A, C) at the anchors → (N, C).
    """

    faces: NDArray[np.int64]
    uv: NDArray[np.float64]
    facial: NDArray[np.bool_]
    skin: NDArray[np.bool_]
    mean: NDArray[np.float64]
    anchors: int
    interpolate: Spread


class Spread:
    """Values at the anchors carried to all vertices: smoothly over skin, harmonically into the openings."""

    def __init__(
        self, points: NDArray[np.float64], faces: NDArray[np.int64], skin: NDArray[np.bool_], anchors: int
    ):
        self._smooth = SmoothInterpolation(points, faces[skin], np.arange(anchors), SMOOTHING)
        known = np.zeros(len(points), bool)
        known[self._smooth.skin] = True
        self.fill = HarmonicFill(points, faces, known)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(A, C) → (N, C)."""
        return self.fill(self._smooth(values))


def build_template(statistics: dict[str, NDArray]) -> Template:
    """See :class:`Template`.

    Args:
        statistics: ``mean`` (A, 3), ``open`` (A, 3), ``nostrils`` (K, 3): triangles over nostrils.
    """
    opened = statistics["open"].astype(np.float64)
    anchors = len(opened)
    triangles, holes = anchor_triangles(opened)
    lids, centres = _fans(holes, opened)
    positions = np.concatenate([opened, centres])
    coarse = propagate_orientation(np.concatenate([triangles, lids]), positions)
    weights = np.concatenate([np.ones(len(triangles)), np.full(len(lids), LID_WEIGHT)])
    rim = np.arange(anchors - 36, anchors)
    uv = relax(positions, coarse, rim, weights)
    skin_area = triangle_frames(positions[triangles])[1].sum()
    millimetres = np.sqrt(skin_area / signed_areas(uv, triangles).sum())  # per unit of UV

    kind = np.concatenate([np.ones(len(triangles), bool), np.zeros(len(lids), bool)])
    nostrils = {frozenset(corners) for corners in statistics["nostrils"].tolist()}
    over_nostril = np.array([frozenset(corners) in nostrils for corners in coarse.tolist()])
    facial = kind & ~over_nostril & _within_mask(coarse, anchors)
    faces = coarse
    for _ in range(LEVELS):
        faces, uv = subdivide(faces, uv)
        uv = onto_boundary(uv, boundary_vertices(faces))
        kind, facial = np.repeat(kind, 4), np.repeat(facial, 4)
    interpolate = Spread(uv * millimetres, faces, kind, anchors)
    return Template(
        faces, uv, facial, kind, interpolate(statistics["mean"].astype(np.float64)), anchors, interpolate
    )


def subdivide(
    faces: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cut every triangle at its edges' midpoints into four, in place; values (N, C) become (N + E, C)."""
    edges = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    middle = len(values) + inverse.reshape(-1, 3)  # of edges 01, 12, 20
    a, b, c = faces.T
    ab, bc, ca = middle.T
    children = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1)
    return children.reshape(-1, 3), np.concatenate([values, values[unique].mean(1)])


def boundary_vertices(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B,) vertices of edges that have a face on one side only."""
    edges = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def _fans(
    holes: list[list[int]], positions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Close holes by triangles around their centres: (T, 3) and the centres (H, 3), after the anchors."""
    triangles = []
    for k, ring in enumerate(holes):
        triangles += [(ring[i - 1], ring[i], len(positions) + k) for i in range(len(ring))]
    return np.array(triangles), np.stack([positions[ring].mean(0) for ring in holes])


def _within_mask(triangles: NDArray[np.int64], anchors: int) -> NDArray[np.bool_]:
    """(T,) the oval's inside and the first rings outside of it."""
    first = anchors - RINGS * 36
    allowed = np.ones(triangles.max() + 1, bool)
    allowed[first + MASK_BEYOND_OVAL * 36 : anchors] = False
    return allowed[triangles].all(1)
