"""What can be chosen about a synthetic capture."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from mesoface.config import option
from mesoface.errors import MesofaceError


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
            if not problem["loc"]:
                raise MesofaceError("an object of settings was expected") from None
            name = ".".join(map(str, problem["loc"]))
            raise MesofaceError(f"{name}: {problem['msg']}, got {problem['input']!r}") from None


def number(
    panel: str, default: float | None, low: float, high: float, unit: str, help: str, name: str | None = None
) -> Any:
    """A field, and an option in ``panel`` of the help: a number from ``low`` to ``high`` in ``unit``."""
    return option(default, help, panel=panel, metavar=unit, name=name, ge=low, le=high)


_photos, _head, _flaws, _phone = (
    partial(number, panel)
    for panel in ("Photos", "Head", "Flaws of the photos", "Photos from life, as a phone takes them")
)


class StandSettings(CheckedSettings):
    """A head, and photos of cameras on stands."""

    views: int = _photos(10, 2, 200, "N", "Number of cameras.")
    width: int = _photos(864, 64, 8192, "PIXELS", "Width of a photo in portrait.")
    height: int = _photos(1296, 64, 8192, "PIXELS", "Height of a photo in portrait.")
    spread_deg: float = _photos(
        120.0, 5, 180, "DEGREES", "Angle between the outermost cameras, seen from the face.", "spread"
    )
    distance_mm: float = _photos(900.0, 300, 5000, "MM", "From the cameras to the face.", "distance")
    detail_mm: float = _head(
        *(0.6, 0.2, 5, "MM"),
        "Longest triangle edge of the photographed skin; its finest relief is about twice that.",
        "detail",
    )
    truth_mm: float | None = _head(
        *(None, 0.2, 20, "MM"),
        "Longest triangle edge of gt.ply, for a smaller file; truth.json states its error. Left out: gt.ply "
        "has the photographed triangles.",
        "truth_detail",
    )
    expression: float = _head(0.6, 0, 2, "N", "Strength of the facial expression; 0 is the neutral face.")
    supersample: int = _photos(2, 1, 4, "N", "Rays per pixel and axis.")
    noise: float = _flaws(
        1.0, 0, 100, "N", "Strength of shot and read noise: 0 none, 1 a good camera at base sensitivity."
    )
    exposure_jitter: float = _flaws(0.06, 0, 0.5, "N", "Relative standard deviation of each view's exposure.")
    white_balance_jitter: float = _flaws(
        0.02, 0, 0.3, "N", "Relative standard deviation of each view's red and blue gain."
    )
    jpeg_quality: int = _flaws(93, 30, 100, "N", "Quality of the JPEG files.")
    lens: bool = option(True, "Give the cameras lens distortion.", panel="Flaws of the photos")
    blur_px: float = _flaws(
        0.0, 0, 5, "PIXELS", "Typical standard deviation of the defocus; it differs between views.", "blur"
    )
    calibration_px: float = _flaws(
        0.0, 0, 5, "PIXELS", "Typical error of the written cameras, mid-face.", "calibration_error"
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


class PhoneSettings(CheckedSettings):
    """What a phone in the hand and its software do to photos; by default nothing.

    :mod:`mesoface.lab.synthesis.damage` does it, but for the skin and the highlights.
    """

    skin_contrast: float = _phone(
        1.0, 0, 1, "N", "Contrast of the skin's colours; 1 is full, 0 is skin of one colour."
    )
    highlights_deg: float = _phone(
        *(0.0, 0, 90, "DEGREES", "Turn of the lights that highlights mirror, from photo to photo (RMS)."),
        "highlights",
    )
    movement_mm: float = _phone(
        *(0.0, 0, 5, "MM", "Movement of the skin from photo to photo, smooth over 30 mm (RMS)."),
        "movement",
    )
    rolling_px: float = _phone(
        *(0.0, 0, 50, "PIXELS", "Drift of the camera from the first row to the last of a rolling shutter."),
        "rolling_shutter",
    )
    motion_px: float = _phone(
        0.0, 0, 50, "PIXELS", "Typical length of the motion blur; it differs by view.", "motion_blur"
    )
    denoising: float = _phone(0.0, 0, 1, "N", "Strength of edge-preserving smoothing in the camera.")
    tone_mapping: float = _phone(0.0, 0, 1, "N", "Strength of local tone mapping.")
    sharpening: float = _phone(0.0, 0, 5, "N", "Amount of unsharp masking.")
    video_qp: float = _phone(
        0.0, 0, 51, "N", "Quantisation parameter of a video coder as H.264; 0 is a photo, not a frame."
    )


class SynthesisSettings(PhoneSettings, StandSettings):
    """How a synthetic capture is made. The seed determines everything else.

    The options of ``mesoface synth`` are made from these fields.
    """
