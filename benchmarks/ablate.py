"""What each part of the matching is worth: one thing changed at a time, from the same base mesh.

    python benchmarks/ablate.py --capture lps --variations parts,size

Prints a table in Markdown for docs/matching.md. Memory is what matching needs beside what is there before it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory import peak_memory
from prepared import CAPTURES, prepare
from variations import GROUPS, VARIATIONS, Given, Variation

from mesoface.errors import MesofaceError

RESULTS = Path(__file__).parent / "results"


HEAD = ("", "mean, mm", "median", "90 %", "≤ 0.2 mm", "normals", "complete", "seconds", "memory")


def main() -> None:
    """Run the variations that were asked for, print the table, keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capture", choices=CAPTURES, default="lps")
    parser.add_argument("--variations", default=",".join(GROUPS), help=f"which, of: {', '.join(GROUPS)}")
    parser.add_argument("--weights", type=Path, help="of the learned matcher; left out: the shipped ones")
    parser.add_argument("--paper-weights", type=Path, help="folder with the paper's networks, trained")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    given = Given(arguments.weights, arguments.paper_weights, arguments.threads)
    groups = [name.strip() for name in arguments.variations.split(",")]
    if unknown := [name for name in groups if name not in GROUPS]:
        parser.error(f"no variations named {', '.join(unknown)}; there are: {', '.join(GROUPS)}")
    records = []
    print_row(HEAD)
    print_row(["---", *["---:"] * (len(HEAD) - 1)])
    for variation in VARIATIONS:
        if variation.group in groups and not (variation.paper and given.paper_weights is None):
            records.append(measure(variation, given, arguments.capture))
            print_row(cells(records[-1]))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(records, indent=2) + "\n"
    (RESULTS / f"ablation-{arguments.capture}.json").write_text(text, encoding="utf-8")


def measure(variation: Variation, given: Given, capture: str) -> dict[str, Any]:
    """Match once; what came of it."""
    prepared = prepare(capture, variation.views)
    with peak_memory() as memory:
        start = time.perf_counter()
        matched = variation.run(prepared, given)
        seconds = time.perf_counter() - start
    return {
        "group": variation.group,
        "about": variation.about,
        "seconds": seconds,
        "memory_mb": memory.mb,
        "evaluation": prepared.evaluate(matched).to_dict(),
    }


def cells(record: dict[str, Any]) -> list[str]:
    """A measured variation as the columns of ``HEAD``."""
    evaluation = record["evaluation"]
    accuracy = evaluation["accuracy"]
    return [
        f"{record['group']}: {record['about']}",
        f"{accuracy['mean']:.3f}",
        f"{accuracy['median']:.3f}",
        f"{accuracy['p90']:.3f}",
        f"{100 * accuracy['within']['0.2']:.1f} %",
        f"{accuracy['normal_angle']:.1f}°",
        f"{100 * evaluation['complete']:.1f} %",
        f"{record['seconds']:.1f}",
        f"{record['memory_mb']:.0f} MB",
    ]


def print_row(row: Sequence[str]) -> None:
    print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except MesofaceError as error:
        raise SystemExit(str(error)) from None
