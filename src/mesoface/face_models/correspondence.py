"""Where landmarks lie on a model's mesh, which of one scheme is which of another, and which of them slide.

The indices are those of the published schemes: 68 points of iBUG 300-W, 478 of MediaPipe's face mesh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.model import Topology

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

MEDIAPIPE_OVAL = np.array(
    [
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ],
    np.int64,
)
"""MediaPipe's face oval: points of the outline, which slide along the face as it turns."""

IBUG68_OVAL = np.arange(17, dtype=np.int64)
"""The jaw line of the 68 points."""

SLIDING = {"mediapipe478": MEDIAPIPE_OVAL, "ibug68": IBUG68_OVAL}


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
