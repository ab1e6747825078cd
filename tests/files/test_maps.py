"""EXR and PNG maps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import mesoface.files.maps
from mesoface.errors import MesofaceError
from mesoface.files.maps import read_exr, write_exr, write_png


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3)])
def test_exr_round_trip_is_exact_with_nan(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 1e3
    values[1, 2] = np.nan
    write_exr(tmp_path / "a.exr", values, comment="displacement, mm")
    np.testing.assert_array_equal(read_exr(tmp_path / "a.exr"), values)


def test_exr_row_0_is_the_top(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", np.arange(6, dtype=np.float32).reshape(3, 2))
    assert read_exr(tmp_path / "a.exr")[0].tolist() == [0, 1]


@pytest.mark.parametrize("data", ["missing", "truncated", b"", b"not an EXR", b"v/1\x01" + bytes(40)])
def test_broken_exr_is_refused_by_name(tmp_path: Path, data: str | bytes) -> None:
    if data == "truncated":
        write_exr(tmp_path / "a.exr", np.random.default_rng(0).normal(size=(64, 64)))
        whole = (tmp_path / "a.exr").read_bytes()
        data = whole[: len(whole) // 2]
    if isinstance(data, bytes):
        (tmp_path / "a.exr").write_bytes(data)
    with pytest.raises(MesofaceError, match=r"a\.exr.*not an EXR"):
        read_exr(tmp_path / "a.exr")


def test_exr_over_the_limit_is_refused_before_decoding(tmp_path, monkeypatch):
    write_exr(tmp_path / "a.exr", np.zeros((9, 9)))
    monkeypatch.setattr(mesoface.files.maps, "MAX_PIXELS", 80)
    with pytest.raises(MesofaceError, match="9 × 9"):
        read_exr(tmp_path / "a.exr")


@pytest.mark.parametrize("shape", [(3,), (3, 3, 2), (0, 4)])
def test_exr_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a map must be"):
        write_exr(tmp_path / "a.exr", np.zeros(shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_round_trip_in_rgb(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    write_png(tmp_path / "a.png", values)
    back = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(back if back.ndim == 2 else back[..., ::-1], values)


def test_png_of_floats_is_clipped_to_8_bits(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.array([[-1.0, 0.5, 2.0, np.nan]]))
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).tolist() == [[0, 128, 255, 0]]


def test_png_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PNG map"):
        write_png(tmp_path / "a.png", np.zeros((2, 2), np.int32))
