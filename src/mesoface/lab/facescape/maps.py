"""Position, normal and displacement maps of a base mesh: the training data of the published networks.

All three are float32, in the world of the capture's cameras (``Rt_scale_dict.json`` has its unit), and 0
outside the facial mask. ``mv_map`` is the signed distance along the normal to the scan, outward positive; as
in the published data, it is also 0 where the normal does not meet the scan within reach, here 20 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.model import FaceModel
from mesoface.files.atomic import atomic_file
from mesoface.files.maps import write_png
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.lab.facescape.layout import CaptureId, MapKind, PreparedFolder
from mesoface.lab.training.truth import TrueSurface
from mesoface.matching.paper.volume import FULL_SCALE, SIZE, STEP_MM, paper_space
from mesoface.uvd.rasterize import rasterize_uv

_FULL, _TOP, _LEFT = 512, 72, 128  # FaceScape's UV square, and the maps' window in it
_REACH_MM = FULL_SCALE * STEP_MM


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
    values: dict[MapKind, NDArray[np.float32] | None] = {
        "pos_map": maps.position,
        "norm_map": maps.normal,
        "mv_map": maps.displacement,
    }
    for kind, value in values.items():
        if value is not None:
            with atomic_file(folder.map(kind, split, id)) as temporary:
                np.save(temporary, value, allow_pickle=False)


def write_facial_mask(path: Path, model: FaceModel) -> None:
    """Write ``facial_mask.png``: the model's facial mask, in the maps' window of FaceScape's UV square."""
    topology = model.topology
    mask = rasterize_uv(topology.uv, topology.uv_faces[topology.facial], SIZE).valid
    whole = np.zeros((_FULL, _FULL), np.uint8)
    whole[_TOP : _TOP + SIZE, _LEFT : _LEFT + SIZE] = 255 * mask
    write_png(path, whole)
