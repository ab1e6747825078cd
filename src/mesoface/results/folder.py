"""The result folder of ``mesoface reconstruct`` as others find it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import FaceModelError, MesofaceError
from mesoface.face_models.model import FaceFit
from mesoface.files.atomic import atomic_file
from mesoface.files.npz import read_npz, require

FORMAT = 2
REPORT = "report.html"
"""Version of the layout. 2: ``base_fit.npz`` came."""

_MAX_RECORD = 16 << 20
_AGAIN = "run `mesoface reconstruct` again"


def read_record(run: str | Path) -> dict[str, Any]:
    """What ``run.json`` of a result says.

    Raises:
        MesofaceError: ``run`` is no result, its ``run.json`` cannot be read, or another version of mesoface
            with another layout wrote it.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise MesofaceError(
            "is not the result of `mesoface reconstruct` (no run.json)",
            path=run,
            remedy="name a folder that it wrote",
        )
    try:
        if path.stat().st_size > _MAX_RECORD:
            raise ValueError(f"larger than {_MAX_RECORD >> 20} MB")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MesofaceError(f"cannot be read ({error})", path=path, remedy=_AGAIN) from error
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise MesofaceError("is not what `mesoface reconstruct` writes", path=path, remedy=_AGAIN)
    if record.get("format") != FORMAT:
        writer = record.get("mesoface", "of unknown version")
        raise MesofaceError(
            f"has layout {record.get('format')!r}, of mesoface {writer}; this version reads layout {FORMAT}",
            path=run,
            remedy=f"{_AGAIN} with this version, or use that one",
        )
    return record


def required_file(run: str | Path, name: str) -> Path:
    """The file ``name`` of a result.

    Raises:
        MesofaceError: it is missing.
    """
    path = Path(run) / name
    if not path.is_file():
        raise MesofaceError(f"the result is incomplete: {name} is missing", path=run, remedy=_AGAIN)
    return path


@dataclass(frozen=True, eq=False)
class BaseFit:
    """How the face model was fitted: ``base_fit.npz``.

    Args:
        facial: (F,) which faces of ``base.obj`` are skin that is measured.
        identity: (I,) the face model's identity coefficients, standard deviations.
        expression: (E,) its expression coefficients; blendshape weights where the model has blendshapes.
        rotation: (3, 3) the model's axes (x to the subject's left, y up, z out of the face) → world.
        translation: (3,) where the model's origin is in the world, mm.
    """

    facial: NDArray[np.bool_]
    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


def base_fit(fit: FaceFit) -> BaseFit:
    """What ``base_fit.npz`` holds of a fit."""
    return BaseFit(
        fit.model.topology.facial,
        np.asarray(fit.identity, np.float64),
        np.asarray(fit.expression, np.float64),
        np.asarray(fit.rotation, np.float64),
        np.asarray(fit.translation, np.float64),
    )


def write_base_fit(path: str | Path, fit: BaseFit) -> None:
    """Write ``base_fit.npz``.

    Raises:
        MesofaceError: it cannot be written.
    """
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, **vars(fit))


def read_base_fit(path: Path) -> BaseFit:
    """Read ``base_fit.npz``.

    Raises:
        MesofaceError: it is damaged.
    """
    try:
        arrays = read_npz(path, BaseFit.__dataclass_fields__)
        require(
            path,
            arrays,
            facial=(None,),
            identity=(None,),
            expression=(None,),
            rotation=(3, 3),
            translation=(3,),
        )
    except FaceModelError as error:
        raise MesofaceError(error.message, path=path, remedy=_AGAIN) from error
    rotation = arrays["rotation"].astype(np.float64)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-4 or np.linalg.det(rotation) < 0:
        raise MesofaceError("'rotation' is no rotation", path=path, remedy=_AGAIN)
    return BaseFit(
        arrays["facial"].astype(bool),
        arrays["identity"].astype(np.float64),
        arrays["expression"].astype(np.float64),
        rotation,
        arrays["translation"].astype(np.float64),
    )
