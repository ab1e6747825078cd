"""Shards from many captures: which captures, which truth, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.meshes import read_mesh, write_ply
from mesoface.lab.training.prepare import TilesJob, name_captures, prepare_tiles, write_capture_tiles


@pytest.fixture
def captures(sample_capture: Path, tmp_path: Path) -> Path:
    """Two captures in a folder; the truth of the second is 60 mm too high."""
    folder = tmp_path / "captures"
    for name in ("good", "moved"):
        shutil.copytree(sample_capture, folder / name)
    truth = read_mesh(folder / "moved" / "gt.ply")
    write_ply(folder / "moved" / "gt.ply", truth.with_vertices(truth.vertices + [0, 60.0, 0]))
    return folder


def test_captures_are_found_at_any_depth_and_named_after_their_folders(captures: Path) -> None:
    deep = captures / "rig" / "1_smile"
    shutil.copytree(captures / "good", deep)
    found = name_captures([captures])
    assert list(found) == ["captures-good", "captures-moved", "captures-rig-1_smile"]
    assert found["captures-rig-1_smile"] == deep
    assert name_captures([deep, deep]) == {"1_smile": deep}
    with pytest.raises(MesofaceError, match=r"params\.json"):
        name_captures([captures, captures / "good" / "nothing"])
    other = captures / "other" / "1_smile"
    shutil.copytree(deep, other)
    with pytest.raises(MesofaceError, match="two captures would be named 1_smile"):
        name_captures([deep, other])


def test_a_list_names_captures_and_they_are_named_after_it(captures: Path, tmp_path: Path) -> None:
    (captures / "001").mkdir()
    shutil.move(captures / "good", captures / "001" / "01")
    (tmp_path / "train.txt").write_text("captures/001/01\ncaptures/moved\n")
    found = name_captures([tmp_path / "train.txt"])
    assert found == {
        "train-captures-001-01": captures / "001" / "01",
        "train-captures-moved": captures / "moved",
    }
    (tmp_path / "one.txt").write_text("captures/001/01\n")
    assert list(name_captures([tmp_path / "one.txt"])) == ["one-captures-001-01"]
    (tmp_path / "bad.txt").write_text("captures/001\n")
    with pytest.raises(MesofaceError, match=r"001 is no capture .*params\.json"):
        name_captures([tmp_path / "bad.txt"])


def test_a_refused_truth_skips_its_capture_and_keeps_the_others(captures: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    with pytest.raises(MesofaceError, match=r"1 of 1 captures failed: moved .*true surface") as none_left:
        prepare_tiles([captures / "moved"], out)
    assert none_left.value.exit_code == 2
    assert [path.name for path in out.iterdir()] == ["tiles.json"]
    done = out / "captures-good.npz"
    done.write_bytes(b"made before")
    with pytest.raises(IncompleteError, match="1 of 2 captures failed: moved") as error:
        prepare_tiles([captures], out)
    assert error.value.exit_code == 3
    assert done.read_bytes() == b"made before"
    assert sorted(path.name for path in out.iterdir()) == ["captures-good.npz", "tiles.json"]


def test_nothing_is_done_twice(captures: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    shutil.rmtree(captures / "moved")
    with pytest.raises(MesofaceError, match="nowhere"):
        prepare_tiles([captures / "nowhere"], out)
    assert not out.exists()
    told: list[tuple[int, int]] = []
    out.mkdir()
    (out / "captures-good.npz").write_bytes(b"made before")
    with pytest.raises(MesofaceError, match="holds other things"):
        prepare_tiles([captures], out)
    shutil.rmtree(out)
    with pytest.raises(MesofaceError):  # the folder is made and its recipe written before the capture fails
        prepare_tiles([captures], out, truth_name="other.ply")
    (out / "captures-good.npz").write_bytes(b"made before")
    prepare_tiles([captures], out, progress=lambda label, done, total: told.append((done, total)))
    assert told == [(1, 1)]
    with pytest.raises(MesofaceError, match="size was 64, now 32"):
        prepare_tiles([captures], out, size=32)
    with pytest.raises(MesofaceError, match="seed was 0, now 1"):
        prepare_tiles([captures], out, seed=1)


def job(folder: Path, truth: Path, scale: float | None = None) -> TilesJob:
    return TilesJob(folder, folder.parent / "shard.npz", truth, scale, 0, 64, {64: 1})


def test_the_scale_is_stated_or_asked_for(captures: Path) -> None:
    good = captures / "good"
    with pytest.raises(MesofaceError, match="mm across"):
        write_capture_tiles(job(good, good / "gt.ply", scale=0.01))
    said = json.loads((good / "truth.json").read_text())
    for broken in ({}, {**said, "mm_per_unit": 0}, {**said, "mm_per_unit": "1"}):
        (good / "truth.json").write_text(json.dumps(broken))
        with pytest.raises(MesofaceError, match="--scale"):
            write_capture_tiles(job(good, good / "gt.ply"))
    (good / "truth.json").unlink()
    with pytest.raises(MesofaceError, match="--scale"):
        write_capture_tiles(job(good, good / "gt.ply"))


def test_a_truth_that_cannot_be_read_is_named(captures: Path) -> None:
    good = captures / "good"
    with pytest.raises(MesofaceError, match=r"nothing\.ply"):
        write_capture_tiles(job(good, good / "nothing.ply"))
    (good / "gt.ply").write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(MesofaceError, match=r"gt\.ply"):
        write_capture_tiles(job(good, good / "gt.ply"))
    assert not (captures / "shard.npz").exists()


def test_truth_beside_the_capture(captures: Path, tmp_path: Path) -> None:
    """FaceScape keeps the mesh of an expression beside its folder."""
    from mesoface.lab.training.prepare import _truth_of

    good = captures / "good"
    assert _truth_of(good, None) == good / "gt.ply"
    shutil.move(good / "gt.ply", captures / "good.ply")
    assert _truth_of(good, None) == captures / "good.ply"
    assert _truth_of(good, "scan.ply") == good / "scan.ply"
    assert _truth_of(good, "../../etc/passwd") == good / "passwd"  # never out of the capture
