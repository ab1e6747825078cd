import json

import numpy as np
import pytest

from mesoface.errors import FaceModelError
from mesoface.face_models import base_mesh, load_face_model
from mesoface.face_models.ict import EXPRESSION_SIGMA, N_SURFACE, N_VERTICES, fan_quads, load_ict

FILE = "ict/ict_facekit_mm.npz"


@pytest.fixture(scope="module")
def ict(shared):
    return load_ict(shared(FILE))


@pytest.fixture(scope="module")
def arrays(shared):
    with np.load(shared(FILE)) as data:
        return {name: data[name] for name in data.files if "delta" not in name and "names" not in name} | {
            "identity_delta_q": data["identity_delta_q"][:2],
            "identity_scale_mm": data["identity_scale_mm"][:2],
            "expression_delta_q": data["expression_delta_q"][:1],
            "expression_scale_mm": data["expression_scale_mm"][:1],
        }


def test_quads_become_two_triangles_and_padded_ones_one():
    quads = np.array([[10, 11, 12, 13], [14, 15, 16, -1]])
    triangles = quads.ravel()[fan_quads(quads)]
    assert sorted(map(tuple, triangles)) == [(10, 11, 12), (10, 12, 13), (14, 15, 16)]


def test_convention_ict_is_in_millimetres_facing_forward_with_the_left_at_positive_x(ict):
    topology = ict.topology
    place = topology.landmark_points("ibug68", ict.mean)
    assert 80 < np.linalg.norm(place[45] - place[36]) < 100  # outer corners of the eyes
    assert place[45, 0] > place[36, 0]  # the subject's left eye
    assert place[27, 1] > place[8, 1]  # nose bridge above the chin
    assert place[30, 2] > place[[0, 16], 2].max()  # the tip of the nose in front of the ears
    tip = topology.faces[topology.landmark_faces["ibug68"][30]]
    assert base_mesh(ict, ict.mean).vertex_normals()[tip, 2].min() > 0


def test_facial_mask_is_a_layout_without_folds_that_fills_the_square(ict):
    topology = ict.topology
    uv = topology.uv[topology.uv_faces[topology.facial]]
    area = np.cross(uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]) / 2
    assert (area > 0).all()
    assert 0.75 < area.sum() < 1
    assert uv.min() > -0.02
    assert uv.max() < 1.02
    # Texels are of even size: none of the mask is squashed.
    corners = ict.mean[topology.faces[topology.facial]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    density = np.sqrt(np.linalg.norm(normals, axis=1) / 2 / area)
    assert np.percentile(density, 99) / np.percentile(density, 1) < 3


def test_openings_ears_and_neck_are_not_facial(ict):
    topology = ict.topology
    facial = np.zeros(len(ict.mean), bool)
    facial[topology.faces[topology.facial]] = True
    assert not facial[9409:].any()  # head, mouth, teeth, eyeballs
    at = ict.mean[facial]
    assert np.abs(at[:, 0]).max() < 80
    assert at[:, 1].min() > -90
    assert at[:, 1].max() < 110
    assert at[:, 2].min() > 10


def test_expressions_are_blendshapes_between_zero_and_one(ict, shared):
    low, high = ict.bounds
    assert np.isinf(low[:100]).all()
    assert (low[100:] == 0).all()
    assert np.allclose(high[100:] * EXPRESSION_SIGMA, 1)
    with np.load(shared(FILE)) as data:
        jaw = list(data["expression_names"]).index("jawOpen")
        full = data["expression_delta_q"][jaw] * data["expression_scale_mm"][jaw]
    z = np.zeros(53)
    z[jaw] = high[100 + jaw]
    moved = ict.shape(np.zeros(100), z) - ict.mean
    assert np.allclose(moved, full[:N_SURFACE], atol=1e-3)


def test_measured_landmarks_lie_where_the_68_do(ict):
    topology = ict.topology

    def places(scheme):
        points = topology.landmark_points(scheme, ict.mean)
        return dict(zip(topology.landmark_ids[scheme], points, strict=True))

    assert len(topology.landmark_ids["mediapipe478"]) > 400
    ibug, mediapipe = places("ibug68"), places("mediapipe478")
    for a, b in ((36, 33), (39, 133), (45, 263), (42, 362), (48, 61), (54, 291), (30, 4), (8, 152)):
        assert np.linalg.norm(ibug[a] - mediapipe[b]) < 9
    for bary in topology.landmark_bary.values():
        assert np.allclose(bary.sum(1), 1, atol=1e-5)


def test_a_checkout_is_the_same_model(arrays, tmp_path):
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    np.savez(tmp_path / "ict.npz", **arrays)
    compact = load_face_model(str(tmp_path / "ict.npz"))
    quads, uv_quads = arrays["quads"], arrays["uv_quads"]
    rest = "".join(f"vt {u:.7f} {v:.7f}\n" for u, v in arrays["uv"])
    for quad, uv in zip(quads, uv_quads, strict=True):
        line = " ".join(f"{v + 1}/{t + 1}" for v, t in zip(quad, uv, strict=True) if v >= 0)
        rest += f"f {line}\n"
    shapes = {"generic_neutral_mesh": np.zeros(1)}
    modes = {"identity000": ("identity", 0), "identity001": ("identity", 1), "browDown_L": ("expression", 0)}
    for name, (kind, index) in modes.items():
        shapes[name] = arrays[f"{kind}_delta_q"][index] * arrays[f"{kind}_scale_mm"][index]
    for name, delta in shapes.items():
        vertices = (arrays["neutral_mm"] + delta) / 10
        text = "".join(f"v {x:.9f} {y:.9f} {z:.9f}\n" for x, y, z in vertices.tolist())
        (folder / f"{name}.obj").write_text(text + rest)
    index = {"expressions": ["browDown_L"], "idx_to_landmark_verts": arrays["landmark68_vertices"].tolist()}
    (folder / "vertex_indices.json").write_text(json.dumps(index))

    model = load_face_model(str(tmp_path))
    assert (model.n_identity, model.n_expression) == (2, 1)
    assert np.allclose(model.mean, compact.mean, atol=1e-4)
    assert np.allclose(model.basis, compact.basis, atol=1e-3)
    ours = sorted(map(tuple, np.sort(model.topology.faces[model.topology.facial], 1).tolist()))
    theirs = sorted(map(tuple, np.sort(compact.topology.faces[compact.topology.facial], 1).tolist()))
    assert ours == theirs

    (folder / "browDown_L.obj").write_text("v 0 0 0\n")
    with pytest.raises(FaceModelError, match=rf"browDown_L\.obj: has 1 vertices, {N_VERTICES}"):
        load_face_model(str(tmp_path))
    (folder / "vertex_indices.json").write_text('{"expressions": ["../../etc/passwd"]}')
    with pytest.raises(FaceModelError, match=r"vertex_indices\.json"):
        load_face_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("quads", lambda a: a + 10**6, "'quads' must hold whole numbers"),
        ("quads", lambda a: a.astype(float), "'quads' must hold whole numbers"),
        ("neutral_mm", lambda a: a[:100], r"'neutral_mm' has the shape \(100, 3\), expected \(26719, 3\)"),
        ("neutral_mm", lambda a: a * np.nan, "not finite"),
        ("identity_scale_mm", lambda a: a[:1], "'identity_scale_mm' has the shape"),
        ("landmark68_vertices", lambda a: None, "has no array 'landmark68_vertices'"),
        ("uv", lambda a: a.astype(str), "expected numbers"),
    ],
)
def test_bad_compact_files_are_refused_by_name(arrays, tmp_path, name, change, message):
    changed = {**arrays, name: change(arrays[name])}
    np.savez(tmp_path / "ict.npz", **{k: v for k, v in changed.items() if v is not None})
    with pytest.raises(FaceModelError, match=message) as caught:
        load_face_model(str(tmp_path / "ict.npz"))
    assert "ict.npz" in str(caught.value)


def test_a_truncated_file_is_refused(shared, tmp_path):
    path = tmp_path / "ict.npz"
    path.write_bytes(shared(FILE).read_bytes()[:100_000])
    with pytest.raises(FaceModelError, match="is not a readable"):
        load_face_model(str(path))
