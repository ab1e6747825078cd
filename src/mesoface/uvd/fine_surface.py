"""The measured surface over its base, as the stages after matching hand it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.uvd.space import UVDSpace


@dataclass(frozen=True, eq=False)
class FineSurface:
    """The measured surface over the base, in UVD space.

    Args:
        mesh: fine mesh with UVs and normals, mm: ``space.position + space.normal * displacement``.
        space: the base surface that D is relative to; ``Face.base`` follows it.
        displacement: (H, H) float32 mm, 0 outside of ``kept``.
        kept: (H, H) texels that are part of the mesh.
        filled: (H, H) those of them that were interpolated over small holes.
        confidence: (H, H) float32 in [0, 1].
        visibility: (V, H, H) how well each used view sees each texel.
        left_out: share of the facial mask without surface.
    """

    mesh: Mesh
    space: UVDSpace
    displacement: NDArray[np.float32]
    kept: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    visibility: NDArray[np.float32]
    left_out: float
