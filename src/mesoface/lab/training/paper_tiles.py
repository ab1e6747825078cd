"""Tiles as the published networks look at a face: their photos' scale, their channels, their grid.

The published volume has steps of 0.2 mm on texels of some 0.8 mm, and portraits of 1296 pixels show a face at
some 0.27 mm a pixel. A tile has texels of any size and 1.5 pixels for each. So its world is scaled until a
texel is half of the paper's: the photos' scale is right then, and blocks of two by two texels are the paper's
grid. What agrees between photos does not depend on the unit of length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.errors import MesofaceError
from mesoface.lab.training.tile import Tile
from mesoface.uvd.visibility import SEEN

TEXEL_MM = 0.41
"""What a tile's texel is scaled to: 0.27 mm for a pixel of its photos."""
STRIDE = 2
"""A tile's texels to one of the paper's."""
# How far a point may lie beyond the search range and still be in the photos, texels: these are cut 16 pixels
# and 4 texels around what is searched, which is some 14 texels.
_MARGIN = 12
# Shares of a photo that a tile's cut is made to be: a face does not fill its photo either.
_SHARES = (0.5, 1.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """A tile in the paper's scale, with tensors for its networks.

    Args:
        images: V × (3, h, w) blue, green, red in 0…255.
        projections: V × (3, 4) float64, world → pixels of the half-resolution features.
        position: (N, N, 3) float64, mm.
        normal: (N, N, 3) float64 unit.
        truth: (N, N) true displacement, mm; 0 where it is not known.
        known: (N, N) bool, the truth is known and two views at least see the texel.
        range_mm: displacements up to this are in the photos.
        scale: mm of the scene to one of the tile.
    """

    images: list[Tensor]
    projections: list[Tensor]
    position: Tensor
    normal: Tensor
    truth: Tensor
    known: Tensor
    range_mm: float
    scale: float


def scene_of(tile: Tile, device: torch.device) -> Scene:
    """Bring a tile to the paper's scale and grid: T × T texels become N × N, N = T/2.

    Raises:
        MesofaceError: T is not divisible by eight, as two strides of two on the paper's grid require.
    """
    size = tile.truth.shape[0]
    if size % (4 * STRIDE):
        raise MesofaceError(
            f"the paper's networks need tiles with a side divisible by {4 * STRIDE}, this one has {size}",
            remedy="make tiles of 64 texels",
        )
    scale = TEXEL_MM / tile.texel_mm
    to_features = np.diag([0.5, 0.5, 1.0])
    to_tile = np.diag([1 / scale, 1 / scale, 1 / scale, 1])
    seen = (tile.visibility > SEEN).sum(0) >= 2
    truth = _coarser(np.where(seen, tile.truth, np.nan)) * scale
    known = np.isfinite(truth)

    def tensor(values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    normal = _coarser(tile.normal).astype(np.float64)
    return Scene(
        images=[
            tensor(image[..., ::-1].astype(np.float32).transpose(2, 0, 1)) * 255 for image in tile.images
        ],
        projections=[tensor(to_features @ projection @ to_tile) for projection in tile.projections],
        position=tensor(_coarser(tile.position).astype(np.float64) * scale),
        normal=tensor(normal / np.linalg.norm(normal, axis=-1, keepdims=True)),
        truth=tensor(np.where(known, truth, 0)),
        known=tensor(known),
        range_mm=tile.reach_mm * scale + _MARGIN * TEXEL_MM,
        scale=scale,
    )


def as_in_photos(tile: Tile, rng: np.random.Generator) -> Tile:
    """The tile with its cuts of photos made into larger photos, half of the time transposed.

    The feature network normalises over the whole photo, most of which is not the tile: around each cut comes
    its own reflection, darker or brighter, the same in all views as in photos of one rig. And photos in
    portrait are transposed before they are looked at.
    """
    share, brightness, corner = rng.uniform(*_SHARES), rng.uniform(0, 1.3), rng.uniform(size=2)
    framed = [_framed(image, share, brightness, corner) for image in tile.images]
    images = [image for image, _ in framed]
    projections = tile.projections.copy()
    for projection, (_, shift) in zip(projections, framed, strict=True):
        projection[:2] += shift[:, None] * projection[2]
    if rng.uniform() < 0.5:
        images = [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in images]
        projections = np.ascontiguousarray(projections[:, [1, 0, 2]])
    return replace(tile, images=tuple(images), projections=projections)


def at_texels(displacement: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """An (N, N) map of the paper's grid on the tile's ``size`` × ``size`` texels, linearly."""
    return cv2.resize(displacement, (size, size), interpolation=cv2.INTER_LINEAR)


def _framed(
    image: NDArray[np.float16], share: float, brightness: float, corner: NDArray[np.float64]
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """A photo of which ``image`` is a share, and (2,) x and y of the image's corner in it."""
    size = np.array(image.shape[1::-1])
    frame = (np.sqrt(1 / share) - 1) * size  # on both sides together
    before, after = (np.minimum(frame * part, size - 1).astype(np.int64) for part in (corner, 1 - corner))
    left, top, right, bottom = (int(n) for n in (*before, *after))
    around = image.astype(np.float32) * np.float32(brightness)
    photo = cv2.copyMakeBorder(around, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    photo[top : top + size[1], left : left + size[0]] = image
    return np.clip(photo, 0, 1).astype(np.float16), before


def _coarser(values: NDArray) -> NDArray:
    """(T, T[, C]) → (N, N[, C]), means of blocks; NaN where one of a block is."""
    n = values.shape[0] // STRIDE
    return values.reshape(n, STRIDE, n, STRIDE, *values.shape[2:]).mean((1, 3))
