"""FLAME (Li et al., SIGGRAPH Asia 2017), from the user's own files.

The model file is an ``.npz`` or the published ``.pkl`` with ``v_template`` (5023, 3), ``shapedirs``
(5023, 3, 400: 300 identity, 100 expression) and ``f``, in metres; a ``.pkl`` is never unpickled. Beside it
the landmarks: ``landmark_embedding.npy`` (68 points) and, better, ``mediapipe_landmark_embedding.npz``;
or their arrays in the model file itself. The jaw's rotation is not modelled: the photos are of one moment,
and the expression space opens the mouth as far as it can.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import FaceModelError
from mesoface.face_models.correspondence import Places, topology_of, unwrap_face
from mesoface.face_models.model import LinearFaceModel
from mesoface.face_models.plain_pickle import read_plain_pickle
from mesoface.files.npz import npz_names, object_payload, read_npz, require, require_indices

N_IDENTITY, N_EXPRESSION = 150, 50
"""Modes kept of each kind, the strongest: the rest is below what landmarks can tell."""
_PUBLISHED = (300, 100)

_LANDMARKS_68 = "landmark_embedding.npy"
_LANDMARKS_MEDIAPIPE = "mediapipe_landmark_embedding.npz"


def is_flame(path: Path) -> bool:
    """Whether ``path`` looks like FLAME: a ``.pkl``, an ``.npz`` with its arrays, or a folder with one."""
    if path.is_dir():
        return any(map(is_flame, _files(path)))
    if path.suffix.lower() == ".npz":
        return {"v_template", "shapedirs"} <= npz_names(path)
    return path.suffix.lower() == ".pkl"


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.npz"), *folder.glob("*.pkl")])


def load_flame(path: Path) -> LinearFaceModel:
    """Read the model from a file, or from the first one of a folder.

    Raises:
        FaceModelError: a part is absent or damaged, or there are no landmarks for it.
    """
    if path.is_dir():
        path = next(filter(is_flame, _files(path)))
    pickled = path.suffix.lower() == ".pkl"
    data = read_plain_pickle(_bytes_of(path), path) if pickled else read_npz(path)
    require(path, data, v_template=(None, 3), f=(None, 3))
    require(path, data, shapedirs=(len(data["v_template"]), 3, None))
    require_indices(path, "f", data["f"], len(data["v_template"]))
    modes = data["shapedirs"].shape[2]
    if modes != sum(_PUBLISHED):
        what = f"'shapedirs' has {modes} modes, {sum(_PUBLISHED)} (300 identity, 100 expression) expected"
        raise FaceModelError(what, path=path, remedy="use FLAME 2019 or later as published")
    first = np.r_[:N_IDENTITY, _PUBLISHED[0] : _PUBLISHED[0] + N_EXPRESSION]
    basis = np.ascontiguousarray(data["shapedirs"][:, :, first].transpose(2, 0, 1) * 1000, np.float32)
    mean = data["v_template"].astype(np.float64) * 1000
    faces = data["f"].astype(np.int64)

    places = _landmarks(path, data, len(faces))
    _, triangles, bary = places["ibug68"]
    uv, facial = unwrap_face(mean, faces, np.einsum("lk,lkc->lc", bary, mean[faces[triangles]]))
    topology = topology_of(faces, uv, faces, facial, places)
    return LinearFaceModel("flame", mean, basis, N_IDENTITY, topology)


def _landmarks(path: Path, data: dict[str, NDArray], n_faces: int) -> Places:
    """Where the landmarks lie, from the model file or the files beside it."""
    places: Places = {}

    def add(scheme: str, source: Path, which: NDArray, triangle: NDArray, weights: NDArray) -> None:
        table = {"triangles": triangle, "weights": weights, "ids": which}
        require(source, table, triangles=(len(which),), weights=(len(which), 3))
        require_indices(source, "landmark triangles", triangle, n_faces)
        require_indices(source, "landmark ids", which, 478)
        places[scheme] = which.astype(np.int64), triangle.astype(np.int64), weights.astype(np.float64)

    sources = [(path, data)]
    beside = path.parent / _LANDMARKS_68
    if beside.is_file() and (payload := object_payload(beside)) is not None:
        sources.append((beside, read_plain_pickle(payload, beside)))
    for source, arrays in sources:
        if "ibug68" not in places and {"full_lmk_faces_idx", "full_lmk_bary_coords"} <= arrays.keys():
            triangle, weights = arrays["full_lmk_faces_idx"], arrays["full_lmk_bary_coords"]
            add("ibug68", source, np.arange(68), triangle.ravel(), weights.reshape(-1, 3))
    beside = path.parent / _LANDMARKS_MEDIAPIPE
    if beside.is_file():
        arrays = read_npz(beside)
        names = ("landmark_indices", "lmk_face_idx", "lmk_b_coords")
        require(beside, arrays, **dict(zip(names, ((None,), (None,), (None, 3)), strict=True)))
        add("mediapipe478", beside, *(arrays[name] for name in names))
    if "ibug68" not in places:
        remedy = f"put {_LANDMARKS_68} (full_lmk_faces_idx, full_lmk_bary_coords) beside the model file"
        raise FaceModelError("FLAME's 68 landmarks are not here", path=path, remedy=remedy)
    return places


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise FaceModelError(what, path=path, remedy="check its permissions") from error
