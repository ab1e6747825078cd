"""What can be chosen about a synthetic capture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mesoface.errors import MesofaceError


@dataclass(frozen=True)
class SynthesisSettings:
    """How a synthetic capture is made. The seed decides everything else.

    Args:
        views: number of photos, at least 2.
        width: of a photo, pixels.
        height: of a photo, pixels.
        spread_deg: angle between the outermost cameras, seen from the face, degrees.
        distance_mm: from the cameras to the face.
        detail_mm: longest triangle edge of the true facial surface: its finest relief is about twice that.
        truth_mm: longest triangle edge of the truth that is handed out, where it shall be smaller than what
            is photographed; None hands out the photographed triangles themselves.
        expression: strength of the facial expression; 0 is the neutral face.
        supersample: rays per pixel and axis.
        noise: strength of shot and read noise; 1 is a good camera at base sensitivity, 0 none.
        exposure_jitter: standard deviation of each view's exposure, relative.
        white_balance_jitter: standard deviation of each view's red and blue gain, relative.
        jpeg_quality: 1–100.
        lens: whether the cameras distort.
        blur_px: typical standard deviation of a view's defocus, pixels; each view has its own.
        calibration_px: typical error of the cameras that are written down, pixels in the middle of the face.

    Raises:
        MesofaceError: a number is out of its range.
    """

    views: int = 10
    width: int = 864
    height: int = 1296
    spread_deg: float = 120.0
    distance_mm: float = 900.0
    detail_mm: float = 0.6
    truth_mm: float | None = None
    expression: float = 0.6
    supersample: int = 2
    noise: float = 1.0
    exposure_jitter: float = 0.06
    white_balance_jitter: float = 0.02
    jpeg_quality: int = 93
    lens: bool = True
    blur_px: float = 0.0
    calibration_px: float = 0.0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "views": (2, 200),
            "width": (64, 8192),
            "height": (64, 8192),
            "spread_deg": (5, 180),
            "distance_mm": (300, 5000),
            "detail_mm": (0.2, 5),
            "truth_mm": (self.detail_mm, 20),
            "expression": (0, 2),
            "supersample": (1, 4),
            "noise": (0, 100),
            "exposure_jitter": (0, 0.5),
            "white_balance_jitter": (0, 0.3),
            "jpeg_quality": (30, 100),
            "blur_px": (0, 5),
            "calibration_px": (0, 5),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not (np.isfinite(value) and low <= value <= high):
                raise MesofaceError(f"{name} must be between {low:g} and {high:g}, got {value!r}")
