"""What can be chosen about a synthetic capture."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from mesoface.config import option
from mesoface.errors import MesofaceError

_CAPTURE, _HEAD, _FLAWS = "Photos", "Head", "Flaws of the photos"


class CheckedSettings(BaseModel):
    """Settings that refuse unknown names and values out of range.

    Raises:
        MesofaceError: a value cannot be used; the message names the setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            problem = error.errors()[0]
            name = ".".join(str(part) for part in problem["loc"]) or "settings"
            raise MesofaceError(f"{name}: {problem['msg']}, got {problem['input']!r}") from None


def views_option(default: int) -> Any:
    """A field for the number of cameras of a synthetic capture."""
    return option(default, "Number of cameras.", panel=_CAPTURE, metavar="N", ge=2, le=200)


def side_option(default: int, help: str) -> Any:
    """A field for the width or height of the photos."""
    return option(default, help, panel=_CAPTURE, metavar="PIXELS", ge=64, le=8192)


def detail_option() -> Any:
    """A field for the size of the triangles of the photographed skin."""
    text = "Longest triangle edge of the photographed skin; its finest relief is about twice that."
    return option(0.6, text, panel=_HEAD, metavar="MM", name="detail", ge=0.2, le=5)


def _flaw(default: float, help: str, most: float, metavar: str = "N", name: str | None = None) -> Any:
    return option(default, help, panel=_FLAWS, metavar=metavar, name=name, ge=0, le=most)


class SynthesisSettings(CheckedSettings):
    """How a synthetic capture is made. The seed determines everything else.

    The options of ``mesoface synth`` are made from these fields.
    """

    views: int = views_option(10)
    width: int = side_option(864, "Width of the photos.")
    height: int = side_option(1296, "Height of the photos.")
    spread_deg: float = option(
        120.0,
        "Angle between the outermost cameras, seen from the face.",
        panel=_CAPTURE,
        metavar="DEGREES",
        name="spread",
        ge=5,
        le=180,
    )
    distance_mm: float = option(
        900.0,
        "From the cameras to the face.",
        panel=_CAPTURE,
        metavar="MM",
        name="distance",
        ge=300,
        le=5000,
    )
    detail_mm: float = detail_option()
    truth_mm: float | None = option(
        None,
        "Longest triangle edge of gt.ply, for a smaller file; truth.json states its error. Left out: gt.ply "
        "has the photographed triangles.",
        panel=_HEAD,
        metavar="MM",
        name="truth_detail",
        ge=0.2,
        le=20,
    )
    expression: float = option(
        0.6, "Strength of the facial expression; 0 is the neutral face.", panel=_HEAD, metavar="N", ge=0, le=2
    )
    supersample: int = option(2, "Rays per pixel and axis.", panel=_CAPTURE, metavar="N", ge=1, le=4)
    noise: float = _flaw(
        1.0, "Strength of shot and read noise: 0 none, 1 a good camera at base sensitivity.", 100
    )
    exposure_jitter: float = _flaw(0.06, "Relative standard deviation of each view's exposure.", 0.5)
    white_balance_jitter: float = _flaw(
        0.02, "Relative standard deviation of each view's red and blue gain.", 0.3
    )
    jpeg_quality: int = option(93, "Quality of the JPEG files.", panel=_FLAWS, metavar="N", ge=30, le=100)
    lens: bool = option(True, "Give the cameras lens distortion.", panel=_FLAWS)
    blur_px: float = _flaw(
        0.0,
        "Typical standard deviation of a view's defocus; it differs between views.",
        5,
        metavar="PIXELS",
        name="blur",
    )
    calibration_px: float = _flaw(
        0.0,
        "Typical error of the written cameras in the middle of the face.",
        5,
        metavar="PIXELS",
        name="calibration_error",
    )

    @model_validator(mode="after")
    def _check_truth(self) -> Self:
        if self.truth_mm is not None and self.truth_mm < self.detail_mm:
            raise MesofaceError(
                f"truth_mm (--truth-detail {self.truth_mm}) is finer than the photographed surface, "
                f"detail_mm (--detail {self.detail_mm})",
                remedy="make it larger, or leave it out",
            )
        return self
