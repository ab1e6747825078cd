"""A row is run as the command that it stands for, and what came out is read from where it was written."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import measure
import peers
import pytest
from measure import run_row
from peers import PeerMesh
from rows import Row

from mesoface.files.meshes import write_ply
from tests.faces import dome, written


@pytest.fixture
def row(tmp_path):
    """A row of a dome, whose truth is the dome itself."""
    (tmp_path / "capture").mkdir()
    write_ply(tmp_path / "truth.ply", dome().surface)
    capture, truth = tmp_path / "capture", tmp_path / "truth.ply"
    return Row("dome", "clean", "a dome", capture, ("--scale", "1"), truth, peer=True)


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run; each writes a dome where ``--out`` says, or fails."""
    run: list[list[str]] = []

    def act(words, **_):
        run.append(words)
        out = Path(words[words.index("--out") + 1])
        if "broken" in words:
            return SimpleNamespace(returncode=2, stderr="bar\nerror: nothing to be seen\n", stdout="")
        if "--halves" in words:
            for name in ("first", "second"):
                written(out / name, dome())
            figures = {"difference": {"align": "none"}, "cheeks": [], "uncertainty": None}
            (out / "halves.json").write_text(json.dumps(figures))
        else:
            written(out, dome())
        return SimpleNamespace(returncode=0, stderr="", stdout="")

    monkeypatch.setattr(measure.subprocess, "run", act)
    return run


def test_a_row_is_measured_against_its_truth(row, commands):
    (result,) = run_row(row, ["ncc"], peers=False)
    assert commands[0][1:3] == ["reconstruct", str(row.capture)]
    assert commands[0][-4:] == ["--matcher", "ncc", "--scale", "1"]
    assert result.evaluation["accuracy"]["mean"] < 1e-4
    assert (result.cheeks, result.uncertainty, result.regions) == ([], None, {})
    assert result.stages == {"loading": 1.5}


def test_halves_are_run_as_halves(row, commands):
    (result,) = run_row(Row("halves", "halves", "a dome", row.capture, halves="consecutive"), ["ncc"])
    assert commands[0][1:6] == ["evaluate", "--halves", str(row.capture), "--split", "consecutive"]
    assert result.evaluation == {"align": "none"}
    assert result.stages == {"loading": 3.0}, "of both halves"


def test_a_failed_run_keeps_the_last_line(row, commands):
    (result,) = run_row(row, ["broken"], peers=False)
    assert result.error == "error: nothing to be seen"


def test_a_peer_is_measured_in_our_region(row, commands, monkeypatch, tmp_path):
    mesh = tmp_path / "peer.ply"
    write_ply(mesh, dome().surface)
    monkeypatch.setattr(measure, "missing_peer", lambda: None)
    monkeypatch.setattr(measure, "run_peer", lambda *_: PeerMesh(mesh, 250.0, 900.0))
    ours, peer = run_row(row, ["ncc"])
    assert (peer.matcher, peer.peer, peer.seconds) == ("sgbm", True, 250.0)
    counts = [result.evaluation["accuracy"]["count"] for result in (ours, peer)]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def test_a_peer_that_cannot_run_says_why(row, commands, monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "missing_peer", lambda: "needs a script")
    assert run_row(row, ["ncc"])[1].error == "needs a script"
    monkeypatch.setattr(measure, "missing_peer", lambda: None)
    assert "its region is that of a result of ours" in run_row(row, ["broken"])[1].error

    def fail(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr(measure, "run_peer", fail)
    assert run_row(row, ["ncc"])[1].error == "killed"
    monkeypatch.setattr(peers, "SGBM", tmp_path / "nowhere.py")
    assert peers.missing_peer().startswith("needs ")


def test_a_peer_s_steps_are_its_own_processes(monkeypatch, tmp_path):
    run = []

    def act(words, **_):
        run.append(words[1:])
        return SimpleNamespace(returncode=0, stderr="", stdout='photo 0\n{"wall": 9, "peak_GB": 0.5}\n')

    monkeypatch.setattr(peers.subprocess, "run", act)
    made = peers.run_peer(Path("mesoface"), tmp_path / "capture", tmp_path)
    assert run[0] == ["convert", str(tmp_path / "capture"), str(tmp_path / "peer-capture"), *run[0][3:]]
    assert run[0][3:] == ["--to", "colmap", "--undistort"]
    assert run[1] == [str(peers.SGBM), str(tmp_path / "peer-capture"), str(tmp_path / "peer")]
    assert (made.mesh, made.peak_mb) == (tmp_path / "peer" / "mesh.ply", 512)

    monkeypatch.setattr(
        peers.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr="a\nno\n", stdout="")
    )
    with pytest.raises(RuntimeError, match="no"):
        peers.run_peer(Path("mesoface"), tmp_path / "capture", tmp_path)
