"""Accuracy, time and memory of `mesoface reconstruct` with each matcher, as tables: `make bench`.

Results also go to benchmarks/results/<row>.<matcher>.json.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from measure import Result, run_row
from rich.console import Console
from rows import GROUPS, ROWS, Row, select
from tables import (
    detail_table,
    halves_table,
    make_console,
    points_table,
    regions_table,
    surface_table,
)

from mesoface.config import Matcher

RESULTS = Path(__file__).parent / "results"
MATCHERS = get_args(Matcher)


def main() -> int:
    """Run the rows that were asked for; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows",
        default=",".join(GROUPS),
        help=f"which, separated by commas, of the groups {', '.join(GROUPS)} and the rows {', '.join(ROWS)}",
    )
    add_matchers(parser)
    parser.add_argument("--no-peers", action="store_true", help="leave out other programs")
    parser.add_argument("--regions", action="store_true", help="also the error by region of the face")
    arguments = parser.parse_args()
    try:
        rows = select([name.strip() for name in arguments.rows.split(",")], ROWS)
    except KeyError as error:
        parser.error(f"no row or group {error.args[0]}; there are: {', '.join((*GROUPS, *ROWS))}")
    console = make_console()
    results = run_rows(console, rows, arguments.matchers, peers=not arguments.no_peers)
    for group, title in GROUPS.items():
        chosen = [result for result in results if ROWS[result.row].group == group]
        known = [result for result in chosen if ROWS[result.row].truth is not None]
        halves = [result for result in chosen if ROWS[result.row].halves is not None]
        points = [result for result in chosen if result not in (*known, *halves)]
        if known:
            console.print(surface_table(title, known))
        if halves:
            console.print(halves_table(title, halves))
        if points:
            console.print(points_table(title, points))
    if detailed := [result for result in results if result.cheeks]:
        console.print(detail_table(detailed))
    if arguments.regions and (with_regions := [result for result in results if result.regions]):
        console.print(regions_table(with_regions))
    return int(any(result.error for result in results if not result.peer))


def add_matchers(parser: argparse.ArgumentParser) -> None:
    """``--matchers``: checked, as a list in the order that was asked for."""

    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        if unknown := [name for name in found if name not in MATCHERS]:
            raise argparse.ArgumentTypeError(f"no matcher {', '.join(unknown)}; there are: {MATCHERS}")
        return found

    parser.add_argument(
        "--matchers",
        type=names,
        default=list(MATCHERS),
        help=f"which, of: {', '.join(MATCHERS)}; all are compared with the last",
    )


def run_rows(
    console: Console, rows: Sequence[Row], matchers: list[str], *, peers: bool = False
) -> list[Result]:
    """Run ``rows`` with each of ``matchers``, one after another, and keep the figures on disk.

    Args:
        console: where progress is told.
        rows: what is run.
        matchers: with which.
        peers: whether other programs are run too, in the rows that have one.
    """
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    RESULTS.mkdir(exist_ok=True)
    results = []
    for row in rows:
        if row.missing:
            console.print(f"{row.name}: skipped, {row.missing}")
            continue
        for result in run_row(row, matchers, peers=peers):
            path = RESULTS / f"{result.row}.{result.matcher}.json"
            path.write_text(result.to_json(), encoding="utf-8")
            said = result.error or f"{result.seconds:.0f} s"
            console.print(f"{result.row}, {result.matcher}: {said}", markup=False)
            results.append(result)
    return results


if __name__ == "__main__":
    raise SystemExit(main())
