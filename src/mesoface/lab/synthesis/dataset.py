"""Training sets: many synthetic captures, every one decided by the set's seed and its own number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

import mesoface
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import atomic_file, atomic_folder
from mesoface.lab.synthesis.capture import photograph
from mesoface.lab.synthesis.data_card import data_card
from mesoface.lab.synthesis.folder import describe_settings, write_capture
from mesoface.lab.synthesis.ranges import DatasetRanges
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.resumable import read_manifest, resumable_folder, run_all

MANIFEST = "dataset.json"
_RECIPE = 1  # to be raised whenever the same seed makes other captures


@dataclass(frozen=True)
class CaptureJob:
    """One capture of a training set.

    Args:
        folder: where it is written.
        seed: of the capture.
        model: name or path of the face model.
        settings: of the capture.
    """

    folder: Path
    seed: int
    model: str
    settings: SynthesisSettings


def make_dataset(
    out: str | Path,
    *,
    count: int,
    workers: int = 1,
    seed: int = 0,
    models: Sequence[str] = ("generic",),
    ranges: DatasetRanges | None = None,
    progress: ProgressCallback = silent,
) -> Path:
    """Make synthetic captures ``out``/000000, 000001, … with their true surfaces, or go on making them.

    Capture k depends on ``seed``, ``models``, ``ranges`` and k alone: whatever the count and the workers, and
    however often the work was interrupted. Each appears complete or not at all.

    Args:
        out: folder of the set; those captures that are in it already are kept.
        count: captures the set shall have.
        workers: processes at a time, of one thread each.
        seed: of the set.
        models: face models to draw from, by name or path.
        ranges: to draw from.
        progress: told after every capture.

    Returns:
        ``out``.

    Raises:
        MesofaceError: an argument is impossible, or ``out`` holds anything but captures of this very set.
        IncompleteError: some captures failed; the others were made.
    """
    ranges = ranges or DatasetRanges()
    ranges.check()
    if count < 1 or workers < 1 or seed < 0 or not models:
        raise MesofaceError(
            f"at least one capture, worker and face model and a seed ≥ 0 are needed, got {count}, {workers}, "
            f"{list(models)} and {seed}"
        )
    for model in models:
        load_face_model(model)  # a wrong name is told at once
    recipe = {
        "format": "mesoface synthetic captures",
        "recipe": _RECIPE,
        "mesoface": mesoface.__version__,
        "seed": seed,
        "face_models": list(models),
        "ranges": ranges.model_dump(mode="json"),
    }
    with resumable_folder(out, MANIFEST, recipe) as folder:
        jobs = [draw_capture(folder, index, seed, models, ranges) for index in range(count)]
        missing = [job for job in jobs if not _is_done(job)]
        try:
            run_all(
                make_capture_folder,
                missing,
                path=folder,
                name_of=lambda job: job.folder.name,
                kind="captures",
                workers=workers,
                done_before=len(jobs) - len(missing),
                preload=["mesoface.lab.synthesis"],
                progress=progress,
            )
        finally:
            with atomic_file(folder / "README.md") as temporary:
                temporary.write_text(data_card(folder, recipe, ranges), encoding="utf-8")
    return Path(out)


def draw_capture(
    folder: Path, index: int, seed: int, models: Sequence[str], ranges: DatasetRanges
) -> CaptureJob:
    """What capture ``index`` of the set in ``folder`` is made from."""
    rng = np.random.default_rng([seed, index, crc32(b"dataset")])
    own_seed, model = int(rng.integers(2**31)), models[int(rng.integers(len(models)))]
    return CaptureJob(folder / f"{index:06d}", own_seed, model, ranges.draw(rng))


def make_capture_folder(job: CaptureJob) -> None:
    """Make one capture; its folder appears when it is complete."""
    with atomic_folder(job.folder) as folder:
        made = photograph(seed=job.seed, model=job.model, settings=job.settings, threads=1)
        write_capture(folder, made, job.model)


def _is_done(job: CaptureJob) -> bool:
    """Whether the capture is there.

    Raises:
        MesofaceError: something else is there.
    """
    if not job.folder.exists():
        return False
    said = read_manifest(job.folder / "truth.json")
    wanted = {"seed": job.seed, "model": job.model, "settings": describe_settings(job.settings)}
    if any(said.get(name) != value for name, value in wanted.items()):
        raise MesofaceError(
            "is another capture than this set has here",
            path=job.folder,
            remedy="remove it, or name another set",
        )
    return True
