"""How many views are worth their time, and which: the choice behind ``--views auto``.

Before anything is measured, the triangulated landmarks tell how well each set of views would measure the skin
between them. A view contributes information by its parallax; the next best view is the one that lowers the
expected error most for its time (greedy selection, as in next-best-view planning: Connolly, 1985). Views are
added until the next one is not worth its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture
from mesoface.geometry.mesh import Mesh, unit
from mesoface.landmarks.selection import usable_views, view_qualities
from mesoface.landmarks.triangulation import landmark_faces
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.uvd.visibility import inside_image

Array = NDArray[np.float64]

FEWEST = 10
"""So many views, or all usable ones, are used in any case. The prediction leaves out errors of cameras, which
more views average, too."""
MOST = 24
"""Never more views than this: memory and the number of pairs that are compared are known up to here."""
# CPU seconds of one more view in matching and texture, and more of them for each million pixels on the face:
# 1.06 s at 0.07 (captures/lps_phone, 10 and 24 views), 1.9 s at 0.26 (captures/lps, each photo twice). With
# `--matcher ncc` and a texture of 1024²; the learned matcher takes longer.
_SECONDS, _SECONDS_PER_MEGAPIXEL = 0.75, 4.4
# A second must lower the expected error by this share. Measured errors fall by half of that or less, because
# cameras are off, too: docs/matching.md, "How many views".
_WORTH = 0.01
# Parallax, mm along the skin for a mm along its normal, up to which a view counts in full, and from which on
# it does not count: the limits of the refinement, which compares the views.
_FULL, _NONE = 1.2, 2.0
# Where fewer than two views see the skin, it is as if two did with this angle between them.
_BLIND_ANGLE = np.radians(4.0)


@dataclass(frozen=True)
class ViewChoice:
    """Which views are used, and why no more.

    Args:
        views: indices into the capture's views, in its order.
        usable: number of usable views that the choice was made from.
        error: expected error of the chosen ones over that of all usable views; 1 where all are used.
        gain: share by which one more view would lower the expected error; 0 where all are used.
    """

    views: tuple[int, ...]
    usable: int
    error: float = 1.0
    gain: float = 0.0

    @property
    def note(self) -> str | None:
        """One sentence for the result, or None where all usable views are used."""
        if len(self.views) == self.usable:
            return None
        said = f"{len(self.views)} of {self.usable} usable views are used"
        another = f"would lower the expected error by {100 * self.gain:.1f} %"
        if len(self.views) == MOST:
            return f"{said}, the most of --views auto: another {another}"
        return f"{said}: another {another}, too little for its time"


def choose_views(capture: Capture, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D) -> ViewChoice:
    """The views that are worth their time.

    Up to :data:`FEWEST` usable views are all used. Of more, the best pair comes first, then, one after the
    other, the view that lowers the expected error most per second, until there are :data:`MOST`, or
    more than :data:`FEWEST` and a second lowers the expected error by less than a threshold.

    Args:
        capture: V views.
        landmarks2d: of its photos.
        landmarks3d: triangulated from them.

    Returns:
        the choice; with no usable view, an empty one. It depends on the arguments alone; the order of the
        views decides between equal ones only.
    """
    usable = usable_views(landmarks2d, landmarks3d)
    if len(usable) <= FEWEST:
        return ViewChoice(tuple(usable.tolist()), len(usable))
    prediction = Prediction.of(capture, landmarks2d, landmarks3d, usable)
    chosen = prediction.best_pair()
    while True:
        error = prediction.expected_error(chosen)
        left = [v for v in range(len(usable)) if v not in chosen]
        if not left:
            return ViewChoice(tuple(usable.tolist()), len(usable))
        gains = 1 - prediction.errors_with(chosen, left) / error
        worth = gains / prediction.seconds[left]
        best = int(np.argmax(worth))
        if len(chosen) >= MOST or (len(chosen) >= FEWEST and worth[best] < _WORTH):
            everything = prediction.expected_error(range(len(usable)))
            views = tuple(np.sort(usable[chosen]).tolist())
            return ViewChoice(views, len(usable), error / everything, float(gains[best]))
        chosen.append(left[best])


@dataclass(frozen=True, eq=False)
class Prediction:
    """What each of N views would contribute to measuring S triangles of skin.

    The linear model is that of the refinement: a view shows the skin's texture, shifted by its parallax times
    the displacement. The texture is unknown and drops out, so only differences of parallax count: for
    texture without a direction, the information about the displacement is Σ w |p − p̄|², with the mean p̄
    over the views, weighted alike. One view alone contributes nothing.

    Args:
        slides: (N, S, 3) parallax, units along the skin for a unit along its normal.
        weights: (N, S) squared pixels a unit, times how well the view shows the triangle; 0 where it
            does not.
        areas: (S,) of the triangles.
        blind: information of a triangle that fewer than two views see.
        seconds: (N,) that each view costs.
    """

    slides: Array
    weights: Array
    areas: Array
    blind: float
    seconds: Array

    @classmethod
    def of(
        cls,
        capture: Capture,
        landmarks2d: Landmarks2D,
        landmarks3d: Landmarks3D,
        views: NDArray[np.int64],
    ) -> Prediction:
        """The prediction for some ``views``, indices into those of the capture."""
        centers = np.stack([capture.views[v].camera.center for v in views])
        towards = unit(centers - np.nanmean(landmarks3d.points, 0)).mean(0)
        faces = landmark_faces(landmarks3d.points, landmarks3d.scheme, towards)
        mesh = Mesh(np.nan_to_num(landmarks3d.points), faces)
        points, normals = mesh.face_corners().mean(1), mesh.face_normals()
        sight = unit(centers[:, None] - points)
        facing = np.einsum("nsk,sk->ns", sight, normals)
        slides = normals - sight / np.maximum(facing, 0.1)[..., None]
        length = np.linalg.norm(slides, axis=-1)
        shown = np.clip((_NONE - length) / (_NONE - _FULL), 0, 1) * (facing > 0)
        density = np.zeros_like(shown)
        for n, v in enumerate(views):
            camera = capture.views[v].camera
            shown[n] *= inside_image(capture.views[v], points)
            density[n] = camera.K[0, 0] * camera.K[1, 1] / camera.project(points)[1] ** 2
        quality = view_qualities(capture, landmarks2d, views)
        weights = shown * density * quality[:, None]
        blind = float(np.median(density) * 2 * np.tan(_BLIND_ANGLE / 2) ** 2)
        megapixels = np.array([_pixels_on_face(landmarks2d.points[v]) for v in views]) / 1e6
        seconds = _SECONDS + _SECONDS_PER_MEGAPIXEL * megapixels
        # What no set of views can measure is no reason to stop, or to go on.
        seen = (weights > 0).sum(0) >= 2
        return cls(slides[:, seen], weights[:, seen], mesh.face_areas()[seen], blind, seconds)

    def expected_error(self, views: Sequence[int]) -> float:
        """Mean standard deviation of the displacement over the skin, in units for a pixel of noise.

        Args:
            views: indices of the views that are used.
        """
        return float(self._error(self._moments[list(views)].sum(0)))

    def errors_with(self, views: Sequence[int], others: Sequence[int]) -> Array:
        """(M,) the expected errors of ``views`` and each one of M ``others``."""
        return self._error(self._moments[list(views)].sum(0) + self._moments[list(others)])

    def best_pair(self) -> list[int]:
        """The two views with the least expected error."""
        count = len(self.seconds)
        errors = np.full((count, count), np.inf)
        for first in range(count - 1):
            errors[first, first + 1 :] = self.errors_with([first], range(first + 1, count))
        return [int(v) for v in np.unravel_index(np.argmin(errors), errors.shape)]

    @cached_property
    def _moments(self) -> Array:
        """(N, S, 5) weight, weight × slide, weight × squared slide: sums over views suffice."""
        weights = self.weights[..., None]
        squares = (self.slides**2).sum(-1, keepdims=True)
        return np.concatenate([weights, weights * self.slides, weights * squares], axis=-1)

    def _error(self, moments: Array) -> Array:
        """(…) expected errors of moments (…, S, 5)."""
        total, shared, known = moments[..., 0], moments[..., 1:4], moments[..., 4]
        information = known - (shared**2).sum(-1) / np.where(total > 0, total, 1)
        error = 1 / np.sqrt(np.maximum(information, 0) + self.blind)
        return np.average(error, axis=-1, weights=np.broadcast_to(self.areas, error.shape))


def _pixels_on_face(points: Array) -> float:
    """Pixels in the bounding box of a face's landmarks (L, 2)."""
    return float(np.prod(np.nanmax(points, 0) - np.nanmin(points, 0)))
