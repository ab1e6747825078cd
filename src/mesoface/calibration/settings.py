"""Settings of a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mesoface.errors import MesofaceError

Method = Literal["auto", "features", "landmarks"]
Sharing = Literal["auto", "shared", "each"]


@dataclass(frozen=True)
class CalibrationSettings:
    """How cameras are found.

    Args:
        method: ``features`` follows the skin's own detail (structure from motion), ``landmarks`` the face's
            landmarks; ``auto`` takes the former unless its result is not to be trusted.
        cameras: ``shared``: one camera took all photos. ``each``: every photo has its own. ``auto``: photos
            of one size, camera and zoom, as their EXIF data tell, share one.
        background: whether the whole photo may be followed, because the person held still against it while
            the camera moved. Otherwise only the head is.
        max_photos: of more photos, or of a video, the sharp ones spread over the arc are taken.
        threads: for finding and matching features.

    Raises:
        MesofaceError: a value out of range.
    """

    method: Method = "auto"
    cameras: Sharing = "auto"
    background: bool = False
    max_photos: int = 30
    threads: int = 2

    def __post_init__(self) -> None:
        for name, kind in (("method", Method), ("cameras", Sharing)):
            if getattr(self, name) not in get_args(kind):
                raise MesofaceError(
                    f"{name}: {getattr(self, name)!r} is not known", remedy=f"use {', '.join(get_args(kind))}"
                )
        if not 3 <= self.max_photos <= 120:
            raise MesofaceError(f"{self.max_photos} photos", remedy="between 3 and 120 can be calibrated")
        if self.threads < 1:
            raise MesofaceError(f"{self.threads} threads", remedy="use at least one")
