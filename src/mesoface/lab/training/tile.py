"""One square of a UVD space: what the matcher sees of it, and the truth. What training is made of.

:func:`augmented` makes tiles as they come from other cameras, other skins, and a coarser level that was
further off.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.matching.classical import ClassicalAnswer
from mesoface.uvd.photos import resample_photo
from mesoface.uvd.space import UVDSpace

# Pixels of a tile's photos per texel, as the cascade prepares them.
OVERSAMPLE = 1.5
# What a shard may hold, bytes, before it is read.
_LARGEST_SHARD = 2 << 30
_LARGEST_TILE = 4096


@dataclass(frozen=True, eq=False)
class Tile:
    """T × T texels of a UVD space, the photos that show them, and the surface that is true.

    Args:
        images: V × (h, w, 3) float16 sRGB in [0, 1], at the scale of the texels.
        projections: (V, 3, 4) float64 world, mm → pixels of ``images``.
        position: (T, T, 3) float32 mm, the base surface.
        normal: (T, T, 3) float32 unit, the direction of D.
        visibility: (V, T, T) float32 in [0, 1], how well each view sees each texel.
        truth: (T, T) float32 true displacement along ``normal``, mm; NaN where it is not known.
        texel_mm: distance between texels.
        step_mm: distance between the displacements that are tried.
        reach_mm: displacements from -reach to +reach are tried.
        classical: the classical matcher's answer, if it was computed. It is not written to shards.
    """

    images: tuple[NDArray[np.float16], ...]
    projections: NDArray[np.float64]
    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    visibility: NDArray[np.float32]
    truth: NDArray[np.float32]
    texel_mm: float
    step_mm: float
    reach_mm: float
    classical: ClassicalAnswer | None = None

    @property
    def steps(self) -> NDArray[np.float64]:
        """(D,) displacements to try, mm."""
        count = round(self.reach_mm / self.step_mm)
        return np.arange(-count, count + 1) * self.step_mm


def make_tile(
    space: UVDSpace,
    views: Sequence[View],
    visibility: NDArray[np.float32],
    truth: NDArray[np.float32],
    *,
    step_mm: float,
    reach_mm: float,
) -> Tile:
    """Cut the photos to a square of UVD space, at the scale at which the cascade looks at them.

    World coordinates are moved so that the tile lies around the origin.

    Args:
        space: T × T texels; what is outside of its mask has no truth.
        views: V views; those that see nothing of the tile are left out.
        visibility: (V, T, T).
        truth: (T, T) true displacement, mm; NaN where it is not known.
        step_mm: see :class:`Tile`.
        reach_mm: see :class:`Tile`.
    """
    texel = space.texel_mm
    points = space.position.reshape(-1, 3).astype(np.float64)
    middle = points.mean(0)
    seen_by = np.flatnonzero(visibility.any((1, 2)))
    seeing = [views[v] for v in seen_by]
    photos = [resample_photo(v.image, v.camera, points, texel, OVERSAMPLE, reach_mm) for v in seeing]
    return Tile(
        tuple(np.clip(pixels, 0, 1).astype(np.float16) for pixels, _ in photos),
        np.array([camera.moved(np.eye(3), -middle).P for _, camera in photos]).reshape(-1, 3, 4),
        (space.position - middle).astype(np.float32),
        space.normal.astype(np.float32),
        np.asarray(visibility[seen_by], np.float32),
        np.where(space.valid, truth, np.nan).astype(np.float32),
        texel,
        step_mm,
        reach_mm,
    )


def write_tiles(path: str | Path, tiles: Sequence[Tile]) -> None:
    """Write a shard of tiles: a compressed ``.npz`` of plain arrays.

    Raises:
        MesofaceError: the file cannot be written.
    """
    arrays = {f"{n}/{name}": array for n, tile in enumerate(tiles) for name, array in to_arrays(tile).items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_tiles(path: str | Path, indices: Sequence[int] | None = None) -> list[Tile]:
    """Read what :func:`write_tiles` wrote.

    Args:
        path: the shard.
        indices: which of its tiles, from 0; None for all. Only these are unpacked.

    Raises:
        MesofaceError: it is no such file, or a tile in it is not sound.
    """
    with _opened_shard(Path(path)) as arrays:
        wanted = range(_count(arrays)) if indices is None else indices
        return [from_arrays(lambda name, n=n: arrays[f"{n}/{name}"]) for n in wanted]  # type: ignore[misc]


def count_tiles(path: str | Path) -> int:
    """How many tiles a shard holds.

    Raises:
        MesofaceError: it is no shard.
    """
    with _opened_shard(Path(path)) as arrays:
        return _count(arrays)


@contextmanager
def _opened_shard(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The arrays of a shard; errors in the block name ``path``."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _LARGEST_SHARD:
            raise MesofaceError(
                f"holds {unpacked >> 20} MB of tiles, {_LARGEST_SHARD >> 20} MB is the most", path=path
            )
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, KeyError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise MesofaceError(
            f"is not a shard of tiles: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            path=path,
            remedy="make the tiles again with `mesoface train tiles`",
        ) from None


def _count(arrays: np.lib.npyio.NpzFile) -> int:
    return len({name.split("/")[0] for name in arrays.files})


def to_arrays(tile: Tile) -> dict[str, NDArray]:
    """A tile as named arrays, the form in which it is stored; its classical answer is left out."""
    return {
        **{f"image{v}": image for v, image in enumerate(tile.images)},
        "projections": tile.projections,
        "position": tile.position,
        "normal": tile.normal,
        "visibility": tile.visibility.astype(np.float16),
        "truth": tile.truth,
        "numbers": np.array([tile.texel_mm, tile.step_mm, tile.reach_mm]),
    }


def from_arrays(array: Callable[[str], NDArray]) -> Tile:
    """The tile of which ``array`` has the named arrays of :func:`to_arrays`.

    Raises:
        ValueError: their shapes or numbers do not belong together.
        KeyError: ``array`` lacks one.
    """
    projections, position, normal, truth = map(array, ("projections", "position", "normal", "truth"))
    visibility, views, size = array("visibility").astype(np.float32), len(projections), truth.shape[0]
    images = tuple(array(f"image{v}") for v in range(views))
    texel_mm, step_mm, reach_mm = (float(number) for number in array("numbers"))
    tile = Tile(images, projections, position, normal, visibility, truth, texel_mm, step_mm, reach_mm)
    sound = (
        truth.shape == (size, size)
        and 0 < size <= _LARGEST_TILE
        and position.shape == normal.shape == (size, size, 3)
        and visibility.shape == (views, size, size)
        and projections.shape == (views, 3, 4)
        and all(image.ndim == 3 and image.shape[2] == 3 for image in images)
        and 0 < texel_mm < np.inf
        and 0 < step_mm <= reach_mm < np.inf
    )
    if not sound:
        raise ValueError("a tile has shapes or numbers that do not belong together")
    return tile


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
    images = tuple(tile.images[v] for v in keep)
    return replace(tile, images=images, projections=tile.projections[keep], visibility=tile.visibility[keep])


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
