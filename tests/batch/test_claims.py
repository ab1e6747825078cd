"""One attempt publishes; whatever others do, they leave nothing to be seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesoface.batch.job import CLAIMS, Attempt, CaptureJob, release_all
from mesoface.files.atomic import remove_leftovers


def make(attempt: Attempt, content: str) -> Path:
    attempt.folder.mkdir()
    (attempt.folder / "run.json").write_text(content)
    return attempt.folder


def seen(job: CaptureJob) -> list[str]:
    """What is in the batch's folder, claims aside."""
    return sorted(path.name for path in job.out.iterdir() if path.name != CLAIMS)


def test_the_last_attempt_that_claimed_publishes(job: CaptureJob) -> None:
    first, second = Attempt(job), Attempt(job, 2)
    first.claim()
    second.claim()
    make(first, "first")
    make(second, "second")
    assert (first.may_publish(), second.may_publish()) == (False, True)
    assert not first.publish()
    assert seen(job) == [second.folder.name]
    assert second.publish()
    assert seen(job) == ["anna"]
    assert (job.result / "run.json").read_text() == "second"


def test_an_older_result_is_replaced(job: CaptureJob) -> None:
    job.result.mkdir()
    (job.result / "old.obj").write_text("old")
    attempt = Attempt(job)
    attempt.claim()
    make(attempt, "new")
    assert attempt.publish()
    assert [path.name for path in job.result.iterdir()] == ["run.json"]
    assert seen(job) == ["anna"]


@pytest.mark.parametrize("let_go", [CaptureJob.release, lambda job: release_all(job.out)])
def test_nobody_publishes_when_claims_are_released(job: CaptureJob, let_go) -> None:
    attempt = Attempt(job)
    attempt.claim()
    make(attempt, "late")
    let_go(job)
    assert not attempt.publish()
    assert seen(job) == []


def test_a_result_that_comes_in_between_stays(job: CaptureJob, monkeypatch) -> None:
    """Two that hold the same claim, at the same moment: the first rename wins."""
    attempt = Attempt(job)
    attempt.claim()
    make(attempt, "mine")
    replace = os.replace

    def meanwhile(source: Path, target: Path) -> None:
        if Path(target) == job.result:
            job.result.mkdir()
            (job.result / "run.json").write_text("theirs")
        replace(source, target)

    monkeypatch.setattr(os, "replace", meanwhile)
    assert not attempt.publish()
    assert (job.result / "run.json").read_text() == "theirs"
    assert seen(job) == ["anna"]


def test_a_rename_that_fails_brings_the_older_result_back(job: CaptureJob, monkeypatch) -> None:
    job.result.mkdir()
    (job.result / "run.json").write_text("old")
    attempt = Attempt(job)
    attempt.claim()
    make(attempt, "new")
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(source) == attempt.folder:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        attempt.publish()
    assert (job.result / "run.json").read_text() == "old"
    assert seen(job) == ["anna"]


def test_what_a_killed_attempt_leaves_is_known_as_a_leftover(job: CaptureJob) -> None:
    make(Attempt(job), "half")
    remove_leftovers(job.out)
    assert seen(job) == []


def test_killed_between_the_renames_an_attempt_leaves_the_older_result(job: CaptureJob, monkeypatch) -> None:
    job.result.mkdir()
    (job.result / "run.json").write_text("old")
    attempt = Attempt(job)
    attempt.claim()
    make(attempt, "new")
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(source) == attempt.folder:
            raise KeyboardInterrupt  # nothing of what follows is run but for the removal of its own folder
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            attempt.publish()
    remove_leftovers(job.out)
    assert seen(job) == ["anna"]
    assert (job.result / "run.json").read_text() == "old"
