"""How many millimetres one world unit is.

Metric captures state it. For the others the eyes are the measure: the visible iris has a diameter of
11.7 ± 0.5 mm in nearly all adults (Rüfer et al., Cornea 2005), and the pupils are 62.85 ± 3.6 mm apart
(Dodgson, SPIE 2004, adults pooled). Nothing is guessed from the numbers of the rig.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture
from mesoface.errors import ReconstructionError
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]

IRIS_MM, IRIS_SPREAD_MM = 11.7, 0.5
PUPILS_MM, PUPILS_SPREAD_MM = 62.85, 3.6
OPEN_EYE = 0.18
"""Height over width of the eye opening from which on the iris is really seen."""
FRONTAL = np.cos(np.radians(30))

_NO_SCALE = "pass --scale MM_PER_UNIT (1 where the calibration is in millimetres, 1000 where it is in metres)"


@dataclass(frozen=True)
class ScaleEstimate:
    """Millimetres per world unit and their source.

    Args:
        mm_per_unit: positive.
        source: ``"given"``, ``"capture"``, ``"iris"``, ``"pupils"`` or ``"iris and pupils"``.
        relative_uncertainty: one standard deviation, as a share of ``mm_per_unit``; 0 where it was stated.
    """

    mm_per_unit: float
    source: str
    relative_uncertainty: float

    def __str__(self) -> str:
        text = f"{self.mm_per_unit:.6g} mm per world unit, from {self.source}"
        return f"{text} ± {100 * self.relative_uncertainty:.1f} %" if self.relative_uncertainty else text


@dataclass(frozen=True)
class _Eye:
    """MediaPipe indices of one eye."""

    corners: tuple[int, int]  # outer, inner
    lids: tuple[tuple[int, int], ...]  # (upper, lower) pairs
    iris: int  # centre; the ring of four follows it, horizontal points first and third

    @property
    def sides(self) -> tuple[int, int]:
        return self.iris + 1, self.iris + 3


_EYES = (
    _Eye((33, 133), ((160, 144), (159, 145), (158, 153)), 468),
    _Eye((263, 362), ((387, 373), (386, 374), (385, 380)), 473),
)


def estimate_scale(
    capture: Capture, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D, *, override: float | None = None
) -> ScaleEstimate:
    """Millimetres per world unit: as given, else as the capture states, else from the eyes.

    The irises count where the eyes are open and seen from the front. Where they agree with the pupils'
    distance, the two are averaged, weighted by their variances. With closed eyes the midpoints of the eyes'
    corners stand for the pupils.

    Args:
        capture: V views.
        landmarks2d: MediaPipe's 478 points in them.
        landmarks3d: the same, triangulated, in world units.
        override: the user's own number (``--scale``).

    Raises:
        ReconstructionError: ``override`` is not a positive number, or the eyes do not give a scale.
    """
    if override is not None:
        if not (np.isfinite(override) and override > 0):
            raise ReconstructionError(f"a scale of {override} mm per unit is not possible", remedy=_NO_SCALE)
        return ScaleEstimate(float(override), "given", 0.0)
    if capture.mm_per_unit is not None:
        return ScaleEstimate(capture.mm_per_unit, "capture", 0.0)
    why = f"'{landmarks2d.scheme}' landmarks have no irises to measure it by"
    if landmarks2d.scheme == "mediapipe478":
        estimate = scale_from_eyes(capture.cameras, landmarks2d, landmarks3d)
        if estimate is not None:
            return estimate
        why = "the eyes were not located to measure it by"
    what = f"the world's scale is unknown, and {why}"
    raise ReconstructionError(what, path=capture.path, remedy=_NO_SCALE)


def scale_from_eyes(
    cameras: Sequence[Camera], landmarks2d: Landmarks2D, landmarks3d: Landmarks3D
) -> ScaleEstimate | None:
    """Millimetres per world unit from the irises and the pupils' distance; None where neither was located.

    Args:
        cameras: V cameras; with a lens, the landmarks are in distorted pixels.
        landmarks2d: MediaPipe's 478 points in their photos.
        landmarks3d: the same, triangulated, in world units.
    """
    iris = _iris(cameras, landmarks2d, landmarks3d)
    pupils = _pupils(landmarks3d, eyes_open=iris is not None)
    if iris is None:
        return None if pupils is None else ScaleEstimate(pupils[0], "pupils", pupils[1])
    if pupils is None or abs(np.log(iris[0] / pupils[0])) > 2.5 * np.hypot(iris[1], pupils[1]):
        return ScaleEstimate(iris[0], "iris", iris[1])
    weights = np.array([iris[1], pupils[1]]) ** -2.0
    logarithm = weights @ np.log([iris[0], pupils[0]]) / weights.sum()
    return ScaleEstimate(float(np.exp(logarithm)), "iris and pupils", float(weights.sum() ** -0.5))


def eye_opening(points: Array, side: int) -> float:
    """Height over width of an eye's opening.

    Args:
        points: (478, 2) or (478, 3) MediaPipe landmarks.
        side: 0 the subject's right eye, 1 the left.
    """
    eye = _EYES[side]
    height = np.median([np.linalg.norm(points[a] - points[b]) for a, b in eye.lids])
    return float(height / np.linalg.norm(points[eye.corners[0]] - points[eye.corners[1]]))


def _iris(
    cameras: Sequence[Camera], landmarks2d: Landmarks2D, landmarks3d: Landmarks3D
) -> tuple[float, float] | None:
    """(mm per unit, relative standard deviation) from the irises' horizontal diameters, or None."""
    facing = _facing(landmarks3d.points)
    if facing is None:
        return None
    diameters = []
    for side, eye in enumerate(_EYES):
        corners = landmarks3d.points[list(eye.corners)]
        if not np.isfinite(corners).all():
            continue
        for view, camera in enumerate(cameras):
            pixels = landmarks2d.points[view]
            needed = [*eye.corners, *eye.sides, *(p for pair in eye.lids for p in pair)]
            frontal = unit(camera.center - corners.mean(0)) @ facing >= FRONTAL
            if landmarks3d.distrusted[view] or not frontal or not np.isfinite(pixels[needed]).all():
                continue
            if eye_opening(pixels, side) < OPEN_EYE:
                continue
            # The iris is a disc that faces where the face does: the rays meet its plane, so that the
            # foreshortening of a turned one does not count.
            rays = camera.rays(pixels[list(eye.sides)])
            along = (corners.mean(0) - camera.center) @ facing / (rays @ facing)
            a, b = camera.center + along[:, None] * rays
            diameters.append(np.linalg.norm(a - b))
    if len(diameters) < 2:
        return None
    middle = float(np.median(diameters))
    spread = 1.48 * float(np.median(np.abs(np.array(diameters) - middle))) / middle
    # The detector's errors in neighbouring views are alike: the spread is not divided by the number of views.
    return IRIS_MM / middle, float(np.hypot(IRIS_SPREAD_MM / IRIS_MM, spread))


def _pupils(landmarks3d: Landmarks3D, eyes_open: bool) -> tuple[float, float] | None:
    """(mm per unit, relative standard deviation) from the distance of the pupils, or None."""
    points = landmarks3d.points
    places = [points[list(eye.corners)].mean(0) for eye in _EYES]
    spread = np.hypot(PUPILS_SPREAD_MM, 2.0)  # the corners' midpoint is not quite where the pupil is
    if eyes_open and np.isfinite(points[[eye.iris for eye in _EYES]]).all():
        places, spread = [points[eye.iris] for eye in _EYES], PUPILS_SPREAD_MM
    distance = float(np.linalg.norm(places[0] - places[1]))
    if not np.isfinite(distance) or distance <= 0:
        return None
    return PUPILS_MM / distance, float(spread / PUPILS_MM)


def _facing(points: Array) -> Array | None:
    """(3,) unit vector out of the face, from the eyes' outer corners and the chin; None without them."""
    right, left, chin = points[33], points[263], points[152]
    normal = np.cross(chin - right, left - right)
    return unit(normal) if np.isfinite(normal).all() and normal.any() else None
