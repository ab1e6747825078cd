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

from peers import NAME as PEER
from peers import missing_peer, run_peer
from regions import errors_by_region
from rows import Row

from mesoface.captures.formats import colmap
from mesoface.evaluation import evaluate, points_to_mesh
from mesoface.files.meshes import read_mesh
from mesoface.results.comparison import cheek_bands, face_uncertainty, measured_mesh
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
        matcher: as ``--matcher`` takes it, or the name of a peer.
        seconds: wall time of the whole command, start of Python included.
        peak_mb: highest resident memory of its process.
        stages: {stage: seconds}.
        run: what run.json says, or halves.json.
        evaluation: distances to the truth or the other half (:meth:`mesoface.evaluation.Evaluation.to_dict`)
            or to COLMAP's points; None where the run failed.
        cheeks: per band (:class:`mesoface.evaluation.BandAgreement`) the cheeks of the result and of the
            truth or the other half; empty where they are not known.
        uncertainty: the calibration of the result's uncertainty, where it states one and the truth or the
            other half is known (:class:`mesoface.evaluation.UncertaintyCalibration`).
        regions: {part of the face: its :class:`regions.RegionError`}, where the truth is known and the face
            model is the generic one.
        error: what the command said when it failed, or why the peer did not run.
        peer: another program's result.
    """

    row: str
    about: str
    matcher: str
    seconds: float
    peak_mb: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] | None = None
    cheeks: list[dict[str, float | None]] = field(default_factory=list)
    uncertainty: dict[str, Any] | None = None
    regions: dict[str, dict[str, float]] = field(default_factory=dict)
    error: str | None = None
    peer: bool = False

    def to_json(self) -> str:
        """For ``benchmarks/results``."""
        return json.dumps(asdict(self), indent=2) + "\n"


def run_row(row: Row, matchers: list[str], *, peers: bool = True) -> list[Result]:
    """The command with each of ``matchers`` on the same photos, and the row's peer if there is one."""
    with tempfile.TemporaryDirectory(prefix="mesoface-bench-") as work:
        capture = row.capture
        if row.disturb is not None:
            capture = Path(work) / "capture"
            capture.mkdir()
            row.disturb(row.capture, capture)
        results = [_run(row, capture, matcher, Path(work) / matcher) for matcher in matchers]
        if row.peer and peers:
            ours = [Path(work) / result.matcher for result in results if result.error is None]
            results.append(_run_peer(row, capture, Path(work), ours))
        return results


def _run(row: Row, capture: Path, matcher: str, out: Path) -> Result:
    """One run in a fresh process, so that time and memory are the command's own."""
    options = ["--out", str(out), "--matcher", matcher, *row.options]
    words = ["reconstruct", str(capture)]
    if row.halves is not None:
        words = ["evaluate", "--halves", str(capture), "--split", row.halves, "--json"]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [str(COMMAND), *words, *options], capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        error = f"took longer than {LONGEST:.0f} s"
        return Result(row.name, row.about, matcher, time.perf_counter() - start, error=error)
    seconds = time.perf_counter() - start
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        error = lines[-1] if lines else f"exit code {done.returncode} without a word"
        return Result(row.name, row.about, matcher, seconds, error=error)
    result = _halves_result(out) if row.halves is not None else _reconstruction_result(row, out)
    return Result(row.name, row.about, matcher, seconds, **result)


def _reconstruction_result(row: Row, out: Path) -> dict[str, Any]:
    """What a result folder says, and its distances to the truth or to COLMAP's points: of :class:`Result`."""
    run = _record(out)
    found = {"peak_mb": run["peak_mb"], "stages": _stages(run), "run": run}
    face = load_face(out)
    if row.truth is None:
        points = colmap.read_points(row.capture, max_error=MAX_ERROR_PX, min_track=MIN_TRACK)
        # What was filled says nothing about the measurement, as elsewhere.
        distances = points_to_mesh(points * run["mm_per_unit"], measured_mesh(face))
        return found | {"evaluation": distances.to_dict()}
    evaluation = evaluate(face.surface, read_mesh(row.truth), region=face.region)
    uncertainty = face_uncertainty(face, evaluation)
    found |= {
        "evaluation": evaluation.to_dict(),
        "cheeks": [band.to_dict() for band in cheek_bands(face, evaluation)],
        "uncertainty": None if uncertainty is None else uncertainty.to_dict(),
    }
    if run["face_model"] == "generic":
        regions = errors_by_region(face.surface, evaluation.truth)
        found["regions"] = {name: asdict(error) for name, error in regions.items()}
    return found


def _halves_result(out: Path) -> dict[str, Any]:
    """What a folder of halves says: of :class:`Result`. Seconds of stages are those of both halves."""
    figures = json.loads((out / "halves.json").read_text(encoding="utf-8"))
    runs = [_record(out / name) for name in ("first", "second")]
    stages = {name: sum(_stages(run).get(name, 0.0) for run in runs) for name in _stages(runs[0])}
    return {
        "peak_mb": max(run["peak_mb"] for run in runs),
        "stages": stages,
        "run": figures,
        "evaluation": figures["difference"],
        "cheeks": figures["cheeks"],
        "uncertainty": figures["uncertainty"],
    }


def _run_peer(row: Row, capture: Path, work: Path, ours: list[Path]) -> Result:
    """The peer's mesh against the truth, in the facial region of the first of our results."""
    reason = missing_peer() or (None if ours else "its region is that of a result of ours, and there is none")
    if reason is None:
        try:
            made = run_peer(COMMAND, capture, work)
        except RuntimeError as error:
            reason = str(error)
    if reason is not None:
        return Result(row.name, row.about, PEER, 0.0, error=reason, peer=True)
    assert row.truth is not None
    evaluation = evaluate(read_mesh(made.mesh), read_mesh(row.truth), region=load_face(ours[0]).region)
    figures = evaluation.to_dict()
    return Result(row.name, row.about, PEER, made.seconds, made.peak_mb, evaluation=figures, peer=True)


def _record(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


def _stages(run: dict[str, Any]) -> dict[str, float]:
    return {stage["name"]: stage["seconds"] for stage in run["stages"]}
