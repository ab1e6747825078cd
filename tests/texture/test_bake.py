"""The texture of a whole face, and what is refused."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import mesoface
from mesoface.config import Settings, make
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.texture import bake
from mesoface.texture.bake import paint
from mesoface.texture.plan import enlarge_rows, plan_texture
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
        make(Settings, texture_size=size)


@pytest.mark.parametrize("size", [0, 64, 1000, 8192])
def test_other_sizes_are_accepted(size):
    assert Settings(texture_size=size).texture_size == size


def test_a_texture_over_memory_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(bake, "available_memory_mb", lambda: 500.0)
    bake.check_memory(2048)
    with pytest.raises(ReconstructionError, match=r"8192.*500 MB are free.*--texture-size"):
        bake.check_memory(8192)
    monkeypatch.setattr(bake, "available_memory_mb", lambda: None)
    bake.check_memory(8192)


@pytest.fixture(scope="module")
def plan(cap):
    return plan_texture(cap.skin, [cap.photograph(angle) for angle in (-20, 20)])


def test_threads_do_not_matter(plan):
    np.testing.assert_array_equal(paint(plan, 200, threads=1), paint(plan, 200, threads=3))


@pytest.mark.parametrize("size", [64, 100, 300])
def test_any_size_shows_the_same(plan, cap, size):
    color = paint(plan, size)
    assert color.shape == (size, size, 3)
    assert color.dtype == np.float32
    reference = cv2.resize(paint(plan, 512), (size, size), interpolation=cv2.INTER_AREA)
    inner = cap.inner(size)
    assert np.abs(color - reference)[inner].mean() < 0.02


def test_progress_is_told_of_every_photo(plan):
    calls = []
    paint(plan, 64, progress=lambda *call: calls.append(call))
    assert calls == [("Texture", 0, 2), ("Texture", 1, 2), ("Texture", 2, 2)]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize(("old", "size"), [(16, 64), (50, 130), (40, 40), (64, 20)])
def test_bands_are_the_whole_map_in_pieces(old, size, channels):
    values = np.random.default_rng(1).random((old, old, *channels), np.float32)
    whole = enlarge_rows(values, range(size), size)
    bands = [enlarge_rows(values, range(start, min(start + 7, size)), size) for start in range(0, size, 7)]
    np.testing.assert_allclose(np.concatenate(bands), whole, atol=1e-6)
    if size >= old:
        enlarged = cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(whole, enlarged, atol=1e-5)


def test_convention_texel_centres_at_half_integers():
    """A ramp in u and v keeps its values at the texels' own (u, v)."""
    at = (np.arange(32) + 0.5) / 32
    ramp = np.stack(np.meshgrid(at, at), -1).astype(np.float32)
    fine = (np.arange(96) + 0.5) / 96
    expected = np.clip(np.stack(np.meshgrid(fine, fine), -1), at[0], at[-1])
    np.testing.assert_allclose(enlarge_rows(ramp, range(96), 96), expected, atol=1e-6)
