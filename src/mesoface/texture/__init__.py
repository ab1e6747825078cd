"""The face's colour: one texture from all photos, without the photos' seams, exposures and occlusions.

:mod:`mesoface.texture.bake` has the order of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Texture:
    """Colour in the UV layout of the base mesh; row 0 is at v = 1.

    Args:
        color: (T, T, 3) float32 sRGB in [0, 1], filled everywhere, padded beyond the surface's rim.
        seen: (T, T) bool, True where photos show it, False where it was filled in.
    """

    color: NDArray[np.float32]
    seen: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Side of the maps, texels."""
        return self.seen.shape[0]
