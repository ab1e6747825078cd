"""Calibrations written in other programs' formats, beside photos: one file a format.

To add one, write a module with ``NAME``, ``PHOTO``, ``MASK``, ``STATES_UNIT`` and ``write``, and name it in
``WRITERS``. What a format cannot say is refused with
:class:`~mesoface.captures.formats.writers.terms.Unsupported`, never approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.writers import (
    colmap,
    facescape,
    meshroom,
    metashape,
    nerfstudio,
    opencv,
    openmvg,
    plain,
    realitycapture,
)


class CaptureWriter(Protocol):
    """What a writer's module offers."""

    NAME: str
    """as ``--to`` takes it; the reader's name"""
    PHOTO: str
    """where a photo lies in the folder: ``{stem}`` or ``{index}``, and ``{suffix}``"""
    MASK: str | None
    """where a mask lies: as above, and ``{photo}`` for the photo's name; None: the format has none"""
    STATES_UNIT: bool
    """whether the files say how many millimetres a world unit has"""

    def write(self, folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
        """Write the calibration of ``views``, whose photos have their places in ``folder``.

        Raises:
            Unsupported: the format has no words for one of the cameras.
        """
        ...


WRITERS = {
    module.NAME: cast(CaptureWriter, module)
    for module in (
        plain,
        facescape,
        colmap,
        nerfstudio,
        metashape,
        realitycapture,
        openmvg,
        meshroom,
        opencv,
    )
}
