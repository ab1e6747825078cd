"""Brown's lens with four radial terms, as Metashape and RealityCapture have it; OpenCV's stops at three."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mesoface.geometry.lens import Array, Lens, OpenCVLens, invert


@dataclass(frozen=True)
class BrownLens:
    """Radial polynomial up to r⁸, and tangential terms (D. C. Brown, "Close-range camera calibration", 1971).

    Args:
        coefficients: (k1, k2, k3, k4, p1, p2), where p1 and p2 stand as OpenCV has them: p1 goes with
            r² + 2y² in y, p2 with r² + 2x² in x.

    Raises:
        ValueError: another number of coefficients, or one that is not finite.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficients) != 6:
            raise ValueError(f"expected 6 lens coefficients, got {len(self.coefficients)}")
        if not np.isfinite(self.coefficients).all():
            raise ValueError("a lens coefficient is not finite")

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted."""
        k1, k2, k3, k4, p1, p2 = self.coefficients
        x, y = np.asarray(xy, np.float64).T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            -1,
        )

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where the lens folds over and has no inverse."""
        return invert(self.distort, xy)


def brown_lens(k1: float, k2: float, k3: float, k4: float, p1: float, p2: float) -> Lens | None:
    """The lens of these coefficients: none where all are 0, OpenCV's (the faster one) where k4 is 0.

    Raises:
        ValueError: a coefficient is not finite.
    """
    if not any((k1, k2, k3, k4, p1, p2)):
        return None
    return BrownLens((k1, k2, k3, k4, p1, p2)) if k4 else OpenCVLens((k1, k2, p1, p2, k3))
