"""Textures whose displacement map is known, as people have them on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mesoface.lab.training.config import TrainingError

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
        places = [
            base / f"{dpmap.stem}{suffix}"
            for base in (person, person / _MODELS_FOLDER)
            for suffix in _TEXTURES
        ]
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
