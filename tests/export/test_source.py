"""A face in the frame and with the detail that an export asks for, from memory or from a result."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mesoface.export import ExportOptions, ExportSource, export_face
from mesoface.files.maps import read_exr
from mesoface.relief.predict import MesoRelief
from mesoface.results.load import load_face
from tests.faces import written


def test_convention_an_upright_face_looks_along_z_with_y_up(world_cap, upright_cap):
    middle = np.linalg.norm(upright_cap.base.uv - 0.5, axis=1).argmin()
    np.testing.assert_allclose(upright_cap.base.vertices[middle], (0, 0, 80), atol=1e-9)
    top = upright_cap.base.vertices[upright_cap.base.uv[:, 1] > 0.9]
    assert top[:, 1].min() > 30
    left = upright_cap.base.vertices[upright_cap.base.uv[:, 0] > 0.9]  # the subject's
    assert left[:, 0].min() > 30
    rotation, translation = upright_cap.world
    back = upright_cap.base.vertices @ rotation.T + translation
    np.testing.assert_allclose(back, world_cap.base.vertices, atol=1e-9)
    detail, fine = upright_cap.detail, world_cap.fine
    np.testing.assert_array_equal(detail.measured, fine.kept)
    distance = np.linalg.norm(detail.surface[fine.kept], axis=1)
    np.testing.assert_allclose(distance, 80 + fine.displacement[fine.kept], atol=1e-3)


def test_a_face_that_was_read_again_is_exported_as_the_one_in_memory(reread, upright_cap):
    np.testing.assert_allclose(reread.base.vertices, upright_cap.base.vertices, atol=1e-4)
    for name in ("displacement", "surface", "position"):
        np.testing.assert_allclose(getattr(reread.detail, name), getattr(upright_cap.detail, name), atol=1e-3)
    np.testing.assert_array_equal(reread.detail.measured, upright_cap.detail.measured)
    np.testing.assert_array_equal(reread.color, upright_cap.color)
    np.testing.assert_array_equal(reread.facial, upright_cap.facial)


def test_a_run_that_stopped_at_the_base_has_no_detail(base_only):
    assert base_only.detail is None
    assert base_only.color is None


def test_predicted_relief_is_read_and_may_be_left_out(world_cap, tmp_path):
    height = np.full((64, 64), 0.05, np.float32)
    height[:5] = 0
    relief = MesoRelief(height, height > 0, "learned", 1.7)
    face = load_face(written(tmp_path / "run", replace(world_cap, relief=relief)))
    np.testing.assert_array_equal(face.relief.height, height)
    files = {}
    for detail in ("all", "measured"):
        export_face(face, tmp_path / detail, ["exr"], ExportOptions(detail=detail))
        files[detail] = read_exr(tmp_path / detail / "displacement.exr")
        said = json.loads((tmp_path / detail / "export.json").read_text())["detail"]
        assert said == ("measured and predicted" if detail == "all" else "measured")
    difference = files["all"] - files["measured"]
    assert np.median(difference) == pytest.approx(0.05, abs=1e-4)
    assert ExportSource(face, ExportOptions(detail="measured")).detail.size == 128
