"""Run one row with one matcher in a process of its own, and measure what came out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regions import errors_by_region
from rows import Row

from mesoface.captures.formats import colmap
from mesoface.evaluation import evaluate, points_to_mesh
from mesoface.files.meshes import read_mesh
from mesoface.results.face import load_face

COMMAND = Path(sys.executable).with_name("mesoface")
LONGEST = 1800.0  # s

# COLMAP's points that count: seen in enough photos, and well.
MIN_TRACK, MAX_ERROR_PX = 3, 1.0


@dataclass(frozen=True)
class Result:
    """One row's outcome with one matcher.

    Args:
        row: the row's name.
        about: for people.
        matcher: as ``--matcher`` takes it.
        seconds: wall time of the whole command, start of Python included.
        peak_mb: highest resident memory of its process.
        stages: {stage: seconds}.
        run: what run.json says.
        evaluation: distances to the truth (:meth:`mesoface.evaluation.Evaluation.to_dict`) or to COLMAP's
            points; None where the run failed.
        regions: {part of the face: its :class:`regions.RegionError`}, where the truth is known and the face
            model is the generic one.
        error: what the command said when it failed.
    """

    row: str
    about: str
    matcher: str
    seconds: float
    peak_mb: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] | None = None
    regions: dict[str, dict[str, float]] = field(default_factory=dict)
    error: str | None = None

    def to_json(self) -> str:
        """For ``benchmarks/results``."""
        return json.dumps(asdict(self), indent=2) + "\n"


def run_row(row: Row, matchers: list[str]) -> list[Result]:
    """``mesoface reconstruct`` with each of ``matchers`` on the same photos."""
    with tempfile.TemporaryDirectory(prefix="mesoface-bench-") as work:
        capture = row.capture
        if row.disturb is not None:
            capture = Path(work) / "capture"
            capture.mkdir()
            row.disturb(row.capture, capture)
        return [_run(row, capture, matcher, Path(work) / matcher) for matcher in matchers]


def _run(row: Row, capture: Path, matcher: str, out: Path) -> Result:
    """One run in a fresh process, so that time and memory are the command's own."""
    options = ("--out", str(out), "--matcher", matcher, *row.options)
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [str(COMMAND), "reconstruct", str(capture), *options],
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        error = f"took longer than {LONGEST:.0f} s"
        return Result(row.name, row.about, matcher, time.perf_counter() - start, error=error)
    seconds = time.perf_counter() - start
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        error = lines[-1] if lines else f"exit code {done.returncode} without a word"
        return Result(row.name, row.about, matcher, seconds, error=error)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    evaluation, regions = _evaluate(row, out, run)
    return Result(
        row=row.name,
        about=row.about,
        matcher=matcher,
        seconds=seconds,
        peak_mb=run["peak_mb"],
        stages={stage["name"]: stage["seconds"] for stage in run["stages"]},
        run=run,
        evaluation=evaluation,
        regions=regions,
    )


def _evaluate(row: Row, out: Path, run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Distances to the truth where there is one, by region too, else to COLMAP's points."""
    fine = read_mesh(out / "fine.ply")
    if row.truth is None:
        points = colmap.read_points(row.capture, max_error=MAX_ERROR_PX, min_track=MIN_TRACK)
        return points_to_mesh(points * run["mm_per_unit"], fine).to_dict(), {}
    evaluation = evaluate(fine, read_mesh(row.truth), region=load_face(out).region)
    if run["face_model"] != "generic":
        return evaluation.to_dict(), {}
    regions = errors_by_region(fine, evaluation.truth)
    return evaluation.to_dict(), {name: asdict(error) for name, error in regions.items()}
