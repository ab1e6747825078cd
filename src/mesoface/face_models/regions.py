"""Names for parts of a face: what messages say about a place on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.correspondence import MEDIAPIPE_OF_IBUG68
from mesoface.face_models.model import Topology

Array = NDArray[np.float64]

# From the 68 iBUG landmarks (right and left are the subject's).
_REGIONS: dict[str, Callable[[Array], Array]] = {
    "right eye": lambda p: p[36:42].mean(0),
    "left eye": lambda p: p[42:48].mean(0),
    "right brow": lambda p: p[17:22].mean(0),
    "left brow": lambda p: p[22:27].mean(0),
    "forehead": lambda p: 2 * p[17:27].mean(0) - p[28],
    "nose": lambda p: p[29:36].mean(0),
    "mouth": lambda p: p[48:60].mean(0),
    "chin": lambda p: (p[57] + p[8]) / 2,
    "right cheek": lambda p: (p[2] + p[31] + p[48]) / 3,
    "left cheek": lambda p: (p[14] + p[35] + p[54]) / 3,
    "right side of the jaw": lambda p: (p[4] + p[5]) / 2,
    "left side of the jaw": lambda p: (p[11] + p[12]) / 2,
    "right temple": lambda p: (p[0] + p[17]) / 2,
    "left temple": lambda p: (p[16] + p[26]) / 2,
}


def region_centers(topology: Topology, vertices: Array) -> dict[str, Array]:
    """The middle of each named part of a face.

    Args:
        topology: of the face model.
        vertices: (N, 3) of the fitted model.

    Returns:
        names with points (3,) in the unit of ``vertices``; the left is the subject's. Empty where the model
        has not all the landmarks that parts are found by.
    """
    for scheme, wanted in (("ibug68", np.arange(68)), ("mediapipe478", MEDIAPIPE_OF_IBUG68)):
        if scheme in topology.landmark_ids:
            ids = topology.landmarks(scheme)[0]
            if np.isin(wanted, ids).all():
                places = dict(zip(ids.tolist(), topology.landmark_points(scheme, vertices), strict=True))
                points = np.stack([places[k] for k in wanted.tolist()])
                return {name: middle(points) for name, middle in _REGIONS.items()}
    return {}
