"""Surfaces as the browser gets them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh

from mesoface.viewer.result import legend, read_result, shaded_glb, shadings
from tests.viewer.conftest import SIZE


@pytest.fixture
def result(ball_run):
    errors = np.full((SIZE, SIZE), 0.04, np.float32)
    errors[:, : SIZE // 2] = np.nan
    ball_run.write(errors.ravel())
    return read_result(ball_run.run)


def loaded(result, shading):
    data = shaded_glb(result, result.surfaces["fine"], shading)
    return trimesh.load(io.BytesIO(data), file_type="glb", process=False).geometry.popitem()[1]


def test_there_are_as_many_shadings_as_there_is_something_to_show(result):
    every = ["clay", "normals", "texture", "confidence", "error"]
    assert shadings(result, result.surfaces["fine"]) == every
    assert shadings(result, result.surfaces["base"]) == every[:-1]


@pytest.mark.parametrize("shading", ["clay", "normals", "texture", "confidence", "error"])
def test_every_shading_is_the_surface_in_metres(result, shading):
    mesh = result.surfaces["fine"].mesh
    read = loaded(result, shading)
    np.testing.assert_allclose(read.vertices, mesh.vertices / 1000, atol=1e-6)
    np.testing.assert_array_equal(read.faces, mesh.faces)


def test_the_texture_is_in_the_file_the_right_way_up(result):
    read = loaded(result, "texture")
    np.testing.assert_allclose(read.visual.uv, result.surfaces["fine"].mesh.uv, atol=1e-6)
    image = np.asarray(read.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_allclose(image[5, 5], [255, 0, 0], atol=3)


def test_only_false_colours_have_a_bar(result):
    fine = result.surfaces["fine"]
    assert [legend(fine, shading) is not None for shading in shadings(result, fine)] == [
        False,
        False,
        False,
        True,
        True,
    ]
