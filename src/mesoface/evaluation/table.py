"""An evaluation as a table and a summary."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mesoface.evaluation.metrics import COMPLETE_WITHIN, WITHIN, DistanceStats, Evaluation

COLUMNS = ("mm", "mean", "median", "90 %", "bias", *(f"≤ {limit:g}" for limit in WITHIN), "normals", "points")


def rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """The two directions as cells of ``COLUMNS``."""
    directions = {"ours → truth": evaluation.accuracy, "truth → ours": evaluation.completeness}
    return [_cells(name, stats) for name, stats in directions.items()]


def summary(evaluation: Evaluation) -> str:
    """One line: chamfer, completeness, alignment."""
    aligned = {"none": "not aligned", "rigid": "aligned rigidly", "similarity": "aligned by a similarity"}
    parts = [
        f"chamfer {evaluation.chamfer:.3f} mm",
        f"{100 * evaluation.complete:.1f} % of the truth within {COMPLETE_WITHIN:g} mm",
        aligned[evaluation.align],
    ]
    if evaluation.align == "similarity":
        parts[-1] += f" (scale {evaluation.alignment.scale:.5g})"
    if evaluation.excluded > 0.005:
        parts.append(f"{100 * evaluation.excluded:.1f} % of ours is beyond the truth's rim, not counted")
    return " · ".join(parts)


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print the table of both directions and the summary."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "mm" else "right", no_wrap=True)
    for row in rows(evaluation):
        table.add_row(*row)
    console.print(table)
    console.print(summary(evaluation), highlight=False)


def _cells(name: str, stats: DistanceStats) -> tuple[str, ...]:
    lengths = (stats.mean, stats.median, stats.p90)
    shares = (f"{100 * stats.within[f'{limit:g}']:.1f} %" for limit in WITHIN)
    return (
        name,
        *(f"{value:.3f}" for value in lengths),
        f"{stats.bias:+.3f}",
        *shares,
        f"{stats.normal_angle:.1f}°",
        f"{stats.count:,}".replace(",", " "),
    )
