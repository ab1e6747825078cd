"""``generic``: the face model that comes with mesoface, made by ``scripts/build_generic_model.py``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.correspondence import topology_of, vertex_landmarks
from mesoface.face_models.model import LinearFaceModel

ASSET = Path(__file__).parents[1] / "assets" / "generic_model.npz"
STEP = 0.004  # mm: modes are stored as whole multiples of it


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
        n_identity = len(data["identity"])
    for array in (mean, basis, faces, uv, topology.facial, *topology.landmarks("mediapipe478")):
        array.setflags(write=False)
    return LinearFaceModel("generic", mean, basis, n_identity, topology)
