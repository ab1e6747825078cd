"""Accuracy, time and memory of `mesoface reconstruct`, as two tables: `make bench`.

Results also go to benchmarks/results/<row>.json.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

from measure import MAX_ERROR_PX, MIN_TRACK, Result, run_row
from rich.console import Console
from rich.table import Table
from rows import ROWS

RESULTS = Path(__file__).parent / "results"
STAGES = ("loading", "landmarks", "views and scale", "base mesh", "matching", "surface", "files and report")


def main() -> int:
    """Run the rows that were asked for; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which, of: {', '.join(ROWS)}")
    names = [name.strip() for name in parser.parse_args().rows.split(",")]
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")

    # Wide enough where the output is a file: a table that wraps cannot be read.
    console = Console(highlight=False, width=None if os.isatty(1) else 180)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    RESULTS.mkdir(exist_ok=True)
    results = []
    for name in names:
        if reason := ROWS[name].missing:
            console.print(f"{name}: skipped, {reason}")
            continue
        result = run_row(ROWS[name])
        (RESULTS / f"{name}.json").write_text(result.to_json(), encoding="utf-8")
        console.print(f"{name}: {result.error or f'{result.seconds:.0f} s'}", markup=False)
        results.append(result)
    for title, truth, columns in (
        ("To the true surface, in the facial region (mm, 2 directions, not aligned)", True, SURFACE),
        (
            f"Structure-from-motion points on the face to the fine mesh (mm; seen in {MIN_TRACK} photos or "
            f"more, error at most {MAX_ERROR_PX:g} px)",
            False,
            POINTS,
        ),
    ):
        chosen = [r for r in results if r.evaluation and (ROWS[r.row].truth is not None) == truth]
        if chosen:
            console.print(table(title, columns, chosen))
    return int(any(result.error for result in results))


def table(title: str, columns: dict, results: list[Result]) -> Table:
    """A table of ``results``: their measured columns, then seconds and memory."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    made.add_column("", no_wrap=True)
    for name in (*columns, *STAGES, "whole run", "memory"):
        made.add_column(name, justify="right")
    for result in results:
        figures = [cell(result.evaluation) for cell in columns.values()]
        seconds = [f"{result.stages[stage]:.1f}" if stage in result.stages else "–" for stage in STAGES]
        total = [f"{result.seconds:.1f} s", f"{result.peak_mb / 1024:.2f} GB"]
        made.add_row(result.about, *figures, *seconds, *total)
    return made


SURFACE = {
    "mean": lambda e: f"{e['accuracy']['mean']:.3f}",
    "median": lambda e: f"{e['accuracy']['median']:.3f}",
    "90 %": lambda e: f"{e['accuracy']['p90']:.3f}",
    "≤ 0.2": lambda e: f"{100 * e['accuracy']['within']['0.2']:.1f} %",
    "normals": lambda e: f"{e['accuracy']['normal_angle']:.1f}°",
    "complete": lambda e: f"{100 * e['complete']:.1f} %",
    "back": lambda e: f"{e['completeness']['mean']:.3f}",
}
POINTS = {
    "mean": lambda e: f"{e['mean']:.3f}",
    "median": lambda e: f"{e['median']:.3f}",
    "90 %": lambda e: f"{e['p90']:.3f}",
    "≤ 0.5": lambda e: f"{100 * e['within']['0.5']:.1f} %",
    "≤ 1": lambda e: f"{100 * e['within']['1']:.1f} %",
    "points": lambda e: f"{e['count']:,}",
}

if __name__ == "__main__":
    raise SystemExit(main())
