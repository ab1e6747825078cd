"""Training sets: their ranges, and captures that are reproducible, complete or absent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.load import load_capture
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.lab.synthesis.dataset import (
    DatasetRanges,
    draw_capture,
    make_capture_folder,
    make_dataset,
    read_ranges,
)


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


TINY = DatasetRanges(views=(2, 3), longest_side=(100, 140), detail_mm=(4.0, 5.0))
FILES = {"0.jpg", "1.jpg", "gt.ply", "params.json", "truth.json"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("sets") / "set", count=2, workers=2, seed=5, ranges=TINY)


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "set"))


def test_captures_are_complete_and_differ(dataset: Path) -> None:
    names = ["000000", "000001", "README.md", "dataset.json"]
    assert sorted(path.name for path in dataset.iterdir()) == names
    for folder in sorted(dataset.glob("0*")):
        assert {path.name for path in folder.iterdir()} >= FILES
        assert len(load_capture(folder)) >= 2
    first, second = (json.loads((dataset / f"{i:06d}" / "truth.json").read_text()) for i in range(2))
    assert first["identity"] != second["identity"]
    assert first["settings"] != second["settings"]
    assert first["settings"]["calibration_px"] > 0


def test_a_capture_depends_on_seed_and_number_alone(dataset: Path, tmp_path: Path) -> None:
    """Made in this process, without the others: the same bytes."""
    job = draw_capture(tmp_path, 1, 5, ["generic"], TINY)
    make_capture_folder(job)
    assert contents(job.folder) == contents(dataset / "000001")
    assert draw_capture(tmp_path, 1, 6, ["generic"], TINY) != job


def test_what_is_there_is_kept_and_the_rest_made(copy: Path) -> None:
    before = contents(copy)
    shutil.rmtree(copy / "000000")
    made: list[tuple[int, int]] = []
    make_dataset(
        copy, count=2, seed=5, ranges=TINY, progress=lambda label, done, total: made.append((done, total))
    )
    assert made == [(1, 2), (2, 2)]
    assert contents(copy) == before


def test_card_tells_what_is_in_it_and_how_to_make_it_again(dataset: Path) -> None:
    card = (dataset / "README.md").read_text()
    assert "| captures | 2 |" in card
    assert "generic (2)" in card
    assert "--count 2 --seed 5 --ranges ranges.json" in card
    assert "| jpeg_quality | 35 | 98 |" in card
    assert "icence" in card
    assert json.loads((dataset / "dataset.json").read_text())["ranges"]["views"] == [2, 3]


def test_other_settings_are_refused_and_change_nothing(copy: Path) -> None:
    before = contents(copy)
    with pytest.raises(MesofaceError, match="seed was 5, now 6"):
        make_dataset(copy, count=3, seed=6, ranges=TINY)
    with pytest.raises(MesofaceError, match="views"):
        make_dataset(copy, count=3, seed=5)
    truth = copy / "000001" / "truth.json"
    said = json.loads(truth.read_text())
    truth.write_text(json.dumps({**said, "seed": 1}))
    with pytest.raises(MesofaceError, match="000001"):
        make_dataset(copy, count=3, seed=5, ranges=TINY)
    truth.unlink()
    with pytest.raises(MesofaceError, match="000001"):
        make_dataset(copy, count=3, seed=5, ranges=TINY)
    truth.write_text(json.dumps(said, indent=1) + "\n")
    assert contents(copy) == before


def test_impossible_arguments_leave_nothing(tmp_path: Path) -> None:
    for values in ({"count": 0}, {"workers": 0}, {"seed": -1}, {"models": []}):
        with pytest.raises(MesofaceError, match="at least one"):
            make_dataset(tmp_path / "set", **{"count": 1, **values})
    with pytest.raises(MesofaceError, match="nobody"):
        make_dataset(tmp_path / "set", count=1, models=["generic", "nobody"])
    with pytest.raises(MesofaceError, match="views"):
        make_dataset(tmp_path / "set", count=1, ranges=DatasetRanges(views=(0, 3)))
    assert not list(tmp_path.iterdir())


def test_a_capture_that_fails_is_named_and_the_others_are_made(tmp_path: Path) -> None:
    """A model's file that goes away in between: captures of the other model are still made."""
    out, gone = tmp_path / "mixed", str(tmp_path / "gone.npz")
    models = ["generic", gone]
    seed = next(
        s for s in range(99) if [draw_capture(out, k, s, models, TINY).model for k in (0, 1)] == models
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesoface.lab.synthesis.dataset.load_face_model", lambda name: None)
        with pytest.raises(IncompleteError, match=r"1 of 2 captures failed: 000001 .*gone\.npz"):
            make_dataset(out, count=2, workers=2, seed=seed, models=models, ranges=TINY)
    assert [path.name for path in out.glob("0*")] == ["000000"]
    assert "| captures | 1 |" in (out / "README.md").read_text()


SCRIPT = """
import sys
from mesoface.lab.synthesis.dataset import DatasetRanges, make_dataset
if __name__ == "__main__":
    ranges = DatasetRanges(views=(2, 3), longest_side=(100, 140), detail_mm=(4.0, 5.0))
    make_dataset(sys.argv[1], count=2, workers=2, seed=5, ranges=ranges)
"""


@pytest.mark.slow
def test_kill_9_loses_only_what_was_in_work(dataset: Path, tmp_path: Path) -> None:
    script, out = tmp_path / "make.py", tmp_path / "set"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, script, out])
    end = time.monotonic() + 120
    while not list(out.glob(".0*")) and time.monotonic() < end:
        time.sleep(0.01)
    assert list(out.glob(".0*")), "nothing was in work"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for capture in out.glob("0*"):
        assert contents(capture) == contents(dataset / capture.name)
    make_dataset(out, count=2, workers=2, seed=5, ranges=TINY)
    assert contents(out) == contents(dataset)
