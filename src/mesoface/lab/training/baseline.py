"""What the classical matcher makes of a tile: where ours starts from, and the bar that it has to clear."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.lab.training.tile import Tile
from mesoface.matching.classical import PRESETS, ClassicalAnswer, ClassicalLevel, ClassicalMatcher
from mesoface.matching.matcher import LevelInput
from mesoface.uvd.space import UVDSpace

# Side of a facial mask, mm: a level of so many texels has texels of this over their number.
_FACE_MM = 210.0


def classical_answer(tile: Tile) -> ClassicalAnswer:
    """One pass of the classical matcher, with the windows of the cascade's level of the same texel size."""
    views = tuple(
        View(str(v), image.astype(np.float32), _camera(projection, image.shape[1], image.shape[0]))
        for v, (image, projection) in enumerate(zip(tile.images, tile.projections, strict=True))
    )
    space = UVDSpace(tile.position, tile.normal, np.ones(tile.truth.shape, bool))
    start = LevelInput(_level(tile), space, views, tile.visibility, np.ones(space.valid.shape, np.float32))
    return ClassicalMatcher(threads=1).answer(start)


def _level(tile: Tile) -> ClassicalLevel:
    like = min(PRESETS["best"], key=lambda level: abs(math.log(_FACE_MM / level.size / tile.texel_mm)))
    return ClassicalLevel(
        size=tile.truth.shape[0],
        reach_mm=tile.reach_mm,
        step_mm=tile.step_mm,
        base_mm=like.base_mm,
        normal_mm=like.normal_mm,
        window=like.window,
        stiffness=like.stiffness,
        smooth=like.smooth,
    )


def _camera(projection: NDArray[np.float64], width: int, height: int) -> Camera:
    """The camera of a (3, 4) projection."""
    K, R, center, *_ = cv2.decomposeProjectionMatrix(projection)
    K = K / K[2, 2]
    K[1, 0] = 0.0  # up to rounding already
    return Camera(K, R, -R @ (center[:3, 0] / center[3, 0]), width, height)
