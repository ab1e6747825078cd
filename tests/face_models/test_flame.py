import contextlib
import pickle
import sys
import tracemalloc
import types

import numpy as np
import pytest

from mesoface.errors import FaceModelError
from mesoface.face_models import load_face_model
from mesoface.face_models.flame import N_EXPRESSION, N_IDENTITY, load_flame
from mesoface.face_models.plain_pickle import read_plain_pickle


@pytest.fixture(scope="module")
def head():
    """FLAME-like arrays: a closed ellipsoid in metres, 400 modes, 68 landmarks on its front."""
    angle, height = np.meshgrid(np.linspace(0, 2 * np.pi, 49)[:-1], np.linspace(-0.98, 0.98, 41))
    radius = np.sqrt(1 - height**2)
    x, y, z = 0.08 * radius * np.sin(angle), 0.12 * height, 0.1 * radius * np.cos(angle)
    vertices = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    row, column = np.meshgrid(np.arange(40), np.arange(48), indexing="ij")
    right = (column + 1) % 48
    quads = np.stack(
        [48 * row + column, 48 * row + right, 48 * (row + 1) + right, 48 * (row + 1) + column], -1
    )
    quads = quads.reshape(-1, 4)
    faces = np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.uint32)
    shapes = np.random.default_rng(0).normal(0, 1e-3, (len(vertices), 3, 400))
    marks = np.array(landmark_angles())
    middle = vertices[faces].mean(1)
    theta, level = np.arctan2(middle[:, 0], middle[:, 2]), middle[:, 1] / 0.12
    nearest = [int(np.argmin((theta - a) ** 2 + (level - h) ** 2)) for a, h in marks]
    return {
        "v_template": vertices,
        "shapedirs": shapes,
        "f": faces,
        "full_lmk_faces_idx": np.array([nearest]),
        "full_lmk_bary_coords": np.full((1, 68, 3), 1 / 3),
    }


def landmark_angles():
    """(68) angle and height of made-up iBUG landmarks."""
    jaw = [(a, -0.75 + 0.75 * (a / 1.2) ** 2) for a in np.linspace(-1.2, 1.2, 17)]
    brow = (0.8, 0.65, 0.5, 0.35, 0.2)
    brows = [(-a, 0.35) for a in brow] + [(a, 0.35) for a in brow[::-1]]
    nose = [(0, h) for h in (0.25, 0.15, 0.05, -0.05)] + [(a, -0.12) for a in (-0.2, -0.1, 0, 0.1, 0.2)]
    ring = [(-1, 0), (-0.5, 1), (0.5, 1), (1, 0), (0.5, -1), (-0.5, -1)]
    eyes = [(c + 0.16 * a, 0.2 + 0.06 * b) for c in (-0.5, 0.5) for a, b in ring]
    circle = np.linspace(np.pi, -np.pi, 13)[:-1]
    lips = [(0.35 * np.cos(c), -0.35 + 0.14 * np.sin(c)) for c in circle]
    inner = [(0.22 * np.cos(c), -0.35 + 0.07 * np.sin(c)) for c in np.linspace(np.pi, -np.pi, 9)[:-1]]
    return jaw + brows + nose + eyes + lips + inner


@pytest.fixture
def chumpy(monkeypatch):
    """A stand-in for chumpy's array class, so that a pickle can name it as FLAME's own file does."""

    class Ch:
        def __init__(self, x):
            self.x = x
            self.dirty = {"x"}

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def test_npz_gives_millimetres_a_mask_and_a_layout_without_folds(tmp_path, head):
    np.savez(tmp_path / "flame.npz", **head)
    model = load_face_model(str(tmp_path / "flame.npz"))
    assert model.name == "flame"
    assert (model.n_identity, model.n_expression) == (N_IDENTITY, N_EXPRESSION)
    assert np.allclose(model.mean, head["v_template"] * 1000)
    assert np.allclose(model.basis[N_IDENTITY], head["shapedirs"][:, :, 300] * 1000, atol=1e-6)
    topology = model.topology
    assert {"ibug68", "mediapipe478"} <= set(topology.landmark_ids)
    uv = topology.uv[topology.uv_faces[topology.facial]]
    edge = np.diff(uv, axis=1)
    assert (np.cross(edge[:, 0], edge[:, 1]) > 0).all()
    assert uv.min() > -0.05
    assert uv.max() < 1.05
    middle = model.mean[topology.faces[topology.facial]].mean(1)
    assert (middle[:, 2] > 0).all()
    assert 200 < topology.facial.sum() < len(topology.faces) / 2
    inside_an_eye = topology.landmark_faces["ibug68"][36:42]
    assert len(np.unique(inside_an_eye)) > 1


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickles_of_every_protocol_are_read_without_unpickling(tmp_path, head, chumpy, protocol, monkeypatch):
    table = {**head, "shapedirs": chumpy(np.asfortranarray(head["shapedirs"][:, :, :3])), "bs_style": "lbs"}
    table["posedirs"] = [1, 2.5, "x", None, True]
    data = pickle.dumps(table, protocol=protocol)
    monkeypatch.setitem(sys.modules, "chumpy.ch", None)
    arrays = read_plain_pickle(data, tmp_path / "flame.pkl")
    assert np.array_equal(arrays["v_template"], head["v_template"])
    assert np.array_equal(arrays["shapedirs"], head["shapedirs"][:, :, :3])
    assert np.array_equal(arrays["f"], head["f"])
    assert "bs_style" not in arrays


def test_pkl_with_the_published_landmarks_beside_it_equals_npz(tmp_path, head, chumpy):
    np.savez(tmp_path / "flame.npz", **head)
    folder = tmp_path / "published"
    folder.mkdir()
    landmarks = {name: head[name] for name in ("full_lmk_faces_idx", "full_lmk_bary_coords")}
    np.save(folder / "landmark_embedding.npy", np.array(landmarks, dtype=object), allow_pickle=True)
    table = {"v_template": chumpy(head["v_template"]), "shapedirs": head["shapedirs"], "f": head["f"]}
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(table, protocol=2))
    a, b = load_flame(tmp_path / "flame.npz"), load_face_model(str(folder))
    assert np.array_equal(a.mean, b.mean)
    assert np.array_equal(a.basis, b.basis)
    assert np.array_equal(a.topology.landmark_faces["ibug68"], b.topology.landmark_faces["ibug68"])


def test_mediapipe_embedding_beside_the_model_is_used(tmp_path, head):
    np.savez(tmp_path / "flame.npz", **head)
    np.savez(
        tmp_path / "mediapipe_landmark_embedding.npz",
        landmark_indices=np.arange(0, 105),
        lmk_face_idx=np.arange(700, 805),
        lmk_b_coords=np.full((105, 3), 1 / 3),
    )
    topology = load_flame(tmp_path / "flame.npz").topology
    assert np.array_equal(topology.landmark_faces["mediapipe478"], np.arange(700, 805))


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_that_would_run_something_runs_nothing(tmp_path, head):
    witness = tmp_path / "witness"
    data = pickle.dumps({**head, "v_template": Evil(witness)})
    path = tmp_path / "evil.pkl"
    path.write_bytes(data)
    with pytest.raises(FaceModelError, match=r"evil\.pkl: has no array 'v_template'"):
        load_flame(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",
        b"not a pickle at all",
        pickle.dumps([1, 2]),
        pickle.dumps({"a": np.zeros(9)})[:-40],
        b"\x80\x04\x85.",
    ],
    ids=["empty", "header", "text", "list", "truncated", "underflow"],
)
def test_what_is_not_a_pickled_dict_is_refused(tmp_path, data):
    path = tmp_path / "flame.pkl"
    path.write_bytes(data)
    with pytest.raises(FaceModelError, match=r"flame.pkl: the pickle is not understood.*\.npz"):
        load_flame(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}Nr\xff\xff\xff\x7f0.",
        b"\x80\x05}X\x01\x00\x00\x00a\x96" + (1 << 40).to_bytes(8, "little") + b"x",
    ],
    ids=["memo index", "bytearray"],
)
def test_what_a_pickle_claims_is_not_allocated(tmp_path, data):
    tracemalloc.start()
    try:
        with contextlib.suppress(FaceModelError):
            read_plain_pickle(data, tmp_path / "flame.pkl")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path):
    array = np.zeros((3, 5))
    record = array.__reduce__()
    data = pickle.dumps({"v_template": array}, protocol=2)
    assert record[2][1] == (3, 5)
    broken = data.replace(b"K\x03K\x05\x86", b"K\x03K\x09\x86")
    assert broken != data
    with pytest.raises(FaceModelError, match="shape"):
        read_plain_pickle(broken, tmp_path / "flame.pkl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_template": np.zeros((5, 2))}, "'v_template' has the shape"),
        ({"shapedirs": np.zeros((7, 3, 400))}, "'shapedirs' has the shape"),
        ({"f": np.array([[0, 1, 10**6]])}, "'f' must hold whole numbers"),
        ({"full_lmk_faces_idx": np.full((1, 68), 10**6)}, "landmark triangles"),
        ({"full_lmk_faces_idx": np.zeros((1, 51), int)}, "'triangles' has the shape"),
        ({"shapedirs": lambda array: array[:, :, :150]}, "'shapedirs' has 150 modes, 400"),
        ({"full_lmk_faces_idx": None, "full_lmk_bary_coords": None}, r"landmark_embedding\.npy"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path, head, change, message):
    changed = {**head, **{name: new(head[name]) if callable(new) else new for name, new in change.items()}}
    np.savez(tmp_path / "flame.npz", **{k: v for k, v in changed.items() if v is not None})
    with pytest.raises(FaceModelError, match=message):
        load_flame(tmp_path / "flame.npz")
