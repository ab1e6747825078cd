"""Captures with something wrong, made from good ones in FaceScape's layout. The same ones every time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

Disturb = Callable[[Path, Path], None]
"""Makes a capture in the second folder, which is empty, from the one in the first."""
Change = Callable[[NDArray[np.float32], int, np.random.Generator], NDArray[np.float32]]
"""(H, W, 3) sRGB in [0, 1], the view's number and chance → the photo as it shall be."""

SWAPPED = ("2", "7")
SHIFTED, PIXELS = "4", 3.0
WRONG = "5"


def swap_cameras(capture: Path, out: Path) -> None:
    """Two views get each other's camera, as when photos are mixed up."""
    params = _read(capture)
    a, b = SWAPPED
    for key in ("K", "Rt", "distortion"):
        params[f"{a}_{key}"], params[f"{b}_{key}"] = params[f"{b}_{key}"], params[f"{a}_{key}"]
    _write(capture, out, params)


def shift_camera(capture: Path, out: Path) -> None:
    """One view's principal point is off to the side, as after a knock to the camera."""
    params = _read(capture)
    params[f"{SHIFTED}_K"][0][2] += PIXELS
    _write(capture, out, params)


def jitter_cameras(pixels: float) -> Disturb:
    """All cameras are turned at random: by ``pixels`` (σ) sideways, up or down, and around the line of sight.

    The turn around the line of sight moves the picture by that much at a third of its height from the middle.
    """

    def disturb(capture: Path, out: Path) -> None:
        params = _read(capture)
        for view in _views(params):
            focal, height = params[f"{view}_K"][0][0], params[f"{view}_height"]
            arms = np.array([focal, focal, height / 3])
            turn = Rotation.from_rotvec(pixels * _chance("jitter", view).standard_normal(3) / arms)
            params[f"{view}_Rt"] = (turn.as_matrix() @ np.array(params[f"{view}_Rt"])).tolist()
        _write(capture, out, params)

    return disturb


def replace_photo(make: Callable[[Image.Image], Image.Image]) -> Disturb:
    """One view's photo is another picture, of the same size: what ``make`` gives for the true photo."""

    def disturb(capture: Path, out: Path) -> None:
        _write(capture, out, _read(capture), without=WRONG)
        with Image.open(capture / f"{WRONG}.jpg") as photo:
            made = make(photo.convert("RGB"))
        made.save(out / f"{WRONG}.png", compress_level=1)

    return disturb


def halve(capture: Path, out: Path) -> None:
    """Photos of half the size, as from a camera with fewer pixels."""
    params = _read(capture)
    for view in _views(params):
        with Image.open(capture / f"{view}.jpg") as photo:
            small = photo.convert("RGB").resize((photo.width // 2, photo.height // 2), Image.Resampling.BOX)
        small.save(out / f"{view}.png", compress_level=1)
        # An image's edge is at -0.5 and stays there.
        K = np.array(params[f"{view}_K"])
        K[:2] *= np.array([[0.5], [0.5]])
        K[:2, 2] -= 0.25
        params[f"{view}_K"] = K.tolist()
        params[f"{view}_width"], params[f"{view}_height"] = small.size
    (out / "params.json").write_text(json.dumps(params), encoding="utf-8")


def change_photos(change: Change, *, jpeg_quality: int | None = None) -> Disturb:
    """Every photo goes through ``change``, and is written as JPEG of that quality, or without loss."""

    def disturb(capture: Path, out: Path) -> None:
        params = _read(capture)
        for view in _views(params):
            with Image.open(capture / f"{view}.jpg") as photo:
                image = np.asarray(photo.convert("RGB"), np.float32) / 255
            image = change(image, int(view), _chance("photo", view))
            made = Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
            if jpeg_quality is None:
                made.save(out / f"{view}.png", compress_level=1)
            else:
                made.save(out / f"{view}.jpg", quality=jpeg_quality)
        (out / "params.json").write_text(json.dumps(params), encoding="utf-8")

    return disturb


def _chance(purpose: str, view: str) -> np.random.Generator:
    return np.random.default_rng([crc32(purpose.encode()), int(view)])


def _views(params: dict[str, Any]) -> list[str]:
    return [key.removesuffix("_K") for key in params if key.endswith("_K")]


def _read(capture: Path) -> dict[str, Any]:
    return json.loads((capture / "params.json").read_text(encoding="utf-8"))


def _write(capture: Path, out: Path, params: dict[str, Any], *, without: str | None = None) -> None:
    """The photos of ``capture``, linked to, and ``params`` in ``out``."""
    for photo in capture.glob("*.jpg"):
        if photo.stem != without:
            (out / photo.name).symlink_to(photo.resolve())
    (out / "params.json").write_text(json.dumps(params), encoding="utf-8")
