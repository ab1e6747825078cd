"""The texture of a whole face, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import mesoface
from mesoface.config import make_settings
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.texture import bake
from mesoface.uvd.maps import dilate


def test_the_sample_face_has_a_texture(sample_face):
    texture, fine = sample_face.texture, sample_face.fine
    assert texture.size == 2048
    assert texture.color.shape == (2048, 2048, 3)
    assert texture.color.dtype == np.float32
    assert texture.color.min() >= 0
    assert texture.color.max() <= 1
    kept, seen = fine.kept[1::2, 1::2], texture.seen[4::8, 4::8]  # 256² of both
    assert seen[kept].mean() > 0.97
    # Openings are photographed too; beyond the measured rim nothing is.
    assert not (seen & ~dilate(kept, 20)).any()


def test_skin_is_skin_coloured_up_to_the_rim_and_beyond(sample_face):
    """The background is grey-blue: red over blue tells skin from it, even where it was filled in."""
    color = sample_face.texture.color[::8, ::8]
    assert (color[..., 0] > color[..., 2]).mean() > 0.98


def test_a_result_holds_the_texture(sample_face, tmp_path):
    mesoface.save_face(sample_face, tmp_path / "face")
    texture = sample_face.texture
    with Image.open(tmp_path / "face" / "texture.png") as image:
        assert image.mode == "RGB"
        assert np.abs(np.asarray(image) / 255 - texture.color).max() <= 0.5001 / 255
    with Image.open(tmp_path / "face" / "texture_seen.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.where(texture.seen, 255, 0))
    record = json.loads((tmp_path / "face" / "run.json").read_text())
    assert record["texture"] == {"size": 2048, "seen": pytest.approx(texture.seen.mean(), abs=1e-4)}
    assert "texture" in [stage["name"] for stage in record["stages"]]


@pytest.mark.parametrize("size", [-1, 1, 63, 8193, 100_000])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(MesofaceError, match="texture_size"):
        make_settings(texture_size=size)


@pytest.mark.parametrize("size", [0, 64, 1000, 8192])
def test_other_sizes_are_accepted(size):
    assert make_settings(texture_size=size).texture_size == size


def test_a_texture_over_memory_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(bake, "available_memory_mb", lambda: 500.0)
    bake.check_memory(2048)
    with pytest.raises(ReconstructionError, match=r"8192.*500 MB are free.*--texture-size"):
        bake.check_memory(8192)
    monkeypatch.setattr(bake, "available_memory_mb", lambda: None)
    bake.check_memory(8192)
