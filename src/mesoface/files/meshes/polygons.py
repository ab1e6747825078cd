"""Polygons of any size to triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fan(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangulate polygons stored one after another as fans around their first corner.

    Args:
        counts: (P,) corners of each polygon; those with fewer than three give nothing.

    Returns:
        (F, 3) positions in the concatenated corner list, F = Σ max(counts - 2, 0).
    """
    starts = np.cumsum(counts) - counts
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(starts, triangles)
    step = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.column_stack([first, first + step + 1, first + step + 2])
