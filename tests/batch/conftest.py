"""Captures in their smallest form, and batches of them whose attempts take no time."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mesoface.batch.job import CaptureJob
from mesoface.config import Settings
from mesoface.results.files import FORMAT

HERE = Path(__file__).parent
_NODE = {"num_cpus": 1, "memory": 4 << 30, "object_store_memory": 80 << 20}


@pytest.fixture
def tree(tmp_path: Path, small_capture: Path) -> Callable[..., Path]:
    """``tree(a="", b="refuse")`` → a folder that holds captures a and b, with what shall become of them."""

    def make(**plans: str) -> Path:
        root = tmp_path / "tree"
        for name, plan in plans.items():
            shutil.copytree(small_capture, root / name)
            if plan:
                (root / name / "plan.txt").write_text(plan)
        return root

    return make


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module ``stand_in``, in the place of real attempts, here and in worker processes."""
    monkeypatch.syspath_prepend(str(HERE))
    import stand_in as module  # type: ignore[import-not-found]

    from mesoface.batch import run

    monkeypatch.setattr(run, "attempt_capture", module.attempt)
    monkeypatch.setattr(run, "PRELOAD", ())
    return module


@pytest.fixture
def console() -> Console:
    """A log: no terminal."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def job(tmp_path: Path, small_capture: Path) -> CaptureJob:
    """A capture of a batch whose folder is there."""
    capture, out = tmp_path / "capture", tmp_path / "out"
    shutil.copytree(small_capture, capture)
    out.mkdir()
    recipe = {"mesoface": "0", "layout": FORMAT, "settings": {}, "files": {}}
    return CaptureJob("anna", capture, out, Settings(), recipe)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs nothing itself, and two nodes with a core each, all on this machine."""
    ray = pytest.importorskip("ray", reason="needs the extra mesoface[ray]")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Workers find the stand-in by its name.
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    from ray.cluster_utils import Cluster

    head = {**_NODE, "num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(**_NODE)
    yield made
    ray.shutdown()
    made.shutdown()
