"""Where on the face the error is: parts of the face as areas of the generic model's UV square."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.evaluation import GroundTruth
from mesoface.face_models.loading import load_generic
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis.anatomy import BROWS, EYES, LIPS_OUTER, SCHEME
from mesoface.uvd.maps import erode, rasterize_uv

REGIONS = ("cheeks", "forehead", "chin", "nose", "nose wings", "lips", "eyelids", "brows", "rim")

_SIZE = 256  # side of the map of regions, texels of about 0.9 mm
_SAMPLES = 40_000
# Landmarks around the nose from between the brows down and back up, around its wings, and where regions end.
_NOSE = (168, 193, 122, 196, 198, 129, 98, 97, 2, 326, 327, 358, 420, 419, 351, 417)
_WINGS = ((129, 102, 48, 64, 98, 203), (358, 331, 278, 294, 327, 423))
_FOREHEAD_ENDS, _CHIN_BEGINS, _CHIN_SIDES = 9, 17, (149, 378)
# How far, mm, a region reaches beyond its landmarks; the rim is so wide.
_BEYOND = {"nose": 1.5, "nose wings": 3.0, "lips": 2.0, "eyelids": 5.0, "brows": 3.0}
_RIM = 10.0


@dataclass(frozen=True)
class RegionError:
    """How far one region of the reconstructed surface is from the truth.

    Args:
        area: its share of what was measured.
        mean: mm.
        p90: 90th percentile, mm.
        share: of the sum of all regions' errors.
    """

    area: float
    mean: float
    p90: float
    share: float


def errors_by_region(fine: Mesh, truth: GroundTruth) -> dict[str, RegionError]:
    """Distances of ``fine``, with the generic model's UVs, to ``truth``; regions without surface left out."""
    if fine.uv is None:
        raise ValueError("the mesh has no UVs")
    samples = truth.samples(fine, _SAMPLES, seed=0)
    deviation = truth.deviation(samples.points, inside=True)
    samples, distance = samples.select(deviation.counted), np.abs(deviation.signed[deviation.counted])
    uv = np.einsum("nk,nkc->nc", samples.bary, fine.uv[fine.faces[samples.face]])
    column, row = np.clip(_pixels(uv).astype(int), 0, _SIZE - 1).T
    region = region_map()[row, column]
    found = {}
    for number, name in enumerate(REGIONS):
        own = distance[region == number]
        if len(own):
            found[name] = RegionError(
                area=len(own) / len(distance),
                mean=float(own.mean()),
                p90=float(np.percentile(own, 90)),
                share=float(own.sum() / distance.sum()),
            )
    return found


@lru_cache(maxsize=1)
def region_map() -> NDArray[np.uint8]:
    """(256, 256) index into ``REGIONS`` for every texel of the generic model's UV square."""
    topology = load_generic().topology
    facial = rasterize_uv(topology.uv, topology.uv_faces[topology.facial], _SIZE).valid
    corners = topology.uv[topology.uv_faces[topology.landmark_faces[SCHEME]]]
    landmarks = np.zeros((478, 2))
    landmarks[topology.landmark_ids[SCHEME]] = _pixels(
        np.einsum("lk,lkc->lc", topology.landmark_bary[SCHEME], corners)
    )
    made = np.full((_SIZE, _SIZE), REGIONS.index("cheeks"), np.uint8)
    row, column = np.mgrid[:_SIZE, :_SIZE]
    made[row < landmarks[_FOREHEAD_ENDS, 1]] = REGIONS.index("forehead")
    left, right = sorted(landmarks[list(_CHIN_SIDES), 0])
    chin = (row > landmarks[_CHIN_BEGINS, 1]) & (column > left) & (column < right)
    made[chin] = REGIONS.index("chin")
    brows = [(*upper, *lower[::-1]) for upper, lower in BROWS]
    drawn = {"nose": [_NOSE], "nose wings": _WINGS, "lips": [LIPS_OUTER], "eyelids": EYES, "brows": brows}
    for name, rings in drawn.items():
        for ring in rings:
            made[_area(landmarks[list(ring)], _BEYOND[name])] = REGIONS.index(name)
    inner = erode(np.pad(_filled(facial), 1), round(_RIM / _texel_mm()))[1:-1, 1:-1]
    made[~inner] = REGIONS.index("rim")
    return made


def _area(ring: NDArray[np.float64], beyond_mm: float) -> NDArray[np.bool_]:
    """(256, 256) the inside of ``ring`` (K, 2) and ``beyond_mm`` around it."""
    canvas = np.zeros((_SIZE, _SIZE), np.uint8)
    corners = np.rint(ring * 16).astype(np.int32)
    width = max(1, round(2 * beyond_mm / _texel_mm()))
    cv2.fillPoly(canvas, [corners], 1, shift=4)
    cv2.polylines(canvas, [corners], True, 1, width, shift=4)
    return canvas > 0


def _filled(facial: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The facial mask without its openings: the rim is its outer end."""
    contours, _ = cv2.findContours(facial.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    canvas = np.zeros(facial.shape, np.uint8)
    cv2.drawContours(canvas, contours, -1, 1, cv2.FILLED)
    return canvas > 0


@lru_cache(maxsize=1)
def _texel_mm() -> float:
    """Width of a texel of the map on the mean face."""
    model = load_generic()
    topology = model.topology
    area_mm = Mesh(model.mean, topology.faces).face_areas()[topology.facial].sum()
    a, b, c = np.moveaxis(topology.uv[topology.uv_faces[topology.facial]], 1, 0)
    area_uv = np.abs(np.cross(b - a, c - a)).sum() / 2
    return float(np.sqrt(area_mm / area_uv) / _SIZE)


def _pixels(uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) UV → (N, 2) column and row of the map, texel centres at integers."""
    return np.column_stack([uv[:, 0] * _SIZE - 0.5, (1 - uv[:, 1]) * _SIZE - 0.5])
