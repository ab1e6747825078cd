"""Metadata: ``id.json``, ``select_dict.json``, ``Rt_scale_dict.json``, and how people are split."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.formats.files import as_array, read_json
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.lab.facescape.layout import CaptureId

_REMEDY = "docs/facescape.md shows the file"
TRAIN, VALIDATION, EVAL = "train", "validation", "eval"


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
        MesofaceError: it cannot be read, is larger than 64 MB, or is no JSON object.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise MesofaceError("no such file", path=path, remedy=_REMEDY)
        self._content = read_json(self.path)

    def get(self, id: CaptureId) -> Any:
        """The value of a capture, or None."""
        person = self._content.get(str(id.person))
        return person.get(str(id.expression)) if isinstance(person, dict) else None


class Scales(ById):
    """``Rt_scale_dict.json`` of FaceScape's toolkit: ``[scale, 3 × 4 matrix of rows]`` for each capture."""

    def of(self, id: CaptureId) -> Alignment:
        """The alignment of a capture.

        Raises:
            MesofaceError: there is none, or it is not a scale and a rigid motion.
        """
        value = self.get(id)
        where = f"person {id.person}, expression {id.expression}"
        if value is None:
            raise MesofaceError(
                f"has no scale for {where}", path=self.path, remedy="add it, or leave the capture out"
            )
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
            raise MesofaceError(
                f"{where}: [scale, 3×4 Rt] was expected ({error})", path=self.path, remedy=_REMEDY
            ) from error
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
            raise MesofaceError(
                f"person {id.person}, expression {id.expression}: two or more view numbers were expected",
                path=self.path,
                remedy=_REMEDY,
            )
        return tuple(value)


def read_splits(path: str | Path) -> dict[str, list[CaptureId]]:
    """``id.json``: ``{"train": ["001_01", …], "eval": […]}``, with any further splits.

    Raises:
        MesofaceError: the file cannot be read, names no capture, or puts one into two splits.
    """
    path = Path(path)
    if not path.is_file():
        raise MesofaceError("no such file", path=path, remedy=_REMEDY)
    content = read_json(path)
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
    least = 1 if len(people) >= 3 else 0
    for split, share in ((EVAL, eval_share), (VALIDATION, validation_share)):
        wanted = max(least, round(share * len(people))) if share else 0
        there = sum(given == split for given in splits.values())
        free = sorted((person for person in people if person not in splits), key=lambda p: _draw(p, seed))
        splits |= dict.fromkeys(free[: max(0, wanted - there)], split)
    return {person: splits.get(person, TRAIN) for person in sorted(people)}


def _draw(person: int, seed: int) -> str:
    return sha256(f"{seed} {person}".encode()).hexdigest()
