"""A flat sheet as a UVD space: 64 mm square, D along +z."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import UVDSpace

SIDE_MM = 64.0


def sheet(height: NDArray | float = 0.0, *, size: int = 128, valid: NDArray | None = None) -> UVDSpace:
    """The sheet at z = ``height`` (a number or (H, H)), mm; its mask is a disc of 28 mm unless given."""
    uv = texel_centers(size)
    xy = SIDE_MM * (uv - 0.5)
    position = np.dstack([xy, np.broadcast_to(height, (size, size))]).astype(np.float32)
    normal = np.zeros_like(position)
    normal[..., 2] = 1
    return UVDSpace(position, normal, np.linalg.norm(xy, axis=-1) < 28 if valid is None else valid)


@pytest.fixture(scope="session")
def make_sheet() -> Callable[..., UVDSpace]:
    """:func:`sheet`."""
    return sheet
