"""Where landmarks lie on a model's mesh; UV layouts, and a facial mask for models that have none.

The landmarks' indices are those of the published schemes: 68 points of iBUG 300-W, 478 of MediaPipe's face
mesh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from mesoface.face_models.model import Topology
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster

Places = dict[str, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
"""By scheme: (L,) which landmarks have a place, (L,) their triangles and (L, 3) where in them."""

# Jaw from the right ear to the left, brows, nose, eyes, outer lips, inner lips.
MEDIAPIPE_OF_IBUG68 = np.array(
    [
        *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
        *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
        *(168, 197, 5, 4, 98, 97, 2, 326, 327),
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
        *(78, 82, 13, 312, 308, 317, 14, 87),
    ],
    np.int64,
)
"""(68,) the MediaPipe landmark nearest in meaning to each iBUG landmark."""

SLIDING = {
    "mediapipe478": (
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ),
    "ibug68": range(17),
}
"""By scheme, the points of the outline (face oval, jaw line), which slide along the face as it turns."""

OPENINGS = (range(36, 42), range(42, 48), range(60, 68))
"""Rings of iBUG landmarks around the eyes and the inside of the mouth."""
_FOREHEAD = 0.75  # height of the mask above the brows, in heights of the nose (bridge to base)
_BELOW_JAW_MM = 4.0


def vertex_landmarks(
    faces: NDArray[np.int64], vertices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Landmarks that are vertices, as places in triangles.

    Args:
        faces: (F, 3) triangles.
        vertices: (L,) vertex of each landmark.

    Returns:
        (L,) a triangle that has the vertex, and (L, 3) barycentric coordinates with a single 1.

    Raises:
        ValueError: a vertex is in no triangle.
    """
    flat = faces.ravel()
    order = np.argsort(flat, kind="stable")
    first = np.searchsorted(flat[order], vertices)
    corner = order[np.minimum(first, len(order) - 1)]
    if not np.array_equal(flat[corner], vertices):
        raise ValueError("a landmark's vertex is in no triangle")
    return corner // 3, np.eye(3)[corner % 3]


def corner_landmarks(
    faces: NDArray[np.int64], corners: NDArray[np.int64], bary: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Landmarks given by the vertices of their triangle, as places in ``faces``.

    Args:
        faces: (F, 3) triangles.
        corners: (L, 3) vertices, in any order.
        bary: (L, 3) barycentric coordinates in the order of ``corners``.

    Returns:
        (K,) triangle, (K, 3) barycentric coordinates in the triangle's own order, and (L,) which landmarks
        have a triangle: K are True.
    """
    table = {tuple(sorted(face)): index for index, face in enumerate(faces.tolist())}
    place = np.array([table.get(tuple(sorted(c)), -1) for c in corners.tolist()], np.int64)
    found = place >= 0
    own, given = faces[place[found]], corners[found]
    match = own[:, :, None] == given[:, None, :]  # (K, own corner, given corner)
    return place[found], (match * bary[found][:, None, :]).sum(2), found


def topology_of(
    faces: NDArray[np.int64],
    uv: NDArray[np.float64],
    uv_faces: NDArray[np.int64],
    facial: NDArray[np.bool_],
    places: Places,
) -> Topology:
    """The topology with its landmarks.

    A model that has the 68 points only gets the MediaPipe landmarks nearest in meaning, too, without the jaw
    line: the two schemes disagree about where it runs.
    """
    if "mediapipe478" not in places and "ibug68" in places:
        ids, triangles, bary = places["ibug68"]
        keep = ids >= 17
        places = {**places, "mediapipe478": (MEDIAPIPE_OF_IBUG68[ids[keep]], triangles[keep], bary[keep])}
    columns = ({scheme: place[k] for scheme, place in places.items()} for k in range(3))
    return Topology(faces, uv, uv_faces, facial, *columns)  # type: ignore[arg-type]


def connected_faces(
    faces: NDArray[np.int64], among: NDArray[np.bool_], vertices: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(F,) the faces of ``among`` (F,) that hang together, by shared vertices, with one at ``vertices``."""
    count = int(faces.max()) + 1
    a, b, c = faces[among].T
    ones = np.ones(2 * len(a), bool)
    graph = sparse.coo_matrix((ones, (np.r_[a, b], np.r_[b, c])), (count, count))
    _, part = sparse.csgraph.connected_components(graph, directed=False)
    touched = np.zeros(count, bool)
    touched[faces[among].ravel()] = True
    wanted = part[vertices[touched[vertices]]]
    return among & np.isin(part[faces[:, 0]], wanted)


def inside(points: NDArray[np.float64], polygon: ArrayLike) -> NDArray[np.bool_]:
    """(N,) whether (N, 2) points lie in a simple polygon (K, 2), by the even–odd rule."""
    corners = np.asarray(polygon, np.float64)
    x, y = points[:, 0], points[:, 1]
    odd = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        spans = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


def mirrored(polygon: ArrayLike) -> NDArray[np.float64]:
    """The polygon (K, 2) reflected at u = 0.5."""
    return np.asarray(polygon, np.float64)[::-1] * (-1, 1) + (1, 0)


def superellipse(
    center: tuple[float, float], radii: tuple[float, float], power: float = 2.0
) -> NDArray[np.float64]:
    """(64, 2) polygon of ``|x/a|^p + |y/b|^p = 1``."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    unit = np.column_stack([np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)])
    return np.asarray(center) + unit * np.asarray(radii)


def unwrap_face(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], landmarks: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cylindrical UVs that fill the square with the face, and the facial mask.

    Everything follows from the mean shape and its 68 landmarks. The layout is one-to-one on the facial mask,
    because a triangle is left out where it is turned away from the cylinder or hidden behind another one.

    Args:
        vertices: (N, 3) mean shape, mm; x to the subject's left, y up, z forward.
        faces: (F, 3).
        landmarks: (68, 3) iBUG landmarks on it.

    Returns:
        (N, 2) UV of each vertex (outside of [0, 1] off the face) and (F,) which triangles are facial.
    """
    axis = np.array([landmarks[[0, 16], 0].mean(), landmarks[[0, 16], 2].mean()])
    plane, marks = _unroll(vertices, axis), _unroll(landmarks, axis)
    jaw, brows = marks[:17], marks[17:27]
    top = brows[:, 1].max() + _FOREHEAD * (marks[27, 1] - marks[33, 1])
    low, high = np.array([jaw[0, 0], jaw[:, 1].min() - _BELOW_JAW_MM]), np.array([jaw[16, 0], top])
    uv = (plane - low) / (high - low)

    # Jaw line with its margin, up at the ears, and a rounded forehead.
    width, height = (jaw[16, 0] - jaw[0, 0]) / 2, top - max(jaw[0, 1], jaw[16, 1])
    crown = superellipse(((jaw[0, 0] + jaw[16, 0]) / 2, top - height), (width, height), 4)[1:32]
    outline = np.vstack([jaw - (0, _BELOW_JAW_MM), crown])
    middle = plane[faces].mean(1)
    facial = inside(middle, outline)
    for ring in OPENINGS:
        corners = marks[list(ring)]
        facial &= ~inside(middle, corners.mean(0) + 1.15 * (corners - corners.mean(0)))
    a, b, c = uv[faces].transpose(1, 0, 2)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    facial &= area > 0
    facial[facial] &= ~_hidden(Mesh(vertices, faces), np.nonzero(facial)[0], axis)
    return uv, facial


def _unroll(points: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) → (N, 2): angle to the subject's left in radians, and height in mm."""
    return np.column_stack([np.arctan2(points[:, 0] - axis[0], points[:, 2] - axis[1]), points[:, 1]])


def _hidden(mesh: Mesh, faces: NDArray[np.int64], axis: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K,) whether something else lies farther out on the same ray from the axis."""
    middle = mesh.face_corners()[faces].mean(1)
    outward = (middle - [axis[0], 0, axis[1]]) * (1, 0, 1)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
    return RayCaster(mesh).blocked(middle + 1000 * outward, middle, tolerance=0.05)
