"""Settings of a calibration."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mesoface.config import Settings, option

Method = Literal["auto", "features", "landmarks"]
Sharing = Literal["auto", "shared", "each"]
_PANEL = "Options"


class CalibrationSettings(BaseModel):
    """How cameras are found. The options of ``mesoface calibrate`` are made from these fields.

    Unknown names and values out of range are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = option(
        "auto",
        "What is tracked from photo to photo. features: the skin's own detail (structure from motion). "
        "landmarks: the face's landmarks, for skin with little detail or few photos. auto: features, and "
        "landmarks if the result is not rated good.",
        panel=_PANEL,
    )
    cameras: Sharing = option(
        "auto",
        "shared: one camera at one zoom took all photos. each: every photo has its own (a rig). auto: photos "
        "of one size, camera and zoom (EXIF) share one.",
        panel=_PANEL,
    )
    background: bool = option(
        False,
        "Track the background too: only if the person kept still relative to it and the camera moved.",
        panel=_PANEL,
    )
    max_photos: int = option(
        30,
        "Use at most so many photos, or frames of a video: sharp ones, spread over the arc.",
        panel=_PANEL,
        metavar="N",
        ge=3,
        le=120,
    )
    threads: int = option(
        Settings.model_fields["threads"].default, "Threads.", panel=_PANEL, metavar="N", ge=1, le=64
    )
