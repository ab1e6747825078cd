"""What the mesoscopic stage hands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Source = Literal["learned", "shading"]


@dataclass(frozen=True, eq=False)
class MesoRelief:
    """Predicted relief, finer than what was measured; nothing measured is in it.

    Args:
        height: (M, M) float32 mm along the measured surface's normals, outward positive, in the base mesh's
            UV layout; high-passed, 0 where nothing is predicted.
        valid: (M, M) where something is.
        source: what predicted it.
        texel_mm: median distance between neighbouring texels, mm.
    """

    height: NDArray[np.float32]
    valid: NDArray[np.bool_]
    source: Source
    texel_mm: float

    @property
    def size(self) -> int:
        """Side of the maps, texels."""
        return self.valid.shape[0]
