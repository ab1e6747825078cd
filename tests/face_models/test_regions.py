"""Names of places on a face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mesoface.face_models import load_face_model
from mesoface.face_models.regions import region_centers


def test_regions_lie_where_their_names_say():
    """The generic model looks along +z, its left is +x, up is +y."""
    model = load_face_model("generic")
    vertices = model.shape(np.zeros(model.n_identity), np.zeros(model.n_expression))
    at = region_centers(model.topology, vertices)
    for name, point in at.items():
        side = name.split()[0]
        if side in {"left", "right"}:
            assert (point[0] > 10) if side == "left" else (point[0] < -10)
        else:
            assert abs(point[0]) < 5
        assert np.linalg.norm(vertices - point, axis=1).min() < 25
    heights = [at[name][1] for name in ("forehead", "left brow", "left eye", "nose", "mouth", "chin")]
    assert heights == sorted(heights, reverse=True)
    assert np.diff(sorted(heights)).min() > 4


def test_a_model_without_landmarks_has_no_regions():
    model = load_face_model("generic")
    bare = replace(model.topology, landmark_ids={}, landmark_faces={}, landmark_bary={})
    assert region_centers(bare, np.zeros((10, 3))) == {}


def test_a_model_that_lacks_some_of_the_landmarks_has_no_regions():
    model = load_face_model("generic")
    scheme, ids = next(iter(model.topology.landmark_ids.items()))
    keep = ids != 33
    few = replace(
        model.topology,
        landmark_ids={scheme: ids[keep]},
        landmark_faces={scheme: model.topology.landmark_faces[scheme][keep]},
        landmark_bary={scheme: model.topology.landmark_bary[scheme][keep]},
    )
    assert region_centers(few, np.zeros((10, 3))) == {}
