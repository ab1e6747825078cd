"""Which views the matching trusts, and the correction of small errors of the cameras' directions.

Once the surface is roughly known, every photo predicts every other one. A camera that looks a fraction of a
degree off shows the same skin shifted against the mean of the others; the shift is found by Gauss–Newton
steps of image alignment (Lucas and Kanade, 1981) over the whole face, in pan and tilt of each camera. What a
shift of the whole face would explain as well is left to the surface: without that the two would chase each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.matching.ncc import MatchImage, look_up_pixels, prepare_image
from mesoface.uvd.space import UVDSpace, ViewCheck

Map = NDArray[np.float32]

_WINDOW = 4.0  # texels over which brightness and contrast are evened out
_CONTRAST_FLOOR = 0.002
_ROUNDS = 4
# Steps of less than so many radians, some hundredths of a pixel, need no other.
_CONVERGED = 1e-5
# Share of the facial mask that a view must see together with others to be compared with them.
_LEAST_SHARED = 0.01


@dataclass(frozen=True, eq=False)
class RigCorrection:
    """By how much the directions of the cameras are wrong.

    Args:
        rotations: (V, 3) rotation vectors in camera axes, radians; see :func:`turn_camera`.
        agreement: (V,) correlation of every view with the mean of the others, as corrected; NaN where a
            view shares too little with the others.
    """

    rotations: NDArray[np.float64]
    agreement: NDArray[np.float64]


def turn_camera(camera: Camera, rotation: NDArray[np.float64]) -> Camera:
    """The camera at the same place, turned by a rotation vector (3,) in its own axes."""
    turn = Rotation.from_rotvec(rotation).as_matrix()
    return replace(camera, R=turn @ camera.R, t=turn @ camera.t)


def estimate_rig_correction(
    space: UVDSpace, views: Sequence[View], visibility: NDArray[np.float32]
) -> RigCorrection:
    """Find by how much each camera is turned against the consensus of the others.

    Args:
        space: the surface, its zero as measured so far.
        views: V photos.
        visibility: (V, H, H) in [0, 1]; 0 where the surface is not to be trusted.
    """
    images = [prepare_image(view, space, 1.0, 2.0) for view in views]
    points = space.position.reshape(-1, 3).astype(np.float64)
    rotations = np.zeros((len(views), 3))
    agreement = np.full(len(views), np.nan)
    converged = False
    for number in range(_ROUNDS + 1):
        seen = zip(images, rotations, strict=True)
        skins = [_see_skin(image, rotation, points, space.valid.shape) for image, rotation in seen]
        last, before = converged or number == _ROUNDS, rotations.copy()
        count = visibility.sum(0)
        total = np.sum([w * texture for w, (texture, _) in zip(visibility, skins, strict=True)], axis=0)
        for v, (texture, change) in enumerate(skins):
            others = count - visibility[v]
            trust = visibility[v] * np.minimum(others, 1) * (others > 0.3)
            if trust.sum() < _LEAST_SHARED * space.valid.sum():
                continue
            mean = (total - visibility[v] * texture) / np.maximum(others, 1e-3)
            if last:
                agreement[v] = _correlation(mean, texture, trust)
            else:
                rotations[v] += _alignment_step(change, mean - texture, trust)
        if last:
            break
        converged = bool(np.abs(rotations - before).max() < _CONVERGED)
    center = points[space.valid.ravel()].mean(0)
    return RigCorrection(_without_common_shift(rotations, [view.camera for view in views], center), agreement)


def _see_skin(
    image: MatchImage, rotation: NDArray[np.float64], points: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[Map, Map]:
    """One photo's view of the surface: evened texture (H, W), its change per radian (3, H, W)."""
    camera = turn_camera(image.camera, rotation)
    x = camera.to_camera(points)
    q = x @ camera.K.T
    pixels = q[:, :2] / q[:, 2:]
    where = np.ascontiguousarray(q.T.reshape(3, *shape), np.float32)
    still = np.zeros_like(where)

    def look(picture: Map) -> Map:
        return look_up_pixels(picture, where, still, 0.0)

    texture = look(image.pixels)
    slope_x = look(cv2.Sobel(image.pixels, cv2.CV_32F, 1, 0, scale=1 / 8))
    slope_y = look(cv2.Sobel(image.pixels, cv2.CV_32F, 0, 1, scale=1 / 8))
    mean = cv2.GaussianBlur(texture, (0, 0), _WINDOW)
    variance = np.maximum(cv2.GaussianBlur(texture * texture, (0, 0), _WINDOW) - mean * mean, 0)
    gain = 1 / np.sqrt(variance + _CONTRAST_FLOOR**2)
    change = []
    for axis in np.eye(3):
        motion = np.cross(axis, x) @ camera.K.T  # d x_cam = ω × x_cam
        motion = ((motion[:, :2] - pixels * motion[:, 2:]) / q[:, 2:]).reshape(*shape, 2)
        change.append((slope_x * motion[..., 0] + slope_y * motion[..., 1]) * gain)
    return (texture - mean) * gain, np.stack(change).astype(np.float32)


def _alignment_step(change: Map, residual: Map, trust: Map) -> NDArray[np.float64]:
    """(3,) rotation vector that brings the texture towards the others' mean; outliers count less."""
    weight = trust / (1 + residual**2) ** 2
    change = change.reshape(3, -1).astype(np.float64)
    normal = (change * weight.ravel()) @ change.T
    right = change @ (weight * residual).ravel()
    damping = 1e-3 * np.trace(normal) / 3 * np.eye(3)
    return np.linalg.solve(normal + damping + 1e-12 * np.eye(3), right)


def _correlation(a: Map, b: Map, weight: Map) -> float:
    total = weight.sum()
    a, b = a - (weight * a).sum() / total, b - (weight * b).sum() / total
    power = (weight * a * a).sum() * (weight * b * b).sum()
    return float((weight * a * b).sum() / np.sqrt(power + 1e-12))


def _without_common_shift(
    rotations: NDArray[np.float64], cameras: Sequence[Camera], center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pan and tilt only, less what one shift of the face explains in all views.

    The shift is fitted robustly (reweighted least squares), so that one camera that is far off keeps its
    error to itself.

    Args:
        rotations: (V, 3).
        cameras: V cameras.
        center: (3,) middle of the face.
    """
    across, effect, axes = [], [], []
    for camera, rotation in zip(cameras, rotations, strict=True):
        ray = camera.to_camera(center)
        distance = np.linalg.norm(ray)
        plane = np.linalg.svd(ray[None] / distance)[2][1:]  # (2, 3) directions across the line of sight
        across.append(plane @ camera.R / distance)
        effect.append(plane @ np.cross(rotation, ray) / distance)
        axes.append((ray / distance, plane))
    a, b = np.stack(across), np.stack(effect)
    weight = np.ones(len(cameras))
    shift = np.zeros(3)
    for _ in range(20):
        weighted_a, weighted_b = (a * weight[:, None, None]).reshape(-1, 3), (b * weight[:, None]).ravel()
        # Cameras on one side leave the depth open: the smallest shift is taken there.
        shift = np.linalg.lstsq(weighted_a, weighted_b, rcond=1e-3)[0]
        rest = np.linalg.norm(b - a @ shift, axis=1)
        weight = 1 / np.sqrt(1 + (rest / max(1.5 * float(np.median(rest)), 1e-7)) ** 2)
    rest_effect = b - a @ shift
    return np.stack([np.cross(ray, plane.T @ e) for (ray, plane), e in zip(axes, rest_effect, strict=True)])


# Root mean square of the corrections of exact cameras, pixels: the estimate's own error, as measured on the
# sample capture and on captures/lps, where it is 0.06 and 0.04.
_ESTIMATE_ERROR = 0.1


def _where_needed(
    given: Sequence[Camera], corrected: Sequence[Camera], center: NDArray[np.float64]
) -> list[Camera]:
    """The corrected cameras, with as much of the correction as it is more than the estimate's own error.

    All shrink by one factor (James and Stein, 1961). A good calibration stays as it is: even a twentieth of a
    pixel bends the sides of a face, which few views see. Of corrections of a pixel one percent is lost.

    Args:
        given: V cameras.
        corrected: the same, turned.
        center: (3,) middle of the face; corrections are measured there.
    """
    both = list(zip(given, corrected, strict=True))
    moves = (new.project(center)[0] - old.project(center)[0] for old, new in both)
    power = float(np.mean([np.sum(move**2) for move in moves]))
    share = max(0.0, 1 - _ESTIMATE_ERROR**2 / max(power, 1e-12))
    return [turn_camera(old, share * Rotation.from_matrix(new.R @ old.R.T).as_rotvec()) for old, new in both]


# A view that, its camera corrected, correlates with the others less than this share of the median view
# shows something else.
_CONTRADICTS = 0.6
# Corrections above this, pixels, are reported.
_REPORTED = 1.0


@dataclass(frozen=True, eq=False)
class Rig:
    """The views that are still used, with their cameras as corrected so far.

    Args:
        views: those still trusted, with corrected cameras.
        used: their indices among the views that were given.
        given: the views that were given.
        left_out: one sentence for every view that is not used any more.
        estimated: the cameras as they would be corrected if estimates had no error; empty before a check.
    """

    views: tuple[View, ...]
    used: tuple[int, ...]
    given: tuple[View, ...]
    left_out: tuple[str, ...] = ()
    estimated: tuple[Camera, ...] = ()

    @classmethod
    def of(cls, views: Sequence[View], face: NDArray[np.float64]) -> Rig:
        """The ``views`` that have the ``face`` (N, 3) before them; the others are left out."""
        every = cls(tuple(views), tuple(range(len(views))), tuple(views))
        ahead = np.array([(view.camera.to_camera(face)[:, 2] > 0).all() for view in views])
        return every.only(ahead, "looks away from the face")

    def only(self, keep: NDArray[np.bool_], reason: str) -> Rig:
        """The views where ``keep`` (V,) is True; ``reason``, a predicate, goes into a note on each other."""
        kept = np.flatnonzero(keep)
        gone = [f"view {self.views[k].name} {reason} and is left out" for k in np.flatnonzero(~keep)]
        return replace(
            self,
            views=tuple(self.views[k] for k in kept),
            used=tuple(self.used[k] for k in kept),
            left_out=(*self.left_out, *gone),
            estimated=tuple(self.estimated[k] for k in kept) if self.estimated else (),
        )

    def checked(self, space: UVDSpace, visibility: NDArray[np.float32]) -> Rig:
        """Turn each camera to agree with the others; leave out views that contradict them nevertheless.

        Two views always stay.

        Args:
            space: the surface, its zero as measured so far.
            visibility: (V, H, H) of the present views; 0 where the surface is not to be trusted.
        """
        correction = estimate_rig_correction(space, self.views, visibility)
        estimated = tuple(
            turn_camera(view.camera, rotation)
            for view, rotation in zip(self.views, correction.rotations, strict=True)
        )
        given = [self.given[k].camera for k in self.used]
        cameras = _where_needed(given, estimated, space.position[space.valid].mean(0).astype(np.float64))
        turned = tuple(replace(view, camera=camera) for view, camera in zip(self.views, cameras, strict=True))
        agreement = correction.agreement
        compared = agreement[~np.isnan(agreement)]
        typical = max(float(np.median(compared)), 0.0) if len(compared) else 0.0
        keep = ~(agreement < _CONTRADICTS * typical)
        if keep.sum() < 2:
            keep[:] = True
        checked = replace(self, views=turned, estimated=estimated)
        return checked.only(keep, "shows another surface than the other views")

    def checks(self, center: NDArray[np.float64]) -> tuple[ViewCheck, ...]:
        """What the last check found about each view that is still used; empty before one.

        Args:
            center: (3,) middle of the face; corrections are stated there.
        """
        given = [self.given[k].camera for k in self.used]
        found = zip(self.views, given, self.estimated, strict=True) if self.estimated else ()
        return tuple(
            ViewCheck(
                view.name,
                estimated_px=float(np.linalg.norm(estimate.project(center)[0] - before.project(center)[0])),
                corrected_px=float(
                    np.linalg.norm(view.camera.project(center)[0] - before.project(center)[0])
                ),
                corrected_deg=float(np.degrees(Rotation.from_matrix(view.camera.R @ before.R.T).magnitude())),
            )
            for view, before, estimate in found
        )

    def notes(self, center: NDArray[np.float64]) -> tuple[str, ...]:
        """One sentence for every view that was left out or whose camera was corrected noticeably.

        Args:
            center: (3,) middle of the face; corrections are stated there.
        """
        cameras = ((view.camera, self.given[k].camera) for k, view in zip(self.used, self.views, strict=True))
        moves = (new.project(center)[0] - given.project(center)[0] for new, given in cameras)
        shifts = [float(np.linalg.norm(move)) for move in moves]
        if len(self.views) == 2 and sum(shifts) > _REPORTED:
            names = " and ".join(view.name for view in self.views)
            corrected = [f"the cameras of views {names} disagree by {sum(shifts):.1f} px; met half-way"]
        else:
            corrected = [
                f"view {view.name}: its camera looks {shift:.1f} px off; corrected"
                for view, shift in zip(self.views, shifts, strict=True)
                if shift > _REPORTED
            ]
        return (*self.left_out, *corrected)
