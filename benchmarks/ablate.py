"""What each part of the matching is worth: one thing changed at a time, from the same base mesh.

    python benchmarks/ablate.py --capture lps --variations preset,views

Prints a table in Markdown for docs/matching.md. Memory is what matching needs beside what is there before it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory import peak_memory
from prepared import CAPTURES, prepare

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Variation:
    """One way of matching.

    Args:
        group: what is varied.
        about: for people.
        options: of :func:`mesoface.matching.cascade.match`, beside the capture and the base mesh.
        views: how many photos.
    """

    group: str
    about: str
    options: Mapping[str, Any] = field(default_factory=dict)
    views: int = 10


VARIATIONS = (
    Variation("preset", "up to 512² (fast)", {"preset": "fast"}),
    Variation("preset", "up to 768² (default)"),
    Variation("preset", "up to 1024² (best)", {"preset": "best"}),
    Variation("views", "10 views"),
    Variation("views", "5 views", views=5),
    Variation("views", "3 views", views=3),
)
GROUPS = tuple(dict.fromkeys(variation.group for variation in VARIATIONS))

HEAD = ("", "mean, mm", "median", "90 %", "≤ 0.2 mm", "normals", "complete", "seconds", "memory")


def main() -> None:
    """Run the variations that were asked for, print the table, keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capture", choices=CAPTURES, default="lps")
    parser.add_argument("--variations", default=",".join(GROUPS), help=f"which, of: {', '.join(GROUPS)}")
    arguments = parser.parse_args()
    groups = [name.strip() for name in arguments.variations.split(",")]
    if unknown := [name for name in groups if name not in GROUPS]:
        parser.error(f"no variations named {', '.join(unknown)}; there are: {', '.join(GROUPS)}")
    records = []
    print_row(HEAD)
    print_row(["---", *["---:"] * (len(HEAD) - 1)])
    for variation in VARIATIONS:
        if variation.group in groups:
            records.append(measure(variation, arguments.capture))
            print_row(cells(records[-1]))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(records, indent=2) + "\n"
    (RESULTS / f"ablation-{arguments.capture}.json").write_text(text, encoding="utf-8")


def measure(variation: Variation, capture: str) -> dict[str, Any]:
    """Match once; what came of it."""
    prepared = prepare(capture, variation.views)
    with peak_memory() as memory:
        start = time.perf_counter()
        matched = prepared.match(**variation.options)
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
    main()
