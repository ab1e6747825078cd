"""From which ranges the captures of a training set are drawn."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesoface.errors import MesofaceError
from mesoface.lab.synthesis.sensor import noise_strength
from mesoface.lab.synthesis.settings import SynthesisSettings

_USUAL_VIEWS = (5, 12)
_USUAL_SHARE = 0.7  # of the captures have so many views
_WIDEST_STEP = 45.0  # degrees between neighbouring cameras: further apart, two photos show little in common
_ASPECTS = (2 / 3, 3 / 4, 4 / 5)  # width over height

Range = tuple[float, float]


class DatasetRanges(BaseModel):
    """Lowest and highest value of everything that differs between the captures of a training set.

    Unknown names are refused, and values that a capture cannot have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: tuple[int, int] = Field((2, 16), description="photos; mostly 5 to 12")
    longest_side: tuple[int, int] = Field((640, 1296), description="of the photos, pixels")
    spread_deg: Range = Field((30.0, 140.0), description="between the outermost cameras, degrees")
    distance_mm: Range = Field((600.0, 1500.0), description="from the cameras to the face")
    detail_mm: Range = Field((0.5, 0.7), description="longest triangle edge of the photographed skin")
    expression: Range = Field((0.0, 1.2), description="strength of the facial expression")
    blur_px: Range = Field((0.0, 1.5), description="standard deviation of the defocus, pixels; mostly low")
    noise_levels: Range = Field((0.4, 8.0), description="noise of a mid-grey, levels of 255; mostly low")
    exposure_jitter: Range = Field((0.0, 0.25), description="standard deviation between views, relative")
    white_balance_jitter: Range = Field((0.0, 0.06), description="likewise, of the red and the blue gain")
    jpeg_quality: tuple[int, int] = Field((35, 98), description="of the photos")
    calibration_px: Range = Field((0.0, 0.5), description="error of the written cameras, pixels; mostly low")

    def check(self) -> None:
        """Raise a MesofaceError that names a range which is upside down, or goes beyond what can be made."""
        for name in type(self).model_fields:
            low, high = getattr(self, name)
            if not low <= high:
                raise MesofaceError(
                    f"range {name!r}: from {low:g} to {high:g}", remedy="give the lower number first"
                )
        for pick in product((0, 1), repeat=2):
            # The ranges are checked at their ends; the two in `pick` are those that others depend on.
            ends = {name: getattr(self, name)[pick[0]] for name in type(self).model_fields}
            side = self.longest_side[pick[1]]
            _settings(ends, width=round(side * min(_ASPECTS)), height=side)

    def draw(self, rng: np.random.Generator) -> SynthesisSettings:
        """Settings of one capture."""

        def between(name: str, *, lower: float = 1.0) -> float:
            low, high = getattr(self, name)
            return float(low + (high - low) * rng.uniform() ** lower)

        views = self._draw_views(rng)
        low, high = self.spread_deg
        spread = rng.uniform(low, max(low, min(high, _WIDEST_STEP * (views - 1))))
        height = int(rng.integers(*self.longest_side, endpoint=True))
        values = {
            "views": views,
            "spread_deg": round(float(spread), 2),
            "distance_mm": round(between("distance_mm"), 1),
            "detail_mm": round(between("detail_mm"), 3),
            "expression": round(between("expression"), 3),
            "blur_px": round(between("blur_px", lower=2), 3),
            "noise_levels": round(between("noise_levels", lower=2), 2),
            "exposure_jitter": round(between("exposure_jitter"), 3),
            "white_balance_jitter": round(between("white_balance_jitter"), 3),
            "jpeg_quality": int(rng.integers(*self.jpeg_quality, endpoint=True)),
            "calibration_px": round(between("calibration_px", lower=2.5), 3),
        }
        return _settings(values, width=round(height * rng.choice(_ASPECTS)), height=height)

    def _draw_views(self, rng: np.random.Generator) -> int:
        low, high = self.views
        usual_low, usual_high = max(low, _USUAL_VIEWS[0]), min(high, _USUAL_VIEWS[1])
        if usual_low <= usual_high and rng.uniform() < _USUAL_SHARE:
            low, high = usual_low, usual_high
        return int(rng.integers(low, high, endpoint=True))


def _settings(values: dict[str, float], *, width: int, height: int) -> SynthesisSettings:
    """Settings from one value of every range."""
    direct = {name: value for name, value in values.items() if name not in ("longest_side", "noise_levels")}
    noise = round(noise_strength(values["noise_levels"]), 4)
    return SynthesisSettings(**direct, noise=noise, width=width, height=height)  # type: ignore[arg-type]


def read_ranges(path: str | Path) -> DatasetRanges:
    """Ranges from a JSON object of any of their names; those that are not named are the defaults.

    Raises:
        MesofaceError: the file cannot be read, or a range is unknown or impossible.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        ranges = DatasetRanges.model_validate_json(text)
        ranges.check()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise MesofaceError(f"cannot be read: {reason}", path=path, remedy="give a JSON file") from error
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise MesofaceError(
            f"{name}: {problem['msg']}", path=path, remedy='give e.g. {"views": [4, 8]}'
        ) from None
    except MesofaceError as error:
        raise MesofaceError(error.message, path=path, remedy=error.remedy or "narrow the range") from error
    return ranges
