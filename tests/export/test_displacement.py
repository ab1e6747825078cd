"""Displacement maps: what is in the files is what was measured."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.export.displacement import (
    MIDDLE,
    decode_displacement,
    encode_displacement,
    export_exr,
    export_png,
    full_scale,
)
from mesoface.export.normals import export_normals
from mesoface.files.maps import read_exr


def test_exr_is_millimetres_without_holes(upright_cap, tmp_path):
    export_exr(upright_cap, tmp_path)
    values = read_exr(tmp_path / "displacement.exr")
    np.testing.assert_array_equal(values, upright_cap.detail.displacement)
    assert np.isfinite(values).all()
    assert values[0, 0] == 0


def test_png_and_its_sidecar_give_the_millimetres_back(upright_cap, tmp_path):
    export_png(upright_cap, tmp_path)
    values = cv2.imread(str(tmp_path / "displacement.png"), cv2.IMREAD_UNCHANGED)
    about = json.loads((tmp_path / "displacement.json").read_text())
    assert values.dtype == np.uint16
    assert about["unit"] == "mm"
    found = (values / 65535 - about["midlevel"]) * about["scale"]
    np.testing.assert_allclose(found, upright_cap.detail.displacement, atol=0.51 * about["scale"] / 65535)
    assert values[0, 0] == MIDDLE, "no displacement is exactly the midlevel"


@pytest.mark.parametrize("reach", [0.0, 0.3, 0.5, 7.77])
def test_the_scale_holds_everything_and_zero_is_exact(reach):
    displacement = np.array([[-reach, 0, reach]], np.float32)
    scale = full_scale(displacement)
    values = encode_displacement(displacement, scale)
    assert values[0, 1] == MIDDLE
    np.testing.assert_allclose(decode_displacement(values, scale), displacement, atol=0.51 * scale / 65535)


def test_displacement_beyond_the_scale_is_clipped():
    values = encode_displacement(np.array([[-9.0, 9.0]], np.float32), 1.0)
    assert values.tolist() == [[0, 65535]]


def test_normal_maps_have_16_bits(upright_cap, tmp_path):
    export_normals(upright_cap, tmp_path)
    for name in ("normal_tangent.png", "normal_object.png"):
        values = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert values.dtype == np.uint16
        length = np.linalg.norm(values / 65535 * 2 - 1, axis=-1)
        np.testing.assert_allclose(length, 1, atol=1e-4)
    middle = values[64, 64] / 65535 * 2 - 1
    assert middle[2] > 0.95, "the middle of the face looks along z"


@pytest.mark.parametrize("write", [export_exr, export_png, export_normals])
def test_a_run_that_measured_nothing_has_none(base_only, tmp_path, write):
    with pytest.raises(MesofaceError, match="stopped at the base"):
        write(base_only, tmp_path)
    assert not list(tmp_path.iterdir())
