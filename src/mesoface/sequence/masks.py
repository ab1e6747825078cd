"""A face model's facial mask in the UV square; it is the same in all frames."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.model import Topology
from mesoface.uvd.rasterize import rasterize_uv


class FacialMasks:
    """The facial mask at any size, each rasterised once.

    Args:
        topology: the face model's.
    """

    def __init__(self, topology: Topology):
        faces = topology.uv_faces[topology.facial]
        self.at = cache(lambda size: _mask(topology.uv, faces, size))


def _mask(uv: NDArray[np.float64], faces: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return rasterize_uv(uv, faces, size).valid
