"""Training sets: many synthetic captures. The set's seed and a capture's number determine the capture."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self
from zlib import crc32

import numpy as np
from pydantic import Field, ValidationError, model_validator

import mesoface
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import atomic_file, atomic_folder
from mesoface.lab.synthesis.cameras import noise_strength
from mesoface.lab.synthesis.capture import describe_settings, photograph, write_capture
from mesoface.lab.synthesis.settings import CheckedSettings, PhoneSettings, SynthesisSettings
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import read_manifest, resumable_folder, run_all

MANIFEST = "dataset.json"
_RECIPE = 1  # to be raised when the same seed makes other captures
_USUAL_VIEWS = (5, 12)
_USUAL_SHARE = 0.7  # of the captures that have a usual number of views
_WIDEST_STEP = 45.0  # degrees between neighbouring cameras: beyond that, their photos overlap too little
_ASPECTS = (2 / 3, 3 / 4, 4 / 5)  # width over height

_PHONE = tuple(PhoneSettings.model_fields)

_EXAMPLE = 'give e.g. {"views": [4, 8]}'
Range = tuple[float, float]
_CARD = """# Synthetic face captures with their true surfaces

Made by mesoface {mesoface} (`mesoface synth-dataset`, recipe {recipe}). No real person is shown: heads are
drawn at random from a face model, and their skin (wrinkles, pores, moles, stubble, colour) is procedural.

| | |
|---|---|
| captures | {captures} |
| photos | {photos} |
| face models | {face_models} |
| seed | {seed} |

Each folder is a capture in FaceScape's layout (`params.json`, `0.jpg` …) with `gt.ply`, the true surface of
the face in the cameras' world, in millimetres, and `truth.json`, the settings that were drawn. The cameras in
`params.json` have a small random error, as calibrations have. A folder is complete or does not exist.

## Drawn for each capture

| | from | to | |
|---|---|---|---|
{rows}

Identity, complexion, light, rig jitter and lens are drawn as well, from fixed ranges.

## Reproduce

```sh
mesoface synth-dataset --out FOLDER --count {captures} --seed {seed}{options}
```

{ranges_note}Capture k depends on the seed, the face models, the ranges and k alone.

## Licence

The captures drawn from `generic`, the face model that mesoface carries, may be used freely. Those drawn from
another face model are subject to that model's licence.
"""


class DatasetRanges(CheckedSettings):
    """Lowest and highest value of everything that differs between the captures of a training set.

    Raises:
        MesofaceError: a name is unknown, a range is reversed, or a capture cannot have one of its values.
    """

    views: tuple[int, int] = Field((2, 16), description="number of photos; mostly 5 to 12")
    longest_side: tuple[int, int] = Field((640, 1296), description="longest side of the photos, pixels")
    spread_deg: Range = Field((30.0, 140.0), description="angle between the outermost cameras, degrees")
    distance_mm: Range = Field((600.0, 1500.0), description="distance of the cameras from the face")
    detail_mm: Range = Field((0.5, 0.7), description="longest triangle edge of the photographed skin")
    expression: Range = Field((0.0, 1.2), description="strength of the facial expression")
    blur_px: Range = Field((0.0, 1.5), description="standard deviation of the defocus, pixels; mostly low")
    noise_levels: Range = Field((0.4, 8.0), description="noise of a mid-grey, levels of 255; mostly low")
    exposure_jitter: Range = Field((0.0, 0.25), description="relative standard deviation between views")
    white_balance_jitter: Range = Field((0.0, 0.06), description="the same of the red and blue gain")
    jpeg_quality: tuple[int, int] = Field((35, 98), description="quality of the JPEG files")
    calibration_px: Range = Field((0.0, 0.5), description="error of the written cameras, pixels; mostly low")
    skin_contrast: Range = Field((1.0, 1.0), description="contrast of the skin's colours")
    highlights_deg: Range = Field((0.0, 0.0), description="turn of the lights in highlights, degrees")
    movement_mm: Range = Field((0.0, 0.0), description="movement of the skin from photo to photo")
    rolling_px: Range = Field((0.0, 0.0), description="drift during a rolling shutter, pixels")
    motion_px: Range = Field((0.0, 0.0), description="length of the motion blur, pixels; mostly low")
    denoising: Range = Field((0.0, 0.0), description="strength of edge-preserving smoothing")
    tone_mapping: Range = Field((0.0, 0.0), description="strength of local tone mapping")
    sharpening: Range = Field((0.0, 0.0), description="amount of unsharp masking")
    video_qp: Range = Field((0.0, 0.0), description="quantisation parameter of a video coder; 0: none")

    @model_validator(mode="after")
    def _check_ends(self) -> Self:
        for name in type(self).model_fields:
            low, high = getattr(self, name)
            if not low <= high:
                raise MesofaceError(
                    f"range {name!r}: from {low:g} to {high:g}", remedy="give the lower number first"
                )
        # Checked at the ends; the two in `pick` are the ends that others depend on.
        for pick in product((0, 1), repeat=2):
            ends = {name: getattr(self, name)[pick[0]] for name in type(self).model_fields}
            side = self.longest_side[pick[1]]
            _settings(ends, width=round(side * min(_ASPECTS)), height=side)
        return self

    def draw(self, rng: np.random.Generator) -> SynthesisSettings:
        """Settings of one capture."""

        def between(name: str, *, lower: float = 1.0) -> float:
            low, high = getattr(self, name)
            return float(low + (high - low) * rng.uniform() ** lower)

        views = self._draw_views(rng)
        low, high = self.spread_deg
        spread = rng.uniform(low, max(low, min(high, _WIDEST_STEP * (views - 1))))
        height = int(rng.integers(*self.longest_side, endpoint=True))
        values = {
            "views": views,
            "spread_deg": round(float(spread), 2),
            "distance_mm": round(between("distance_mm"), 1),
            "detail_mm": round(between("detail_mm"), 3),
            "expression": round(between("expression"), 3),
            "blur_px": round(between("blur_px", lower=2), 3),
            "noise_levels": round(between("noise_levels", lower=2), 2),
            "exposure_jitter": round(between("exposure_jitter"), 3),
            "white_balance_jitter": round(between("white_balance_jitter"), 3),
            "jpeg_quality": int(rng.integers(*self.jpeg_quality, endpoint=True)),
            "calibration_px": round(between("calibration_px", lower=2.5), 3),
        }
        aspect = rng.choice(_ASPECTS)
        values |= {name: round(between(name, lower=1 + (name == "motion_px")), 3) for name in _PHONE}
        return _settings(values, width=round(height * aspect), height=height)

    def _draw_views(self, rng: np.random.Generator) -> int:
        low, high = self.views
        usual_low, usual_high = max(low, _USUAL_VIEWS[0]), min(high, _USUAL_VIEWS[1])
        if usual_low <= usual_high and rng.uniform() < _USUAL_SHARE:
            low, high = usual_low, usual_high
        return int(rng.integers(low, high, endpoint=True))


def _settings(values: dict[str, float], *, width: int, height: int) -> SynthesisSettings:
    """Settings from one value of every range."""
    direct = {name: value for name, value in values.items() if name not in ("longest_side", "noise_levels")}
    noise = round(noise_strength(values["noise_levels"]), 4)
    return SynthesisSettings(**direct, noise=noise, width=width, height=height)


def read_ranges(path: str | Path) -> DatasetRanges:
    """Ranges from a JSON object; those that it does not name have their defaults.

    Raises:
        MesofaceError: the file cannot be read, or a range is unknown or impossible.
    """
    try:
        return DatasetRanges.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise MesofaceError(f"cannot be read: {reason}", path=path, remedy="give a JSON file") from error
    except ValidationError as error:
        raise MesofaceError(error.errors()[0]["msg"], path=path, remedy=_EXAMPLE) from None
    except MesofaceError as error:
        raise MesofaceError(error.message, path=path, remedy=error.remedy or _EXAMPLE) from error


def data_card(folder: Path, recipe: Mapping[str, Any], ranges: DatasetRanges) -> str:
    """The set's README in Markdown: its content, its origin, and how to reproduce it."""
    truths = [read_manifest(file) for file in sorted(folder.glob("[0-9]*/truth.json"))]
    per_model = {name: sum(truth["model"] == name for truth in truths) for name in recipe["face_models"]}
    rows = []
    for name, field in DatasetRanges.model_fields.items():
        low, high = getattr(ranges, name)
        rows.append(f"| {name} | {low:g} | {high:g} | {field.description} |")
    models = [] if recipe["face_models"] == ["generic"] else recipe["face_models"]
    options = "".join(f" --face-model {shlex.quote(name)}" for name in models)
    changed = ranges != DatasetRanges()
    return _CARD.format(
        **{name: recipe[name] for name in ("mesoface", "recipe", "seed")},
        captures=len(truths),
        photos=sum(truth["settings"]["views"] for truth in truths),
        face_models=", ".join(f"{name} ({number})" for name, number in per_model.items()),
        rows="\n".join(rows),
        options=options + (" --ranges ranges.json" if changed else ""),
        ranges_note="`ranges.json` is the object `ranges` in `dataset.json`. " if changed else "",
    )


@dataclass(frozen=True)
class SyntheticJob:
    """One capture of a training set.

    Args:
        folder: to write.
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

    Capture k depends only on ``seed``, ``models``, ``ranges`` and k, not on the count, the workers or
    interruptions. Each appears complete or not at all.

    Args:
        out: folder of the set; captures that exist in it are kept.
        count: number of captures in the whole set.
        workers: processes at a time, of one thread each.
        seed: of the set.
        models: face models to draw from, by name or path.
        ranges: to draw from; None for the defaults.
        progress: called after every capture.

    Returns:
        ``out``.

    Raises:
        MesofaceError: an argument is impossible, or ``out`` holds anything but captures of this set.
        IncompleteError: some captures failed; the others were made.
    """
    ranges = ranges or DatasetRanges()
    if count < 1 or workers < 1 or seed < 0 or not models:
        raise MesofaceError(
            f"at least one capture, worker and face model and a seed ≥ 0 are needed, got {count}, {workers}, "
            f"{list(models)} and {seed}"
        )
    for model in models:
        load_face_model(model)  # a wrong name fails before any work
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
                preload=["mesoface.lab.synthesis.capture"],
                progress=progress,
            )
        finally:
            with atomic_file(folder / "README.md") as temporary:
                temporary.write_text(data_card(folder, recipe, ranges), encoding="utf-8")
    return Path(out)


def draw_capture(
    folder: Path, index: int, seed: int, models: Sequence[str], ranges: DatasetRanges
) -> SyntheticJob:
    """Draw the seed, face model and settings of capture ``index`` of the set in ``folder``."""
    rng = np.random.default_rng([seed, index, crc32(b"dataset")])
    own_seed, model = int(rng.integers(2**31)), models[int(rng.integers(len(models)))]
    return SyntheticJob(folder / f"{index:06d}", own_seed, model, ranges.draw(rng))


def make_capture_folder(job: SyntheticJob) -> None:
    """Make one capture; its folder appears when it is complete."""
    with atomic_folder(job.folder) as folder:
        made = photograph(seed=job.seed, model=job.model, settings=job.settings, threads=1)
        write_capture(folder, made, job.model)


def _is_done(job: SyntheticJob) -> bool:
    """Whether the capture exists.

    Raises:
        MesofaceError: something else is in its place.
    """
    if not job.folder.exists():
        return False
    truth = read_manifest(job.folder / "truth.json")
    wanted = {"seed": job.seed, "model": job.model, "settings": describe_settings(job.settings)}
    if any(truth.get(name) != value for name, value in wanted.items()):
        raise MesofaceError(
            "is not the capture that this set has here",
            path=job.folder,
            remedy="remove it, or name another set",
        )
    return True
