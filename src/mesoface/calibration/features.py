"""Structure from motion: the skin's own detail followed from photo to photo, by COLMAP.

SIFT features (Lowe, IJCV 2004) on the head, matched between all pairs of photos, and incremental
reconstruction (Schönberger & Frahm, CVPR 2016), through pycolmap, on the CPU. Lens: focal length and one
radial coefficient; the principal point stays in the middle.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray

from mesoface.calibration.photos import Photo
from mesoface.calibration.solution import PointTrack, Solution, describe
from mesoface.captures.formats.colmap import intrinsics
from mesoface.errors import ReconstructionError
from mesoface.files.images import decode_mask
from mesoface.geometry.camera import Camera
from mesoface.landmarks import Landmarks2D
from mesoface.running.progress import ProgressCallback, silent

_MODEL = "SIMPLE_RADIAL"
_MAX_SIDE = 2000  # pixels: finer features cost time and are hardly more exact
_SEED = 0
_FEWEST = 3  # photos
_HIDE_LOG = 4  # glog's levels end at 3
_HEAD = 1.3  # size of the head over that of its landmarks: forehead, ears, chin


def solve_by_features(
    photos: Sequence[Photo],
    landmarks: Landmarks2D,
    camera_of: NDArray[np.int64],
    *,
    background: bool = False,
    threads: int = 1,
    progress: ProgressCallback = silent,
) -> Solution:
    """Cameras by structure from motion.

    Args:
        photos: V photos in one folder.
        landmarks: of the face in them; photos without a face are not used.
        camera_of: (V,) which camera took each.
        background: follow what is beside the head, too, and use photos without a face.
        threads: for features and matches.
        progress: called as photos are done.

    Raises:
        ReconstructionError: fewer than three photos hang together.
    """
    used = list(range(len(photos))) if background else np.flatnonzero(landmarks.found).tolist()
    with TemporaryDirectory(prefix="mesoface-") as temporary, _quiet():
        folder = Path(temporary)
        (folder / "masks").mkdir()
        if not background:
            for v in used:
                mask = head_mask(landmarks.points[v], *photos[v].size)
                if (own := photos[v].mask_path) is not None:
                    mask &= decode_mask(own)
                cv2.imwrite(str(folder / "masks" / f"{photos[v].path.name}.png"), mask.astype(np.uint8) * 255)
        pycolmap.set_random_seed(_SEED)
        masks = None if background else folder / "masks"
        _extract(folder / "features.db", photos, used, camera_of, masks, threads, progress)
        progress("Comparing photos", 0, 1)
        matching = pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False)
        # What stays at its place in two photos is the surroundings of a head that turned.
        verifying = pycolmap.TwoViewGeometryOptions(filter_stationary_matches=not background)
        options = {"matching_options": matching, "verification_options": verifying}
        pycolmap.match_exhaustive(folder / "features.db", **options)
        progress("Comparing photos", 1, 1)
        model = _map(folder, photos[0].path.parent, len(used), progress)
        if model is None:
            what = "the skin shows too little that can be followed from photo to photo"
            remedy = "use sharper photos, with less than 25° between neighbours, and even light"
            raise ReconstructionError(what, remedy=remedy)
        return _solution(model, photos, used)


def _extract(
    database: Path,
    photos: Sequence[Photo],
    used: Sequence[int],
    camera_of: NDArray[np.int64],
    masks: Path | None,
    threads: int,
    progress: ProgressCallback,
) -> None:
    """Find features, a few photos at a time, camera by camera."""
    options = pycolmap.FeatureExtractionOptions(num_threads=threads, use_gpu=False, max_image_size=_MAX_SIDE)
    done = 0
    for camera in np.unique(camera_of[used]):
        mine = [photos[v] for v in used if camera_of[v] == camera]
        reader = pycolmap.ImageReaderOptions(camera_model=_MODEL)
        if masks is not None:
            reader.mask_path = masks
        focal = next((photo.focal for photo in mine if photo.focal is not None), None)
        if focal is not None:
            reader.camera_params = f"{focal},{mine[0].width / 2},{mine[0].height / 2},0"
        for first in range(0, len(mine), threads):
            progress("Finding features", done, len(used))
            some = mine[first : first + threads]
            pycolmap.extract_features(
                database,
                mine[0].path.parent,
                image_names=[photo.path.name for photo in some],
                camera_mode=pycolmap.CameraMode.SINGLE,
                reader_options=reader,
                extraction_options=options,
            )
            with pycolmap.Database.open(database) as opened:
                reader.existing_camera_id = max(it.camera_id for it in opened.read_all_cameras())
            done += len(some)
    progress("Finding features", done, len(used))


def _map(folder: Path, images: Path, count: int, progress: ProgressCallback) -> Any | None:
    """The largest reconstruction, or None."""
    placed = itertools.count(1)

    def another() -> None:
        progress("Placing cameras", min(next(placed), count), count)

    options = pycolmap.IncrementalPipelineOptions(
        min_model_size=_FEWEST, num_threads=1, random_seed=_SEED, extract_colors=False
    )
    (folder / "models").mkdir()
    models = pycolmap.incremental_mapping(
        folder / "features.db", images, folder / "models", options, next_image_callback=another
    )
    progress("Placing cameras", count, count)
    best = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
    return None if best is None or best.num_reg_images() < _FEWEST else best


def _solution(model: Any, photos: Sequence[Photo], used: Sequence[int]) -> Solution:
    """The reconstruction with the photos' indices and our conventions."""
    index = {photo.path.name: v for v, photo in enumerate(photos)}
    cameras: list[Camera | None] = [None] * len(photos)
    view_of, pixels_of = {}, {}
    for image_id, image in model.images.items():
        if image.has_pose:
            view = view_of[image_id] = index[image.name]
            K, lens = intrinsics(model.cameras[image.camera_id])
            pose = image.cam_from_world().matrix()
            cameras[view] = Camera(K, pose[:, :3], pose[:, 3], photos[view].width, photos[view].height, lens)
            # COLMAP's pixel centres are at halves
            pixels_of[image_id] = np.array([point.xy for point in image.points2D]).reshape(-1, 2) - 0.5
    tracks = []
    for point in model.points3D.values():
        elements = point.track.elements
        pixels = np.array([pixels_of[e.image_id][e.point2D_idx] for e in elements])
        tracks.append(PointTrack(point.xyz, [view_of[e.image_id] for e in elements], pixels))
    return describe("features", cameras, tracks, used)


def head_mask(points: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """(H, W) the landmarks' convex hull, enlarged about the middle of its box to take in the head.

    Shoulders and hair that hangs down stay outside: they do not turn with the face.

    Args:
        points: (478, 2) landmarks, pixels; NaN where unknown.
        width: of the photo.
        height: of the photo.
    """
    known = points[np.isfinite(points).all(1)].astype(np.float32)
    hull = cv2.convexHull(known)[:, 0]
    middle = (hull.min(0) + hull.max(0)) / 2
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(middle + _HEAD * (hull - middle)).astype(np.int32)], 1)
    return mask.astype(bool)


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch COLMAP's log off inside of the block."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = _HIDE_LOG
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
