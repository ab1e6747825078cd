"""The process: settings that overlapping threads leave as the first one found them; its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import pytest
import torch

from mesoface.running import process
from mesoface.running.process import (
    Shared,
    ignored_warnings,
    no_native_logs,
    one_opencv_thread,
    torch_threads,
)


def overlap(first: AbstractContextManager, second: AbstractContextManager, within=lambda: None) -> None:
    """Enter ``first``, enter ``second`` in a thread, leave ``first``, call ``within``, leave ``second``."""
    entered, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with second:
            entered.set()
            go_on.wait(10)
            within()

    thread = threading.Thread(target=other)
    with first:
        thread.start()
        assert entered.wait(10)
    go_on.set()
    thread.join()


def test_opencv_s_threads_are_what_they_were() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    seen = []
    overlap(one_opencv_thread, one_opencv_thread, lambda: seen.append(cv2.getNumThreads()))
    assert (seen, cv2.getNumThreads()) == ([1], 2), "one thread until the last has left"
    cv2.setNumThreads(before)


def test_torch_s_threads_are_what_they_were_in_every_thread() -> None:
    before, seen = torch.get_num_threads(), []
    overlap(
        torch_threads(before + 1), torch_threads(before + 2), lambda: seen.append(torch.get_num_threads())
    )
    new = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert (seen, torch.get_num_threads()) == ([before + 2, before], before)


def test_warnings_are_reported_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        overlap(
            ignored_warnings(), ignored_warnings(UserWarning), lambda: warnings.warn("quiet", stacklevel=1)
        )
        assert warnings.filters == filters
        with pytest.raises(RuntimeWarning), ignored_warnings(UserWarning):
            warnings.warn("not meant", RuntimeWarning, stacklevel=1)
        assert warnings.filters == filters


def test_stderr_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    overlap(no_native_logs, no_native_logs, lambda: os.write(2, b"lost"))
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"


def test_without_stderr_nothing_is_to_be_done() -> None:
    script = (
        "import os; os.close(2)\nfrom mesoface.running.process import no_native_logs\n"
        "with no_native_logs: pass\nprint('done')"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "done\n"


def test_the_first_enters_and_the_last_leaves_whatever_happens_between() -> None:
    steps: list[str] = []

    @contextmanager
    def change() -> Iterator[int]:
        steps.append("in")
        yield 5
        steps.append("out")

    shared = Shared(change)
    for _ in range(2):
        with shared as outer:
            with pytest.raises(KeyError), shared as inner:
                raise KeyError
            assert (outer, inner, steps) == (5, 5, ["in"])
        assert steps == ["in", "out"]
        steps.clear()


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
    found = list(process._groups(groups / "said", groups))
    assert found == [groups / "memory" / "b", groups / "memory", groups / "a", groups]
    assert [process._room(group) for group in found] == [200.0, None, None, 500.0]


def test_what_is_over_the_limit_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"memory.max": "100", "memory.current": "200"})
    assert process._room(tmp_path) == 0


def test_the_least_of_all_counts(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_groups", lambda: iter([groups / "memory" / "b", groups]))
    assert process.available_memory_mb() == pytest.approx(200.0)


def test_memory_of_a_process() -> None:
    assert process.resident_memory_mb(os.getpid()) > 1
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert process.resident_memory_mb(ended.pid) == 0


_FAULTS = """
import resource
from mesoface.running import process
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
        for first in ("assert process.keep_freed_memory()", "pass")
    )
    assert kept < given_back / 2
