"""FaceScape's ``params.json``; the views are numbered in their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.facescape import write_params
from mesoface.captures.formats.writers.terms import brown_of

PHOTO, MASK, STATES_UNIT = "{index}{suffix}", None, True


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``params.json``, with our own key ``mm_per_unit`` where the unit is known.

    Raises:
        Unsupported: a lens is not k1, k2, p1, p2, k3.
    """
    for view in views:
        brown_of(view)
    write_params(folder, [view.camera for view in views], range(len(views)), mm_per_unit=mm_per_unit)
