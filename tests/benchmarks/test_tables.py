"""Rows, their tables, and what is refused."""

from __future__ import annotations

import bench
import numpy as np
import pytest
from measure import Result
from memory import peak_memory
from rich.console import Console
from rows import GROUPS, ROWS, select
from tables import surface_table


def result(matcher: str, mean: float, **values) -> Result:
    accuracy = {
        "mean": mean,
        "median": mean / 2,
        "p90": 2 * mean,
        "within": {"0.2": 0.9},
        "normal_angle": 5.0,
    }
    evaluation = {"accuracy": accuracy, "complete": 0.9, "completeness": {"mean": mean}}
    return Result("lps-10", "head scan", matcher, 20.0, 1024.0, {"matching": 7.0}, {}, evaluation, **values)


def printed(results: list[Result]) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(surface_table("Clean", results))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_matchers_stand_under_each_other_with_their_ratio():
    *_, first, second, ratio = printed([result("learned", 0.05), result("ncc", 0.10)])
    assert first.split()[:6] == ["head", "scan", "learned", "0.050", "0.025", "0.100"]
    assert second.split()[:2] == ["ncc", "0.100"]
    assert ratio.split()[:6] == ["÷", "ncc", "×", "0.50", "×", "0.50"]


def test_one_matcher_is_compared_with_nothing():
    assert "÷" not in "".join(printed([result("ncc", 0.1)]))


def test_a_failed_run_is_said_and_does_not_count():
    lines = printed([Result("lps-10", "head scan", "learned", 3.0, error="no"), result("ncc", 0.1)])
    assert "failed" in lines[-2]
    assert "÷" not in "".join(lines)


def test_rows_are_chosen_by_name_and_by_group():
    assert [row.name for row in select(["lps-5", "phone", "lps-5"], ROWS)] == ["lps-5", "phone"]
    assert {row.group for row in select(["degraded"], ROWS)} == {"degraded"}
    assert select(GROUPS, ROWS) == list(ROWS.values())
    with pytest.raises(KeyError, match="lps-11"):
        select(["lps-11"], ROWS)


@pytest.mark.parametrize("arguments", [["--rows", "lps-11"], ["--matchers", "ncc,guess"]])
def test_what_there_is_not_is_refused_before_anything_runs(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert arguments[1].split(",")[-1] in capsys.readouterr().err


def test_peak_memory_is_what_a_block_adds():
    with peak_memory() as memory:
        array = np.ones(50 << 17)  # 50 MB
        del array
    if np.isnan(memory.mb):
        pytest.skip("this system cannot tell")
    assert 45 < memory.mb < 80
