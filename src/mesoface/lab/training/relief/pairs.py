"""Pairs of texture and displacement map, found on disk and read, with the mesh under them if there is one.

Squares are cut from them at a given texel size, as if the measurement had missed their detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.files.images import as_float, decode_photo, read_header
from mesoface.files.maps import DPMAP_SIZE, MIDDLE, decode_dpmap, read_dpmap
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import unit
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.relief.skin import MARGIN, Square, make_square, measured
from mesoface.relief.inputs import Illumination, fit_illumination, light_slopes
from mesoface.uvd.maps import dilate, erode, rasterize_uv, smooth_form

_DEEPEST = 3  # folders below the one that is named in which pairs are looked for
_TEXTURES = (".jpg", ".jpeg", ".png")
_MAP, _TEXTURE = "_dpmap", "_texture"
# FaceScape's folders: <person>/dpmap/<expression>.png, <person>/models_reg/<expression>.jpg and .obj.
_MAPS_FOLDER, _MODELS_FOLDER = "dpmap", "models_reg"


@dataclass(frozen=True)
class Pair:
    """A texture and the displacement that belongs to it, in the same UV layout.

    Args:
        name: for people, and for order.
        texture: colour image.
        dpmap: FaceScape's 16-bit displacement map.
        mesh: with UVs in that layout; None where there is none.
    """

    name: str
    texture: Path
    dpmap: Path
    mesh: Path | None


def find_pairs(folder: Path) -> list[Pair]:
    """The pairs in a folder and those up to three levels below it, in order of their names.

    Known are ``<name>_texture.jpg`` (or ``.png``) beside ``<name>_dpmap.png``, and FaceScape's
    ``dpmap/<expression>.png`` with ``<expression>.jpg`` beside that folder or in ``models_reg/``. A mesh is
    the ``.obj`` beside the texture: ``<name>.obj``, ``<expression>.obj``.

    Raises:
        TrainingError: there is no such folder or no pair in it, or a pair's other half is missing.
    """
    if not folder.is_dir():
        raise TrainingError("no such folder of pairs", path=folder, remedy="name the folder with them")
    pairs = [*_ours(folder), *_facescapes(folder)]
    if not pairs:
        raise TrainingError(
            "holds no pairs of texture and displacement map",
            path=folder,
            remedy="name them <name>_texture.jpg and <name>_dpmap.png, or <name>.jpg and dpmap/<name>.png",
        )
    return sorted(pairs, key=lambda pair: pair.name)


def _ours(folder: Path) -> list[Pair]:
    pairs = []
    for texture in _below(folder, f"*{_TEXTURE}.*"):
        if texture.suffix.lower() not in _TEXTURES:
            continue
        stem = texture.stem.removesuffix(_TEXTURE)
        dpmap = texture.with_name(f"{stem}{_MAP}.png")
        if not dpmap.is_file():
            raise TrainingError(
                f"has no {dpmap.name} beside it", path=texture, remedy="add it, or remove this"
            )
        pairs.append(_pair(folder, texture.with_name(stem), texture, dpmap))
    known = {pair.dpmap for pair in pairs}
    for dpmap in _below(folder, f"*{_MAP}.png"):
        if dpmap not in known:
            _refuse_map(dpmap, f"{dpmap.stem.removesuffix(_MAP)}{_TEXTURE}.jpg")
    return pairs


def _facescapes(folder: Path) -> list[Pair]:
    pairs = []
    for dpmap in _below(folder, f"{_MAPS_FOLDER}/*.png"):
        if dpmap.stem.endswith(_MAP):
            continue
        person = dpmap.parent.parent
        folders = (person, person / _MODELS_FOLDER)
        places = [base / f"{dpmap.stem}{suffix}" for base in folders for suffix in _TEXTURES]
        texture = next(filter(Path.is_file, places), None)
        if texture is None:
            _refuse_map(dpmap, f"../{dpmap.stem}.jpg")
        pairs.append(_pair(folder, person / dpmap.stem, texture, dpmap))
    return pairs


def _pair(folder: Path, stem: Path, texture: Path, dpmap: Path) -> Pair:
    mesh = texture.with_name(f"{stem.name}.obj")
    return Pair(str(stem.relative_to(folder)), texture, dpmap, mesh if mesh.is_file() else None)


def _refuse_map(dpmap: Path, texture: str) -> NoReturn:
    raise TrainingError(
        f"has no texture: {texture} is missing", path=dpmap, remedy="add it, or remove the map"
    )


def _below(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for depth in range(_DEEPEST + 1) for path in folder.glob("*/" * depth + pattern))


# Side of the maps of form and skin, which are smooth; it divides a dpmap's.
_COARSE = 1024
_SMALLEST_TEXTURE, _LARGEST_TEXTURE = 512, 8192
# Texels of these maps: holes among displaced texels that are skin, and how far form is smoothed.
_HOLES, _SMOOTH = 6, 2.0


@dataclass(frozen=True, eq=False)
class Form:
    """The smooth surface that a displacement map belongs to.

    Args:
        position: (1024, 1024, 3) mm, continued beyond the mesh.
        normal: (1024, 1024, 3) unit, outward.
        light: estimated from the texture; None where it cannot be.
    """

    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    light: Illumination | None


@dataclass(frozen=True, eq=False)
class PairMaps:
    """A pair, all maps over the same unit square of UV.

    Args:
        color: (T, T, 3) sRGB as stored, 8 or 16 bits: as floats a large one would fill a gigabyte.
        height: (4096, 4096) mm, row r at v = 1 - (r + 0.5) / 4096.
        skin: (1024, 1024) where a displacement was measured.
        span_mm: (1024, 1024) how many mm the whole side of the square would be at the scale of each texel.
        form: None without a mesh.
    """

    color: NDArray[np.uint8] | NDArray[np.uint16]
    height: NDArray[np.float32]
    skin: NDArray[np.bool_]
    span_mm: NDArray[np.float32]
    form: Form | None

    @property
    def skin_span_mm(self) -> float:
        """The usual span of the skin; NaN where there is none."""
        return float(np.median(self.span_mm[self.skin])) if self.skin.any() else float("nan")


def read_pair(pair: Pair, map_texel_mm: float | None) -> PairMaps:
    """Read a pair.

    Args:
        pair: its files.
        map_texel_mm: size of the displacement map's texels where no mesh gives it.

    Raises:
        MesofaceError: a file is missing, damaged or of another size or pixel type than expected, the mesh has
            no UVs, or the size of a texel is not given.
    """
    color = _read_texture(pair.texture)
    stored = read_dpmap(pair.dpmap)
    # FaceScape looks v up in row H - int(v H), one below the texel that v lies in.
    values = np.concatenate([stored[1:], stored[-1:]])
    height = decode_dpmap(values).astype(np.float32)
    factor = DPMAP_SIZE // _COARSE
    displaced = (values != MIDDLE).reshape(_COARSE, factor, _COARSE, factor).any((1, 3))
    skin = erode(dilate(displaced, _HOLES), _HOLES)
    if pair.mesh is None:
        if map_texel_mm is None:
            raise TrainingError(
                "no mesh beside the texture gives the size of a texel",
                path=pair.texture,
                remedy="add the .obj, or state map_texel_mm",
            )
        span = np.full((_COARSE, _COARSE), map_texel_mm * DPMAP_SIZE, np.float32)
        return PairMaps(color, height, skin, span, None)
    position, normal, covered = _rasterized(pair.mesh)
    skin &= covered
    small = as_float(cv2.resize(color, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA))
    form = Form(position, normal, fit_illumination(small, normal, skin))
    return PairMaps(color, height, skin, _span(position), form)


def _read_texture(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(T, T, 3) sRGB as stored."""
    header = read_header(path)
    if header.width != header.height or not _SMALLEST_TEXTURE <= header.width <= _LARGEST_TEXTURE:
        raise TrainingError(
            f"is {header.width} × {header.height} pixels; a texture over the displacement map's unit square, "
            f"{_SMALLEST_TEXTURE} to {_LARGEST_TEXTURE} on each side, was expected",
            path=path,
            remedy="give the texture in the UV layout of its dpmap",
        )
    return decode_photo(path)[0]


def _rasterized(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Positions and unit normals as smooth UV maps, and where the mesh is."""
    mesh = read_mesh(path)
    if mesh.uv is None:
        raise TrainingError("the mesh has no UVs", path=path, remedy="give the mesh that the texture is of")
    raster = rasterize_uv(mesh.uv, mesh.uv_index, _COARSE)
    covered = raster.valid
    if not covered.any():
        raise TrainingError("the mesh's UVs cover no texel", path=path, remedy="check its UVs")
    position = smooth_form(raster.interpolate(mesh.vertices, mesh.faces), covered, _SMOOTH)
    normal = smooth_form(raster.interpolate(mesh.vertex_normals(), mesh.faces), covered, _SMOOTH)
    return position, unit(normal), covered


def _span(position: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, H) mm along the side of the unit square, from the area of each texel."""
    across, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
    area = np.linalg.norm(np.cross(across, down), axis=-1)
    return (np.sqrt(area) * len(position)).astype(np.float32)


# Share of a square that is skin, at least, and how much coarser than requested a map's texels may be.
_LEAST_SKIN, _COARSEST = 0.7, 1.5
# How much larger or smaller than usual texels are, at most, where a square may lie.
_MOST_STRETCHED = 3.0
# Spread of a box as wide as one texel: what is blurred before every so manieth texel is taken.
_BOX = 12**-0.5


def cut_squares(
    pair: Pair, count: int, size: int, texel_mm: float, map_texel_mm: float | None, key: tuple[int, int]
) -> list[Square]:
    """Cut squares at random places of a pair.

    Args:
        pair: its files.
        count: of squares.
        size: side of a square, texels.
        texel_mm: size of a square's texel.
        map_texel_mm: see :func:`read_pair`.
        key: seed and number of the pair.

    Raises:
        MesofaceError: the pair cannot be read, its texels are too large, or it shows too little skin.
    """
    maps = read_pair(pair, map_texel_mm)
    coarsest = maps.skin_span_mm / min(len(maps.height), len(maps.color))
    if coarsest > _COARSEST * texel_mm:
        raise TrainingError(
            f"has texels of {coarsest:.3g} mm; squares of {texel_mm:g} mm were requested",
            path=pair.texture,
            remedy=f"set texel_mm = {coarsest:.2g} or more",
        )
    chance = _chances(maps, size * texel_mm)
    if not chance.any():
        raise TrainingError(
            f"shows too little skin for squares of {size} texels of {texel_mm:g} mm",
            path=pair.dpmap,
            remedy="request smaller ones; or check that the map is not empty, "
            "and that the mesh is in millimetres",
        )
    squares = []
    for n in range(count):
        rng = np.random.default_rng([*key, n])
        row, column = divmod(int(rng.choice(np.flatnonzero(chance))), chance.shape[1])
        squares.append(_cut(maps, row, column, size, texel_mm, rng))
    return squares


def _chances(maps: PairMaps, side_mm: float) -> NDArray[np.bool_]:
    """(1024, 1024) where the middle of a square may lie."""
    usual = maps.skin_span_mm
    if not side_mm <= usual:  # nor where there is no skin at all, and no number
        return np.zeros_like(maps.skin)
    side = round(side_mm / usual * len(maps.skin)) | 1
    share = cv2.boxFilter(maps.skin.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    stretched = np.maximum(maps.span_mm / usual, usual / np.maximum(maps.span_mm, 1e-6 * usual))
    return maps.skin & (share >= _LEAST_SKIN) & (stretched < _MOST_STRETCHED)


def _cut(
    maps: PairMaps, row: int, column: int, size: int, texel_mm: float, rng: np.random.Generator
) -> Square:
    """The square around the middle of a texel of ``maps.skin``."""
    n, coarse = size + 2 * MARGIN, len(maps.skin)
    # In shares of the unit square, from its top left.
    side = n * texel_mm / float(maps.span_mm[row, column])
    left, top = (column + 0.5) / coarse - side / 2, (row + 0.5) / coarse - side / 2

    def window(values: NDArray) -> NDArray[np.float32]:
        return _resampled(values, left, top, side, n)

    valid = window(maps.skin.astype(np.float32)) > 0.5
    color = np.clip(window(maps.color) / np.float32(np.iinfo(maps.color.dtype).max), 0, 1)
    height = window(maps.height) / np.float32(texel_mm)
    light = np.zeros((n, n, 2), np.float32)
    if maps.form is not None:
        position, normal = window(maps.form.position), unit(window(maps.form.normal))
        light = light_slopes(maps.form.light, position, normal, texel_mm)
    return make_square(color, light, height, measured(height, rng), valid)


def _resampled(values: NDArray, left: float, top: float, side: float, n: int) -> NDArray[np.float32]:
    """(n, n[, C]) a window of a map over the unit square; beyond the square the rim is repeated."""
    step = side * len(values) / n  # texels of the map for one of the window
    sigma = _BOX * step if step > 1 else 0.0
    around = int(np.ceil(3 * sigma)) + 2
    x, y = left * len(values), top * len(values)
    first_column, first_row = int(np.floor(x)) - around, int(np.floor(y)) - around
    extent = int(np.ceil(side * len(values))) + 2 * around + 2
    rows = np.clip(np.arange(first_row, first_row + extent), 0, len(values) - 1)
    columns = np.clip(np.arange(first_column, first_column + extent), 0, len(values) - 1)
    part = np.ascontiguousarray(values[np.ix_(rows, columns)], np.float32)
    if sigma:
        part = cv2.GaussianBlur(part, (0, 0), sigma)
    # Texel i of the window has its middle at x + (i + 1/2) step, of which texels' middles are at + 1/2.
    to_part = np.array(
        [[step, 0, x + step / 2 - 0.5 - first_column], [0, step, y + step / 2 - 0.5 - first_row]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, to_part, (n, n), flags=flags, borderMode=cv2.BORDER_REPLICATE)
