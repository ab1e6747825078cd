"""Rows, their tables, and what is refused."""

from __future__ import annotations

import bench
import numpy as np
import pytest
from measure import Result
from memory import peak_memory
from rich.console import Console
from rows import GROUPS, ROWS, select
from tables import detail_table, halves_table, surface_table


def result(matcher: str, mean: float, **values) -> Result:
    """A run of the row lps-10; ``values`` of :class:`Result`."""
    accuracy = {
        "mean": mean,
        "median": mean / 2,
        "p90": 2 * mean,
        "within": {"0.2": 0.9, "1": 0.997},
        "normal_angle": 5.0,
    }
    evaluation = {"accuracy": accuracy, "complete": 0.9, "completeness": {"mean": mean}, "align": "none"}
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


def test_the_tail_is_what_is_off_by_more_than_a_millimetre():
    header, row = printed([result("ncc", 0.1)])[-2:]
    assert header.split()[5:9] == ["≤", "0.2", ">", "1"]
    assert row.split()[6:10] == ["90.0", "%", "0.30", "%"]


def test_a_peer_stands_beside_ours_and_is_no_reference():
    lines = printed([result("learned", 0.05), result("ncc", 0.1), result("sgbm", 0.2, peer=True)])
    assert [line.split()[-1] for line in lines].count("GB") == 3
    assert lines[-2].split()[:2] == ["sgbm", "0.200"]
    assert "÷ ncc" in lines[-1]
    missing = Result("lps-10", "head scan", "sgbm", 0.0, error="needs pycolmap", peer=True)
    assert "not run" in printed([result("ncc", 0.1), missing])[-1]


def test_halves_say_how_they_were_aligned():
    console = Console(width=200)
    with console.capture() as capture:
        console.print(halves_table("Halves", [result("ncc", 0.1)]))
    header, row = capture.get().splitlines()[-2:]
    assert "aligned" in header
    assert "none" in row


BAND = {"low": 3.0, "high": 6.0, "roughness": 0.02, "other": 0.02, "difference": 0.011, "shared": 0.8}
STATED = {"within_1": 0.68, "within_2": 0.951, "correlation": None}


def test_cheeks_and_uncertainties_are_shown_where_they_are_known():
    unknown = BAND | {"roughness": None, "difference": None, "shared": None}
    results = [
        result("learned", 0.05, cheeks=[BAND], uncertainty=STATED),
        result("ncc", 0.1, cheeks=[unknown]),
    ]
    console = Console(width=200)
    with console.capture() as capture:
        console.print(detail_table(results))
    first, second = capture.get().splitlines()[-2:]
    assert "20 / 11 / 80 %" in first
    assert first.split()[-5:] == ["68", "%", "95", "%", "–"]
    assert second.split() == ["ncc", "–", "–", "–", "–"]


def test_one_matcher_is_compared_with_nothing():
    assert "÷" not in "".join(printed([result("ncc", 0.1)]))


def test_a_failed_run_is_said_and_does_not_count():
    lines = printed([Result("lps-10", "head scan", "learned", 3.0, error="no"), result("ncc", 0.1)])
    assert "failed" in lines[-2]
    assert "÷" not in "".join(lines)


def test_rows_are_chosen_by_name_and_by_group():
    assert [row.name for row in select(["lps-5", "phone", "lps-5"], ROWS)] == ["lps-5", "phone"]
    assert {row.group for row in select(["degraded"], ROWS)} == {"degraded"}
    assert {row.halves for row in select(["halves"], ROWS)} == {"interleaved", "consecutive"}
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
