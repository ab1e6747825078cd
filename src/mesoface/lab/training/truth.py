"""A true surface as a mesh: whether photos show it, and where the normals of a UVD space meet it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mesoface.captures.capture import Capture, View
from mesoface.errors import MesofaceError
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import Hits, RayCaster
from mesoface.landmarks.types import Landmarks3D
from mesoface.uvd.space import UVDSpace

_SMALLEST_MM, _LARGEST_MM = 60.0, 1500.0  # size of a face, and of a head with shoulders
_LEAST_SHOWN = 0.1  # share of the true surface that each view must show
_FARTHEST_MM = 10.0  # median distance of the landmarks from the truth
_LEAST_CORRELATION = 0.1
_POINTS = 6000  # of the true surface at which photos are compared
_FEWEST = 200  # points that two views must share to be compared
_FINE_MM, _COARSE_MM = 0.5, 3.0  # what photos are compared in: detail between these sizes
_OFFSETS_MM, _ON = (-3.0, 0.0, 3.0), 1  # where along the normals, and which of these is the surface itself
_FACING = 0.35  # cosine from which a view sees a point well enough to compare


class TruthError(MesofaceError):
    """A true surface does not belong to its capture."""


def check_truth(capture: Capture, truth: Mesh, landmarks: Landmarks3D | None = None) -> None:
    """Refuse a truth that is not what the photos show.

    Args:
        capture: in millimetres.
        truth: the true surface in the cameras' world, mm.
        landmarks: of the capture, mm; where they are not known yet this check is left out.

    Raises:
        TruthError: the truth has the wrong unit, is out of a view's sight, is far from the landmarks, or the
            photos disagree on it. The message has the reason and the view.
    """
    if not len(truth.faces) or not np.isfinite(truth.vertices).all():
        raise TruthError(
            "the true surface has no faces, or vertices that are not finite numbers",
            path=capture.path,
            remedy="export it again as triangles",
        )
    size = float(np.linalg.norm(np.ptp(truth.vertices, axis=0)))
    if not _SMALLEST_MM <= size <= _LARGEST_MM:
        raise TruthError(
            f"the true surface is {size:.3g} mm across, a face is {_SMALLEST_MM:g} to {_LARGEST_MM:g} mm",
            path=capture.path,
            remedy="state how many mm a unit of the capture's world is (--scale)",
        )
    for view in capture.views:
        _check_sight(capture, view, truth)
    if landmarks is None:
        _check_photos(capture, truth)
        return
    points = landmarks.points[np.isfinite(landmarks.points).all(1)]
    # To the nearest vertex: close enough on a mesh that is finer than the limit.
    distance = float(np.median(cKDTree(truth.vertices).query(points)[0]))
    if distance > _FARTHEST_MM:
        raise TruthError(
            f"the landmarks are {distance:.0f} mm from the true surface, {_FARTHEST_MM:g} mm is the most",
            path=capture.path,
            remedy="the truth must be in the cameras' world, and of this very capture",
        )


def _check_sight(capture: Capture, view: View, truth: Mesh) -> None:
    """Refuse a view that has the truth behind it or beside it."""
    pixels, depth = view.camera.project(truth.vertices)
    remedy = "the truth must be in the world of the cameras; mark a view that shows no face as invalid"
    if np.mean(depth > 0) < 0.5:
        raise TruthError(f"the true surface is behind view {view.name}", path=capture.path, remedy=remedy)
    with np.errstate(invalid="ignore"):
        inside = (pixels >= 0) & (pixels < [view.camera.width, view.camera.height])
    shown = float(np.mean(inside.all(1)))
    if shown < _LEAST_SHOWN:
        raise TruthError(
            f"view {view.name} shows {100 * shown:.0f} % of the true surface",
            path=capture.path,
            remedy=remedy,
        )


def _check_photos(capture: Capture, truth: Mesh) -> None:
    """Refuse a truth on which a photo agrees with no other, or before or behind which all agree better."""
    picked = np.linspace(0, len(truth.vertices) - 1, min(_POINTS, len(truth.vertices))).astype(int)
    points, normals = truth.vertices[picked], truth.vertex_normals()[picked]
    caster = RayCaster(truth)
    looks = [_looks(view, points, normals, caster) for view in capture.views]
    pairs = [(a, b) for a in range(len(looks)) for b in range(a)]
    alike = np.array([_alike(looks[a], looks[b]) for a, b in pairs])  # (pairs, offsets)
    known = np.isfinite(alike).all(1)
    if not known.any():
        raise TruthError(
            "no two views see the same part of the true surface",
            path=capture.path,
            remedy="is the truth wound outward, and are the cameras those of these photos?",
        )
    remedy = "the truth must be of this very capture, in its cameras' world"
    best = np.full(len(looks), np.nan)
    for pair, correlation in zip(pairs, alike[:, _ON], strict=True):
        best[list(pair)] = np.fmax(best[list(pair)], correlation)
    worst = int(np.nanargmin(best))
    if best[worst] < _LEAST_CORRELATION:
        raise TruthError(
            f"view {capture.names[worst]} agrees with no other view on the true surface: correlation "
            f"{best[worst]:.2f}, {_LEAST_CORRELATION:g} is the least",
            path=capture.path,
            remedy=remedy,
        )
    overall = np.median(alike[known], 0)
    where = int(np.argmax(overall))
    if where != _ON:
        side = "before" if _OFFSETS_MM[where] > 0 else "behind"
        raise TruthError(
            f"the photos agree better {abs(_OFFSETS_MM[where]):g} mm {side} the true surface than on it: "
            f"correlation {overall[where]:.2f} against {overall[_ON]:.2f}",
            path=capture.path,
            remedy=remedy,
        )


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(offsets,) correlation of what two views see, NaN where they share too little."""
    shared = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    if shared.sum() < _FEWEST:
        return np.full(len(a), np.nan)
    return np.array([np.corrcoef(x[shared], y[shared])[0, 1] for x, y in zip(a, b, strict=True)])


def _looks(
    view: View, points: NDArray[np.float64], normals: NDArray[np.float64], caster: RayCaster
) -> NDArray[np.float64]:
    """(offsets, N) fine detail of a photo at points moved along their normals; NaN where none is seen."""
    camera = view.camera
    pixels, depth = camera.project(points)
    direction = unit(camera.center - points)
    seen = np.einsum("nk,nk->n", direction, normals) > _FACING
    with np.errstate(invalid="ignore"):
        seen &= ((pixels >= 0) & (pixels <= [camera.width - 1, camera.height - 1])).all(1)
    seen[seen] = ~caster.blocked(camera.center, points[seen], 0.5)
    looks = np.full((len(_OFFSETS_MM), len(points)), np.nan)
    if not seen.any():
        return looks
    per_mm = camera.K[0, 0] / float(np.median(depth[seen]))
    grey = view.image.mean(-1)
    detail = cv2.GaussianBlur(grey, (0, 0), max(_FINE_MM * per_mm, 0.4))
    detail -= cv2.GaussianBlur(grey, (0, 0), _COARSE_MM * per_mm)
    for look, offset in zip(looks, _OFFSETS_MM, strict=True):
        at = camera.project(points[seen] + offset * normals[seen])[0].astype(np.float32)
        look[seen] = cv2.remap(detail, at[:, None], None, cv2.INTER_LINEAR)[:, 0]
    return looks


# By how much the rays to both sides of the base overlap, mm.
_OVERLAP_MM = 0.05
# A point this far behind what a camera meets first is still taken for it, mm.
_SKIN_MM = 0.3


@dataclass(frozen=True, eq=False)
class TrueDisplacement:
    """What is true about each texel of a UVD space.

    Args:
        displacement: (H, W) float32 mm along the space's normals; NaN where it is not known.
        tilt: (H, W) float32 angle between the true surface and the space's normal, radians; NaN likewise.
    """

    displacement: NDArray[np.float32]
    tilt: NDArray[np.float32]


class TrueSurface:
    """A mesh of the true surface, ready to be met along normals.

    Only its outside counts, the side that photos show. A scan may carry further layers behind the skin (the
    backs of the lids, the inside of the mouth); a point counts when the face there looks outward and at least
    one camera sees it.

    Args:
        mesh: wound outward, mm.
        cameras: of the capture.
    """

    def __init__(self, mesh: Mesh, cameras: Sequence[Camera]):
        self.mesh = mesh
        self._caster = RayCaster(mesh)
        self._normals = mesh.vertex_normals()
        self._centers = [camera.center for camera in cameras]

    def along(self, space: UVDSpace, reach_mm: float) -> TrueDisplacement:
        """Where the normals of ``space`` meet the surface, at most ``reach_mm`` away to either side.

        Of several meetings the nearest to the base counts, as in
        :func:`mesoface.surface.fine.measure_displacement`.
        """
        origin = space.position[space.valid].astype(np.float64)
        normal = space.normal[space.valid].astype(np.float64)
        # Each ray starts a little on the other side, so that a surface on the base itself is not missed.
        out = self._met(self._caster.cast(origin - _OVERLAP_MM * normal, normal), normal)
        into = self._met(self._caster.cast(origin + _OVERLAP_MM * normal, -normal), normal)
        outwards, inwards = out[0] - _OVERLAP_MM, _OVERLAP_MM - into[0]
        nearer = np.abs(inwards) <= np.abs(outwards)
        distance = np.where(nearer, inwards, outwards)
        cosine = np.where(nearer, into[1], out[1])
        met = np.flatnonzero(np.abs(distance) <= reach_mm)
        met = met[self._seen(origin[met] + distance[met, None] * normal[met])]
        displacement = np.full(space.valid.shape, np.nan, np.float32)
        tilt = displacement.copy()
        row, column = (index[met] for index in np.nonzero(space.valid))
        displacement[row, column] = distance[met]
        tilt[row, column] = np.arccos(np.clip(cosine[met], -1, 1))
        return TrueDisplacement(displacement, tilt)

    def _met(
        self, hits: Hits, normal: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) distances, infinite where a ray met nothing or an inside, and (N,) cosines to ``normal``."""
        a, b, c = self.mesh.vertices[self.mesh.faces[np.maximum(hits.face, 0)]].transpose(1, 0, 2)
        outward = np.einsum("nk,nk->n", np.cross(b - a, c - a), normal) > 0
        smooth = hits.interpolate(self._normals, self.mesh.faces)
        cosine = np.einsum("nk,nk->n", smooth, normal) / np.maximum(np.linalg.norm(smooth, axis=1), 1e-9)
        return np.where(hits.hit & outward, hits.distance, np.inf), cosine

    def _seen(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether a ray from any camera reaches the point."""
        seen = np.zeros(len(points), bool)
        for center in self._centers:
            ask = np.flatnonzero(~seen)
            seen[ask] = ~self._caster.blocked(center, points[ask], _SKIN_MM)
        return seen
