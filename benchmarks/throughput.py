"""How many captures an hour `mesoface batch` makes, with one process and with several.

The sample capture, as often as asked for, by `mesoface batch` in each way of using the cores, one after
another and in turns, so that what else the machine does falls on all of them. Prints a table and a
projection; nothing else should run meanwhile.

    python benchmarks/throughput.py --captures 6 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "examples" / "sample_capture"
FACESCAPE = 7120  # captures: 359 people by 20 expressions, less what is missing
MACHINES = (1, 4, 16, 64)


@dataclass
class Way:
    """One way of using a machine's cores.

    Args:
        workers: processes at a time.
        threads: of each.
        seconds: a capture, of each round.
        peak_mb: of a process, largest.
        result_mb: size of a result's folder.
    """

    workers: int
    threads: int
    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    result_mb: float = 0.0

    @property
    def name(self) -> str:
        """In words."""
        processes = "process" if self.workers == 1 else "processes"
        return f"{self.workers} {processes} × {self.threads} thread{'s' * (self.threads > 1)}"


def main() -> None:
    arguments = _arguments()
    ways = [Way(1, 1), Way(1, arguments.cores), Way(arguments.cores, 1)]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        shoot = make_captures(Path(place) / "shoot", arguments.captures)
        for _ in range(arguments.rounds):
            for way in ways:
                run(way, shoot, Path(place) / "faces", arguments.options)
    report = table(ways, arguments.captures, arguments.rounds)
    print(report)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    record = [vars(way) for way in ways]
    (results / "throughput.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def make_captures(shoot: Path, count: int) -> Path:
    """The sample capture ``count`` times."""
    for number in range(count):
        shutil.copytree(SAMPLE, shoot / f"capture_{number:02d}")
    return shoot


def run(way: Way, shoot: Path, out: Path, options: list[str]) -> None:
    """One batch; its time goes to ``way``."""
    shutil.rmtree(out, ignore_errors=True)
    numbers = ["--workers", way.workers, "--threads", way.threads]
    command = ["-c", "from mesoface.cli import main; main()", "batch", shoot, "--out", out, "--scale", 1]
    subprocess.run([sys.executable, *map(str, [*command, *numbers]), *options], check=True)
    summary = json.loads((out / "batch.json").read_text(encoding="utf-8"))
    rows = summary["captures"]
    way.seconds.append(summary["timing"]["seconds"] / len(rows))
    way.peak_mb = max([way.peak_mb, *(row["timing"]["peak_mb"] for row in rows)])
    first = out / rows[0]["id"]
    way.result_mb = sum(path.stat().st_size for path in first.iterdir()) / 1e6


def table(ways: list[Way], captures: int, rounds: int) -> str:
    """Throughput of each way, its growth, and what it comes to for a data set."""
    single = median(ways[0].seconds)
    lines = [
        f"{captures} captures, {rounds} rounds; medians",
        "",
        "| | s a capture | spread | captures an hour | growth | MB a process |",
        "|---|---|---|---|---|---|",
    ]
    for way in ways:
        seconds = median(way.seconds)
        spread = f"{min(way.seconds):.1f}–{max(way.seconds):.1f}"
        lines.append(
            f"| {way.name} | {seconds:.1f} | {spread} | {3600 / seconds:.0f} | {single / seconds:.2f} "
            f"| {way.peak_mb:,.0f} |"
        )
    best = min(ways, key=lambda way: median(way.seconds))
    seconds = median(best.seconds)
    lines += ["", f"{FACESCAPE:,} captures, {best.name} a machine, {best.result_mb:.0f} MB a result", ""]
    lines += ["| machines | hours |", "|---|---|"]
    lines += [f"| {count} | {FACESCAPE * seconds / 3600 / count:.1f} |" for count in MACHINES]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", type=int, default=6, help="in a batch")
    parser.add_argument("--rounds", type=int, default=3, help="of each way; the median counts")
    parser.add_argument("--cores", type=int, default=2, help="of the machine that are used at most")
    parser.add_argument("--folder", type=Path, help="for captures and results; a fast disk")
    parser.add_argument("options", nargs="*", help="for `mesoface batch`, after --")
    return parser.parse_args()


if __name__ == "__main__":
    main()
