"""Run one row in a process of its own, and measure what came out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rows import Row

from mesoface.evaluation import evaluate, points_to_mesh
from mesoface.formats import colmap
from mesoface.mesh_io import read_mesh
from mesoface.output import facial_region

COMMAND = Path(sys.executable).with_name("mesoface")
LONGEST = 1800.0  # s

# COLMAP's points that count: seen in enough photos, and well.
MIN_TRACK, MAX_ERROR_PX = 3, 1.0


@dataclass(frozen=True)
class Result:
    """One row's outcome.

    Args:
        row: the row's name.
        about: for people.
        seconds: wall time of the whole command, start of Python included.
        peak_mb: highest resident memory of its process.
        stages: {stage: seconds}.
        run: what run.json says.
        evaluation: distances to the truth (:meth:`mesoface.evaluation.Evaluation.to_dict`) or to COLMAP's
            points; None where the run failed.
        error: what the command said when it failed.
    """

    row: str
    about: str
    seconds: float
    peak_mb: float
    stages: dict[str, float]
    run: dict[str, Any]
    evaluation: dict[str, Any] | None
    error: str | None = None

    def to_json(self) -> str:
        """For ``benchmarks/results``."""
        return json.dumps(asdict(self), indent=2) + "\n"


def run_row(row: Row) -> Result:
    """``mesoface reconstruct`` in a fresh process, so that time and memory are the command's own."""
    with tempfile.TemporaryDirectory(prefix="mesoface-bench-") as work:
        capture, out = row.capture, Path(work) / "out"
        if row.disturb is not None:
            capture = Path(work) / "capture"
            capture.mkdir()
            row.disturb(row.capture, capture)
        command = [str(COMMAND), "reconstruct", str(capture), "--out", str(out), *row.options]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
        seconds = time.perf_counter() - start
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return Result(row.name, row.about, seconds, 0, {}, {}, None, lines[-1] if lines else "no output")
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        stages = {stage["name"]: stage["seconds"] for stage in run["stages"]}
        return Result(row.name, row.about, seconds, run["peak_mb"], stages, run, _evaluate(row, out, run))


def _evaluate(row: Row, out: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Distances to the truth where there is one, else to COLMAP's points."""
    fine = read_mesh(out / "fine.ply")
    if row.truth is not None:
        return evaluate(fine, read_mesh(row.truth), region=facial_region(out)).to_dict()
    points = colmap.read_points(row.capture, max_error=MAX_ERROR_PX, min_track=MIN_TRACK)
    return points_to_mesh(points * run["mm_per_unit"], fine).to_dict()
