"""FaceScape's bilinear model (Yang et al., CVPR 2020), from the user's own files.

``vertices = Σᵢⱼ core[i, j] · aᵢ · bⱼ`` with identity factors a ~ N(id_mean, id_var) and expression weights b:
bⱼ in [0, 1] for the blendshapes j ≥ 1 and b₀ = 1 − Σ bⱼ for the neutral face. The fit's coefficients are
``(a − id_mean)/√id_var`` and ``bⱼ/EXPRESSION_SIGMA``.

Two forms are read: the published ``facescape_bm_v1.6_*.npz``, and a core ``.npy`` with a factor ``.json``
beside it (and, for UVs, the template's ``.obj``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.errors import FaceModelError, MesofaceError
from mesoface.face_models.correspondence import OPENINGS, inside, topology_of, unwrap_face, vertex_landmarks
from mesoface.face_models.model import EXPRESSION_SIGMA, Topology, blendshape_bounds
from mesoface.files.meshes import read_mesh
from mesoface.files.npz import npz_names, read_npy, read_npz, require, require_indices

_KEYS = ("id_mean", "id_var", "lm_index_full", "faces")
_V16 = ("shape_bm_core", "id_mean", "id_var", "fv_indices", "lm_list_v16")
_JSON_LIMIT = 256 << 20
# Rows 72–327 and columns 128–383 of the 512² layout are the face (Xiao et al., AAAI 2022).
_WINDOW = np.array([[128 / 512, 1 - 328 / 512], [384 / 512, 1 - 72 / 512]])


@dataclass(frozen=True, eq=False)
class BilinearFaceModel:
    """A face model whose identity and expression multiply. See :class:`~mesoface.face_models.FaceModel`.

    Args:
        name: as reports call it.
        core: (I, E, 3N) millimetres; expression 0 is the neutral one, the others are absolute shapes.
        identity_mean: (I,) mean of the identity factors.
        identity_sigma: (I,) their standard deviation.
        topology: faces, UV, landmarks, facial mask.
    """

    name: str
    core: NDArray[np.floating]
    identity_mean: NDArray[np.float64]
    identity_sigma: NDArray[np.float64]
    topology: Topology

    @property
    def n_identity(self) -> int:
        """How many identity factors there are."""
        return self.core.shape[0]

    @property
    def n_expression(self) -> int:
        """How many blendshapes there are beside the neutral face."""
        return self.core.shape[1] - 1

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Blendshape weights stay in [0, 1]; identity is unbounded."""
        return blendshape_bounds(self.n_identity, self.n_expression)

    def _factors(
        self, identity: ArrayLike, expression: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = EXPRESSION_SIGMA * np.asarray(expression, np.float64)
        a = self.identity_mean + self.identity_sigma * np.asarray(identity, np.float64)
        return a, np.concatenate([[1 - weights.sum()], weights])

    def shape(self, identity: NDArray, expression: NDArray) -> NDArray[np.float64]:
        """See :meth:`FaceModel.shape`."""
        a, b = self._factors(identity, expression)
        flat = np.zeros(self.core.shape[2])
        for weight, slab in zip(a, self.core, strict=True):  # one identity at a time: the core may be on disk
            flat += weight * (b @ slab)
        return flat.reshape(-1, 3)

    def points(
        self, identity: NDArray, expression: NDArray, corners: NDArray[np.int64], bary: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :meth:`FaceModel.points`."""
        key = corners.tobytes() + bary.tobytes()
        latest = _LATEST_ROWS.get(self)
        if latest is None or latest[0] != key:
            places = 3 * corners[..., None] + np.arange(3)  # (L, 3 corners, 3 axes)
            latest = key, np.einsum("lk,ielkc->ielc", bary, self.core[:, :, places].astype(np.float64))
            _LATEST_ROWS[self] = latest
        rows = latest[1]
        a, b = self._factors(identity, expression)
        by_identity = np.einsum("ielc,e->lci", rows, b)
        by_expression = np.einsum("ielc,i->lce", rows, a)
        blendshapes = EXPRESSION_SIGMA * (by_expression[..., 1:] - by_expression[..., :1])
        return by_identity @ a, np.concatenate([by_identity * self.identity_sigma, blendshapes], 2)


# The core at the L places of a model's latest evaluation, (I, E, L, 3): a fit evaluates the same ones often.
_LATEST_ROWS: WeakKeyDictionary[BilinearFaceModel, tuple[bytes, NDArray[np.float64]]] = WeakKeyDictionary()


def is_facescape(path: Path) -> bool:
    """Whether ``path`` looks like FaceScape's model: the published npz, a folder of files, or one of them."""
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return "shape_bm_core" in npz_names(path)
    return bool(_parts(path))


def load_facescape(path: Path) -> BilinearFaceModel:
    """Read the model from the published ``.npz``, from a folder, or from a core ``.npy`` or factor ``.json``.

    Raises:
        FaceModelError: a part is absent, damaged or does not fit the others.
    """
    files = [path] if path.suffix.lower() == ".npz" else _parts(path)
    if not files:
        remedy = "a core .npy and its factor .json in one folder, or facescape_bm_v1.6_*.npz, are expected"
        raise FaceModelError("no FaceScape model here", path=path, remedy=remedy)
    return _from_v16(*files) if len(files) == 1 else _from_pair(*files)


def _broken(path: Path, what: str) -> FaceModelError:
    return FaceModelError(what, path=path, remedy="use the file as published")


def _parts(path: Path) -> list[Path]:
    """Core and factors of a folder, or of either of the two files; else a folder's published file, if any."""
    folder, suffix = path if path.is_dir() else path.parent, path.suffix.lower()
    cores = [path] if suffix == ".npy" else sorted(folder.glob("*core*.npy"))
    factors = [path] if suffix == ".json" else sorted(folder.glob("*factor*.json"))
    if cores and factors and (path.is_dir() or suffix in (".npy", ".json")):
        return [cores[0], factors[0]]
    return sorted(path.glob("facescape_bm*.npz"))[:1] if path.is_dir() else []


def _from_pair(core_file: Path, factor_file: Path) -> BilinearFaceModel:
    core = read_npy(core_file)
    if core.ndim != 3 or core.shape[2] % 3 or core.shape[1] < 2 or core.dtype.kind != "f":
        what = f"has the shape {core.shape}, expected (identities, expressions, 3 · vertices)"
        raise FaceModelError(what, path=core_file, remedy="use the core as published")
    require(core_file, {"core": core}, core=(None, None, None))
    factors = _read_factors(factor_file)
    identities, _, flat = core.shape
    require(factor_file, factors, id_mean=(identities,), id_var=(identities,))
    require(factor_file, factors, lm_index_full=(204,), faces=(None, 3))
    places = factors["lm_index_full"].reshape(68, 3)
    require_indices(factor_file, "lm_index_full", places, flat)
    if (places % 3 != (0, 1, 2)).any() or (places // 3 != places[:, :1] // 3).any():
        raise _broken(factor_file, "'lm_index_full' does not hold x, y, z of 68 vertices")
    mesh = _template(core_file.parent, flat // 3) or (factors["faces"], None, None)
    return _build(factor_file, core, factors["id_mean"], factors["id_var"], mesh, places[:, 0] // 3)


def _from_v16(path: Path) -> BilinearFaceModel:
    data = read_npz(path, (*_V16, "texcoords", "ft_indices"))
    require(path, data, shape_bm_core=(None, None, None), fv_indices=(None, 3), lm_list_v16=(68,))
    core = np.transpose(data["shape_bm_core"], (2, 1, 0))  # published as (3N, expressions, identities)
    require(path, data, id_mean=(core.shape[0],), id_var=(core.shape[0],))
    uv, uv_faces = data.get("texcoords"), data.get("ft_indices")
    faces, landmarks = data["fv_indices"], data["lm_list_v16"]
    if faces.size and faces.min() == 1 and faces.max() == core.shape[2] // 3:  # counted from 1, as in an .obj
        faces = faces - 1
        uv_faces = None if uv_faces is None else uv_faces - 1
    if uv is not None and uv_faces is not None:
        require(path, data, texcoords=(None, 2), ft_indices=(len(faces), 3))
        require_indices(path, "ft_indices", uv_faces, len(uv))
    else:
        uv = uv_faces = None
    return _build(path, core, data["id_mean"], data["id_var"], (faces, uv, uv_faces), landmarks)


def _read_factors(path: Path) -> dict[str, NDArray]:
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise ValueError("too large")
        table = json.loads(path.read_text(encoding="utf-8"))
        return {key: np.asarray(table[key]) for key in _KEYS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"is not FaceScape's factor file ({error!r}); JSON with {', '.join(_KEYS)} expected"
        raise _broken(path, what) from error


def _template(folder: Path, count: int) -> tuple[NDArray, NDArray, NDArray] | None:
    """Faces, UVs and UV faces of the first ``.obj`` in ``folder`` with ``count`` vertices and UVs."""
    for file in sorted(folder.glob("*.obj")):
        try:
            mesh = read_mesh(file)
        except MesofaceError as error:
            raise FaceModelError(error.message, path=file, remedy="repair or remove the template") from error
        if len(mesh.vertices) == count and mesh.uv is not None:
            return mesh.faces, mesh.uv, mesh.uv_index
    return None


def _build(
    path: Path,
    core: NDArray,
    identity_mean: NDArray,
    identity_variance: NDArray,
    mesh: tuple[NDArray, NDArray | None, NDArray | None],
    landmarks: NDArray,
) -> BilinearFaceModel:
    """The model; ``mesh`` is faces, UVs and UV faces, the latter two None where there is no layout."""
    faces, uv, uv_faces = mesh
    require_indices(path, "faces", faces, core.shape[2] // 3)
    require_indices(path, "landmarks", landmarks, core.shape[2] // 3)
    if (identity_variance <= 0).any():
        raise _broken(path, "'id_var' must be positive")
    faces, landmarks = faces.astype(np.int64), landmarks.astype(np.int64)
    mean = identity_mean.astype(np.float64)
    neutral = np.einsum("i,in->n", mean, core[:, 0].astype(np.float64)).reshape(-1, 3)
    loose = landmarks[~np.isin(landmarks, faces)]
    # A landmark's vertex that no triangle uses gets one of its own, without area, to have a place.
    faces = np.vstack([faces, np.repeat(loose[:, None], 3, 1)])
    places = {"ibug68": (np.arange(68), *vertex_landmarks(faces, landmarks))}
    if uv is None or uv_faces is None:
        uv, facial = unwrap_face(neutral, faces, neutral[landmarks])
        uv_faces = faces
    else:
        uv = (np.asarray(uv, np.float64) - _WINDOW[0]) / (_WINDOW[1] - _WINDOW[0])
        uv_faces = np.vstack([uv_faces, np.zeros((len(loose), 3), np.int64)]).astype(np.int64)
        facial = _window_mask(uv, uv_faces, faces, landmarks)
    topology = topology_of(faces, uv, uv_faces, facial, places)
    return BilinearFaceModel("facescape", core, mean, np.sqrt(identity_variance.astype(np.float64)), topology)


def _window_mask(
    uv: NDArray[np.float64],
    uv_faces: NDArray[np.int64],
    faces: NDArray[np.int64],
    landmarks: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(F,) triangles inside of the window, without the eye openings and the inside of the mouth."""
    middle = uv[uv_faces].mean(1)
    facial = ((uv[uv_faces] >= 0) & (uv[uv_faces] <= 1)).all((1, 2))
    place = np.zeros((int(faces.max()) + 1, 2))
    place[faces] = uv[uv_faces]
    for ring in OPENINGS:
        facial &= ~inside(middle, place[landmarks[list(ring)]])
    return facial
