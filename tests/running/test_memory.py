"""Memory that can be had: the machine's, and what control groups of both kinds allow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesoface.running import memory


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A control group ``/a`` of version 2 and one ``/b`` of version 1."""
    write(tmp_path / "a", {"memory.max": "max", "memory.current": "5"})
    write(tmp_path, {"memory.max": str(900 << 20), "memory.current": str(500 << 20)})
    write(tmp_path, {"memory.stat": f"anon 1\ninactive_file {100 << 20}\n"})
    write(
        tmp_path / "memory" / "b",
        {"memory.limit_in_bytes": str(300 << 20), "memory.usage_in_bytes": str(100 << 20)},
    )
    (tmp_path / "said").write_text("4:memory:/b\n2:cpu:/elsewhere\n0::/a\n")
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_groups_and_those_above_them_are_looked_at(groups: Path) -> None:
    found = list(memory._groups(groups / "said", groups))
    assert found == [groups / "memory" / "b", groups / "memory", groups / "a", groups]
    assert [memory._room(group) for group in found] == [200.0, None, None, 500.0]


def test_what_is_over_the_limit_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"memory.max": "100", "memory.current": "200"})
    assert memory._room(tmp_path) == 0


def test_the_least_of_all_counts(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_groups", lambda: iter([groups / "memory" / "b", groups]))
    assert memory.available_memory_mb() == pytest.approx(200.0)


def test_memory_of_a_process() -> None:
    assert memory.resident_memory_mb(os.getpid()) > 1
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert memory.resident_memory_mb(ended.pid) == 0


_FAULTS = """
import resource
from mesoface.running import memory
{}
for _ in range(10):
    b"x" * (48 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
def test_freed_memory_is_used_again():
    """A page that was handed back to the system costs a fault when it is asked for again."""
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", _FAULTS.format(first)]))
        for first in ("assert memory.keep_freed_memory()", "pass")
    )
    assert kept < given_back / 2
