"""Landmarks made to show the same skin in all views, by what the skin looks like.

A detector errs by millimetres, differently in every view, because it knows faces and not this face's skin.
The triangulated landmarks are near enough, though, to predict what one view shows of another: one view is
warped into the other over the landmarks' mesh, and the optical flow that is left between the two is the
error. Measured on the real scan of ``benchmarks/landmarks.py`` this takes the landmarks from a millimetre to
a third of one from the surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.landmarks.selection import farthest_points, view_directions
from mesoface.landmarks.triangulation import facing_weight, landmark_faces, landmark_normals, triangulate
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]
Image = NDArray[np.float32]

_SIZE = 240  # pixels of the face in the views as they are compared
_HOMES, _PARTNERS = 6, 5
_ANGLE = np.radians([6.0, 50.0])  # between a home view and its partners
_VISIBLE, _FULL = 0.25, 0.7  # cosine between skin and view: below the first a point is not followed
_POOR, _GOOD = 0.35, 0.8  # correlation after the flow: weight 0 and 1
_FAR = 0.08  # of _SIZE: a flow longer than that is a mistake
_CONTRAST = 6.0  # pixels over which brightness and contrast are evened out
_WINDOW = 5.0  # pixels, standard deviation, over which the agreement is judged
_LEVELS, _GREY = 40, 128  # of a byte: one local deviation, and the local mean


def align_landmarks(
    capture: Capture, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D
) -> tuple[Landmarks2D, Landmarks3D]:
    """Move landmarks in the photos until all views show the same piece of skin there; triangulate again.

    Every landmark has a home view, the one its skin faces most, in which it stays where the triangulated
    point projects; from there it is followed into the views around by optical flow (DIS, Kroeger et al., ECCV
    2016), after warping over the landmarks' mesh. Landmarks that cannot be followed (eyes, flat skin, the far
    side) keep their detected places and move in space as their neighbours do.

    Args:
        capture: V views.
        landmarks2d: of its photos.
        landmarks3d: triangulated from them; distrusted views are not used and stay distrusted.

    Returns:
        landmarks in the photos and in space. Weights of the former tell how well the skin agreed.
    """
    usable = np.flatnonzero(landmarks2d.found & ~landmarks3d.distrusted)
    points, weights = _follow(capture, usable, landmarks3d)
    followed = (weights > 0).sum(0) >= 2
    points = np.where(followed[:, None], points, landmarks2d.points)
    weights = np.where(followed, weights, landmarks2d.weights)
    weights[~np.isin(np.arange(len(capture)), usable)] = 0.0
    moved = replace(landmarks2d, points=np.where(weights[..., None] > 0, points, np.nan), weights=weights)
    if moved.found.sum() < 2:
        return landmarks2d, landmarks3d
    solved = triangulate(capture.cameras, moved)
    solved = replace(solved, distrusted=solved.distrusted | landmarks3d.distrusted)
    followed &= np.isfinite(solved.points).all(1) & np.isfinite(landmarks3d.points).all(1)
    if not followed.any():
        return landmarks2d, landmarks3d
    rest = ~followed & np.isfinite(landmarks3d.points).all(1)
    step = _interpolate(
        landmarks3d.points[followed], (solved.points - landmarks3d.points)[followed], landmarks3d.points[rest]
    )
    final = solved.points.copy()
    final[rest] = landmarks3d.points[rest] + step
    return moved, replace(solved, points=final)


@dataclass(frozen=True, eq=False)
class _Window:
    """The face in one view, at the common size: (h, w) grey values and their camera."""

    grey: Image
    camera: Camera


def _follow(capture: Capture, usable: NDArray[np.int64], landmarks3d: Landmarks3D) -> tuple[Array, Array]:
    """(V, L, 2) pixels and (V, L) weights of the landmarks as followed from their home views."""
    known = np.isfinite(landmarks3d.points).all(1)
    points = np.where(known[:, None], landmarks3d.points, np.nanmean(landmarks3d.points, 0))
    centers = np.stack([camera.center for camera in capture.cameras])
    towards = unit(centers[usable] - points.mean(0)).mean(0)
    normals = landmark_normals(landmarks3d.points, landmarks3d.scheme, towards)
    faces = landmark_faces(landmarks3d.points, landmarks3d.scheme, towards)
    caster = RayCaster(Mesh(points, faces))
    cosine = np.einsum("vlk,lk->vl", unit(centers[:, None] - points), normals)  # (V, L)
    cosine[:, ~known] = -1.0

    directions = view_directions(capture, landmarks3d)
    first = int(np.argmax(cosine[usable].sum(1)))
    homes = usable[farthest_points(directions[usable], _HOMES, first)]
    home_of = homes[np.argmax(cosine[homes], 0)]

    pixels = np.full((len(capture), len(points), 2), np.nan)
    weights = np.zeros((len(capture), len(points)))
    windows: dict[int, _Window] = {}
    for home in homes:
        own = np.flatnonzero((home_of == home) & (cosine[home] > _VISIBLE))
        if not len(own):
            continue
        pixels[home, own], weights[home, own] = capture.cameras[home].project(points[own])[0], 1.0
        angles = np.arccos(np.clip(directions[usable] @ directions[home], -1, 1))
        around = usable[(angles >= _ANGLE[0]) & (angles <= _ANGLE[1])]
        if not len(around):
            continue
        partners = around[farthest_points(directions[around], _PARTNERS, 0)]
        for view in (home, *partners):
            if view not in windows:
                windows[view] = _window(capture.views[view], points)
        surface = _surface_seen(caster, windows[home].camera)
        for partner in partners:
            mine = own[cosine[partner, own] > _VISIBLE]
            if len(mine):
                found, agreement = _follow_pair(windows[home], windows[partner], surface, points[mine])
                pixels[partner, mine] = capture.cameras[partner].project(found)[0]
                weights[partner, mine] = agreement * facing_weight(cosine[partner, mine], _VISIBLE, _FULL)
    weights[~np.isfinite(pixels).all(-1)] = 0.0
    return pixels, weights


def _follow_pair(home: _Window, partner: _Window, surface: Array, points: Array) -> tuple[Array, Array]:
    """(N, 3) where the partner shows what ``home`` shows at ``points`` (N, 3), and (N,) how surely."""
    seen = np.isfinite(surface[..., 0])
    source = np.nan_to_num(partner.camera.project(surface)[0], nan=-9.0).astype(np.float32)
    warped = cv2.remap(partner.grey, source[..., 0], source[..., 1], cv2.INTER_LINEAR)
    there = evened(home.grey) * seen
    here = evened(np.where(seen, warped, home.grey)) * seen
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
        as_bytes(there), as_bytes(here), None
    )

    pixel = home.camera.pixel_grid().astype(np.float32) + flow
    agreement = local_correlation(there, cv2.remap(here, pixel[..., 0], pixel[..., 1], cv2.INTER_LINEAR))
    start = home.camera.project(points)[0].astype(np.float32)
    step, agreed = _sample(flow, start), _sample(agreement, start)
    found = _sample(surface.astype(np.float32), start + step)
    sure = np.clip((agreed - _POOR) / (_GOOD - _POOR), 0, 1)
    return found, np.where(np.linalg.norm(step, axis=1) < _FAR * _SIZE, sure, 0.0)


def _window(view: View, points: Array) -> _Window:
    """``view`` cut to where ``points`` (L, 3) project, at the common size."""
    pixels = view.camera.project(points)[0]
    size = np.array([view.camera.width, view.camera.height])
    low, high = np.nanmin(pixels, 0), np.nanmax(pixels, 0)
    extent = float((high - low).max())
    left, top = np.clip(np.floor(low - 0.08 * extent), 0, size - 2).astype(int)
    right, bottom = np.clip(np.ceil(high + 0.08 * extent), (left + 1, top + 1), size - 1).astype(int)
    cut = view.image[top : bottom + 1, left : right + 1]
    camera = view.camera.cropped(left, top, cut.shape[1], cut.shape[0]).scaled(_SIZE / extent)
    mode = cv2.INTER_AREA if extent > _SIZE else cv2.INTER_LINEAR
    return _Window(
        cv2.cvtColor(cv2.resize(cut, (camera.width, camera.height), interpolation=mode), cv2.COLOR_RGB2GRAY),
        camera,
    )


def _surface_seen(caster: RayCaster, camera: Camera) -> Array:
    """(h, w, 3) the landmarks' mesh as ``camera`` sees it; NaN beside it."""
    hits = caster.render(camera)
    surface = hits.interpolate(caster.mesh.vertices, caster.mesh.faces)
    return np.where(hits.hit[:, None], surface, np.nan).reshape(camera.height, camera.width, 3)


def _sample(image: NDArray, pixels: NDArray) -> NDArray:
    """Values (N[, C]) of an (h, w[, C]) image at (N, 2) pixels; NaN outside."""
    x, y = np.ascontiguousarray(pixels, np.float32).T.copy()
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=[np.nan] * 4)[
        :, 0
    ]


def _interpolate(places: Array, steps: Array, targets: Array) -> Array:
    """(M, 3) steps at ``targets`` as the distance-weighted mean of those at ``places`` (N, 3)."""
    squared = ((targets[:, None] - places) ** 2).sum(-1)
    reach = np.median(np.sqrt(((places - np.median(places, 0)) ** 2).sum(1))) / 5
    weights = 1 / (squared + reach**2) ** 2
    return weights @ steps / weights.sum(1, keepdims=True)


def evened(grey: Image) -> Image:
    """Grey values with local mean 0 and local deviation 1: exposure and shading are not skin."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _CONTRAST)
    return detail / (np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST)) + 0.01)


def as_bytes(image: Image) -> NDArray[np.uint8]:
    """An evened image as optical flow takes it."""
    return np.clip(image * _LEVELS + _GREY, 0, 255).astype(np.uint8)


def from_bytes(image: NDArray[np.uint8]) -> Image:
    """What :func:`as_bytes` kept of an evened image."""
    return (image.astype(np.float32) - _GREY) / _LEVELS


def local_correlation(a: Image, b: Image) -> Image:
    """Normalised cross-correlation in a Gaussian window around every pixel."""

    def mean(image: Image) -> Image:
        return cv2.GaussianBlur(image, (0, 0), _WINDOW)

    ma, mb = mean(a), mean(b)
    variance = (mean(a * a) - ma * ma) * (mean(b * b) - mb * mb)
    return (mean(a * b) - ma * mb) / np.sqrt(np.maximum(variance, 1e-6))
