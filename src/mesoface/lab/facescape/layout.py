"""Names and places: FaceScape as published, and the prepared folder of Xiao et al. (AAAI 2022).

The prepared folder, theirs: ``id.json``, ``select_dict.json``, ``Rt_scale_dict.json``, ``facial_mask.png``,
``images/001/01/`` with undistorted photos and ``params.json``, ``fit_mesh/`` and ``maps/<split>/``. Added by
mesoface: ``images/001/01.ply``, a link to the scan; ``<split>.txt``, lists of captures;
``captures/001_01.json``, a record of the preparation; ``captures.csv`` and ``report.html``, the same to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mesoface.errors import MesofaceError

SPLITS, SELECTION, SCALES = "id.json", "select_dict.json", "Rt_scale_dict.json"
EXPRESSIONS = (
    "neutral", "smile", "mouth_stretch", "anger", "jaw_left",
    "jaw_right", "jaw_forward", "mouth_left", "mouth_right", "dimpler",
    "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll",
    "grin", "cheek_blowing", "eye_closed", "brow_raiser", "brow_lower",
)  # fmt: skip
"""Names of the expressions 1, 2, … 20."""

_KEY = re.compile(r"(\d{3,4})_(\d{2})")
_PERSON = re.compile(r"\d{1,4}")
_EXPRESSION = re.compile(r"(\d{1,2})_[a-z_]+")  # 1_neutral
_PREPARED = re.compile(r"\d{2}")  # 01, as in the layout of Xiao et al.
_PHOTOS = ("imgs", "images")
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
    """Captures of the people whose folders are in ``folder``."""
    if not folder.is_dir():
        return
    for person in folder.iterdir():
        if not (_PERSON.fullmatch(person.name) and person.is_dir() and int(person.name)):
            continue
        for capture in person.iterdir():
            number = _expression_number(capture.name)
            if number is not None and capture.is_dir():
                id = CaptureId(int(person.name), number)
                yield RawCapture(id, capture, _scan_of(id, capture, root))


def _expression_number(name: str) -> int | None:
    match = _EXPRESSION.fullmatch(name)
    text = match[1] if match else name if _PREPARED.fullmatch(name) else "0"
    return int(text) if 1 <= int(text) <= len(EXPRESSIONS) else None


def _scan_of(id: CaptureId, folder: Path, root: Path) -> Path | None:
    """The scan beside a capture's folder, or below ``mesh``."""
    places = (
        folder.parent / f"{folder.name}.ply",
        root / "mesh" / str(id.person) / f"{id.expression_name}.ply",
    )
    return next((place for place in places if place.is_file()), None)


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
