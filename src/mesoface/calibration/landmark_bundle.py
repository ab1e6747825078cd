"""Cameras from the face's landmarks alone: for skin too plain, or photos too few, for features.

The generic face before each photo (perspective-n-point) is the start. A bundle adjustment of cameras and
landmarks, held by the face model as a prior, is right to a millimetre or two on the face, because a detector
knows faces and not this skin. That is near enough to follow the skin itself from photo to photo, by optical
flow over the landmarks' mesh; adjusting to that a few times takes the error below a tenth of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.bundle import Bundle, Observations, Priors, adjust, cost
from mesoface.calibration.photos import Photo
from mesoface.calibration.solution import PointTrack, Solution, describe
from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.load import load_source
from mesoface.errors import ReconstructionError
from mesoface.face_models import fit_landmarks3d
from mesoface.face_models.correspondence import SLIDING
from mesoface.face_models.loading import load_generic
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.landmarks import Landmarks2D, align_landmarks, triangulate
from mesoface.landmarks.selection import farthest_points
from mesoface.landmarks.triangulation import IRIS_OF_EYE
from mesoface.running.progress import ProgressCallback, silent

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SCHEME, COUNT = "mediapipe478", 478
_SLIDING = np.isin(np.arange(COUNT), SLIDING[SCHEME])  # the outline, which slides along the face as it turns
_SKIN = np.arange(COUNT) < 468  # the others are irises, which move with the gaze
_SURE, _FEWEST_SURE = 0.3, 20  # weight from which on a landmark counts for the pose; how many of these
_LANDMARK_MM = 1.5  # noise of triangulated landmarks
_TYPICAL_FOCAL = 1.2  # over the longest side: a direction hardly depends on it
_BLURRED = 0.5  # of the median sharpness: below it a frame counts for little

_STARTS = (0.8, 1.2, 2.0, 3.2, 5.0)  # focal lengths tried, over the longest side
_TYPICAL, _FOCAL_SPREAD = 1.4, 0.7  # of a focal length without EXIF data; the latter of its logarithm
_EXIF_SPREAD = 0.05
_ALIKE = 0.03  # cameras of one rig differ by so much in focal length
_RADIAL_SPREAD = 0.1
_DETECTED_MM, _FOLLOWED_MM = 0.7, 0.15  # noise of landmarks
_SLIDING_FACTOR = 3.0
_MEAN_MM, _FIT_MM, _FREE_MM = 6.0, 2.0, 5.0  # how far a face's landmarks lie from the prior's
_ROUNDS = 3
_ENOUGH = 25  # followed landmarks that hold a view without the detected ones
_LEAST_WEIGHT = 0.05
_FEWEST, _MOST = 3, 12  # photos
_MAX_SIDE = 1600  # pixels of the photos in which skin is followed; a face has a few hundred of them


def solve_by_landmarks(
    photos: Sequence[Photo],
    landmarks: Landmarks2D,
    camera_of: Indices,
    *,
    progress: ProgressCallback = silent,
) -> Solution:
    """Cameras by bundle adjustment of landmarks; the world is in the face's axes and about in millimetres.

    Args:
        photos: V photos.
        landmarks: MediaPipe's 478 points in them.
        camera_of: (V,) which camera took each.
        progress: called as rounds are done.

    Raises:
        ReconstructionError: fewer than three photos show the face well enough.
        MesofaceError: the photos do not look at the face from different directions.
    """
    progress("Following the skin", 0, _ROUNDS + 1)
    used = _well_seen(photos, landmarks)
    mine = [photos[v] for v in used]
    detected = landmarks.select(used)
    cameras = np.unique(camera_of[used], return_inverse=True)[1]
    bundle, focals = adjust_to_landmarks(mine, detected, cameras)
    for done in range(_ROUNDS):
        progress("Following the skin", done + 1, _ROUNDS + 1)
        followed = follow_skin(mine, _cameras(bundle, mine), detected)
        free = Priors(bundle.points, np.full(COUNT, _FREE_MM), *focals, radial_sigma=_RADIAL_SPREAD)
        bundle = adjust(bundle, _seen(bundle, detected, followed), free)
    progress("Following the skin", _ROUNDS + 1, _ROUNDS + 1)
    return _solution(len(photos), used, _cameras(bundle, mine), bundle.points, followed)


def _well_seen(photos: Sequence[Photo], landmarks: Landmarks2D) -> list[int]:
    """The photos that show enough of the face for a pose; of many, some spread over the arc."""
    poses = _poses(photos, landmarks, [_TYPICAL * max(photo.size) for photo in photos])
    used = [v for v, pose in enumerate(poses) if pose is not None and pose[1][2] > 0]
    if len(used) < _FEWEST:
        what = f"{len(used)} photos show the face well enough, at least {_FEWEST} are needed"
        remedy = "use photos within about 60° of the front, sharp and not too dark"
        raise ReconstructionError(what, remedy=remedy)
    # Landmarks are followed from a few photos into a few around each: of more, most would be left over.
    sizes = np.array([photos[v].size for v in used])
    return [used[i] for i in choose_photos(landmarks.select(used), sizes, np.ones(len(used)), _MOST)]


def adjust_to_landmarks(
    photos: Sequence[Photo], detected: Landmarks2D, cameras: Indices
) -> tuple[Bundle, tuple[Array, Array]]:
    """The bundle that fits the detected landmarks and the face model; no photo is opened.

    All cameras begin alike, with the best of several focal lengths; then the prior moves from the mean face
    to the one that was found.

    Args:
        photos: V photos that show the face well.
        detected: landmarks in them.
        cameras: (V,) which camera took each, from 0 without gaps.

    Returns:
        bundle, and what is known of the focal lengths: expected (C,) and its spread (C,).
    """
    longest = float(max(max(photo.size) for photo in photos))
    exif = [photo.focal for photo in photos if photo.focal is not None]
    expected, spread = (float(np.median(exif)), _EXIF_SPREAD) if exif else (_TYPICAL * longest, _FOCAL_SPREAD)
    mean = Priors(mean_face(), np.full(COUNT, _MEAN_MM), np.array([expected]), np.array([spread]))
    tried = []
    for focal in [expected] if exif else [factor * longest for factor in _STARTS]:
        start = _start(photos, detected, focal)
        seen = _seen(start, detected)
        bundle = adjust(start, seen, mean)
        tried.append((cost(bundle, seen, mean), bundle, seen))
    _, bundle, seen = min(tried, key=lambda trial: trial[0])

    count = int(cameras.max()) + 1
    bundle = replace(bundle, camera_of=cameras, focal=np.full(count, bundle.focal[0]), radial=np.zeros(count))
    # Cameras of a rig are alike: each one's focal length is held near the one that all have in common.
    focals = (bundle.focal, np.full(count, _ALIKE)) if count > 1 else (mean.focal, mean.focal_sigma)
    face = fitted_face(bundle.points)
    return adjust(bundle, seen, Priors(face, np.full(COUNT, _FIT_MM), *focals)), focals


def _start(photos: Sequence[Photo], detected: Landmarks2D, focal: float) -> Bundle:
    """The mean face before one camera that took all photos."""
    found = [pose for pose in _poses(photos, detected, [focal] * len(photos)) if pose is not None]
    assert len(found) == len(photos)  # whether there is a pose does not depend on the focal length
    return Bundle(
        R=np.array([R for R, _ in found]),
        t=np.array([t for _, t in found]),
        camera_of=np.zeros(len(photos), np.int64),
        focal=np.array([focal]),
        radial=np.zeros(1),
        center=np.array([[(photo.width - 1) / 2, (photo.height - 1) / 2] for photo in photos]),
        points=mean_face(),
    )


def _seen(bundle: Bundle, detected: Landmarks2D, followed: tuple[Array, Array] | None = None) -> Observations:
    """Landmarks as :func:`follow_skin` followed them; detected ones only in photos that nothing else holds.

    ``bundle`` tells how many pixels a millimetre is.
    """
    points, weights = detected.points, detected.weights
    sigma_mm = np.where(_SLIDING, _SLIDING_FACTOR, 1.0) * np.full(weights.shape, _DETECTED_MM)
    if followed is not None:
        held = (followed[1] > _LEAST_WEIGHT).sum(1) >= _ENOUGH
        by_skin = followed[1] > 0
        points = np.where(by_skin[..., None], followed[0], points)
        sigma_mm = np.where(by_skin, _FOLLOWED_MM, sigma_mm)
        weights = np.where(by_skin, followed[1], np.where(held[:, None], 0.0, weights))
    view, point = np.nonzero((weights > _LEAST_WEIGHT) & np.isfinite(points).all(-1))
    depth = (bundle.R @ bundle.points.mean(0) + bundle.t)[:, 2]
    pixels_per_mm = bundle.focal[bundle.camera_of] / depth
    sigma = pixels_per_mm[view] * sigma_mm[view, point] / np.sqrt(weights[view, point])
    return Observations(view, point, points[view, point], sigma)


def _poses(
    photos: Sequence[Photo], landmarks: Landmarks2D, focals: Sequence[float]
) -> list[tuple[Array, Array] | None]:
    """The pose of the mean face in each photo."""
    intrinsics = [centered_intrinsics(focal, photo.size) for focal, photo in zip(focals, photos, strict=True)]
    return list(map(face_pose, landmarks.points, landmarks.weights, intrinsics))


def _cameras(bundle: Bundle, photos: Sequence[Photo]) -> list[Camera]:
    return [bundle.camera(v, *photo.size) for v, photo in enumerate(photos)]


def _solution(
    count: int, used: Sequence[int], cameras: Sequence[Camera], points: Array, followed: tuple[Array, Array]
) -> Solution:
    """The bundle with the indices of all ``count`` photos, judged by what was followed on the skin."""
    placed = dict(zip(used, cameras, strict=True))
    pixels, seen = followed[0], followed[1] > _LEAST_WEIGHT
    tracks = [
        PointTrack(points[i], [used[v] for v in np.flatnonzero(seen[:, i])], pixels[seen[:, i], i])
        for i in np.flatnonzero(seen.sum(0) >= 2)
    ]
    return describe("landmarks", [placed.get(v) for v in range(count)], tracks, used)


def follow_skin(
    photos: Sequence[Photo], cameras: Sequence[Camera], landmarks: Landmarks2D
) -> tuple[Array, Array]:
    """Move landmarks to where the photos show the same skin, by :func:`.landmarks.align_landmarks`.

    Args:
        photos: V photos.
        cameras: of them, near the truth, lenses included.
        landmarks: as detected, in the photos' pixels.

    Returns:
        (V, 478, 2) pixels of the photos and (V, 478) how well the skin agreed there; 0 where a landmark
        could not be followed.
    """
    pairs = zip(photos, cameras, strict=True)
    views = tuple(ViewSource(photo.name, photo.path, camera) for photo, camera in pairs)
    capture = load_source(CaptureSource(photos[0].path.parent, "photos", views), max_size=_MAX_SIDE)
    seen = _carried(landmarks.points, cameras, capture.cameras)
    detected = Landmarks2D(seen, landmarks.weights, landmarks.scheme)
    moved, _ = align_landmarks(capture, detected, triangulate(capture.cameras, detected))
    # Landmarks that were not followed come back as they were detected, to the last bit.
    same = np.isnan(moved.points).any(-1) | (moved.points == seen).all(-1)
    followed = ~same.all(0) & (moved.weights > 0)
    return _carried(moved.points, capture.cameras, cameras), np.where(followed, moved.weights, 0.0)


def _carried(pixels: Array, a: Sequence[Camera], b: Sequence[Camera]) -> Array:
    """(V, N, 2) pixels of cameras ``a`` → pixels of ``b``, which stand where ``a`` do."""
    cameras = zip(pixels, a, b, strict=True)
    return np.stack([there.project(here.center + here.rays(some))[0] for some, here, there in cameras])


@cache
def mean_face() -> Array:
    """(478, 3) landmarks of the generic mean face, mm: x to the subject's left, y up, z out of the face."""
    points = _at_landmarks(load_generic().mean)
    points.setflags(write=False)
    return points


def fitted_face(points: Array) -> Array:
    """(478, 3) landmarks of the generic model fitted to ``points`` (478, 3), both in mm, give or take."""
    fit = fit_landmarks3d(load_generic(), points, scheme=SCHEME, noise_mm=_LANDMARK_MM)
    return _at_landmarks(fit.vertices)


def face_pose(pixels: Array, weights: Array, K: Array) -> tuple[Array, Array] | None:
    """Pose of the mean face before a pinhole camera, by SQPnP (Terzakis & Lourakis, ECCV 2020).

    Args:
        pixels: (478, 2) landmarks.
        weights: (478,) in [0, 1].
        K: (3, 3) intrinsics.

    Returns:
        (3, 3) rotation and (3,) translation, mm, face → camera; None when too few landmarks are sure.
    """
    sure = (weights > _SURE) & np.isfinite(pixels).all(1) & ~_SLIDING & _SKIN
    if sure.sum() < _FEWEST_SURE:
        return None
    found, turn, shift = cv2.solvePnP(mean_face()[sure], pixels[sure], K, None, flags=cv2.SOLVEPNP_SQPNP)
    return (cv2.Rodrigues(turn)[0], shift[:, 0]) if found else None


def centered_intrinsics(focal: float, size: Sequence[int] | NDArray[np.int64]) -> Array:
    """(3, 3) intrinsics with the principal point in the middle of a photo of ``size`` (width, height)."""
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])


def choose_photos(
    landmarks: Landmarks2D, sizes: NDArray[np.int64], sharpness: Array, count: int
) -> list[int]:
    """At most ``count`` photos, spread over the directions from which they see the face.

    The sharpest of the frontal ones comes first; then, repeatedly, the one whose angle to the nearest
    chosen one, times its sharpness, is largest (farthest-point sampling).

    Args:
        landmarks: of V photos.
        sizes: (V, 2) width and height.
        sharpness: (V,) of the face; NaN without one.
        count: how many to choose.

    Returns:
        indices in rising order; all photos that show a face when there are not more.
    """
    directions = np.full((len(sizes), 3), np.nan)
    for v in np.flatnonzero(landmarks.found):
        K = centered_intrinsics(_TYPICAL_FOCAL * float(sizes[v].max()), sizes[v])
        pose = face_pose(landmarks.points[v], landmarks.weights[v], K)
        if pose is not None:
            directions[v] = unit(-pose[0].T @ pose[1])  # from the face to the camera, in the face's axes
    usable = np.flatnonzero(np.isfinite(directions).all(1))
    if len(usable) <= count:
        return usable.tolist()
    relative = sharpness[usable] / np.median(sharpness[usable])
    quality = np.clip(relative, 0.1, 1.0) * np.where(relative < _BLURRED, 0.2, 1.0)
    first = int(np.argmax((directions[usable, 2] + 1) * quality))
    return sorted(usable[farthest_points(directions[usable], count, first, quality)].tolist())


def _at_landmarks(vertices: Array) -> Array:
    """(478, 3) the generic model's landmarks; irises stand in the middle of their eyes."""
    topology = load_generic().topology
    points = np.full((COUNT, 3), np.nan)
    points[topology.landmark_ids[SCHEME]] = topology.landmark_points(SCHEME, vertices)
    for corners, iris in IRIS_OF_EYE.items():
        points[list(iris)] = points[list(corners)].mean(0)
    return points
