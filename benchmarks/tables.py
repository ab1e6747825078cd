"""Results as tables: the matchers of a row under each other, and how they compare."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from measure import MAX_ERROR_PX, MIN_TRACK, Result
from regions import REGIONS
from rich.console import Console
from rich.table import Table

STAGES = {
    "loading": "loading",
    "landmarks": "landmarks",
    "views and scale": "views",
    "base mesh": "base",
    "matching": "matching",
    "surface": "surface",
    "files and report": "files",
}

Cell = Callable[[dict[str, Any]], str]
SURFACE: dict[str, Cell] = {
    "mean": lambda e: f"{e['accuracy']['mean']:.3f}",
    "median": lambda e: f"{e['accuracy']['median']:.3f}",
    "90 %": lambda e: f"{e['accuracy']['p90']:.3f}",
    "≤ 0.2": lambda e: f"{100 * e['accuracy']['within']['0.2']:.1f} %",
    "> 1": lambda e: f"{100 * (1 - e['accuracy']['within']['1']):.2f} %",
    "normals": lambda e: f"{e['accuracy']['normal_angle']:.1f}°",
    "complete": lambda e: f"{100 * e['complete']:.1f} %",
    "back": lambda e: f"{e['completeness']['mean']:.3f}",
}
POINTS: dict[str, Cell] = {
    "mean": lambda e: f"{e['mean']:.3f}",
    "median": lambda e: f"{e['median']:.3f}",
    "90 %": lambda e: f"{e['p90']:.3f}",
    "≤ 0.5": lambda e: f"{100 * e['within']['0.5']:.1f} %",
    "≤ 1": lambda e: f"{100 * e['within']['1']:.1f} %",
    "points": lambda e: f"{e['count']:,}",
}
ALIGNED: dict[str, Cell] = {"aligned": lambda e: str(e["align"])}
UNCERTAINTY: dict[str, Cell] = {
    "≤ 1 σ": lambda u: f"{100 * u['within_1']:.0f} %",
    "≤ 2 σ": lambda u: f"{100 * u['within_2']:.0f} %",
    "corr.": lambda u: "–" if u["correlation"] is None else f"{u['correlation']:.2f}",
}
# What a matcher is compared with the last one by: less is better.
_COMPARED = {
    "mean": lambda e: e["accuracy"]["mean"],
    "median": lambda e: e["accuracy"]["median"],
    "90 %": lambda e: e["accuracy"]["p90"],
    "normals": lambda e: e["accuracy"]["normal_angle"],
    "back": lambda e: e["completeness"]["mean"],
}


def make_console() -> Console:
    """Wide enough where the output is a file: a table that wraps cannot be read."""
    return Console(highlight=False, width=None if os.isatty(1) else 220)


def surface_table(title: str, results: Sequence[Result]) -> Table:
    """Distances to the true surface in the facial region, mm, not aligned; then seconds and memory."""
    return _table(f"{title}: to the true surface in the facial region (mm, not aligned)", SURFACE, results)


def halves_table(title: str, results: Sequence[Result]) -> Table:
    """Difference of two results from disjoint halves of the photos, mm; then seconds of both, and memory."""
    about = "first half to second (mm; the noise of one half is 0.71 of it)"
    return _table(f"{title}: {about}", SURFACE | ALIGNED, results)


def detail_table(results: Sequence[Result]) -> Table:
    """The cheeks by wavelength, and the calibration of stated uncertainties, of results that have them."""
    bands = [f"{band['low']:g}–{band['high']:g} mm" for band in results[0].cheeks]
    columns = (*bands, *UNCERTAINTY)
    made = _empty(
        "Cheeks by wavelength: roughness / rms difference from the truth or the other half (µm) / variance in"
        " common; errors within the stated uncertainty",
        columns,
    )
    for about, same_row in groupby(results, lambda result: result.about):
        for number, result in enumerate(same_row):
            stated = result.uncertainty
            made.add_row(
                "" if number else about,
                result.matcher,
                *(_band(band) for band in result.cheeks),
                *("–" if stated is None else cell(stated) for cell in UNCERTAINTY.values()),
            )
    return made


def _band(band: dict[str, Any]) -> str:
    if band["difference"] is None:
        return "–"
    lengths = f"{1000 * band['roughness']:.0f} / {1000 * band['difference']:.0f}"
    return lengths if band["shared"] is None else f"{lengths} / {100 * band['shared']:.0f} %"


def points_table(title: str, results: Sequence[Result]) -> Table:
    """Distances of structure-from-motion points on the face to the fine mesh, mm; then seconds and memory."""
    which = f"seen in {MIN_TRACK} photos or more, error at most {MAX_ERROR_PX:g} px"
    return _table(f"{title}: points of structure from motion to the fine mesh (mm; {which})", POINTS, results)


def regions_table(results: Sequence[Result]) -> Table:
    """Mean error of each region, and in brackets its share of the sum of all errors."""
    made = _empty("Mean error by region of the face (mm), and its share of the whole error", REGIONS)
    for result in results:
        cells = []
        for name in REGIONS:
            error = result.regions.get(name)
            cells.append("–" if error is None else f"{error['mean']:.3f} ({100 * error['share']:2.0f} %)")
        made.add_row(result.about, result.matcher, *cells)
    return made


def _table(title: str, columns: dict[str, Cell], results: Sequence[Result]) -> Table:
    made = _empty(title, (*columns, *STAGES.values(), "whole run", "memory"))
    for about, same_row in groupby(results, lambda result: result.about):
        row = list(same_row)
        for number, result in enumerate(row):
            name = "" if number else about
            if result.evaluation is None:
                made.add_row(name, result.matcher, "not run" if result.peer else "failed")
                continue
            figures = [cell(result.evaluation) for cell in columns.values()]
            seconds = [f"{result.stages[stage]:.1f}" if stage in result.stages else "–" for stage in STAGES]
            total = [f"{result.seconds:.1f} s", f"{result.peak_mb / 1024:.2f} GB"]
            made.add_row(name, result.matcher, *figures, *seconds, *total)
        measured = [result for result in row if result.evaluation is not None and not result.peer]
        if columns is not POINTS and len(measured) > 1:
            for result in measured[:-1]:
                made.add_row("", f"÷ {measured[-1].matcher}", *_ratios(result, measured[-1]), style="dim")
    return made


def _ratios(result: Result, other: Result) -> list[str]:
    """Each of ``SURFACE``'s columns: ``result`` divided by ``other`` where less is better."""
    return [
        f"× {_COMPARED[name](result.evaluation) / _COMPARED[name](other.evaluation):.2f}"
        if name in _COMPARED
        else ""
        for name in SURFACE
    ]


def _empty(title: str, columns: Sequence[str]) -> Table:
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    made.add_column("", no_wrap=True)
    made.add_column("matcher", no_wrap=True)
    for name in columns:
        made.add_column(name, justify="right", no_wrap=True)
    return made
