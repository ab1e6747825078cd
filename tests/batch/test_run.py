"""A batch from its inputs to its summary, with attempts that take no time.

The order of attempts (who is tried again, who is not) is tested with an engine that follows a plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mesoface.batch import run
from mesoface.batch.engine import Ended
from mesoface.batch.job import CLAIMS, Attempt, CaptureJob, Made
from mesoface.batch.provenance import NAME
from mesoface.batch.run import BatchOptions, run_batch, run_schedule
from mesoface.batch.summary import CaptureRow
from mesoface.config import Settings
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.running.workers import End, Outcome

QUICK = Settings(until="base", preset="fast")
RESUME = BatchOptions(resume=True, workers=2)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def batch(stand_in, out: Path, console: Console) -> Callable[..., list[CaptureRow]]:
    """``batch(root)`` → the rows of a batch of what is below ``root``, whose attempts take no time."""
    return lambda root, settings=QUICK, **options: run_batch(
        [root], options.pop("out", out), settings=settings, console=console, **options
    )


def batch_json(out: Path) -> dict:
    return json.loads((out / "batch.json").read_text())


def published(out: Path) -> list[str]:
    log = out.parent / "published.txt"
    return sorted(log.read_text().split()) if log.is_file() else []


def test_a_batch_is_done_and_summed_up(batch, tree, out: Path, console: Console) -> None:
    rows = batch(tree(a="", b="", c=""))
    assert [row.id for row in rows] == ["a", "b", "c"]
    assert sorted(path.name for path in out.iterdir()) == [
        *("a", "b", "batch.csv", "batch.html", "batch.json", "c")
    ]
    content = batch_json(out)
    assert content["complete"]
    assert content["counts"] == {"captures": 3, "done": 3, "failed": 0}
    assert "3/3" in console.file.getvalue()


def test_failures_are_named_and_stop_nothing(batch, tree, out: Path) -> None:
    plans = {"a": "", "b": "refuse", "c": "raise", "d": "", "e": "die"}
    with pytest.raises(IncompleteError, match="3 of 5 captures failed") as caught:
        batch(tree(**plans))
    assert "photo is torn" in str(caught.value)
    reasons = {row["id"]: row["reason"] for row in batch_json(out)["captures"]}
    assert reasons["a"] is None
    assert reasons["d"] is None
    assert "cable came loose" in reasons["c"]
    assert "SIGKILL" in reasons["e"]
    assert published(out) == ["a", "d"]


def test_resuming_does_what_is_missing_failed_or_changed(batch, tree, out: Path) -> None:
    root = tree(a="", b="refuse-once", c="", d="")
    with pytest.raises(IncompleteError):
        batch(root)
    (out / "c" / NAME).unlink()
    (root / "d" / "0.jpg").write_bytes((root / "d" / "1.jpg").read_bytes())
    (out.parent / "published.txt").unlink()
    rows = batch(root, options=RESUME)
    assert published(out) == ["b", "c", "d"]
    assert all(row.error is None for row in rows)
    (out.parent / "published.txt").unlink()
    batch(root, options=RESUME)
    assert published(out) == []
    batch(root, Settings(until="base"), options=RESUME)
    assert published(out) == ["a", "b", "c", "d"]


def test_an_older_result_of_a_capture_that_fails_now_is_told(batch, tree, out: Path) -> None:
    root = tree(a="")
    batch(root)
    (root / "a" / "params.json").write_text("{")
    (root / "a" / "plan.txt").write_text("refuse")
    with pytest.raises(IncompleteError, match="older result"):
        batch(root, options=RESUME)
    assert (out / "a" / "run.json").is_file()


def test_a_full_disk_stops_it_and_leaves_what_is_done(batch, tree, out: Path) -> None:
    with pytest.raises(MesofaceError, match="disk is full"):
        batch(tree(a="", b="full"))
    content = batch_json(out)
    assert not content["complete"]
    assert [row["id"] for row in content["captures"]] == ["a"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_ctrl_c_leaves_what_is_done_and_nothing_else(batch, tree, out: Path, monkeypatch) -> None:
    begun = run.run_schedule

    def interrupted(*arguments, **options):
        yield next(begun(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_schedule", interrupted)
    with pytest.raises(KeyboardInterrupt):
        batch(tree(a="", b="hang"))
    assert [row["id"] for row in batch_json(out)["captures"]] == ["a"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_what_is_wrong_for_all_is_said_before_any_work(batch, tree, out: Path, tmp_path: Path) -> None:
    root = tree(a="")
    for settings in (
        Settings(face_model=str(tmp_path / "nowhere.npz")),
        Settings(weights=tmp_path / "nowhere.safetensors"),
    ):
        with pytest.raises(MesofaceError, match="nowhere"):
            batch(root, settings)
    (tmp_path / "file").write_text("")
    with pytest.raises(MesofaceError, match="file"):
        batch(root, out=tmp_path / "file")
    assert not out.exists()


def test_two_batches_do_not_share_a_folder(batch, tree, out: Path) -> None:
    from mesoface.running.workers import locked_folder

    with (
        locked_folder(out),
        pytest.raises(MesofaceError, match="another process"),
    ):
        batch(tree(a=""))


def test_a_folder_is_not_written_into_again_unless_that_is_said(batch, tree, out: Path) -> None:
    root = tree(a="")
    batch(root)
    with pytest.raises(MesofaceError, match="--resume"):
        batch(root)


MADE = Made({"peak_mb": 1.0})
FULL = Made(None, "the disk is full")


class Puppet:
    """Ends attempts as ``plans`` say, one word an attempt; by default well."""

    def __init__(self, plans: dict[str, list[End | Made]], at_a_time: int = 2):
        self.plans, self.at_a_time = plans, at_a_time
        self.log: list[tuple[str, int]] = []
        self.running: list[Attempt] = []
        self.most = 0

    def has_room(self) -> bool:
        return len(self.running) < self.at_a_time

    def start(self, attempt: Attempt) -> None:
        assert attempt.may_publish()
        self.log.append((attempt.job.id, attempt.number))
        self.running.append(attempt)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> Sequence[Ended]:
        attempt = self.running.pop(0)
        plan = self.plans.get(attempt.job.id, [])
        end = plan.pop(0) if plan else MADE
        if isinstance(end, Made):
            return [Outcome(attempt, end, None)]
        return [Outcome(attempt, None, f"it was {end}", end)]

    def __enter__(self) -> Puppet:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def work(
    job: CaptureJob, names: str, retries: int = 1, **plans: list[End | Made]
) -> tuple[dict[str, Ended], Puppet]:
    engine = Puppet(plans)
    jobs = [replace(job, id=name) for name in names]
    return {done.job.job.id: done for done in run_schedule(jobs, engine, retries=retries)}, engine


def test_all_are_done_once_and_no_more_at_a_time_than_there_is_room(job: CaptureJob) -> None:
    done, engine = work(job, "abcdef")
    assert [done[name].error for name in "abcdef"] == [None] * 6
    assert engine.log == [(name, 1) for name in "abcdef"]
    assert engine.most == 2
    assert not list((job.out / CLAIMS).iterdir())


def test_what_is_at_fault_itself_is_not_tried_again(job: CaptureJob) -> None:
    done, engine = work(job, "ab", a=[End.REFUSED])
    assert done["a"].error == "it was refused"
    assert done["b"].result == MADE
    assert engine.log == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("end", [End.FAILED, End.DIED, End.LATE])
def test_what_may_pass_is_tried_again_after_all_others(job: CaptureJob, end: End) -> None:
    done, engine = work(job, "abc", a=[end])
    assert done["a"].error is None
    assert engine.log == [("a", 1), ("b", 1), ("c", 1), ("a", 2)]
    done, engine = work(job, "ab", a=[end] * 9, retries=3)
    assert done["a"].error == f"it was {end}"
    assert done["b"].error is None
    assert engine.log.count(("a", 4)) == 1
    assert len(engine.log) == 5


def test_a_lost_machine_is_not_the_capture_s_fault(job: CaptureJob) -> None:
    done, engine = work(job, "ab", a=[End.LOST] * 4, retries=0)
    assert done["a"].error is None
    assert engine.log.count(("a", 1)) == 5
    done, _ = work(job, "a", a=[End.LOST] * 99, retries=0)
    assert done["a"].error == "it was lost"


def test_every_attempt_has_a_claim_of_its_own(job: CaptureJob) -> None:
    tokens = []

    class Keeping(Puppet):
        def start(self, attempt: Attempt) -> None:
            tokens.append(attempt.token)
            super().start(attempt)

    list(run_schedule([job], Keeping({job.id: [End.DIED, End.LOST]}), retries=1))
    assert len(set(tokens)) == 3


def test_a_disk_that_stays_full_stops_the_batch(job: CaptureJob) -> None:
    with pytest.raises(MesofaceError, match="disk is full") as caught:
        work(job, "ab", a=[FULL] * 9)
    assert caught.value.path == job.out
    assert "--resume" in str(caught.value)
    done, _ = work(job, "a", a=[FULL])
    assert done["a"].error is None
