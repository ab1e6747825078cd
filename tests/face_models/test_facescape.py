import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mesoface.errors import FaceModelError
from mesoface.face_models import fit_landmarks3d, load_face_model
from mesoface.face_models.facescape import BilinearFaceModel, load_facescape


def write_pair(folder, *, identities=4, expressions=5, vertices=90, **changes):
    """A small core and factor file, with ``changes`` to the latter."""
    rng = np.random.default_rng(0)
    core = rng.normal(0, 2, (identities, expressions, 3 * vertices))
    core[0] += np.tile(rng.normal(0, 60, 3 * vertices), (expressions, 1))
    np.save(folder / "core_small.npy", core.astype(np.float32))
    landmarks = rng.choice(vertices, 68, replace=False)
    factors = {
        "id_mean": [1.0] + [0.0] * (identities - 1),
        "id_var": [0.04] * identities,
        "lm_index_full": (3 * landmarks[:, None] + np.arange(3)).ravel().tolist(),
        "faces": rng.integers(0, vertices, (150, 3)).tolist(),
    }
    (folder / "factor_small.json").write_text(json.dumps({**factors, **changes}))
    return core


@pytest.fixture
def small(tmp_path):
    """The core of a small pair, and the model read from it."""
    return write_pair(tmp_path), load_facescape(tmp_path)


def test_golden_fit_is_at_least_as_near_to_the_truth(shared):
    golden = np.load(shared("reference/fit_golden.npz"))
    model = load_face_model(str(shared("reference/factor_small.json")))
    fit = fit_landmarks3d(model, golden["landmarks3d"])

    def rms(vertices):
        return np.sqrt(((vertices - golden["true_verts"]) ** 2).sum(1).mean())

    assert fit.vertices.shape == (400, 3)
    assert rms(fit.vertices) <= rms(golden["verts"])
    assert fit.scale == pytest.approx(float(golden["scale"]), rel=0.01)
    angle = np.arccos((np.trace(fit.rotation @ golden["rotation"].T) - 1) / 2)
    assert np.degrees(angle) < 1


def test_shape_is_the_product_of_identity_and_expression(small):
    core, model = small
    assert isinstance(model, BilinearFaceModel)
    assert (model.n_identity, model.n_expression) == (4, 4)
    assert np.allclose(model.shape(np.zeros(4), np.zeros(4)), core[0, 0].reshape(-1, 3), atol=1e-4)
    # One blendshape at full weight is the core's own expression, in identity 0 with sigma 0.2 on the next.
    full = np.eye(4)[1] / 0.4
    expected = core[0, 2] + 0.2 * core[1, 2]
    assert np.allclose(model.shape(np.eye(4)[1], full), expected.reshape(-1, 3), atol=1e-3)


def test_points_have_the_derivative_they_say(tmp_path):
    write_pair(tmp_path)
    model = load_facescape(tmp_path / "core_small.npy")
    rng = np.random.default_rng(3)
    z, corners, bary = rng.normal(size=8), model.topology.faces[[4, 9, 77]], rng.dirichlet(np.ones(3), 3)
    points, jacobian = model.points(z[:4], z[4:], corners, bary)
    assert np.allclose(points, np.einsum("lk,lkc->lc", bary, model.shape(z[:4], z[4:])[corners]), atol=1e-4)
    step = 1e-4
    for index in range(8):
        up, down = z + step * np.eye(8)[index], z - step * np.eye(8)[index]
        above, below = (model.points(x[:4], x[4:], corners, bary)[0] for x in (up, down))
        assert np.allclose((above - below) / (2 * step), jacobian[..., index], atol=1e-5)


def test_threads_may_share_a_model(small):
    _, model = small
    rng = np.random.default_rng(4)
    z, bary = rng.normal(size=8), rng.dirichlet(np.ones(3), 3)
    places = [model.topology.faces[first : first + 3] for first in range(4)]
    expected = [model.points(z[:4], z[4:], corners, bary)[0] for corners in places]

    def ask(which):
        return all(
            np.array_equal(model.points(z[:4], z[4:], places[which], bary)[0], expected[which])
            for _ in range(200)
        )

    assert not any(isinstance(value, dict) for value in vars(model).values())  # it is frozen

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, range(4)))
    finally:
        sys.setswitchinterval(interval)


def test_the_published_file_is_the_same_model(tmp_path, small):
    core, pair = small
    factors = json.loads((tmp_path / "factor_small.json").read_text())
    np.savez(
        tmp_path / "facescape_bm_v1.6_small.npz",
        shape_bm_core=core.astype(np.float32).transpose(2, 1, 0),
        id_mean=np.array(factors["id_mean"]),
        id_var=np.array(factors["id_var"]),
        fv_indices=np.array(factors["faces"]),
        lm_list_v16=np.array(factors["lm_index_full"])[::3] // 3,
        vc_dict_front=np.array({"left": "unread"}, dtype=object),
    )
    published = load_face_model(str(tmp_path / "facescape_bm_v1.6_small.npz"))
    z = np.random.default_rng(0).normal(size=8)
    assert np.allclose(published.shape(z[:4], z[4:]), pair.shape(z[:4], z[4:]), atol=1e-3)


def test_uvs_come_from_the_template_beside_it(tmp_path):
    write_pair(tmp_path)
    lines = [f"v {i} 0 0" for i in range(90)] + [f"vt {i / 90} {1 - i / 90}" for i in range(90)]
    lines += [f"f {i}/{i} {i + 1}/{i + 1} {i + 2}/{i + 2}" for i in range(1, 89)]
    (tmp_path / "template.obj").write_text("\n".join(lines))
    topology = load_facescape(tmp_path).topology
    assert len(topology.faces) >= 88
    assert len(topology.uv_faces) == len(topology.faces)
    # Columns 128–383 of 512 become the whole width.
    assert topology.uv[45, 0] == pytest.approx((0.5 - 0.25) / 0.5)
    inside = topology.uv[topology.uv_faces[topology.facial]]
    assert inside.size
    assert inside.min() >= 0
    assert inside.max() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id_mean": [1.0, 0.0]}, r"'id_mean' has the shape \(2,\), expected \(4\)"),
        ({"id_var": [0.0] * 4}, "'id_var' must be positive"),
        ({"id_var": [float("nan")] * 4}, "not finite"),
        ({"id_mean": "one"}, "'id_mean'"),
        ({"lm_index_full": list(range(12))}, "'lm_index_full' has the shape"),
        ({"lm_index_full": list(range(1, 205))}, "x, y, z of 68 vertices"),
        ({"lm_index_full": list(range(3000, 3204))}, "whole numbers from 0 to 269"),
        ({"faces": [[0, 1, 90]]}, "'faces' must hold whole numbers from 0 to 89"),
        ({"faces": [[0, 1], [2, 3]]}, "'faces' has the shape"),
        ({"faces": [[0, 1], [2]]}, "is not FaceScape's factor file"),
    ],
)
def test_bad_factors_are_refused_by_name(tmp_path, changes, message):
    write_pair(tmp_path, **changes)
    with pytest.raises(FaceModelError, match=message) as caught:
        load_facescape(tmp_path)
    assert "factor_small.json" in str(caught.value)
    (tmp_path / "factor_small.json").write_text("{")
    with pytest.raises(FaceModelError, match="is not FaceScape's factor file"):
        load_facescape(tmp_path)


@pytest.mark.parametrize("kind", ["truncated", "objects", "two-dimensional", "not npy", "huge"])
def test_a_bad_core_is_refused(tmp_path, kind):
    write_pair(tmp_path)
    path = tmp_path / "core_small.npy"
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-400])
    elif kind == "objects":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "two-dimensional":
        np.save(path, np.zeros((4, 30)))
    elif kind == "not npy":
        path.write_text("hello")
    else:
        data = path.read_bytes()
        path.write_bytes(data.replace(b"(4, 5, 270)", b"(4,5,9**9)"))
    with pytest.raises(FaceModelError, match=r"core_small\.npy"):
        load_facescape(tmp_path)


def test_half_of_the_pair_is_not_enough(tmp_path):
    write_pair(tmp_path)
    shutil.copy(tmp_path / "core_small.npy", tmp_path / "alone.npy")
    (tmp_path / "factor_small.json").unlink()
    with pytest.raises(FaceModelError, match="no face model is recognised"):
        load_face_model(str(tmp_path))
