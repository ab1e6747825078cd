"""The ICT-FaceKit light model (Li et al., CVPR 2020; MIT licence), from the user's own copy.

Two forms are read: a checkout of ICT-FaceKit (``FaceXModel/*.obj``, centimetres) and a compact ``.npz`` in
millimetres (``neutral_mm``, quads, UVs, and int16 deltas with one scale a mode).

The published identity weights are standard normal. Expression shapes are blendshapes with weights in
[0, 1]: their prior here is a half-normal of spread ``EXPRESSION_SIGMA``, and the fit keeps to the bounds.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import FaceModelError, MesofaceError
from mesoface.face_models.correspondence import (
    Places,
    corner_landmarks,
    inside,
    mirrored,
    superellipse,
    topology_of,
    vertex_landmarks,
)
from mesoface.face_models.model import EXPRESSION_SIGMA, LinearFaceModel, blendshape_bounds
from mesoface.files.meshes import read_mesh
from mesoface.files.npz import npz_names, read_npz, require, require_indices

_MEASURED = Path(__file__).parents[1] / "assets" / "ict_mediapipe478.npz"
_PUBLISHED = "use the published ICT-FaceKit light model"
N_VERTICES = 26719
N_SURFACE = 24591
"""Vertices from here on are a renderer's helpers (tear film, lashes, eye shadow), not a surface: left out."""
N_FACE = 9409
"""Vertices before this one are the face's skin."""

# Drawn in the model's own UV layout, subject's left half; the right one is its mirror image.
_OUTLINE_LEFT = [
    (0.5, 0.205), (0.58, 0.208), (0.66, 0.225), (0.74, 0.262), (0.80, 0.315), (0.845, 0.385), (0.868, 0.45),
    (0.878, 0.52), (0.882, 0.60), (0.888, 0.68), (0.888, 0.77), (0.87, 0.835), (0.82, 0.885), (0.74, 0.915),
    (0.62, 0.928), (0.5, 0.93),
]  # fmt: skip
_EYE_RIGHT = [
    (0.303, 0.7205), (0.318, 0.7265), (0.345, 0.7292), (0.37, 0.7277), (0.395, 0.722), (0.409, 0.711),
    (0.402, 0.7055), (0.37, 0.706), (0.335, 0.705), (0.315, 0.709),
]  # fmt: skip
_NOSTRIL_RIGHT = superellipse((0.4585, 0.5625), (0.0165, 0.0155))
_MOUTH = superellipse((0.5, 0.43), (0.0965, 0.0385), 2.3)
# The part of the layout that the mask spans becomes the whole square.
_CROP = np.array([[0.104, 0.203], [0.896, 0.934]])


def load_ict(path: Path) -> LinearFaceModel:
    """Read the model from a compact ``.npz`` or an ICT-FaceKit checkout.

    Raises:
        FaceModelError: a part is absent, damaged or of another topology.
    """
    if path.is_dir():
        return _from_checkout(path / "FaceXModel" if (path / "FaceXModel").is_dir() else path)
    return _from_npz(path)


def is_ict(path: Path) -> bool:
    """Whether ``path`` is a checkout of ICT-FaceKit, its ``FaceXModel``, or the compact ``.npz``."""
    if path.is_dir():
        return any((folder / "generic_neutral_mesh.obj").is_file() for folder in (path, path / "FaceXModel"))
    return path.suffix.lower() == ".npz" and "neutral_mm" in npz_names(path)


def _broken(path: Path, what: str, remedy: str = "check out ICT-FaceKit again") -> FaceModelError:
    return FaceModelError(what, path=path, remedy=remedy)


def _from_npz(path: Path) -> LinearFaceModel:
    names = ("neutral_mm", "uv", "quads", "uv_quads", "landmark68_vertices")
    kinds = {"identity": 1.0, "expression": EXPRESSION_SIGMA}
    data = read_npz(path, (*names, *(f"{kind}_{part}" for kind in kinds for part in ("delta_q", "scale_mm"))))
    require(path, data, neutral_mm=(N_VERTICES, 3), uv=(None, 2), quads=(None, 4), landmark68_vertices=(68,))
    require(path, data, uv_quads=(len(data["quads"]), 4))
    for kind in kinds:
        require(path, data, **{f"{kind}_delta_q": (None, N_VERTICES, 3)})
        require(path, data, **{f"{kind}_scale_mm": (len(data[f"{kind}_delta_q"]),)})
    require_indices(path, "quads", data["quads"], N_VERTICES, -1)
    require_indices(path, "uv_quads", data["uv_quads"], len(data["uv"]), -1)
    basis = []
    for kind, sigma in kinds.items():
        scale = (data[f"{kind}_scale_mm"] * sigma).astype(np.float32)
        basis.append(data[f"{kind}_delta_q"][:, :N_SURFACE] * scale[:, None, None])
    pick = fan_quads(data["quads"])
    faces, uv_faces = (data[name].astype(np.int64).ravel()[pick] for name in ("quads", "uv_quads"))
    neutral = data["neutral_mm"].astype(np.float64)
    return _build(path, neutral, basis, faces, uv_faces, data["uv"], data["landmark68_vertices"])


def _from_checkout(folder: Path) -> LinearFaceModel:
    index_file = folder / "vertex_indices.json"
    try:
        indices = json.loads(index_file.read_text(encoding="utf-8"))
        names, landmarks = list(indices["expressions"]), np.array(indices["idx_to_landmark_verts"], np.int64)
        names = [name for name in names if isinstance(name, str) and Path(name).name == name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot be used ({error}): 'expressions' and 'idx_to_landmark_verts' expected"
        raise _broken(index_file, what) from error
    neutral_file = folder / "generic_neutral_mesh.obj"
    try:
        neutral = read_mesh(neutral_file)
    except MesofaceError as error:
        raise _broken(neutral_file, error.message) from error
    if len(neutral.vertices) != N_VERTICES or neutral.uv is None:
        what = f"has {len(neutral.vertices)} vertices, {N_VERTICES} with UVs expected"
        raise _broken(neutral_file, what, _PUBLISHED)
    identity_files = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))
    if not identity_files:
        raise _broken(folder, "has no identity000.obj")
    basis = []
    expression_files = [folder / f"{name}.obj" for name in names]
    for files, sigma in ((identity_files, 1.0), (expression_files, EXPRESSION_SIGMA)):
        shapes = np.empty((len(files), N_SURFACE, 3), np.float32)
        for shape, file in zip(shapes, files, strict=True):
            shape[:] = (obj_vertices(file) - neutral.vertices)[:N_SURFACE] * (10 * sigma)
        basis.append(shapes)
    mesh = (neutral.faces, neutral.uv_index, neutral.uv)
    return _build(folder, neutral.vertices * 10, basis, *mesh, landmarks)


def _build(
    path: Path,
    neutral: NDArray[np.float64],
    basis: list[NDArray[np.float32]],
    faces: NDArray[np.int64],
    uv_faces: NDArray[np.int64],
    uv: NDArray,
    landmarks: NDArray,
) -> LinearFaceModel:
    """The model of ``neutral`` (N_VERTICES, 3) mm and its [identity, expression] modes (M, N_SURFACE, 3)."""
    keep = (faces < N_SURFACE).all(1)
    faces, uv_faces = faces[keep], uv_faces[keep]
    require_indices(path, "landmark68_vertices", landmarks, N_FACE)
    old = np.asarray(uv, np.float64)[uv_faces]  # (F, 3, 2)
    skin = (faces < N_FACE).all(1) & (old <= 1).all((1, 2))
    if not skin.any():
        raise _broken(path, "has no face region", _PUBLISHED)
    facial = skin & facial_region(old.mean(1))
    # What is not skin (eyeballs) shares the unit tile: it moves to tiles of its own, above the face's.
    new_uv = np.vstack([(uv - _CROP[0]) / (_CROP[1] - _CROP[0]), uv + np.array([0, 2])])
    new_uv_faces = np.where(skin[:, None], uv_faces, uv_faces + len(uv))

    places: Places = {"ibug68": (np.arange(68), *vertex_landmarks(faces, landmarks.astype(np.int64)))}
    measured = read_npz(_MEASURED, ("ids", "corners", "bary"))
    place, weights, found = corner_landmarks(faces, measured["corners"].astype(np.int64), measured["bary"])
    places["mediapipe478"] = measured["ids"].astype(np.int64)[found], place, weights
    topology = topology_of(faces, new_uv, new_uv_faces, facial, places)
    bounds = blendshape_bounds(len(basis[0]), len(basis[1]))
    return LinearFaceModel("ict", neutral[:N_SURFACE], np.concatenate(basis), len(basis[0]), topology, bounds)


def facial_region(uv: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(F,) whether (F, 2) places in the model's original UV layout are measured facial skin.

    Hairline to under the jaw, up to the ears; without eye openings, lid margins, nostrils and the inside of
    the lips.
    """
    outline = np.vstack([_OUTLINE_LEFT, mirrored(_OUTLINE_LEFT)[1:-1]])
    region = inside(uv, outline)
    for hole in (_EYE_RIGHT, mirrored(_EYE_RIGHT), _NOSTRIL_RIGHT, mirrored(_NOSTRIL_RIGHT), _MOUTH):
        region &= ~inside(uv, hole)
    return region


def fan_quads(quads: NDArray) -> NDArray[np.int64]:
    """(F, 3) flat positions in ``quads`` (Q, 4) of its triangles; a last corner of -1 marks a triangle."""
    first = 4 * np.arange(len(quads))[:, None]
    return np.vstack([first + np.array([0, 1, 2]), (first + np.array([0, 2, 3]))[quads[:, 3] >= 0]])


def obj_vertices(path: Path) -> NDArray[np.float64]:
    """(N_VERTICES, 3) positions in an OBJ file, nothing else of it.

    Raises:
        FaceModelError: the file is absent, or another number of vertices is in it.
    """
    try:
        lines = [line[2:] for line in path.read_bytes().splitlines() if line.startswith(b"v ")]
    except OSError as error:
        raise _broken(path, "cannot be read") from error
    try:
        vertices = np.array(b" ".join(lines).split(), np.float64).reshape(-1, 3)
    except ValueError:
        vertices = np.zeros((0, 3))
    if len(vertices) != N_VERTICES or not np.isfinite(vertices).all():
        raise _broken(path, f"has {len(lines)} vertices, {N_VERTICES} of three numbers expected")
    return vertices
