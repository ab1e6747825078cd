"""Results of a split measured against the scans: a job each, resumable; tables of the figures and a page."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.evaluation import evaluate, heatmap_picture
from mesoface.evaluation.metrics import COMPLETE_WITHIN, Evaluation
from mesoface.files.atomic import atomic_file
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.lab.facescape.layout import CaptureId, PreparedFolder, Scales, read_splits
from mesoface.lab.facescape.settings import EXPRESSIONS
from mesoface.rendering.page import render
from mesoface.results.face import load_face
from mesoface.results.files import read_cameras, required_file
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import read_manifest, resumable_folder, run_all, run_jobs

_MAX_BATCH = 256 << 20  # bytes; 7120 captures have 10 MB
MANIFEST = "evaluation.json"
_RECIPE = 1  # to be raised when the same result is measured differently
WORST = 10
"""Number of captures shown as the worst ones."""

_HEAD = ("chamfer", "mean", "median", "90 %", "≤ 0.2 mm", "normals", "complete")
_LEGEND = (
    "Millimetres, point to surface, inside the facial region; not aligned, the frame is the capture's own. "
    "chamfer: mean of ours → scan and scan → ours. mean, median, 90 %, ≤ 0.2 mm and normals (mean angle): "
    f"ours → scan. complete: share of the scan with our surface within {COMPLETE_WITHIN:g} mm. "
    "Rows over captures are means with equal weights."
)


@dataclass(frozen=True)
class Figures:
    """One result against its scan, or the mean over several.

    Args:
        chamfer: mean of both directions' mean distances, mm.
        mean: from the result to the scan, mm.
        median: likewise.
        p90: likewise, 90th percentile.
        within: share of the result within 0.2 mm.
        normals: mean angle between the surfaces' normals, degrees.
        complete: share of the scan's facial region with the result within 0.5 mm.
    """

    chamfer: float
    mean: float
    median: float
    p90: float
    within: float
    normals: float
    complete: float

    def cells(self) -> tuple[str, ...]:
        """As text."""
        lengths = (self.chamfer, self.mean, self.median, self.p90)
        return (
            *(f"{length:.3f}" for length in lengths),
            f"{100 * self.within:.1f} %",
            f"{self.normals:.2f}°",
            f"{100 * self.complete:.1f} %",
        )


def figures_of(evaluation: Mapping[str, Any]) -> Figures:
    """The figures of :meth:`mesoface.evaluation.Evaluation.to_dict`."""
    accuracy = evaluation["accuracy"]
    return Figures(
        chamfer=evaluation["chamfer"],
        **{name: accuracy[name] for name in ("mean", "median", "p90")},
        within=accuracy["within"]["0.2"],
        normals=accuracy["normal_angle"],
        complete=evaluation["complete"],
    )


def mean_of(figures: Collection[Figures]) -> Figures:
    """The mean over one or more captures."""
    return Figures(*map(fmean, zip(*map(astuple, figures), strict=True)))


@dataclass
class SplitTable:
    """The measurements of a split.

    Args:
        split: its name.
        figures: of the captures that were measured.
        unmeasured: why others were not.
        without_scan: captures that have a result and nothing to measure it against.
    """

    split: str
    figures: dict[CaptureId, Figures] = field(default_factory=dict)
    unmeasured: dict[CaptureId, str] = field(default_factory=dict)
    without_scan: list[CaptureId] = field(default_factory=list)

    def overall(self) -> Figures | None:
        """The mean over all captures, None when none was measured."""
        return mean_of(self.figures.values()) if self.figures else None

    def by_expression(self) -> dict[int, list[Figures]]:
        """{expression: the figures of its captures}, ascending."""
        groups: dict[int, list[Figures]] = {}
        for id in sorted(self.figures, key=lambda id: (id.expression, id.person)):
            groups.setdefault(id.expression, []).append(self.figures[id])
        return groups

    def left_out(self) -> dict[CaptureId, str]:
        """Why captures have no figures, sorted; those without a scan included."""
        no_scan = dict.fromkeys(self.without_scan, "there is no scan to measure against")
        return dict(sorted((self.unmeasured | no_scan).items()))

    def worst(self, count: int) -> list[CaptureId]:
        """The captures with the largest chamfer distance, the worst first."""
        return sorted(self.figures, key=lambda id: (-self.figures[id].chamfer, id))[:count]


def find_results(
    folder: PreparedFolder, runs: str | Path, wanted: Collection[CaptureId]
) -> tuple[dict[CaptureId, Path], dict[CaptureId, str]]:
    """Find the results of captures in a folder, by the capture that each result names.

    Args:
        folder: the prepared folder.
        runs: output of ``mesoface batch``, or any folder whose subfolders are results.
        wanted: the captures.

    Returns:
        {capture: folder of its result}, and {capture: why it has none}.

    Raises:
        MesofaceError: ``runs`` is not a folder, or holds no result of these captures or two of one.
    """
    runs = Path(runs)
    if not runs.is_dir():
        raise MesofaceError("no such folder", path=runs, remedy="name the folder that `mesoface batch` wrote")
    found: dict[CaptureId, Path] = {}
    for record in sorted(runs.glob("*/run.json")):
        if record.parent.name.startswith("."):  # not finished
            continue
        capture = read_cameras(record.parent / "cameras.json").capture
        id = None if capture is None else folder.id_of(capture)
        if id is None or id not in wanted:
            continue
        if id in found:
            raise MesofaceError(
                f"two results of capture {id}: {found[id].name} and {record.parent.name}",
                path=runs,
                remedy="move one of them away",
            )
        found[id] = record.parent
    if not found:
        raise MesofaceError(
            f"holds no result of these {len(wanted)} captures",
            path=runs,
            remedy="reconstruct the split's list first with `mesoface batch`",
        )
    reasons = _failures(folder, runs / "batch.json")
    return found, {id: reasons.get(id, "not reconstructed") for id in wanted if id not in found}


def _failures(folder: PreparedFolder, summary: Path) -> dict[CaptureId, str]:
    """Why captures failed, from the summary of a batch; empty if there is none."""
    if not summary.is_file():
        return {}
    try:
        if summary.stat().st_size > _MAX_BATCH:
            raise ValueError(f"larger than {_MAX_BATCH >> 20} MB")
        rows = json.loads(summary.read_text(encoding="utf-8"))["captures"]
        failed = [(Path(row["capture"]), str(row["reason"])) for row in rows if row["status"] == "failed"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        remedy = "run `mesoface batch --resume` again, which writes it"
        raise MesofaceError(f"is not a batch summary ({error})", path=summary, remedy=remedy) from error
    return {id: reason for capture, reason in failed if (id := folder.id_of(capture)) is not None}


@dataclass(frozen=True)
class EvaluateJob:
    """One result to measure.

    Args:
        id: of the capture.
        run: folder of the result.
        scan: the true surface, in the capture's world.
        mm_per_unit: of that world.
        samples: drawn on either surface.
        out: folder for the figures.
    """

    id: CaptureId
    run: Path
    scan: Path
    mm_per_unit: float
    samples: int
    out: Path

    @property
    def figures(self) -> Path:
        """The file with the measured figures."""
        return self.out / "captures" / f"{self.id.key}.json"

    @property
    def made_from(self) -> dict[str, Any]:
        """Inputs of the figures that may change: the result and the scale."""
        digest = sha256(required_file(self.run, "run.json").read_bytes()).hexdigest()
        return {"run": digest, "mm_per_unit": self.mm_per_unit}

    def is_done(self) -> bool:
        """Whether this result was measured before, unchanged."""
        return self.figures.is_file() and read_manifest(self.figures).get("made_from") == self.made_from


def evaluate_split(
    prepared: str | Path,
    runs: str | Path,
    out: str | Path,
    *,
    split: str = "eval",
    samples: int = 100_000,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> SplitTable:
    """Measure the results of a split, and write its tables and a page.

    Figures of results that have not changed are kept.

    Args:
        prepared: a prepared folder.
        runs: see :func:`find_results`.
        out: folder for the figures.
        split: a key of the prepared folder's ``id.json``.
        samples: points drawn on either surface.
        workers: processes at a time.
        progress: called after every capture.

    Returns:
        the table.

    Raises:
        MesofaceError: the prepared folder, the split or the results are missing; ``out`` holds other files.
        IncompleteError: some captures have no result, or it could not be measured; the table names them.
    """
    folder, out = PreparedFolder(Path(prepared)), Path(out)
    splits = read_splits(folder.splits)
    if not splits.get(split):
        there = ", ".join(name for name, ids in splits.items() if ids)
        raise MesofaceError(f"no split {split!r}", path=folder.splits, remedy=f"there are: {there}")
    results, unmeasured = find_results(folder, runs, splits[split])
    scales = Scales(folder.scales)
    table = SplitTable(split, unmeasured=unmeasured)
    recipe = {
        "format": "mesoface evaluation of FaceScape",
        "recipe": _RECIPE,
        "mesoface": mesoface.__version__,
        "prepared": str(folder.root.resolve()),
        "runs": str(Path(runs).resolve()),
        "split": split,
        "samples": samples,
    }
    with resumable_folder(out, MANIFEST, recipe):
        jobs = list[EvaluateJob]()
        for id, run in results.items():
            scan = folder.scan(id)
            if scan.is_file():
                jobs.append(EvaluateJob(id, run, scan, scales.of(id).mm_per_unit, samples, out))
            else:
                table.without_scan.append(id)
        missing = [job for job in jobs if not job.is_done()]
        done = len(jobs) - len(missing)
        progress("Captures", done, len(jobs))
        for number, outcome in enumerate(run_jobs(measure, missing, workers=workers, preload=[__name__]), 1):
            if outcome.error is not None:
                table.unmeasured[outcome.job.id] = outcome.error
            progress("Captures", done + number, len(jobs))
        measured = {job.id: job for job in jobs if job.id not in table.unmeasured}
        for id, job in measured.items():
            table.figures[id] = figures_of(read_manifest(job.figures)["evaluation"])
        pictures = dict[CaptureId, NDArray[np.float32]]()
        try:
            drawn = run_all(
                picture,
                [measured[id] for id in table.worst(WORST)],
                path=out,
                name_of=lambda job: job.id.key,
                kind="pictures",
                workers=workers,
                preload=[__name__],
                progress=progress,
            )
            pictures |= dict(drawn)
        finally:
            write_tables(out, table, pictures)
    if table.unmeasured:
        first, reason = min(table.unmeasured.items())
        raise IncompleteError(
            f"{len(table.unmeasured)} of {len(splits[split])} captures are not measured: {first}: {reason}"
            + (f" and {len(table.unmeasured) - 1} more" if len(table.unmeasured) > 1 else ""),
            path=out / "report.html",
            remedy="reconstruct them and run the same command again; the others are in the table",
        )
    return table


def measure(job: EvaluateJob) -> None:
    """Measure one result and write its figures.

    Raises:
        MesofaceError: the result or the scan cannot be used, or their worlds differ.
    """
    _, evaluation = _evaluated(job)
    content = {"capture": job.id.key, "made_from": job.made_from, "evaluation": evaluation.to_dict()}
    with atomic_file(job.figures) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def picture(job: EvaluateJob) -> tuple[CaptureId, NDArray[np.float32]]:
    """The capture, and an (H, W, 3) picture of the error on its surface from three sides."""
    mesh, evaluation = _evaluated(job)
    rotation = load_face(job.run).fit.rotation
    forward, up = rotation[:, 2], rotation[:, 1]
    return job.id, heatmap_picture(mesh, evaluation, forward=forward, up=up, size=(360, 480))


def _evaluated(job: EvaluateJob) -> tuple[Mesh, Evaluation]:
    """The measured surface and how far it is from the scan, both in millimetres in the capture's world."""
    face = load_face(job.run)
    scale = face.record.get("mm_per_unit")
    if not isinstance(scale, int | float) or not np.isclose(scale, job.mm_per_unit, rtol=1e-6):
        raise MesofaceError(
            f"was made with {scale} mm per unit, the capture has {job.mm_per_unit}",
            path=job.run,
            remedy="reconstruct the prepared capture without --scale",
        )
    mesh, scan = face.surface, read_mesh(job.scan)
    scan = scan.with_vertices(scan.vertices * job.mm_per_unit)
    return mesh, evaluate(mesh, scan, region=face.region, samples=job.samples)


def write_tables(out: Path, split: SplitTable, pictures: Mapping[CaptureId, NDArray[np.float32]]) -> None:
    """Write ``table.md``, ``table.csv``, ``table.json`` and ``report.html``.

    Args:
        out: an existing folder.
        split: the figures.
        pictures: of the worst captures, for the page.
    """
    with atomic_file(out / "table.md") as temporary:
        temporary.write_text(_markdown(split), encoding="utf-8")
    table = out / "table.csv"
    with atomic_file(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(_csv_rows(split))
    overall, left_out = split.overall(), split.left_out()
    content = {
        "split": split.split,
        "overall": None if overall is None else asdict(overall),
        "expressions": {
            f"{number}_{EXPRESSIONS[number - 1]}": {"captures": len(figures), **asdict(mean_of(figures))}
            for number, figures in split.by_expression().items()
        },
        "captures": {id.key: asdict(figures) for id, figures in sorted(split.figures.items())},
        "not_measured": {id.key: reason for id, reason in left_out.items()},
    }
    with atomic_file(out / "table.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    facts = [(str(len(split.figures)), "captures measured")]
    if overall is not None:
        cells = overall.cells()
        facts += [(f"{cells[0]} mm", "chamfer"), (cells[5], "normals"), (cells[6], "complete")]
    if left_out:
        facts.append((str(len(left_out)), "not measured"))
    worst = [
        (f"{id.key} {id.expression_name}, {split.figures[id].chamfer:.3f} mm", pictures[id])
        for id in split.worst(WORST)
        if id in pictures
    ]
    page = render(
        Path(__file__).parent / "templates" / "split.html",
        title=f"FaceScape, {split.split}",
        facts=facts,
        legend=_LEGEND,
        head=_HEAD,
        expressions=_expression_rows(split),
        unmeasured=[(f"{id.key} {id.expression_name}", reason) for id, reason in left_out.items()],
        worst=worst,
        captures=_capture_rows(split, sorted(split.figures)),
    )
    with atomic_file(out / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _expression_rows(split: SplitTable) -> list[tuple[str, ...]]:
    groups = split.by_expression()
    rows = [
        (f"{number} {EXPRESSIONS[number - 1]}", str(len(figures)), *mean_of(figures).cells())
        for number, figures in groups.items()
    ]
    overall = split.overall()
    return rows if overall is None else [*rows, ("all", str(len(split.figures)), *overall.cells())]


def _capture_rows(split: SplitTable, ids: Sequence[CaptureId]) -> list[tuple[str, ...]]:
    return [(id.key, id.expression_name, *split.figures[id].cells()) for id in ids]


def _markdown(split: SplitTable) -> str:
    parts = [
        f"# FaceScape, {split.split}: {len(split.figures)} measured",
        _LEGEND,
        _markdown_table(("expression", "captures", *_HEAD), _expression_rows(split)),
        "## Worst captures",
        _markdown_table(("capture", "expression", *_HEAD), _capture_rows(split, split.worst(WORST))),
    ]
    if left_out := split.left_out():
        rows = [(id.key, id.expression_name, reason) for id, reason in left_out.items()]
        parts += ["## Not measured", _markdown_table(("capture", "expression", "why"), rows)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _csv_rows(split: SplitTable) -> list[tuple[object, ...]]:
    names = tuple(Figures.__dataclass_fields__)
    rows: list[tuple[object, ...]] = [("capture", "person", "expression", "status", *names, "why")]
    for id, figures in sorted(split.figures.items()):
        values = (round(value, 6) for value in astuple(figures))
        rows.append((id.key, id.person, id.expression_name, "measured", *values, ""))
    for id, reason in split.left_out().items():
        rows.append((id.key, id.person, id.expression_name, "not measured", *("",) * len(names), reason))
    return rows
