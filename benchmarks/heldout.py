"""Synthetic captures that nothing was trained or tuned on, measured with each matcher: `make bench-heldout`.

They are made once, into benchmarks/cache/heldout. Figures also go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from bench import add_matchers, run_rows
from rows import Row, missing_ict
from tables import detail_table, make_console, regions_table, surface_table

from mesoface.errors import MesofaceError
from mesoface.lab.synthesis.capture import describe_settings
from mesoface.lab.synthesis.dataset import SyntheticJob, make_capture_folder
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.running.progress import progress_bars

CACHE = Path(__file__).parent / "cache" / "heldout"

# Seeds and mixtures that no training set draws: these captures are looked at, never learned from.
_CAPTURES = {
    "generic-10": (880_000_001, SynthesisSettings(views=10, spread_deg=120)),
    "ict-10": (
        880_000_002,
        SynthesisSettings(views=10, spread_deg=130, noise=5, exposure_jitter=0.12, calibration_px=0.15),
    ),
    "generic-7": (
        880_000_003,
        SynthesisSettings(views=7, spread_deg=100, exposure_jitter=0.25, white_balance_jitter=0.06),
    ),
    "ict-5": (880_000_004, SynthesisSettings(views=5, spread_deg=90, blur_px=0.6, jpeg_quality=75)),
    "generic-4": (880_000_005, SynthesisSettings(views=4, spread_deg=75, noise=12, blur_px=0.3)),
    "ict-3": (
        880_000_006,
        SynthesisSettings(views=3, spread_deg=55, noise=3, exposure_jitter=0.2, jpeg_quality=85),
    ),
}


def main() -> int:
    """Make what is missing, run it, print the table; 1 when a run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", default=",".join(_CAPTURES), help=f"which, of: {', '.join(_CAPTURES)}")
    add_matchers(parser)
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.captures.split(",")]
    if unknown := [name for name in names if name not in _CAPTURES]:
        parser.error(f"no capture {', '.join(unknown)}; there are: {', '.join(_CAPTURES)}")
    console = make_console()
    rows = []
    with progress_bars() as progress:
        for number, name in enumerate(names):
            progress("Captures", number, len(names))
            if name.startswith("ict") and (reason := missing_ict()):
                console.print(f"{name}: skipped, {reason}")
                continue
            rows.append(_row(name))
        progress("Captures", len(names), len(names))
    results = run_rows(console, rows, arguments.matchers)
    if results:
        console.print(surface_table("Captures that were never learned from", results))
        if detailed := [result for result in results if result.cheeks]:
            console.print(detail_table(detailed))
        console.print(regions_table(results))
    return int(any(result.error for result in results))


def _row(name: str) -> Row:
    """The row of a capture, which is made unless it is there."""
    seed, settings = _CAPTURES[name]
    job = SyntheticJob(CACHE / name, seed, name.split("-")[0], settings)
    if not _made(job):
        if job.folder.exists():
            shutil.rmtree(job.folder)
        CACHE.mkdir(parents=True, exist_ok=True)
        make_capture_folder(job)
    about = f"{job.model} head, {settings.views} views over {settings.spread_deg:.0f}°"
    return Row(f"heldout-{name}", "heldout", about, job.folder, ("--scale", "1"), job.folder / "gt.ply")


def _made(job: SyntheticJob) -> bool:
    """Whether the capture is there, as these settings make it."""
    try:
        said = json.loads((job.folder / "truth.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = {"seed": job.seed, "model": job.model, "settings": describe_settings(job.settings)}
    return all(said.get(key) == value for key, value in wanted.items())


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except MesofaceError as error:
        raise SystemExit(str(error)) from None
