"""A face model by name or path: ``--face-model generic | ict | PATH``.

A new kind of model is a module beside this one with ``is_…(path)`` and ``load_…(path)``, and a row below.
"""

from __future__ import annotations

import os
from pathlib import Path

from mesoface.errors import FaceModelError
from mesoface.face_models.facescape import is_facescape, load_facescape
from mesoface.face_models.flame import is_flame, load_flame
from mesoface.face_models.generic import load_generic
from mesoface.face_models.ict import is_ict, load_ict
from mesoface.face_models.model import FaceModel

_KINDS = ((is_ict, load_ict), (is_facescape, load_facescape), (is_flame, load_flame))
_KNOWN = (
    "ICT-FaceKit (a checkout, or the compact .npz), FaceScape (the published .npz, or a folder with the core "
    ".npy and the factor .json) and FLAME (.npz or .pkl) are known"
)


def load_face_model(spec: str) -> FaceModel:
    """Load a face model.

    Args:
        spec: ``"generic"``, the model that comes with mesoface; ``"ict"``, the ICT model at ``MESOFACE_ICT``
            or, without that, at ``ict/ict_facekit_mm.npz`` in ``MESOFACE_SHARED`` (``../shared``); else the
            path of a model's file or folder, which is recognised by looking at it.

    Raises:
        FaceModelError: there is no such model, or it cannot be used.
    """
    if spec == "generic":
        return load_generic()
    if spec == "ict":
        return load_ict(ict_path())
    path = Path(spec).expanduser()
    if not path.exists():
        remedy = "give 'generic', 'ict' or the path of a model's file or folder"
        raise FaceModelError("no such face model", path=spec, remedy=remedy)
    for recognised, load in _KINDS:
        if recognised(path):
            return load(path)
    raise FaceModelError("no face model is recognised here", path=path, remedy=_KNOWN)


def ict_path() -> Path:
    """Where ``"ict"`` is looked for.

    Raises:
        FaceModelError: it is not there.
    """
    named = os.environ.get("MESOFACE_ICT")
    shared = Path(os.environ.get("MESOFACE_SHARED", "../shared"))
    path = Path(named).expanduser() if named else shared / "ict" / "ict_facekit_mm.npz"
    if not path.exists():
        remedy = "set MESOFACE_ICT to the compact .npz or a checkout, or use --face-model generic"
        raise FaceModelError("the ICT face model was not found", path=path, remedy=remedy)
    return path
