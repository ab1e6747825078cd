"""Calibrations written beside photos in the formats of other programs: one module per format.

A module here has its reader's name, and ``PHOTO``, ``MASK``, ``STATES_UNIT`` and ``write``. What a format
cannot represent is refused with :class:`~mesoface.captures.formats.writers.terms.Unsupported`, never
approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats import FORMATS


class CaptureWriter(Protocol):
    """The interface of a writer's module."""

    PHOTO: str
    """the path of a photo in the folder: with ``{stem}`` or ``{index}``, and ``{suffix}``"""
    MASK: str | None
    """the path of a mask: as above, and ``{photo}`` for the photo's name; None: the format has no masks"""
    STATES_UNIT: bool
    """whether the files state the millimetres per world unit"""

    def write(self, folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
        """Write the calibration of ``views``, whose photos are in their places in ``folder``.

        Raises:
            Unsupported: the format cannot represent one of the cameras.
        """
        ...


WRITERS = {name: cast(CaptureWriter, import_module(f"{__name__}.{name}")) for name in FORMATS}
"""{format: its writer}; every format that is read is written, too."""
