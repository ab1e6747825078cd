"""Which photos one camera took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.photos import Photo
from mesoface.calibration.settings import Sharing
from mesoface.errors import CaptureError


def cameras_of(photos: Sequence[Photo], sharing: Sharing) -> NDArray[np.int64]:
    """(V,) a number for the camera of each photo, counted from 0 in the photos' order.

    Raises:
        CaptureError: ``shared`` is asked for, but the photos are not of one size.
    """
    if sharing == "each":
        return np.arange(len(photos))
    keys = [(photo.size, photo.device) for photo in photos]
    if sharing == "shared":
        keys = [(photo.size, "") for photo in photos]
        other = next((i for i, key in enumerate(keys) if key != keys[0]), None)
        if other is not None:
            a, b = photos[0], photos[other]
            raise CaptureError(
                f"is {b.width}×{b.height}, but {a.path.name} {a.width}×{a.height}: one camera, held one way, "
                "does not make both",
                path=b.path,
                remedy="use --cameras auto or each, or turn and crop the photos alike",
            )
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], np.int64)
