"""A batch from its inputs to its summary, with attempts that take no time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mesoface.batch import run
from mesoface.batch.provenance import NAME
from mesoface.batch.run import BatchOptions, run_batch
from mesoface.config import Settings
from mesoface.errors import IncompleteError, MesofaceError

QUICK = Settings(until="base", preset="fast")
RESUME = BatchOptions(resume=True, workers=2)


@pytest.fixture
def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def batch_json(out: Path) -> dict:
    return json.loads((out / "batch.json").read_text())


def published(out: Path) -> list[str]:
    log = out.parent / "published.txt"
    return sorted(log.read_text().split()) if log.is_file() else []


def test_a_batch_is_done_and_summed_up(stand_in, tree, tmp_path: Path, quiet: Console) -> None:
    out = tmp_path / "out"
    rows = run_batch([tree(a="", b="", c="")], out, settings=QUICK, console=quiet)
    assert [row.id for row in rows] == ["a", "b", "c"]
    assert sorted(path.name for path in out.iterdir()) == [
        *("a", "b", "batch.csv", "batch.html", "batch.json", "c")
    ]
    content = batch_json(out)
    assert content["complete"]
    assert content["counts"] == {"captures": 3, "done": 3, "failed": 0}
    assert "3/3" in quiet.file.getvalue()


def test_failures_are_named_and_stop_nothing(stand_in, tree, tmp_path: Path, quiet: Console) -> None:
    out = tmp_path / "out"
    plans = {"a": "", "b": "refuse", "c": "raise", "d": "", "e": "die"}
    with pytest.raises(IncompleteError, match="3 of 5 captures failed") as caught:
        run_batch([tree(**plans)], out, settings=QUICK, console=quiet)
    assert "photo is torn" in str(caught.value)
    reasons = {row["id"]: row["reason"] for row in batch_json(out)["captures"]}
    assert reasons["a"] is None
    assert reasons["d"] is None
    assert "cable came loose" in reasons["c"]
    assert "SIGKILL" in reasons["e"]
    assert published(out) == ["a", "d"]


def test_resuming_does_what_is_missing_failed_or_changed(
    stand_in, tree, tmp_path: Path, quiet: Console
) -> None:
    out, root = tmp_path / "out", tree(a="", b="refuse-once", c="", d="")
    with pytest.raises(IncompleteError):
        run_batch([root], out, settings=QUICK, console=quiet)
    (out / "c" / NAME).unlink()
    (root / "d" / "0.jpg").write_bytes((root / "d" / "1.jpg").read_bytes())
    (out.parent / "published.txt").unlink()
    rows = run_batch([root], out, settings=QUICK, options=RESUME, console=quiet)
    assert published(out) == ["b", "c", "d"]
    assert all(row.error is None for row in rows)
    (out.parent / "published.txt").unlink()
    run_batch([root], out, settings=QUICK, options=RESUME, console=quiet)
    assert published(out) == []
    run_batch([root], out, settings=Settings(until="base"), options=RESUME, console=quiet)
    assert published(out) == ["a", "b", "c", "d"]


def test_an_older_result_of_a_capture_that_fails_now_is_told(
    stand_in, tree, tmp_path: Path, quiet: Console
) -> None:
    out, root = tmp_path / "out", tree(a="")
    run_batch([root], out, settings=QUICK, console=quiet)
    (root / "a" / "params.json").write_text("{")
    (root / "a" / "plan.txt").write_text("refuse")
    with pytest.raises(IncompleteError, match="older result"):
        run_batch([root], out, settings=QUICK, options=RESUME, console=quiet)
    assert (out / "a" / "run.json").is_file()


def test_a_full_disk_stops_it_and_leaves_what_is_done(stand_in, tree, tmp_path: Path, quiet: Console) -> None:
    out = tmp_path / "out"
    with pytest.raises(MesofaceError, match="disk is full"):
        run_batch([tree(a="", b="full")], out, settings=QUICK, console=quiet)
    content = batch_json(out)
    assert not content["complete"]
    assert [row["id"] for row in content["captures"]] == ["a"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_ctrl_c_leaves_what_is_done_and_nothing_else(
    stand_in, tree, tmp_path: Path, quiet: Console, monkeypatch
) -> None:
    out, begun = tmp_path / "out", run.run_schedule

    def interrupted(*arguments, **options):
        yield next(begun(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_schedule", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_batch([tree(a="", b="hang")], out, settings=QUICK, console=quiet)
    assert [row["id"] for row in batch_json(out)["captures"]] == ["a"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_what_is_wrong_for_all_is_said_before_any_work(
    stand_in, tree, tmp_path: Path, quiet: Console
) -> None:
    root, out = tree(a=""), tmp_path / "out"
    for settings in (
        Settings(face_model=str(tmp_path / "nowhere.npz")),
        Settings(weights=tmp_path / "nowhere.safetensors"),
    ):
        with pytest.raises(MesofaceError, match="nowhere"):
            run_batch([root], out, settings=settings, console=quiet)
    (tmp_path / "file").write_text("")
    with pytest.raises(MesofaceError, match="file"):
        run_batch([root], tmp_path / "file", settings=QUICK, console=quiet)
    assert not out.exists()


def test_two_batches_do_not_share_a_folder(stand_in, tree, tmp_path: Path, quiet: Console) -> None:
    from mesoface.running.resumable import locked_folder

    with (
        locked_folder(tmp_path / "out"),
        pytest.raises(MesofaceError, match="another process"),
    ):
        run_batch([tree(a="")], tmp_path / "out", settings=QUICK, console=quiet)


def test_a_folder_is_not_written_into_again_unless_that_is_said(
    stand_in, tree, tmp_path: Path, quiet: Console
) -> None:
    root, out = tree(a=""), tmp_path / "out"
    run_batch([root], out, settings=QUICK, console=quiet)
    with pytest.raises(MesofaceError, match="--resume"):
        run_batch([root], out, settings=QUICK, console=quiet)
