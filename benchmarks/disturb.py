"""Captures with a wrong calibration, made from good ones in FaceScape's layout."""

from __future__ import annotations

import json
from pathlib import Path

SWAPPED = ("2", "7")
SHIFTED, PIXELS = "4", 3.0


def swap_cameras(capture: Path, out: Path) -> None:
    """Two views get each other's camera, as when photos are mixed up."""
    params = _link_photos(capture, out)
    a, b = SWAPPED
    for key in ("K", "Rt", "distortion"):
        params[f"{a}_{key}"], params[f"{b}_{key}"] = params[f"{b}_{key}"], params[f"{a}_{key}"]
    (out / "params.json").write_text(json.dumps(params), encoding="utf-8")


def shift_camera(capture: Path, out: Path) -> None:
    """One view's principal point is off to the side, as after a knock to the camera."""
    params = _link_photos(capture, out)
    params[f"{SHIFTED}_K"][0][2] += PIXELS
    (out / "params.json").write_text(json.dumps(params), encoding="utf-8")


def _link_photos(capture: Path, out: Path) -> dict:
    """The photos of ``capture`` in ``out``, without copying; its calibration, to be changed."""
    for photo in capture.glob("*.jpg"):
        (out / photo.name).symlink_to(photo.resolve())
    return json.loads((capture / "params.json").read_text(encoding="utf-8"))
