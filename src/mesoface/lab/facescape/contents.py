"""What a prepared capture holds: photos and maps.

Of the sixty views some are chosen; their photos are undistorted and scaled. The maps of the base mesh, of
positions, normals and displacements, are the training data of the published networks. All three are float32,
in the world of the capture's cameras (``Rt_scale_dict.json`` has its unit), and 0 outside the facial mask.
``mv_map`` is the signed distance along the normal to the scan, outward positive; as in the published data, it
is also 0 where the normal does not meet the scan within reach, here 20 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, CaptureSource, View, ViewSource
from mesoface.captures.load import read_full_size
from mesoface.errors import CaptureError
from mesoface.face_models.model import FaceModel
from mesoface.files.atomic import atomic_file
from mesoface.files.images import as_float
from mesoface.files.maps import write_png
from mesoface.geometry.camera import Camera, OpenCVLens
from mesoface.geometry.mesh import Mesh
from mesoface.lab.facescape.layout import CaptureId, MapKind, PreparedFolder
from mesoface.lab.facescape.settings import LONGEST_SIDE
from mesoface.lab.training.truth import TrueSurface
from mesoface.landmarks import MediapipeDetector, triangulate
from mesoface.landmarks.selection import select_views
from mesoface.matching.paper.matcher import FULL_SCALE, SIZE, STEP_MM, paper_space

_LOOK_AT = 648  # longest side in pixels of the photos for the choice of views
_FULL, _TOP, _LEFT = 512, 72, 128  # FaceScape's UV square, and the maps' window in it
_REACH_MM = FULL_SCALE * STEP_MM


def prepared_photo(view: ViewSource, longest_side: int = LONGEST_SIDE) -> tuple[NDArray[np.uint8], Camera]:
    """One photo scaled and undistorted.

    As in the published data, frame and intrinsics are those of the photo: undistortion leaves a black margin
    where the photo has no pixels, and cuts pixels beyond the frame. Pixel centres are at integers, so the
    principal point is scaled about the corner of the first pixel; the published code scales it about its
    centre, an error of up to half a pixel.

    Args:
        view: a view in FaceScape's layout.
        longest_side: pixels after scaling, which may enlarge the photo.

    Returns:
        (H, W, 3) uint8 RGB, and its camera without a lens.

    Raises:
        CaptureError: the photo is missing or damaged, or not of its camera's size.
    """
    stored = read_full_size(view)
    pixels: NDArray[np.uint8] = np.asarray(stored if stored.dtype == np.uint8 else stored >> 8, np.uint8)
    factor = longest_side / max(view.camera.width, view.camera.height)
    camera = view.camera.scaled(factor)
    if factor != 1:
        shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        pixels = cv2.resize(pixels, (camera.width, camera.height), interpolation=shrink)
    if camera.lens is None:
        return pixels, camera
    assert isinstance(camera.lens, OpenCVLens)  # the layout has no other
    source, _ = cv2.initUndistortRectifyMap(
        camera.K, np.array(camera.lens.coefficients), np.eye(3), camera.K, pixels.shape[1::-1], cv2.CV_32FC2
    )
    straight = cv2.remap(pixels, source, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_CONSTANT)
    return straight, replace(camera, lens=None)


def readable_views(views: tuple[ViewSource, ...], longest_side: int) -> tuple[list[View], list[str]]:
    """The readable views, scaled and undistorted, and a sentence about each of the others."""
    good, notes = list[View](), list[str]()
    for view in views:
        try:
            pixels, camera = prepared_photo(view, longest_side)
        except CaptureError as error:
            notes.append(f"view {view.name} is left out: {error.message}")
            continue
        good.append(View(view.name, as_float(pixels), camera, image_path=view.image_path))
    return good, notes


def choose_views(source: CaptureSource, count: int) -> tuple[list[int], list[str]]:
    """The best views: spread around the face, sharp, with the whole face, consistent with the others.

    Args:
        source: a capture in FaceScape's layout.
        count: largest number of views.

    Returns:
        their numbers, ascending, and a sentence about every photo that cannot be read.

    Raises:
        MesofaceError: fewer than two views can be used, or no face is found.
    """
    views, notes = readable_views(source.views, _LOOK_AT)
    capture = Capture(tuple(_at_least_two(views, source, notes)), source.path, source.format)
    landmarks = MediapipeDetector().detect(capture)
    chosen = select_views(capture, landmarks, triangulate(capture.cameras, landmarks), count)
    chosen = _at_least_two(chosen, source, ["too few show a face on which they agree"])
    return [int(capture.names[v]) for v in chosen], notes


def given_views(source: CaptureSource, wanted: Sequence[int]) -> tuple[list[int], list[str]]:
    """The ``wanted`` views in their order, without those that are invalid or cannot be read."""
    known = {int(view.name): view for view in source.views}
    unknown = [number for number in wanted if number not in known]
    views, unreadable = readable_views(tuple(known[number] for number in wanted if number in known), _LOOK_AT)
    notes = [f"view {number} is left out: invalid, or not in params.json" for number in unknown] + unreadable
    return [int(view.name) for view in _at_least_two(views, source, notes)], notes


def _at_least_two(views: list, source: CaptureSource, reasons: Sequence[str]) -> list:
    if len(views) < 2:
        why = "; ".join([*reasons, *source.notes][:3])
        raise CaptureError(
            f"{len(views)} usable views, at least two are needed ({why})",
            path=source.path,
            remedy="put the photos back, or leave the capture out",
        )
    return views


@dataclass(frozen=True, eq=False)
class BaseMaps:
    """UV maps of a base mesh.

    Args:
        position: (256, 256, 3) float32.
        normal: (256, 256, 3) float32 unit, smoothed.
        displacement: (256, 256) float32 to the scan, or None where there is no scan.
        known: share of the facial mask whose normals meet the scan; 0 without a scan.
    """

    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    displacement: NDArray[np.float32] | None
    known: float


def base_maps(
    base: Mesh, facial: NDArray[np.bool_], scan: Mesh | None, cameras: Sequence[Camera], mm_per_unit: float
) -> BaseMaps:
    """Maps of a base mesh, in units of the capture's world.

    Args:
        base: with UVs, mm.
        facial: (F,) faces of the facial mask.
        scan: the true surface, wound outward, mm.
        cameras: of the capture, mm: only parts of the scan that one of them sees are used.
        mm_per_unit: of the maps' unit.
    """
    space = paper_space(base, facial)
    inside = space.valid[..., None]
    displacement, known = None, 0.0
    if scan is not None:
        true = TrueSurface(scan, cameras).along(space, _REACH_MM).displacement
        known = float(np.isfinite(true[space.valid]).mean())
        displacement = np.where(np.isfinite(true), true / mm_per_unit, 0).astype(np.float32)
    position = np.where(inside, space.position / mm_per_unit, 0).astype(np.float32)
    return BaseMaps(position, np.where(inside, space.normal, 0).astype(np.float32), displacement, known)


def write_maps(folder: PreparedFolder, split: str, id: CaptureId, maps: BaseMaps) -> None:
    """Write a capture's maps into the prepared folder."""
    values = (maps.position, maps.normal, maps.displacement)
    for kind, value in zip(get_args(MapKind), values, strict=True):
        if value is not None:
            with atomic_file(folder.map(kind, split, id)) as temporary:
                np.save(temporary, value, allow_pickle=False)


def write_facial_mask(path: Path, model: FaceModel) -> None:
    """Write ``facial_mask.png``: the model's facial mask, in the maps' window of FaceScape's UV square."""
    topology = model.topology
    mask = topology.facial_mask(SIZE)
    whole = np.zeros((_FULL, _FULL), np.uint8)
    whole[_TOP : _TOP + SIZE, _LEFT : _LEFT + SIZE] = 255 * mask
    write_png(path, whole)
