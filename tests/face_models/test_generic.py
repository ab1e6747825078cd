"""The embedded face model: its layout, masks, landmarks, modes, and that the committed statistics make it."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.errors import FaceModelError
from mesoface.face_models import load_face_model
from mesoface.face_models.loading import ASSET, STEP, load_generic, pack_modes
from mesoface.face_models.model import LinearFaceModel, base_mesh
from mesoface.files.npz import read_npz
from mesoface.geometry.mesh import Mesh
from mesoface.running.progress import silent

REPOSITORY = Path(__file__).resolve().parents[2]
NOSE_TIP, CHIN, FOREHEAD, LEFT_EYE, RIGHT_EYE = 1, 152, 10, 263, 33
UPPER_LIP, LOWER_LIP = 13, 14


@pytest.fixture(scope="module")
def model() -> LinearFaceModel:
    return load_generic()


def landmark(model: LinearFaceModel, number: int, values: NDArray) -> NDArray:
    """Values (N, C) at a landmark."""
    return model.topology.landmark_points("mediapipe478", values)[number]


def uv_areas(model: LinearFaceModel) -> NDArray:
    a, b, c = model.topology.uv[model.topology.uv_faces.T]
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def test_size_is_what_the_card_says(model):
    assert 6_000 <= len(model.mean) <= 12_000
    assert len(model.basis) <= 150
    assert model.n_identity + model.n_expression == len(model.basis)
    assert ASSET.stat().st_size < 6 * 2**20
    assert np.isfinite(model.mean).all()
    assert np.isfinite(model.basis).all()


def test_the_shared_model_cannot_be_changed(model):
    assert load_generic() is model
    topology = model.topology
    arrays = (topology.faces, topology.uv, topology.uv_faces, topology.facial)
    for array in (model.mean, model.basis, *arrays, *topology.landmarks("mediapipe478")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_convention_model_frame(model):
    """x to the subject's left, y up, z forward; millimetres."""
    marks = {n: landmark(model, n, model.mean) for n in (NOSE_TIP, CHIN, FOREHEAD, LEFT_EYE, RIGHT_EYE)}
    assert marks[LEFT_EYE][0] > 0 > marks[RIGHT_EYE][0]
    assert marks[FOREHEAD][1] > marks[LEFT_EYE][1] > marks[CHIN][1]
    assert marks[NOSE_TIP][2] > max(m[2] for n, m in marks.items() if n != NOSE_TIP)
    assert 80 < np.linalg.norm(marks[LEFT_EYE] - marks[RIGHT_EYE]) < 100  # outer corners of the eyes


def test_convention_uv_looks_like_the_person_from_the_front(model):
    uv = model.topology.uv
    assert landmark(model, LEFT_EYE, uv)[0] > 0.5 > landmark(model, RIGHT_EYE, uv)[0]
    assert landmark(model, FOREHEAD, uv)[1] > landmark(model, NOSE_TIP, uv)[1] > landmark(model, CHIN, uv)[1]


def test_uv_layout_turns_no_triangle_over_and_fills_the_square(model):
    areas, uv = uv_areas(model), model.topology.uv
    assert (areas > 0).all()
    assert uv.min() >= 0
    assert uv.max() <= 1
    assert (np.ptp(uv, axis=0) > 0.99).all()
    assert areas.sum() > 0.9


def test_uv_layout_covers_each_place_once(model):
    """The triangles' areas add up to the area inside the outline: nothing overlaps, nothing is missing."""
    faces, uv = model.topology.uv_faces, model.topology.uv
    edges = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    _, first, count = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    a, b = uv[edges[first[count == 1]].T]
    outline = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2
    assert count.max() == 2
    assert uv_areas(model).sum() == pytest.approx(outline, rel=1e-6)


def test_texels_are_spread_evenly_over_the_face(model):
    topology = model.topology
    density = (base_mesh(model, model.mean).face_areas() / uv_areas(model))[topology.facial]
    density /= np.median(density)
    assert np.percentile(density, 99) < 2
    assert density.max() < 4
    assert np.percentile(density, 1) > 1 / 3


def test_openings_are_no_part_of_the_facial_mask(model):
    """Between the lids, between the lips, but not on the nose, the cheeks, the chin."""
    facial, centres = model.topology.facial, model.mean[model.topology.faces].mean(1)

    def nearest(point: NDArray) -> np.bool_:
        return facial[np.linalg.norm(centres - point, axis=1).argmin()]

    for upper, lower in ((159, 145), (386, 374), (UPPER_LIP, LOWER_LIP)):  # middles of the lids; the lips
        assert not nearest((landmark(model, upper, model.mean) + landmark(model, lower, model.mean)) / 2)
    for number in (NOSE_TIP, CHIN, 50, 280, 151):
        assert nearest(landmark(model, number, model.mean))
    area = base_mesh(model, model.mean).face_areas()[facial].sum()
    assert 25_000 < area < 50_000  # mm²


def test_facial_mask_is_one_piece_with_its_rim_outside(model):
    import trimesh

    topology = model.topology
    facial = trimesh.Trimesh(model.mean, topology.faces[topology.facial], process=False)
    pieces = trimesh.graph.connected_components(facial.face_adjacency, nodes=np.arange(len(facial.faces)))
    assert max(len(p) for p in pieces) > 0.998 * len(facial.faces)
    assert len(pieces) <= 5
    edges = np.sort(topology.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    rim = np.unique(unique[count == 1])
    assert not np.isin(topology.faces[topology.facial], rim).any()


def test_landmarks_are_places_on_the_mesh(model):
    topology = model.topology
    ids, _, bary = topology.landmarks("mediapipe478")
    assert np.array_equal(ids, np.arange(468))  # no irises
    assert np.allclose(bary.sum(1), 1)
    assert (bary >= 0).all()
    points = topology.landmark_points("mediapipe478", model.mean)
    assert len(np.unique(points.round(3), axis=0)) == 468


def test_mean_is_nearly_symmetric(model):
    from scipy.spatial import cKDTree

    vertices = model.mean[np.unique(model.topology.faces[model.topology.facial])]
    distance, _ = cKDTree(vertices).query(vertices * (-1, 1, 1))
    assert distance.max() < 6.0
    assert np.median(distance) < 1.0


@pytest.mark.parametrize("seed", range(6))
def test_random_faces_have_no_folds(model, seed):
    """Hardly any facial triangle of a random neutral face is turned over against the mean's."""
    rng, topology = np.random.default_rng(seed), model.topology
    shape = model.shape(rng.normal(size=model.n_identity), np.zeros(model.n_expression))
    mean, other = (Mesh(v, topology.faces).face_normals()[topology.facial] for v in (model.mean, shape))
    turned = np.einsum("fc,fc->f", mean, other) <= 0
    assert turned.sum() <= 0.0005 * len(turned)


def test_random_faces_differ_by_millimetres(model):
    rng = np.random.default_rng(0)
    zero = np.zeros(model.n_expression)
    move = [
        np.linalg.norm(model.shape(rng.normal(size=model.n_identity), zero) - model.mean, axis=1).mean()
        for _ in range(20)
    ]
    assert 2 < np.mean(move) < 10


def test_expressions_open_the_mouth_and_close_the_eyes(model):
    """Some direction of expression space parts the lips by 15 mm, another closes an eye, within 3 sigma."""

    def gap(upper: int, lower: int) -> tuple[float, NDArray]:
        rise = np.array([landmark(model, upper, b)[1] - landmark(model, lower, b)[1] for b in model.basis])
        rest = landmark(model, upper, model.mean)[1] - landmark(model, lower, model.mean)[1]
        return rest, rise[model.n_identity :]

    rest, rise = gap(UPPER_LIP, LOWER_LIP)
    assert rest + 3 * np.linalg.norm(rise) > 15
    for upper, lower in ((159, 145), (386, 374)):
        rest, rise = gap(upper, lower)
        assert 5 < rest < 15
        assert rest - 3 * np.linalg.norm(rise) < 0


def test_modes_are_sorted_and_none_is_empty(model):
    for modes in (model.basis[: model.n_identity], model.basis[model.n_identity :]):
        size = np.sqrt((modes.astype(np.float64) ** 2).sum(2).mean(1))
        assert (size > STEP).all()
        assert size[:5].min() > size[-5:].max()


def test_packing_keeps_modes_to_half_a_step_or_refuses_them():
    modes = np.random.default_rng(0).normal(0, 3, (2, 5, 3))
    assert np.abs(pack_modes(modes) * STEP - modes).max() <= STEP / 2 + 1e-9
    with pytest.raises(ValueError, match="does not fit"):
        pack_modes(np.full((1, 1, 3), 200.0))


def test_asset_holds_no_objects():
    with np.load(ASSET, allow_pickle=False) as data:
        assert all(data[name].dtype.kind in "bif" for name in data.files)


@pytest.mark.slow
def test_committed_statistics_rebuild_the_asset(model, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    builder = importlib.import_module("build_generic_model")
    arrays = builder.build(ASSET.parent / "landmark_statistics.npz", silent)
    assert np.array_equal(arrays["faces"], model.topology.faces)
    assert np.abs(arrays["uv"] - model.topology.uv).max() < 2e-3
    assert np.abs(arrays["mean"] - model.mean).max() < 0.2
    assert (arrays["facial"] != model.topology.facial).mean() < 1e-3
    # modes of nearly equal size may turn into each other: their joint variance may not change
    for name, modes in (("identity", model.basis[:110]), ("expression", model.basis[110:])):
        variance = (arrays[name].astype(np.float64) ** 2).sum(0) * STEP**2
        expected = (modes.astype(np.float64) ** 2).sum(0)
        assert np.abs(np.sqrt(variance) - np.sqrt(expected)).max() < 0.1


@pytest.mark.slow
def test_fits_heads_within_a_millimetre_and_a_half(model, shared, monkeypatch):
    """True landmark positions of unseen identities in, their facial surface out."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    from generic_model.embedding import open_skin
    from generic_model.heads import load_heads

    from mesoface.face_models.fitting import fit_landmarks3d
    from mesoface.geometry.closest_point import MeshSurface

    heads = load_heads(shared("ict/ict_facekit_mm.npz"))
    with np.load(ASSET.parent / "ict_mediapipe478.npz", allow_pickle=False) as data:
        corners, bary = data["corners"].astype(np.int64), data["bary"].astype(np.float64)
    rng, skin = np.random.default_rng(77), heads.triangles[open_skin(heads)]
    vertices = heads.shape(rng.normal(size=100), np.zeros(53))
    marks = np.einsum("lk,lkc->lc", bary, vertices[corners])
    fit = fit_landmarks3d(model, marks, scheme="mediapipe478", fix_scale=1.0, noise_mm=0.5)
    facial = fit.mesh.select_faces(model.topology.facial)
    distance = MeshSurface(Mesh(vertices, skin)).closest(facial.vertices).distance
    assert distance.mean() < 0.6
    assert np.percentile(distance, 95) < 1.5


def test_the_model_that_comes_with_mesoface_loads_by_name(model):
    assert load_face_model("generic") is model
    assert model.name == "generic"
    assert model.topology.facial.any()


def test_ict_is_found_where_the_environment_says(shared, monkeypatch):
    path = shared("ict/ict_facekit_mm.npz")
    monkeypatch.setenv("MESOFACE_ICT", str(path))
    assert load_face_model("ict").n_identity == 100


def test_ict_that_is_not_there_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("MESOFACE_ICT", raising=False)
    monkeypatch.setenv("MESOFACE_SHARED", str(tmp_path))
    with pytest.raises(FaceModelError, match=r"ict_facekit_mm\.npz.*set MESOFACE_ICT"):
        load_face_model("ict")


@pytest.mark.parametrize("spec", ["nothing/here.npz", "flame"])
def test_a_path_that_does_not_exist_is_refused(spec):
    with pytest.raises(FaceModelError, match=r"no such face model.*'generic', 'ict' or the path"):
        load_face_model(spec)


def test_an_empty_folder_and_a_strange_file_are_refused(tmp_path):
    with pytest.raises(FaceModelError, match="no face model is recognised here"):
        load_face_model(str(tmp_path))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "model.txt").write_text("a face")
    for name in ("other.npz", "model.txt"):
        with pytest.raises(FaceModelError, match="no face model is recognised here"):
            load_face_model(str(tmp_path / name))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FaceModelError, match="is not a readable"):
        load_face_model(str(tmp_path / "broken.npz"))


def test_arrays_of_python_objects_are_never_read(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, plain=np.arange(3), things=np.array([{"a": 1}], dtype=object))
    assert list(read_npz(path)) == ["plain"]
    with pytest.raises(FaceModelError, match="'things' holds Python objects, which are never unpickled"):
        read_npz(path, ["things"])
