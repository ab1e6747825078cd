"""A synthetic video, frame by frame and as a sequence: error, drift, throughput.

    python benchmarks/sequence.py --frames 50 --threads 2

Makes the video once (`benchmarks/cache/sequence-…`), reconstructs it with `mesoface batch`, one frame at a
time in all threads and as many frames at a time as there are threads, and with `mesoface batch --sequence`,
and prints them beside each other. The sequence writes `track.npz` as well, and `report.html` for its first
frame only: `--options '--reports none'` takes that difference away. Every frame's surface is compared with
its truth, without any alignment. *Slide* is how far, along the surface, the base mesh's vertices have moved
off the skin that they lay on in the first frame: what textures and animations that are made for one frame are
off in another. Drift is the slope of a straight line through the frames' figures, over as many frames as
there are, with its standard error. A machine that is busy tells nothing about seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import COMMAND
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table
from tables import make_console

from mesoface.evaluation import evaluate
from mesoface.files.meshes import read_mesh
from mesoface.geometry.closest_point import MeshSurface
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis.capture import synthesize_sequence
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.results.face import load_face
from mesoface.running.progress import progress_bars

CACHE = Path(__file__).parent / "cache"


def ways(cores: int) -> dict[str, list[str]]:
    """Ways of using so many cores, and their options of `mesoface batch`."""
    together = ["--workers", "1", "--threads", str(cores)]
    return {
        "one frame at a time": together,
        f"{cores} frames at a time": ["--workers", str(cores), "--threads", "1"],
        "sequence": [*together, "--sequence"],
    }


@dataclass(frozen=True, eq=False)
class Measured:
    """What became of a video.

    Args:
        seconds: wall time of the command over the number of frames.
        stages: seconds of the stages of a frame, mean over the frames without the first.
        mean: (N,) mean distance to the truth, mm, of every frame.
        normals: (N,) mean angle between normals, degrees.
        coverage: (N,) share of the facial region that was measured.
        slide: (N,) median distance along the surface from the skin of the first frame, mm.
        afresh: frames that were measured without the one before.
    """

    seconds: float
    stages: dict[str, float]
    mean: NDArray[np.float64]
    normals: NDArray[np.float64]
    coverage: NDArray[np.float64]
    slide: NDArray[np.float64]
    afresh: int


def main() -> None:
    """Make what is not there, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--height", type=int, default=1296, help="of the photos; the width is 2/3 of it")
    parser.add_argument("--threads", type=int, default=2, help="cores that are used")
    parser.add_argument("--options", default="", help="of both ways, e.g. '--preset fast --texture-size 0'")
    parser.add_argument("--quick", action="store_true", help="leave out one frame at a time, the slowest way")
    arguments = parser.parse_args()
    video = make_video(arguments.frames, arguments.seed, arguments.views, arguments.height)
    options = ["--scale", "1", *arguments.options.split()]
    measured = {}
    for way, more in list(ways(arguments.threads).items())[arguments.quick :]:
        out = video.parent / f"{way.replace(' ', '-')}-{'-'.join(arguments.options.split())}".rstrip("-")
        measured[way] = measure(video, out, [*options, *more])
    print_table(measured)


def make_video(frames: int, seed: int, views: int, height: int) -> Path:
    """The list of a synthetic video's frames; made once."""
    folder = CACHE / f"sequence-{seed}-{frames}-{views}-{height}"
    if not folder.is_dir():
        settings = SynthesisSettings(views=views, width=2 * height // 3, height=height, truth_mm=0.8)
        with progress_bars(remaining=True) as progress:
            synthesize_sequence(folder / "video", frames, seed=seed, settings=settings, progress=progress)
    return folder / "video" / "frames.txt"


def measure(video: Path, out: Path, options: list[str]) -> Measured:
    """Reconstruct the video into ``out``, if it is not there, and compare it with the truth."""
    timing = out / "seconds.json"
    if not timing.is_file():
        begun = time.perf_counter()
        subprocess.run([COMMAND, "batch", video, "--out", out, *options], check=True)
        timing.write_text(json.dumps(time.perf_counter() - begun), encoding="utf-8")
    runs = sorted(path.parent for path in out.glob("[0-9]*/run.json"))
    stages: dict[str, list[float]] = {}
    mean, normals, coverage, places = [], [], [], []
    first: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
    for run in track(runs, description=out.name):
        truth = read_mesh(video.parent / run.name / "gt.ply")
        face = load_face(run)
        error = evaluate(face.surface, truth, region=face.region).accuracy
        mean.append(error.mean)
        normals.append(error.normal_angle)
        base = face.base
        facial = np.unique(base.faces[face.fit.model.topology.facial])
        if first is None:
            closest = MeshSurface(truth).closest(base.vertices[facial])
            first = closest.face, closest.bary
        places.append(slide(base.vertices[facial], truth, *first))
        coverage.append(1 - face.record["surface"]["left_out"])
        if run is not runs[0]:
            for stage in face.stages:
                stages.setdefault(stage.name, []).append(stage.seconds)
    sequence = out / "sequence.json"
    afresh = len(json.loads(sequence.read_text())["afresh"]) if sequence.is_file() else len(runs)
    return Measured(
        json.loads(timing.read_text()) / len(runs),
        {name: float(np.sum(seconds)) / max(len(runs) - 1, 1) for name, seconds in stages.items()},
        np.array(mean),
        np.array(normals),
        np.array(coverage),
        np.array(places),
        afresh,
    )


def slide(
    points: NDArray[np.float64], truth: Mesh, face: NDArray[np.int64], bary: NDArray[np.float64]
) -> float:
    """Median distance, along the surface, of (N, 3) points from the skin at ``face`` and ``bary``, mm."""
    skin = np.einsum("nk,nkc->nc", bary, truth.face_corners()[face])
    normal = truth.face_normals()[face]
    offset = points - skin
    along = offset - (offset * normal).sum(1, keepdims=True) * normal
    return float(np.median(np.linalg.norm(along, axis=1)))


def drift(values: NDArray[np.float64]) -> str:
    """Slope over the whole video ± its standard error."""
    x = np.linspace(0, 1, len(values))
    if len(values) < 3:
        return "–"
    (slope, _), covariance = np.polyfit(x, values, 1, cov=True)
    return f"{slope:+.4f} ± {np.sqrt(covariance[0, 0]):.4f}"


def print_table(measured: dict[str, Measured]) -> None:
    """The ways beside each other."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for way in measured:
        table.add_column(way, justify="right")
    rows = {
        "frames": lambda m: str(len(m.mean)),
        "measured afresh": lambda m: str(m.afresh),
        "mean error, mm": lambda m: f"{m.mean.mean():.4f}",
        "worst frame, mm": lambda m: f"{m.mean.max():.4f}",
        "drift of it, mm": lambda m: drift(m.mean),
        "normals": lambda m: f"{m.normals.mean():.2f}°",
        "measured": lambda m: f"{100 * m.coverage.mean():.1f} %",
        "slide, mm": lambda m: f"{m.slide[1:].mean():.3f}",
        "drift of it, mm ": lambda m: drift(m.slide),
        "seconds a frame": lambda m: f"{m.seconds:.1f}",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(each) for each in measured.values()))
    names = dict.fromkeys(name for each in measured.values() for name in each.stages)
    for name in names:
        table.add_row(f"  {name}", *(f"{each.stages.get(name, 0):.2f}" for each in measured.values()))
    make_console().print(table)
    *others, sequence = measured.values()
    growth = [f"{way.seconds / sequence.seconds:.2f}" for way in others]
    make_console().print(f"throughput of the sequence: {' and '.join(growth)} times that of single frames")


if __name__ == "__main__":
    main()
