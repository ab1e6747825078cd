"""``capture.json``, which represents every camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.plain import write_capture_json

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", True


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``capture.json``."""
    write_capture_json(folder, views, mm_per_unit=mm_per_unit)
