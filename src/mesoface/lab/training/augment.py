"""Tiles as they come from other cameras, other skins, and a coarser level that was further off."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.lab.training.tile import Tile

# Largest error of a tile's base that is drawn, share of the search range.
_LARGEST_SHIFT = 0.5
# Largest noise that is added, standard deviation in [0, 1] at the tile's own scale.
_NOISE = 0.03
# A tile that has as many views as this often is shown with fewer.
_FEWEST = 2


def augmented(tile: Tile, rng: np.random.Generator) -> Tile:
    """The tile, differently disturbed for every state of ``rng``.

    Fewer views; in a third of the tiles each photo's exposure and white balance, noise, blur and a shift of
    its camera; and a base that lies smoothly elsewhere, with the truth moved against it.

    Args:
        tile: any tile with two views at least.
        rng: source of chance; the same state gives the same tile.
    """
    tile = _with_base_elsewhere(_with_fewer_views(tile, rng), rng)
    if rng.uniform() < 0.3:
        tile = _mirrored(tile)
    return _photographed_worse(tile, rng) if rng.uniform() < 0.35 else tile


def _with_fewer_views(tile: Tile, rng: np.random.Generator) -> Tile:
    """In half of the tiles, from two views up; few ones as often as many."""
    count = len(tile.images)
    if count <= _FEWEST or rng.uniform() < 0.5:
        return tile
    keep = np.sort(rng.permutation(count)[: rng.integers(_FEWEST, count + 1)])
    return replace(
        tile,
        images=tuple(tile.images[v] for v in keep),
        projections=tile.projections[keep],
        visibility=tile.visibility[keep],
    )


def _with_base_elsewhere(tile: Tile, rng: np.random.Generator) -> Tile:
    """The base moved along its normals by a smooth random amount, and the truth by the opposite.

    The normals stay: they are smooth, and the shift is too.
    """
    size = tile.truth.shape[0]
    cells = int(rng.integers(2, 6))
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    strength = _LARGEST_SHIFT * tile.reach_mm * rng.uniform() ** 2
    shift = strength * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    shift = np.clip(shift, -_LARGEST_SHIFT * tile.reach_mm, _LARGEST_SHIFT * tile.reach_mm)
    position = tile.position + tile.normal * shift[..., None]
    return replace(tile, position=position, truth=tile.truth - shift)


def _mirrored(tile: Tile) -> Tile:
    """Its maps transposed: which way u and v run must not matter."""
    return replace(
        tile,
        position=np.ascontiguousarray(tile.position.transpose(1, 0, 2)),
        normal=np.ascontiguousarray(tile.normal.transpose(1, 0, 2)),
        visibility=np.ascontiguousarray(tile.visibility.transpose(0, 2, 1)),
        truth=np.ascontiguousarray(tile.truth.T),
    )


def _photographed_worse(tile: Tile, rng: np.random.Generator) -> Tile:
    noise = _NOISE * rng.uniform() ** 2
    images = tuple(_worse(image.astype(np.float32), noise, rng) for image in tile.images)
    shift = min(abs(rng.normal(0, 0.15)), 0.5)
    projections = tile.projections.copy()
    for projection in projections:
        # A shift in pixels is a multiple of the last row: x / z becomes x / z + shift.
        projection[:2] += rng.normal(0, shift, 2)[:, None] * projection[2]
    return replace(tile, images=images, projections=projections)


def _worse(image: NDArray[np.float32], noise: float, rng: np.random.Generator) -> NDArray[np.float16]:
    """One photo at another exposure and white balance, blurred and with noise."""
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.03, 3))
    image = image * gain.astype(np.float32)
    if rng.uniform() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0))
    image = image + noise * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1).astype(np.float16)
