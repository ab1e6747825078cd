"""Regions of the face lie where they should, and errors are told of the region that has them."""

from __future__ import annotations

import numpy as np
import pytest
from regions import REGIONS, errors_by_region, region_map

from mesoface.evaluation import GroundTruth
from mesoface.face_models.loading import load_generic
from mesoface.face_models.model import base_mesh
from mesoface.lab.synthesis.anatomy import SCHEME

# Landmarks of MediaPipe, and where they are.
PLACES = {
    **dict.fromkeys((4, 6), "nose"),
    **dict.fromkeys((64, 294), "nose wings"),
    **dict.fromkeys((13, 17), "lips"),
    **dict.fromkeys((159, 386), "eyelids"),
    **dict.fromkeys((105, 334), "brows"),
    **dict.fromkeys((50, 280), "cheeks"),
    **dict.fromkeys((234, 454), "rim"),
    151: "forehead",
    199: "chin",
}


def landmark_uv(landmark: int) -> np.ndarray:
    topology = load_generic().topology
    which = list(topology.landmark_ids[SCHEME]).index(landmark)
    corners = topology.uv[topology.uv_faces[topology.landmark_faces[SCHEME][which]]]
    return topology.landmark_bary[SCHEME][which] @ corners


@pytest.mark.parametrize(("landmark", "region"), PLACES.items())
def test_landmarks_lie_in_their_regions(landmark, region):
    u, v = landmark_uv(landmark)
    size = len(region_map())
    assert REGIONS[region_map()[int((1 - v) * size), int(u * size)]] == region


def test_both_sides_of_the_face_are_alike():
    assert (region_map() == region_map()[:, ::-1]).mean() > 0.97


def test_an_error_is_told_of_its_region():
    model = load_generic()
    true = base_mesh(model, model.mean).select_faces(model.topology.facial)
    column, row = (true.uv * (1, -1) + (0, 1)).T * len(region_map())
    lips = region_map()[row.astype(int), column.astype(int)] == REGIONS.index("lips")
    moved = true.with_vertices(true.vertices + 0.3 * lips[:, None] * true.vertex_normals())
    errors = errors_by_region(moved, GroundTruth(true))
    assert set(errors) == set(REGIONS)
    assert errors["lips"].share > 0.6
    assert max(errors, key=lambda name: errors[name].mean) == "lips"
    assert errors["cheeks"].mean < 0.01
    assert sum(error.area for error in errors.values()) == pytest.approx(1)
    assert sum(error.share for error in errors.values()) == pytest.approx(1)


def test_a_mesh_without_uvs_has_no_regions():
    model = load_generic()
    mesh = base_mesh(model, model.mean)
    with pytest.raises(ValueError, match="no UVs"):
        errors_by_region(type(mesh)(mesh.vertices, mesh.faces), GroundTruth(mesh))
