"""``generic``: the face model that comes with mesoface, made by ``scripts/build_generic_model.py``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.model import LinearFaceModel, Topology

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

    Hairline to throat, ear to ear; eye and mouth openings and nostrils are closed by faces that are not
    facial. Landmarks: scheme ``"mediapipe478"``, points 0–467 (the irises move with the eyes, not the skin).
    """
    with np.load(ASSET, allow_pickle=False) as data:
        faces = data["faces"].astype(np.int64)
        modes = np.concatenate([data["identity"], data["expression"]])
        ids = data["landmarks"].astype(np.int64)
        landmark_faces, bary = _at_vertices(faces, ids)
        topology = Topology(
            faces=faces,
            uv=data["uv"].astype(np.float64),
            uv_faces=faces,
            facial=data["facial"],
            landmark_ids={"mediapipe478": ids},
            landmark_faces={"mediapipe478": landmark_faces},
            landmark_bary={"mediapipe478": bary},
        )
        return LinearFaceModel(
            name="generic",
            mean=data["mean"].astype(np.float64),
            basis=modes.astype(np.float32) * np.float32(STEP),
            n_identity=len(data["identity"]),
            topology=topology,
        )


def _at_vertices(
    faces: NDArray[np.int64], vertices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A face (L,) that has each vertex for a corner, and the corner's barycentric coordinates (L, 3)."""
    corner = np.full(faces.max() + 1, -1)
    corner[faces.ravel()[::-1]] = np.arange(faces.size)[::-1]  # the first face that uses a vertex
    face, which = np.divmod(corner[vertices], 3)
    return face, np.eye(3)[which]
