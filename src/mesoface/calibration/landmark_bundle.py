"""Cameras from the face's landmarks alone: for skin too plain, or photos too few, for features.

The generic face before each photo (perspective-n-point) is the start. A bundle adjustment of cameras and
landmarks, held by the face model as a prior, is right to a millimetre or two on the face, because a detector
knows faces and not this skin. That is near enough to follow the skin itself from photo to photo, by optical
flow over the landmarks' mesh; adjusting to that a few times takes the error below a tenth of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.bundle import Bundle, Observations, Priors, adjust, cost
from mesoface.calibration.choice import choose_photos
from mesoface.calibration.face_prior import COUNT, SLIDING, face_pose, fitted_face, mean_face
from mesoface.calibration.photos import Photo
from mesoface.calibration.skin import follow_skin
from mesoface.calibration.solution import Solution, Track, describe
from mesoface.errors import ReconstructionError
from mesoface.geometry.camera import Camera
from mesoface.landmarks import Landmarks2D
from mesoface.running.progress import ProgressCallback, silent

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

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
    detected = replace(landmarks, points=landmarks.points[used], weights=landmarks.weights[used])
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
    poses = [
        face_pose(points, weights, _intrinsics(_TYPICAL * max(photo.size), photo))
        for photo, points, weights in zip(photos, landmarks.points, landmarks.weights, strict=True)
    ]
    used = [v for v, pose in enumerate(poses) if pose is not None and pose[1][2] > 0]
    if len(used) < _FEWEST:
        raise ReconstructionError(
            f"{len(used)} photos show the face well enough, at least {_FEWEST} are needed",
            remedy="use photos within about 60° of the front, sharp and not too dark",
        )
    # Landmarks are followed from a few photos into a few around each: of more, most would be left over.
    sizes = np.array([photos[v].size for v in used])
    seen = replace(landmarks, points=landmarks.points[used], weights=landmarks.weights[used])
    return [used[i] for i in choose_photos(seen, sizes, np.ones(len(used)), _MOST)]


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
    focals = (
        (bundle.focal, np.full(count, _ALIKE)) if count > 1 else (np.array([expected]), np.array([spread]))
    )
    face, _ = fitted_face(bundle.points)
    return adjust(bundle, seen, Priors(face, np.full(COUNT, _FIT_MM), *focals)), focals


def _start(photos: Sequence[Photo], detected: Landmarks2D, focal: float) -> Bundle:
    """The mean face before one camera that took all photos."""
    poses = [
        face_pose(points, weights, _intrinsics(focal, photo))
        for photo, points, weights in zip(photos, detected.points, detected.weights, strict=True)
    ]
    found = [pose for pose in poses if pose is not None]
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
    """Followed landmarks, and the detected ones of photos that nothing holds otherwise.

    Args:
        bundle: tells how many pixels a millimetre is.
        detected: landmarks of V photos.
        followed: (V, 478, 2) pixels and (V, 478) weights from :func:`.skin.follow_skin`.
    """
    points, weights = detected.points, detected.weights
    sigma_mm = np.where(SLIDING, _SLIDING_FACTOR, 1.0) * np.full(weights.shape, _DETECTED_MM)
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


def _intrinsics(focal: float, photo: Photo) -> Array:
    return np.array([[focal, 0, (photo.width - 1) / 2], [0, focal, (photo.height - 1) / 2], [0, 0, 1]])


def _cameras(bundle: Bundle, photos: Sequence[Photo]) -> list[Camera]:
    return [bundle.camera(v, *photo.size) for v, photo in enumerate(photos)]


def _solution(
    count: int, used: Sequence[int], cameras: Sequence[Camera], points: Array, followed: tuple[Array, Array]
) -> Solution:
    """The bundle with the indices of all ``count`` photos, judged by what was followed on the skin."""
    placed: list[Camera | None] = [None] * count
    for v, camera in zip(used, cameras, strict=True):
        placed[v] = camera
    pixels, seen = followed[0], followed[1] > _LEAST_WEIGHT
    tracks = [
        Track(points[i], [used[v] for v in np.flatnonzero(seen[:, i])], pixels[seen[:, i], i])
        for i in np.flatnonzero(seen.sum(0) >= 2)
    ]
    return describe("landmarks", placed, tracks, used)
