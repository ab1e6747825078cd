"""What the captures of a training set are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.lab.synthesis.dataset import DatasetRanges, read_ranges


def test_draws_stay_inside_and_reach_the_ends() -> None:
    ranges = DatasetRanges()
    drawn = [ranges.draw(np.random.default_rng(seed)) for seed in range(1500)]
    for name in ("views", "detail_mm", "expression", "blur_px", "exposure_jitter", "jpeg_quality"):
        low, high = getattr(ranges, name)
        values = np.array([getattr(settings, name) for settings in drawn])
        assert low <= values.min() < low + 0.05 * (high - low) + 1e-9
        assert high >= values.max() > high - 0.05 * (high - low) - 1e-9
    views = np.array([settings.views for settings in drawn])
    assert 0.7 < np.mean((views >= 5) & (views <= 12)) < 0.95
    assert {640, 1296} >= {min(s.height for s in drawn), max(s.height for s in drawn)}
    assert all(s.width < s.height for s in drawn)
    assert np.median([s.calibration_px for s in drawn]) == pytest.approx(0.1, abs=0.03)
    spread = np.array([settings.spread_deg for settings in drawn])
    assert spread.min() >= 30
    assert spread.max() <= 140
    assert (spread / (views - 1) <= 45).all()


@pytest.mark.parametrize(
    ("ranges", "names"),
    [
        ({"views": (5, 3)}, "views"),
        ({"views": (1, 3)}, "views"),
        ({"blur_px": (0.0, 90.0)}, "blur_px"),
        ({"longest_side": (10, 900)}, "width"),
        ({"longest_side": (640, 90000)}, "width"),
        ({"jpeg_quality": (0, 90)}, "jpeg_quality"),
    ],
)
def test_ranges_that_cannot_be_made_are_named(ranges: dict, names: str) -> None:
    with pytest.raises(MesofaceError, match=names):
        DatasetRanges(**ranges)


def test_ranges_from_a_file_are_the_defaults_but_for_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "ranges.json"
    file.write_text('{"views": [3, 4], "blur_px": [0, 2]}')
    assert read_ranges(file) == DatasetRanges(views=(3, 4), blur_px=(0.0, 2.0))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"eyes": [1, 2]}', "eyes"),
        ('{"views": [1, 2, 3]}', "views"),
        ('{"views": [1.5, 2]}', "views"),
        ('{"noise_levels": [0, "much"]}', "noise_levels"),
        ('{"distance_mm": [900, 600]}', "distance_mm"),
        ('{"distance_mm": [0, 600]}', "distance_mm"),
        ('{"blur_px": [0, NaN]}', "blur_px"),
    ],
)
def test_files_with_other_things_are_refused_by_name(tmp_path: Path, content: str, names: str) -> None:
    file = tmp_path / "ranges.json"
    file.write_text(content)
    with pytest.raises(MesofaceError, match=names) as error:
        read_ranges(file)
    assert str(file) in str(error.value)
    with pytest.raises(MesofaceError, match=r"nowhere\.json"):
        read_ranges(tmp_path / "nowhere.json")
