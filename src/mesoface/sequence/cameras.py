"""Whether a frame was taken by the cameras that the sequence is taken by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mesoface.captures.capture import CaptureSource
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera

_RELATIVE = 1e-6  # numbers that were written with six digits are the same


def check_cameras(source: CaptureSource, reference: CaptureSource, views: Sequence[str]) -> None:
    """See that a frame has the same cameras as another of its sequence.

    Args:
        source: the frame.
        reference: the other.
        views: names of the views that matter.

    Raises:
        CaptureError: a view is missing, or its camera has moved or is another one.
    """
    ours, theirs = ({view.name: view.camera for view in each.views} for each in (source, reference))
    for name in views:
        if name not in ours:
            raise CaptureError(
                f"view {name} is missing; all frames of a sequence have the same views",
                path=source.path,
                remedy="add it, or leave the view out of all frames with --view-ids",
            )
        if not _same(ours[name], theirs[name]):
            raise CaptureError(
                f"view {name} has another camera than in {reference.path}",
                path=source.path,
                remedy="use `mesoface batch` without --sequence where cameras move between frames",
            )


def _same(a: Camera, b: Camera) -> bool:
    size = np.abs(b.t).max() + 1e-12
    return (
        (a.width, a.height, repr(a.lens)) == (b.width, b.height, repr(b.lens))
        and np.allclose(a.K, b.K, rtol=_RELATIVE)
        and np.allclose(a.R, b.R, atol=_RELATIVE)
        and np.allclose(a.t, b.t, atol=_RELATIVE * size)
    )
