"""Attempts in processes of this machine: how they end, and how many run at a time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from mesoface.batch import engine as local
from mesoface.batch.engine import FIRST_GUESS_MB, LocalEngine, MemoryNeed
from mesoface.batch.job import Attempt, CaptureJob
from mesoface.batch.run import run_schedule
from mesoface.running.workers import End


@pytest.fixture
def planned(job: CaptureJob) -> Callable[[str, str], CaptureJob]:
    """``planned("a", "die")`` → a job of that name whose attempts do so."""

    def make(name: str, plan: str) -> CaptureJob:
        capture = job.out.parent / name
        shutil.copytree(job.capture, capture)
        (capture / "plan.txt").write_text(plan)
        return replace(job, id=name, capture=capture)

    return make


def test_attempts_end_in_every_way_and_stop_no_other(stand_in, planned) -> None:
    plans = {"a": "", "b": "refuse", "c": "raise", "d": "die", "f": "die-once", "g": "raise-once"}
    jobs = [planned(name, plan) for name, plan in plans.items()]
    with LocalEngine(stand_in.attempt, workers=2, need=MemoryNeed(1.0)) as engine:
        done = {d.job.job.id: d for d in run_schedule(jobs, engine, retries=1)}
    said = {
        "b": "the photo is torn — take another",
        "c": "RuntimeError: a cable came loose (stand_in.py",
        "d": "SIGKILL, perhaps for want of memory",
    }
    assert {name for name in done if done[name].error is not None} == set(said)
    for name, words in said.items():
        assert words in str(done[name].error)
    out = jobs[0].out
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == ["a", "f", "g"]
    assert sorted((out.parent / "published.txt").read_text().split()) == ["a", "f", "g"]


def test_an_attempt_that_hangs_is_ended(stand_in, planned) -> None:
    with LocalEngine(stand_in.attempt, workers=2, need=MemoryNeed(1.0), limit=0.5) as engine:
        (done,) = run_schedule([planned("a", "hang")], engine, retries=1)
    assert "longer than 0.5 s" in str(done.error)


def test_leaving_ends_what_runs(stand_in, planned) -> None:
    begun = time.monotonic()
    with LocalEngine(stand_in.attempt, workers=1, need=MemoryNeed()) as engine:
        engine.start(Attempt(planned("a", "hang")))
    assert time.monotonic() - begun < 60  # it would sleep for ten minutes


def test_memory_decides_how_many_run_at_a_time(stand_in, planned, monkeypatch) -> None:
    free = 1000.0
    monkeypatch.setattr(local, "available_memory_mb", lambda: free)
    monkeypatch.setattr(local, "resident_memory_mb", lambda pid: 100.0)
    with LocalEngine(stand_in.attempt, workers=3, need=(need := MemoryNeed(400.0))) as engine:
        assert engine.has_room(), "one always runs"
        engine.start(Attempt(planned("a", "hang")))
        assert engine.has_room(), f"{need.mb} and what the first may still grow by: {need.mb - 100}"
        engine.start(Attempt(planned("b", "hang")))
        assert not engine.has_room()
        free = 5000.0
        assert engine.has_room()
        engine.start(Attempt(planned("c", "hang")))
        assert not engine.has_room(), "as many as workers"
    monkeypatch.setattr(local, "available_memory_mb", lambda: None)
    with LocalEngine(stand_in.attempt, workers=2, need=MemoryNeed()) as engine:
        engine.start(Attempt(planned("d", "hang")))
        assert engine.has_room(), "where the system does not say"


def test_memory_is_learned_from_what_ends(stand_in, planned) -> None:
    need = MemoryNeed()
    with LocalEngine(stand_in.attempt, workers=1, need=need) as engine:
        engine.start(Attempt(planned("a", "refuse")))
        while not (ended := engine.wait(1.0)):
            pass
        assert ended[0].end is End.REFUSED
        assert need.mb == FIRST_GUESS_MB
        list(run_schedule([planned("b", "")], engine, retries=0))
    assert need.mb == pytest.approx(stand_in.RECORD["peak_mb"], rel=0.3)


def test_the_need_is_the_largest_so_far_with_a_reserve() -> None:
    need = MemoryNeed()
    need.measured(1000)
    assert 1000 < need.mb < FIRST_GUESS_MB
    need.measured(800)
    assert need.mb > 1000
    need.killed(2000)
    assert need.mb > 2000
    need.measured(1500)
    assert need.mb > 2000
    assert MemoryNeed(500).mb > 500
