"""FaceScape as published, and the prepared folder of Xiao et al. (AAAI 2022): names, places, metadata files.

The prepared folder, theirs: ``id.json``, ``select_dict.json``, ``Rt_scale_dict.json``, ``facial_mask.png``,
``images/001/01/`` with undistorted photos and ``params.json``, ``fit_mesh/`` and ``maps/<split>/``. Added by
mesoface: ``images/001/01.ply``, a link to the scan; ``<split>.txt``, lists of captures;
``captures/001_01.json``, a record of the preparation; ``captures.csv`` and ``report.html``, the same to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.formats.files import as_array, read_json
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.lab.facescape.settings import EXPRESSIONS

SPLITS, SELECTION, SCALES = "id.json", "select_dict.json", "Rt_scale_dict.json"
TRAIN, VALIDATION, EVAL = "train", "validation", "eval"
_KEY = re.compile(r"(\d{3,4})_(\d{2})")
# 1/1_neutral as published, 001/01 as in the layout of Xiao et al.
_RAW = re.compile(r"(\d{1,4})/(?:(\d{1,2})_[a-z_]+|(\d{2}))")
_PHOTOS = ("imgs", "images")
_REMEDY = "docs/facescape.md shows the file"
MapKind = Literal["pos_map", "norm_map", "mv_map"]


@dataclass(frozen=True, order=True)
class CaptureId:
    """One capture of the data set.

    Args:
        person: 1, 2, …; FaceScape's multi-view part has 359.
        expression: 1 to 20.

    Raises:
        ValueError: a number is out of range.
    """

    person: int
    expression: int

    def __post_init__(self) -> None:
        if not 1 <= self.person <= 9999 or not 1 <= self.expression <= len(EXPRESSIONS):
            raise ValueError(f"no capture {self.person}, {self.expression}: expressions are 1 to 20")

    @property
    def key(self) -> str:
        """The name in ``id.json`` and of the maps: ``001_01``."""
        return f"{self.person:03d}_{self.expression:02d}"

    @property
    def expression_name(self) -> str:
        """The name of published folders and meshes: ``1_neutral``."""
        return f"{self.expression}_{EXPRESSIONS[self.expression - 1]}"

    @staticmethod
    def parse(key: str) -> CaptureId:
        """The capture of a ``key``.

        Raises:
            ValueError: ``key`` is not one.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"{key!r} names no capture: 001_01 is person 1, expression 1")
        return CaptureId(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class RawCapture:
    """A published capture.

    Args:
        id: person and expression.
        folder: photos and ``params.json``.
        scan: the mesh of the true surface, in the world of ``params.json``; None where there is none.
    """

    id: CaptureId
    folder: Path
    scan: Path | None


def find_raw_captures(root: str | Path) -> dict[CaptureId, RawCapture]:
    """All captures in a folder, sorted.

    There are three layouts: ``<person>/<n_expression>/`` with ``<person>/<n_expression>.ply``; the same below
    ``imgs`` with the scans below ``mesh``; and that of a prepared folder, ``images/001/01/``.

    Raises:
        MesofaceError: ``root`` holds no capture, or one twice.
    """
    root, found = Path(root), dict[CaptureId, RawCapture]()
    for folder in (root, *(root / name for name in _PHOTOS)):
        for capture in _captures_in(folder, root):
            if (before := found.setdefault(capture.id, capture)) != capture:
                raise MesofaceError(
                    f"capture {capture.id} exists twice: {before.folder} and {capture.folder}",
                    path=root,
                    remedy="remove or move one of them",
                )
    if not found:
        raise MesofaceError(
            "no capture of FaceScape found: folders such as 1/1_neutral, with params.json, were expected",
            path=root,
            remedy="name the folder that the images were unpacked into, see docs/facescape.md",
        )
    return dict(sorted(found.items()))


def _captures_in(folder: Path, root: Path) -> Iterator[RawCapture]:
    """Captures of the people whose folders are in ``folder``; scans are beside them or below ``mesh``."""
    for place in folder.glob("*/*/"):
        match = _RAW.fullmatch(f"{place.parent.name}/{place.name}")
        if match is None:
            continue
        try:
            id = CaptureId(int(match[1]), int(match[2] or match[3]))
        except ValueError:
            continue
        scans = (place.parent / f"{place.name}.ply", root / f"mesh/{id.person}/{id.expression_name}.ply")
        yield RawCapture(id, place, next(filter(Path.is_file, scans), None))


@dataclass(frozen=True)
class PreparedFolder:
    """Paths in a prepared folder.

    Args:
        root: the folder.
    """

    root: Path

    @property
    def splits(self) -> Path:
        """``{"train": ["001_01", …], …}``."""
        return self.root / SPLITS

    @property
    def selection(self) -> Path:
        """The views of each capture."""
        return self.root / SELECTION

    @property
    def scales(self) -> Path:
        """Scale and alignment of each capture."""
        return self.root / SCALES

    @property
    def facial_mask(self) -> Path:
        """White where the maps contain the face, 512²."""
        return self.root / "facial_mask.png"

    @property
    def table(self) -> Path:
        """A row for each capture; failed ones have their reason."""
        return self.root / "captures.csv"

    @property
    def report(self) -> Path:
        """The same as a page."""
        return self.root / "report.html"

    def list_of(self, split: str) -> Path:
        """A list of a split's captures, for `mesoface batch` and `mesoface train tiles`."""
        return self.root / f"{split}.txt"

    def images(self, id: CaptureId) -> Path:
        """Photos and cameras of a capture, itself a capture in FaceScape's layout."""
        return self.root / "images" / f"{id.person:03d}" / f"{id.expression:02d}"

    def scan(self, id: CaptureId) -> Path:
        """The true surface in the world of :meth:`images`, if there is one."""
        return self.images(id).with_suffix(".ply")

    def fit_mesh(self, id: CaptureId) -> Path:
        """The base mesh in the same world."""
        return self.root / "fit_mesh" / f"fit_mesh_{id.key}.obj"

    def map(self, kind: MapKind, split: str, id: CaptureId) -> Path:
        """Positions, normals or displacements of the base mesh's UV space."""
        return self.root / "maps" / split / kind / f"{kind}_{id.key}.npy"

    def record(self, id: CaptureId) -> Path:
        """Record of the preparation. It is written last: a capture with a record is complete."""
        return self.root / "captures" / f"{id.key}.json"

    def id_of(self, images: Path) -> CaptureId | None:
        """The capture whose :meth:`images` is this path, or None."""
        images = Path(images).resolve()
        try:
            id = CaptureId(int(images.parent.name), int(images.name))
        except ValueError:
            return None
        return id if self.images(id).resolve() == images else None


@dataclass(frozen=True, eq=False)
class Alignment:
    """From a capture's world, of cameras and scan, to FaceScape's template: ``x → R (mm_per_unit · x) + t``.

    Args:
        mm_per_unit: millimetres per unit of that world; structure from motion does not determine it.
        R: (3, 3) rotation.
        t: (3,) mm.
    """

    mm_per_unit: float
    R: NDArray[np.float64]
    t: NDArray[np.float64]


class ById:
    """A JSON file of ``{person: {expression: value}}``, both as decimal numbers: ``{"1": {"20": …}}``.

    A value is checked when it is read, so that a bad value affects one capture only.

    Args:
        path: the file.

    Raises:
        MesofaceError: it cannot be read, is larger than 32 MB, or is no JSON object.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._content = _read(self.path)

    def get(self, id: CaptureId) -> Any:
        """The value of a capture, or None."""
        person = self._content.get(str(id.person))
        return person.get(str(id.expression)) if isinstance(person, dict) else None

    def refusal(self, id: CaptureId, problem: str) -> MesofaceError:
        """The error about the value of a capture."""
        where = f"person {id.person}, expression {id.expression}"
        return MesofaceError(f"{where}: {problem}", path=self.path, remedy=_REMEDY)


class Scales(ById):
    """``Rt_scale_dict.json`` of FaceScape's toolkit: ``[scale, 3 × 4 matrix of rows]`` for each capture."""

    def of(self, id: CaptureId) -> Alignment:
        """The alignment of a capture.

        Raises:
            MesofaceError: there is none, or it is not a scale and a rigid motion.
        """
        value = self.get(id)
        if value is None:
            problem = f"has no scale for person {id.person}, expression {id.expression}"
            raise MesofaceError(problem, path=self.path, remedy="add it, or leave the capture out")
        try:
            scale, motion = value
            scale, motion = float(as_array(scale)), as_array(motion)
            if not 0 < scale < np.inf:
                raise ValueError(f"the scale is {scale:g}")
            if motion.shape not in ((3, 4), (4, 4)):
                raise ValueError(f"Rt has the shape {motion.shape}")
            R, t = motion[:3, :3], motion[:3, 3]
            if not np.isfinite(t).all() or not np.allclose(R @ R.T, np.eye(3), atol=1e-3):
                raise ValueError("Rt is no rigid motion")
        except (TypeError, ValueError) as error:
            raise self.refusal(id, f"[scale, 3×4 Rt] was expected ({error})") from error
        return Alignment(scale, R, t)


class Selection(ById):
    """``select_dict.json``: the used views of each capture, a list of numbers."""

    def of(self, id: CaptureId) -> tuple[int, ...] | None:
        """The views of a capture, or None.

        Raises:
            MesofaceError: the value is no list of two or more different view numbers.
        """
        value = self.get(id)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or not all(type(view) is int and view >= 0 for view in value)
            or len(set(value)) != len(value)
            or len(value) < 2
        ):
            raise self.refusal(id, "two or more view numbers were expected")
        return tuple(value)


def read_splits(path: str | Path) -> dict[str, list[CaptureId]]:
    """``id.json``: ``{"train": ["001_01", …], "eval": […]}``, with any further splits.

    Raises:
        MesofaceError: the file cannot be read, names no capture, or puts one into two splits.
    """
    path = Path(path)
    content = _read(path)
    splits: dict[str, list[CaptureId]] = {}
    split_of: dict[CaptureId, str] = {}
    for split, keys in content.items():
        if not split.isidentifier() or not isinstance(keys, list):
            raise MesofaceError(f"{split!r}: a list of captures was expected", path=path, remedy=_REMEDY)
        try:
            splits[split] = [CaptureId.parse(str(key)) for key in keys]
        except ValueError as error:
            raise MesofaceError(f"{split}: {error}", path=path, remedy=_REMEDY) from error
        for id in splits[split]:
            if split_of.setdefault(id, split) != split:
                raise MesofaceError(
                    f"{id} is in {split_of[id]} and in {split}", path=path, remedy="leave it in one of them"
                )
    if not split_of:
        raise MesofaceError("names no capture", path=path, remedy=_REMEDY)
    return splits


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MesofaceError("no such file", path=path, remedy=_REMEDY)
    return read_json(path)


def write_splits(path: Path, splits: Mapping[str, Iterable[CaptureId]]) -> None:
    """Write ``id.json``."""
    _write(path, {split: [id.key for id in sorted(ids)] for split, ids in splits.items()})


def write_selection(path: Path, views: Mapping[CaptureId, Sequence[int]]) -> None:
    """Write ``select_dict.json``."""
    _write(path, _by_person({id: list(numbers) for id, numbers in views.items()}))


def write_scales(path: Path, alignments: Mapping[CaptureId, Alignment]) -> None:
    """Write ``Rt_scale_dict.json``."""
    values = {id: [a.mm_per_unit, np.column_stack([a.R, a.t]).tolist()] for id, a in alignments.items()}
    _write(path, _by_person(values))


def _by_person(values: Mapping[CaptureId, Any]) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = {}
    for id, value in sorted(values.items()):
        content.setdefault(str(id.person), {})[str(id.expression)] = value
    return content


def _write(path: Path, content: object) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def split_people(
    people: Collection[int],
    *,
    validation_share: float,
    eval_share: float,
    seed: int,
    known: Mapping[int, str] | None = None,
) -> dict[int, str]:
    """Give every person a split, which is that of all their expressions.

    People are drawn in an order that depends only on the seed and their numbers. They fill ``eval`` first,
    then ``validation``; the others are in ``train``. People who have a split keep it, so that a data set can
    grow. Of three people or more, each split with a share gets at least one.

    Args:
        people: their numbers.
        validation_share: share of the people for choosing a network during training.
        eval_share: share of the people that are held out.
        seed: determines the order.
        known: splits of earlier runs.

    Returns:
        {person: split}.
    """
    splits = {person: split for person, split in (known or {}).items() if person in people}
    drawn = sorted(people, key=lambda person: sha256(f"{seed} {person}".encode()).hexdigest())
    least = 1 if len(people) >= 3 else 0
    for split, share in ((EVAL, eval_share), (VALIDATION, validation_share)):
        wanted = max(least, round(share * len(people))) if share else 0
        there = sum(given == split for given in splits.values())
        free = [person for person in drawn if person not in splits]
        splits |= dict.fromkeys(free[: max(0, wanted - there)], split)
    return {person: splits.get(person, TRAIN) for person in sorted(people)}
