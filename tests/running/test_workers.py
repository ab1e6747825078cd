"""Jobs in processes: what they return, how they fail, that none outlives its parent; folders they fill."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mesoface.captures.load import load_capture
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.running.workers import End, Worker, prepare_workers, resumable_folder, run_all, run_jobs


def test_every_job_is_run_once_and_failures_stay_their_own() -> None:
    outcomes = {outcome.job: outcome for outcome in run_jobs(math.sqrt, [4.0, -1.0, 9.0], workers=2)}
    assert outcomes[4.0].result == 2.0
    assert outcomes[9.0].result == 3.0
    assert outcomes[9.0].error is None
    assert outcomes[-1.0].result is None
    assert "math domain error" in str(outcomes[-1.0].error)


def test_errors_for_people_come_as_they_are(tmp_path) -> None:
    (outcome,) = run_jobs(load_capture, [tmp_path / "nowhere"], workers=1)
    assert outcome.error is not None
    assert str(tmp_path / "nowhere") in outcome.error
    assert "CaptureError" not in outcome.error


def test_a_process_that_dies_is_one_failed_job() -> None:
    outcomes = {o.job: o.error for o in run_jobs(signal.raise_signal, [signal.SIGKILL, 0], workers=1)}
    assert "SIGKILL" in str(outcomes[signal.SIGKILL])
    assert "memory" in str(outcomes[signal.SIGKILL])
    for code in (3, 0):
        (outcome,) = run_jobs(os._exit, [code], workers=1)
        assert f"exit code {code}" in str(outcome.error)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_ctrl_c_never_reaches_a_worker_not_even_one_that_begins() -> None:
    """The signal is blocked from the first instruction on, not only ignored when the job begins."""
    status = """
import sys
from pathlib import Path
from mesoface.running.workers import run_jobs
if __name__ == "__main__":
    (outcome,) = run_jobs(Path.read_text, [Path("/proc/self/status")], workers=1)
    print(outcome.result)
"""
    shown = subprocess.run([sys.executable, "-c", status], capture_output=True, text=True, check=True).stdout
    (blocked,) = (int(line.split()[1], 16) for line in shown.splitlines() if line.startswith("SigBlk:"))
    assert blocked >> (signal.SIGINT - 1) & 1


def test_how_a_job_ended_is_said(tmp_path) -> None:
    ends = {math.sqrt: (-1.0, End.FAILED), load_capture: (tmp_path, End.REFUSED), os._exit: (3, End.DIED)}
    for function, (job, end) in ends.items():
        (outcome,) = run_jobs(function, [job], workers=1)
        assert outcome.end == end, outcome.error
    (outcome,) = run_jobs(math.sqrt, [4.0], workers=1)
    assert outcome.end == End.DONE


def test_a_job_that_hangs_is_ended_when_its_time_is_over() -> None:
    prepare_workers()
    worker = Worker(time.sleep, 600.0, limit=0.2)
    outcome = worker.finish()
    assert outcome.end == End.LATE
    assert "longer than 0.2 s" in str(outcome.error)
    assert not _alive(worker.pid)


def test_jobs_run_in_one_thread_and_leave_the_environment_alone() -> None:
    before = dict(os.environ)
    (outcome,) = run_jobs(os.getenv, ["OMP_NUM_THREADS"], workers=1)
    assert outcome.result == "1"
    assert dict(os.environ) == before


def test_ends_running_jobs_when_nobody_listens_any_more() -> None:
    outcomes = run_jobs(time.sleep, [0.0, 600.0], workers=2)
    assert next(outcomes).job == 0.0
    outcomes.close()  # would wait ten minutes otherwise


def test_workers_end_with_a_parent_that_is_killed(tmp_path) -> None:
    """kill -9 of the parent: nobody can tell the workers, they have to notice."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "from mesoface.running.workers import run_jobs\n"
        "if __name__ == '__main__':\n"
        "    list(run_jobs(os.system, ['echo $PPID; exec sleep 600'], workers=1))\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 60
    while _alive(worker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(worker)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


RECIPE = {"seed": 3, "ranges": {"views": (2, 4), "noise": [0.0, 1.0]}}


def test_the_same_recipe_goes_on_where_it_was(tmp_path: Path) -> None:
    for _ in range(2):
        with resumable_folder(tmp_path / "new" / "set", "recipe.json", RECIPE) as folder:
            assert json.loads((folder / "recipe.json").read_text())["seed"] == 3
    assert [path.name for path in folder.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ({**RECIPE, "seed": 4}, "seed was 3, now 4"),
        (
            {"seed": 3, "ranges": {"views": [2, 4], "noise": [0, 2]}},
            r"ranges noise was \[0.0, 1.0\], now \[0, 2\]",
        ),
        ({**RECIPE, "more": 1}, "more was null, now 1"),
        ({"seed": 3}, "ranges"),
    ],
)
def test_another_recipe_is_refused_by_what_differs(tmp_path: Path, recipe: dict, names: str) -> None:
    with resumable_folder(tmp_path / "set", "recipe.json", RECIPE):
        pass
    with pytest.raises(MesofaceError, match=names), resumable_folder(tmp_path / "set", "recipe.json", recipe):
        pytest.fail("entered")


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / ".cache-0123456789ab").write_text("also")
    with pytest.raises(MesofaceError, match="holds other things"), resumable_folder(tmp_path, "r.json", {}):
        pytest.fail("entered")
    assert len(list(tmp_path.iterdir())) == 2
    with (
        pytest.raises(MesofaceError, match="thesis"),
        resumable_folder(tmp_path / "thesis.txt", "r.json", {}),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize("content", ["", "[1]", "{", "\ud800"])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(MesofaceError, match=r"r\.json"), resumable_folder(tmp_path, "r.json", {}):
        pytest.fail("entered")


def test_only_one_process_fills_a_folder(tmp_path: Path) -> None:
    with (
        resumable_folder(tmp_path, "r.json", {}),
        pytest.raises(MesofaceError, match="another process"),
        resumable_folder(tmp_path, "r.json", {}),
    ):
        pytest.fail("entered")
    with resumable_folder(tmp_path, "r.json", {}):
        pass


def test_what_killed_writers_left_goes_and_nothing_else(tmp_path: Path) -> None:
    with resumable_folder(tmp_path, "r.json", {}):
        (tmp_path / "000001").mkdir()
    half = tmp_path / ".000002-0123456789ab"
    half.mkdir()
    (half / "0.jpg").write_text("half")
    (tmp_path / ".shard-0123456789ab.npz").write_text("half")
    (tmp_path / ".hidden").write_text("not ours")
    with resumable_folder(tmp_path, "r.json", {}):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "000001", "r.json"]


def test_failed_jobs_are_named_at_the_end_and_the_others_done(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def run(jobs: list[float]) -> list[float]:
        return run_all(
            math.sqrt,
            jobs,
            path=tmp_path,
            name_of=lambda job: f"number {job:g}",
            kind="roots",
            workers=2,
            done_before=5,
            progress=lambda label, done, total: told.append((done, total)),
        )

    assert sorted(run([4.0, 9.0])) == [2.0, 3.0]
    assert told == [(5, 7), (6, 7), (7, 7)]
    with pytest.raises(
        IncompleteError, match=r"2 of 9 roots failed: number -1 \(.*domain.*; number -7"
    ) as error:
        run([-1.0, 4.0, -7.0, 9.0])
    assert error.value.exit_code == 3
    assert told[-1] == (9, 9)
    with pytest.raises(IncompleteError, match="and 2 more"):
        run([-1.0] * 7)
