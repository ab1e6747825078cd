"""What a photo's EXIF data say about its camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0}  # FocalPlaneResolutionUnit: inch, centimetre, millimetre
_PLAUSIBLE = (0.3, 30.0)  # focal length over the photo's longest side


@dataclass(frozen=True)
class ExifCamera:
    """The camera as its photo describes it.

    Args:
        device: make, model, lens and zoom in one string, equal for photos of one camera at one zoom; empty
            where nothing is said.
        focal: focal length in pixels of the photo, or None.
    """

    device: str
    focal: float | None


def read_exif_camera(path: Path, width: int, height: int) -> ExifCamera:
    """Camera and focal length of a photo of ``width`` × ``height`` stored pixels.

    The focal length comes from its 35 mm equivalent, which compares the pictures' diagonals (CIPA DCG-001),
    or from the sensor's resolution. Damaged EXIF data are as good as none.
    """
    try:
        with Image.open(path) as image:
            # Pillow would decode a whole PNG to look for EXIF behind the pixels.
            if image.format == "PNG" and "exif" not in image.info:
                return ExifCamera("", None)
            exif = image.getexif()
            tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return ExifCamera("", None)
    names = (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.LensModel)
    device = " ".join(str(tags[tag]).strip("\0 ") for tag in names if tag in tags)
    zoom = _number(tags.get(ExifTags.Base.FocalLength))
    if device and zoom is not None:
        device += f" at {zoom:g} mm"
    return ExifCamera(device, _focal(tags, width, height))


def _focal(tags: dict[int, Any], width: int, height: int) -> float | None:
    """Focal length in pixels, None where it is not said or impossible."""
    equivalent = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if equivalent is not None:
        return _plausible(equivalent / _DIAGONAL_35MM * math.hypot(width, height), width, height)
    length = _number(tags.get(ExifTags.Base.FocalLength))
    resolution = _number(tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit = _MM_PER_UNIT.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    if length is None or resolution is None or unit is None:
        return None
    # The resolution is of the picture as the camera wrote it; this one may have been scaled since.
    original = _number(tags.get(ExifTags.Base.ExifImageWidth)) or width
    return _plausible(length * resolution / unit * width / original, width, height)


def _number(value: Any) -> float | None:
    """A positive, finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _plausible(focal: float, width: int, height: int) -> float | None:
    low, high = (share * max(width, height) for share in _PLAUSIBLE)
    return focal if low <= focal <= high else None
