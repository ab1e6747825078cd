"""What a method found: a camera for each photo, and how well what it followed fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.landmarks.triangulation import viewing_rays

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """A point in space and where photos show it.

    Args:
        point: (3,) world units.
        views: indices of the photos.
        pixels: (K, 2) places in them.
    """

    point: Array
    views: Sequence[int]
    pixels: Array


@dataclass(frozen=True, eq=False)
class Solution:
    """Cameras of V photos, up to a similarity of the world.

    Args:
        method: ``"features"`` or ``"landmarks"``.
        cameras: one for each photo, None where it was not placed.
        counts: (V,) points that each photo shows.
        errors: (V,) median reprojection error of these, pixels; NaN without any.
        error: median over all, pixels.
        angle: median over the points of the widest angle between two photos that show it, degrees.
        points: how many points there are.
        asked: indices of the photos that the method tried to place.
    """

    method: str
    cameras: tuple[Camera | None, ...]
    counts: NDArray[np.int64]
    errors: Array
    error: float
    angle: float
    points: int
    asked: tuple[int, ...]

    def camera(self, view: int) -> Camera:
        """The camera of a photo that was placed."""
        camera = self.cameras[view]
        assert camera is not None
        return camera

    @property
    def placed(self) -> list[int]:
        """Indices of the photos that have a camera."""
        return [v for v, camera in enumerate(self.cameras) if camera is not None]


def describe(
    method: str, cameras: Sequence[Camera | None], tracks: Sequence[Track], asked: Sequence[int]
) -> Solution:
    """The solution with its figures.

    Args:
        method: see :class:`Solution`.
        cameras: one for each photo, None where it was not placed.
        tracks: what was followed; of placed photos only.
        asked: indices of the photos that the method tried to place.
    """
    view = np.array([v for track in tracks for v in track.views], np.int64)
    index = np.repeat(np.arange(len(tracks)), [len(track.views) for track in tracks])
    points = np.array([track.point for track in tracks]).reshape(-1, 3)
    pixels = np.concatenate([np.zeros((0, 2)), *(track.pixels for track in tracks)])
    error = np.full(len(view), np.nan)
    rays = np.full((len(view), 3), np.nan)
    for v in np.unique(view):
        camera, mine = cameras[v], view == v
        assert camera is not None
        error[mine] = np.linalg.norm(camera.project(points[index[mine]])[0] - pixels[mine], axis=1)
        rays[mine] = viewing_rays([camera], pixels[None, mine])[0]
    ends = np.searchsorted(index, np.arange(len(tracks) + 1))
    widest = [(rays[a:b] @ rays[a:b].T).min() for a, b in pairwise(ends)]
    shown = [error[view == v] for v in range(len(cameras))]
    errors = np.array([np.median(mine) if len(mine) else np.nan for mine in shown])
    return Solution(
        method,
        tuple(cameras),
        np.bincount(view, minlength=len(cameras)),
        errors,
        float(np.median(error)) if len(error) else np.nan,
        float(np.degrees(np.median(np.arccos(np.clip(widest, -1, 1))))) if widest else 0.0,
        len(tracks),
        tuple(asked),
    )
