"""Landmarks from a file, in place of a detector.

JSON::

    {"scheme": "ibug68",                    // or "mediapipe478"
     "views": {"cam01": [[812.5, 640.0], null, ...], "cam02": [...]}}

NPZ: ``scheme`` (a string), ``views`` (V names), ``points`` (V, L, 2) and, optionally, ``weights`` (V, L).

Coordinates are pixels of the *undistorted* photos, which are what ``load_capture`` returns and what the
inspection page shows, with the centre of the top-left pixel at (0, 0). Views of the capture that the file
does not name have no landmarks.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.errors import FaceModelError, LandmarkError, naming
from mesoface.files.npz import read_npz
from mesoface.landmarks.types import Landmarks2D

SCHEMES = {"mediapipe478": 478, "ibug68": 68}
_MAX_BYTES = 64 * 2**20
_MARGIN = 1.0  # image sizes by which a landmark may lie outside


def read_landmarks(path: str | Path, capture: Capture) -> Landmarks2D:
    """Read a landmark file for ``capture``.

    Args:
        path: ``.json`` or ``.npz``, see the module.
        capture: whose views the file names.

    Returns:
        landmarks with weight 1 where the file gives none.

    Raises:
        LandmarkError: the file cannot be read, names an unknown scheme or view, has the wrong number of
            points, points far outside their photo, or landmarks in fewer than two views.
    """
    with naming(path):
        return _read(Path(path), capture)


def _refused(what: str, remedy: str) -> LandmarkError:
    return LandmarkError(what, remedy=remedy)


def _read(path: Path, capture: Capture) -> Landmarks2D:
    if not path.is_file():
        raise _refused("no such file", "name a .json or .npz file of landmarks")
    if path.stat().st_size > _MAX_BYTES:
        raise _refused(f"larger than {_MAX_BYTES >> 20} MB", "is this a landmark file?")
    readers = {".json": _read_json, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise _refused(f"unknown kind of file {path.suffix!r}", "use .json or .npz")
    scheme, views = readers[path.suffix.lower()](path)

    if scheme not in SCHEMES:
        raise _refused(f"unknown scheme {scheme!r}", f"use one of {', '.join(SCHEMES)}")
    unknown = [name for name in views if name not in capture.names]
    if unknown:
        what = f"names the view {unknown[0]!r}, which the capture does not have"
        raise _refused(what, f"its views are {', '.join(capture.names)}")
    points = np.full((len(capture), SCHEMES[scheme], 2), np.nan)
    weights = np.zeros(points.shape[:2])
    for v, view in enumerate(capture.views):
        if view.name in views:
            points[v], weights[v] = _checked(view, *views[view.name], SCHEMES[scheme])
    landmarks = Landmarks2D(points, weights, scheme)
    if landmarks.found.sum() < 2:
        raise _refused(f"has landmarks in {landmarks.found.sum()} view(s)", "at least two views are needed")
    return landmarks


def write_landmarks(path: str | Path, capture: Capture, landmarks: Landmarks2D) -> None:
    """Write ``landmarks`` of ``capture`` as JSON that :func:`read_landmarks` reads; weights are not kept."""
    views = {}
    for name, points, weights in zip(capture.names, landmarks.points, landmarks.weights, strict=True):
        if (weights > 0).any():
            views[name] = [
                [round(float(x), 3), round(float(y), 3)] if weight > 0 else None
                for (x, y), weight in zip(points, weights, strict=True)
            ]
    text = json.dumps({"scheme": landmarks.scheme, "views": views}, separators=(",", ":"))
    Path(path).write_text(text, encoding="utf-8")


_Views = dict[str, tuple[NDArray, NDArray | None]]


def _read_json(path: Path) -> tuple[str, _Views]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(f"cannot be read as JSON ({error})", "check the file") from error
    if not isinstance(data, dict) or not isinstance(data.get("views"), dict):
        raise _refused('expected {"scheme": …, "views": {name: [[x, y] or null, …]}}', "see docs/formats.md")
    return str(data.get("scheme")), {name: (_rows(name, rows), None) for name, rows in data["views"].items()}


def _rows(name: str, rows: Any) -> NDArray[np.float64]:
    """(L, 2) from a list of pairs and nulls."""
    if not isinstance(rows, list):
        raise _refused(f"view {name}: expected a list of [x, y] or null", "check the file")
    points = np.full((len(rows), 2), np.nan)
    for i, row in enumerate(rows):
        if row is None:
            continue
        pair = isinstance(row, list) and len(row) == 2
        if not pair or not all(type(x) in (int, float) and abs(x) < 1e15 for x in row):
            what = f"view {name}, point {i}: expected [x, y] or null, got {str(row)[:60]}"
            raise _refused(what, "write null for a point that the view does not show")
        points[i] = row
    return points


def _read_npz(path: Path) -> tuple[str, _Views]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise _refused(f"unpacks to more than {_MAX_BYTES >> 20} MB", "is this a landmark file?")
        arrays = read_npz(path, ("scheme", "views", "points", "weights"))
    except (OSError, zipfile.BadZipFile) as error:
        raise _refused(f"cannot be read as NPZ ({error})", "check the file") from error
    except FaceModelError as error:
        raise _refused(error.message, "write it again with numpy.savez") from error
    missing = {"scheme", "views", "points"} - arrays.keys()
    if missing:
        remedy = "expected scheme, views, points and, optionally, weights"
        raise _refused(f"has no array {', '.join(sorted(missing))}", remedy)
    names = [str(name) for name in np.atleast_1d(arrays["views"])]
    points, weights = arrays["points"], arrays.get("weights")
    if points.ndim != 3 or len(points) != len(names) or points.dtype.kind not in "fiu":
        what = f"points are {points.dtype} {points.shape}"
        raise _refused(what, f"expected numbers ({len(names)}, L, 2)")
    if weights is not None and (weights.shape != points.shape[:2] or weights.dtype.kind not in "fiu"):
        raise _refused(f"weights are {weights.dtype} {weights.shape}", f"expected {points.shape[:2]}")
    views = {n: (points[i], None if weights is None else weights[i]) for i, n in enumerate(names)}
    return str(arrays["scheme"]), views


def _checked(
    view: View, points: NDArray, weights: NDArray | None, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(count, 2) points and (count,) weights of a view, NaN and 0 where a point is unknown."""
    if points.shape != (count, 2):
        what = f"view {view.name}: {len(points)} points, shape {points.shape}"
        raise _refused(what, f"expected ({count}, 2)")
    known = np.isfinite(points).all(1)
    points = np.where(known[:, None], points, np.nan)
    if weights is None:
        weights = np.ones(count)
    elif not (np.isfinite(weights).all() and (weights >= 0).all() and (weights <= 1).all()):
        raise _refused(f"view {view.name}: a weight is not in [0, 1]", "check the file")
    width, height = size = (view.camera.width, view.camera.height)
    far = (points < -_MARGIN * np.array(size)) | (points > (1 + _MARGIN) * np.array(size))
    if far.any():
        x, y = points[far.any(1)][0]
        what = f"view {view.name}: the point ({x:.0f}, {y:.0f}) is far outside the photo of {width}×{height}"
        raise _refused(what, "give pixels of the undistorted photo at the size at which it is loaded")
    return points, np.where(known, weights, 0.0)
