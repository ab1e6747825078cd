"""Whether stated uncertainties are right: how often errors lie within them, and whether they follow them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

NORMAL_SHARES = (0.683, 0.954)
"""Share of normally distributed errors within one and within two standard deviations."""
_MEDIAN_OF_NORMAL = 0.6745  # median of |x| over its standard deviation


@dataclass(frozen=True)
class UncertaintyCalibration:
    """Stated standard deviations against the errors that were made.

    Args:
        count: places at which both are known.
        within_1: share of the errors within one σ; 0.683 of normal errors if σ is right.
        within_2: share of the errors within two σ; 0.954 likewise.
        ratio: median of ``|error| / σ`` over that of a normal distribution: above 1, σ is too small by this
            factor.
        sigma: root mean square of σ, mm.
        error: root mean square of the errors, mm.
        correlation: linear correlation of σ with ``|error|``; None where either is constant.
        rank_correlation: Spearman's, likewise.
    """

    count: int
    within_1: float
    within_2: float
    ratio: float
    sigma: float
    error: float
    correlation: float | None
    rank_correlation: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        one, two = (f"{100 * share:.0f} %" for share in (self.within_1, self.within_2))
        said = f"{one} of the errors within 1 σ (68 % expected), {two} within 2 σ (95 % expected)"
        if self.correlation is not None:
            said += f", correlation of σ with |error| {self.correlation:.2f}"
        return said


def calibrate_uncertainty(sigma: ArrayLike, error: ArrayLike) -> UncertaintyCalibration:
    """Compare stated standard deviations with errors, place by place.

    Args:
        sigma: (...) one standard deviation, mm; 0 or NaN where none is stated.
        error: (...) mm, with or without sign; NaN where it is not known.

    Raises:
        ValueError: the shapes differ, a σ is negative, or there is no place at which both are known.
    """
    stated, made = np.asarray(sigma, np.float64), np.abs(np.asarray(error, np.float64))
    if stated.shape != made.shape:
        raise ValueError(f"{stated.shape} standard deviations for {made.shape} errors")
    if (stated < 0).any():
        raise ValueError("a standard deviation is negative")
    known = np.isfinite(stated) & (stated > 0) & np.isfinite(made)
    stated, made = stated[known], made[known]
    if not len(stated):
        raise ValueError("no place has both a standard deviation and an error")
    from scipy.stats import spearmanr  # here, because it takes half a second and few evaluations need it

    both_vary = np.ptp(stated) > 1e-9 * stated.max() and np.ptp(made) > 0
    return UncertaintyCalibration(
        count=len(stated),
        within_1=float((made <= stated).mean()),
        within_2=float((made <= 2 * stated).mean()),
        ratio=float(np.median(made / stated) / _MEDIAN_OF_NORMAL),
        sigma=float(np.sqrt(np.mean(stated**2))),
        error=float(np.sqrt(np.mean(made**2))),
        correlation=float(np.corrcoef(stated, made)[0, 1]) if both_vary else None,
        rank_correlation=float(spearmanr(stated, made).statistic) if both_vary else None,
    )
