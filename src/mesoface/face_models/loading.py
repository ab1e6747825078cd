"""A face model by name or path: ``--face-model generic | ict | PATH``.

A new kind of model is a module beside this one with ``is_…(path)`` and ``load_…(path)``, and a row below.
``generic`` comes with mesoface; ``scripts/build_generic_model.py`` made it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import FaceModelError
from mesoface.face_models.correspondence import connected_faces, topology_of, vertex_landmarks
from mesoface.face_models.facescape import is_facescape, load_facescape
from mesoface.face_models.flame import is_flame, load_flame
from mesoface.face_models.ict import is_ict, load_ict
from mesoface.face_models.model import FaceModel, LinearFaceModel

ASSET = Path(__file__).parents[1] / "assets" / "generic_model.npz"
STEP = 0.004  # mm: modes are stored as whole multiples of it

# Landmarks of MediaPipe at the edge of the openings: upper lids, and the inside of the upper lip.
_IN_OPENINGS = (159, 386, 13)

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


def pack_modes(modes: NDArray[np.float64]) -> NDArray[np.int16]:
    """(M, N, 3) mm → int16 multiples of ``STEP``.

    Raises:
        ValueError: a mode moves a vertex by more than int16 can hold, 131 mm.
    """
    steps = np.rint(modes / STEP)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise ValueError(f"a mode of {np.abs(modes).max():.0f} mm does not fit")
    return steps.astype(np.int16)


@lru_cache(maxsize=1)
def load_generic() -> LinearFaceModel:
    """The embedded Gaussian-process morphable model (after Lüthi et al., PAMI 2018).

    It is loaded once and shared, so its arrays are read-only. The mesh reaches from hairline to throat and
    from ear to ear; eye and mouth openings and nostrils are closed by faces that are not facial. Landmarks:
    scheme ``"mediapipe478"``, points 0–467 (the irises move with the eyes, not the skin).
    """
    with np.load(ASSET, allow_pickle=False) as data:
        faces = data["faces"].astype(np.int64)
        modes = np.concatenate([data["identity"], data["expression"]])
        ids = data["landmarks"].astype(np.int64)
        places = {"mediapipe478": (ids, *vertex_landmarks(faces, ids))}
        uv, mean = data["uv"].astype(np.float64), data["mean"].astype(np.float64)
        basis = modes.astype(np.float32) * np.float32(STEP)
        topology = topology_of(faces, uv, faces, data["facial"], places)
        closing = connected_faces(faces, ~topology.facial, ids[list(_IN_OPENINGS)])
        topology = replace(topology, closing=closing)
        n_identity = len(data["identity"])
    landmarks = topology.landmarks("mediapipe478")
    for array in (mean, basis, faces, uv, topology.facial, closing, *landmarks):
        array.setflags(write=False)
    return LinearFaceModel("generic", mean, basis, n_identity, topology)
