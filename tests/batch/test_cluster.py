"""``--engine ray`` on a real cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mesoface.batch import cluster
from mesoface.batch.cluster import RayEngine
from mesoface.batch.engine import MemoryNeed
from mesoface.batch.run import BatchOptions, run_batch
from mesoface.config import Settings
from mesoface.errors import IncompleteError, MesofaceError

pytest.importorskip("ray", reason="needs the extra mesoface[ray]")

QUICK = Settings(until="base", preset="fast", threads=1)


def options(made: Any, **others: Any) -> BatchOptions:
    return BatchOptions(engine="ray", address=made.address, memory_per_capture=100.0, **others)


@pytest.mark.slow
def test_a_node_killed_in_the_middle_is_not_seen_in_the_output(
    two_nodes, stand_in, tree, tmp_path: Path, console, monkeypatch
) -> None:
    root = tree(**{f"capture_{number:02d}": "slow" for number in range(12)}, bad="refuse")
    out, wait, killed = tmp_path / "out", RayEngine.wait, []

    def wait_and_kill(engine: RayEngine, seconds: float) -> list:
        ended = wait(engine, seconds)
        if not killed and sum(path.name.startswith("capture") for path in out.iterdir()) >= 3:
            killed.append(min(two_nodes.worker_nodes, key=lambda node: node.node_id))
            two_nodes.remove_node(killed[0], allow_graceful=False)
        return ended

    monkeypatch.setattr(RayEngine, "wait", wait_and_kill)
    with pytest.raises(IncompleteError, match="1 of 13 captures failed: bad"):
        run_batch([root], out, settings=QUICK, options=options(two_nodes), console=console)
    assert killed
    rows = json.loads((out / "batch.json").read_text())["captures"]
    assert [row["id"] for row in rows if row["status"] == "failed"] == ["bad"]
    done = {f"capture_{number:02d}" for number in range(12)}
    assert {path.name for path in out.iterdir() if path.is_dir()} == done
    assert Counter((tmp_path / "published.txt").read_text().split()) == Counter(done)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_ends_are_told_as_on_one_machine(two_nodes, stand_in, tree, tmp_path: Path, console) -> None:
    root = tree(a="", b="refuse", c="raise", d="die", e="die-once")
    with pytest.raises(IncompleteError) as caught:
        run_batch([root], tmp_path / "out", settings=QUICK, options=options(two_nodes), console=console)
    for words in ("b (", "photo is torn", "cable came loose", "SIGKILL"):
        assert words in str(caught.value)
    assert sorted((tmp_path / "published.txt").read_text().split()) == ["a", "e"]
    resumed = options(two_nodes, resume=True, time_limit=1 / 60, retries=0)
    (root / "c" / "plan.txt").write_text("hang")
    with pytest.raises(IncompleteError, match="longer than 1 s"):
        run_batch([root], tmp_path / "out", settings=QUICK, options=resumed, console=console)


@pytest.mark.slow
def test_machines_that_are_too_small_are_told(two_nodes, stand_in) -> None:
    for threads, mb in ((64, 100.0), (1, 1e6)):
        with pytest.raises(MesofaceError, match="none of the cluster's 3 machines"):
            RayEngine(stand_in.attempt, address=two_nodes.address, threads=threads, need=MemoryNeed(mb))


@pytest.mark.slow
def test_no_cluster_is_told(stand_in) -> None:
    with pytest.raises(MesofaceError, match="no Ray cluster"):
        RayEngine(stand_in.attempt, address="auto", threads=1, need=MemoryNeed())


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    importing = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return importing(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MesofaceError, match=r"pip install 'mesoface\[ray\]'"):
        cluster._connected("auto")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
