"""One attempt publishes; whatever others do, they leave nothing to be seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from mesoface.batch.job import CLAIMS, Attempt, CaptureJob, release_all
from mesoface.files.atomic import remove_leftovers


def make(job: CaptureJob, content: str) -> Attempt:
    """An attempt that holds the claim and has made its result."""
    attempt = Attempt(job)
    attempt.claim()
    attempt.folder.mkdir()
    (attempt.folder / "run.json").write_text(content)
    return attempt


def seen(job: CaptureJob) -> list[str]:
    """What is in the batch's folder, claims aside."""
    return sorted(path.name for path in job.out.iterdir() if path.name != CLAIMS)


def result(job: CaptureJob) -> str:
    """The only result, which is that of the job."""
    assert seen(job) == ["anna"]
    return (job.result / "run.json").read_text()


@pytest.fixture
def older(job: CaptureJob) -> CaptureJob:
    """A job that has a result already."""
    job.result.mkdir()
    (job.result / "run.json").write_text("old")
    return job


@pytest.fixture
def when_renamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Attempt, Callable[[], None]], None]:
    """``when_renamed(attempt, act)``: ``act()`` just before the attempt's folder is renamed."""
    replace = os.replace

    def install(attempt: Attempt, act: Callable[[], None]) -> None:
        def hooked(source: Path, target: Path) -> None:
            if Path(source) == attempt.folder:
                act()
            replace(source, target)

        monkeypatch.setattr(os, "replace", hooked)

    return install


def test_the_last_attempt_that_claimed_publishes(job: CaptureJob) -> None:
    first, second = make(job, "first"), make(job, "second")
    assert (first.may_publish(), second.may_publish()) == (False, True)
    assert not first.publish()
    assert seen(job) == [second.folder.name]
    assert second.publish()
    assert result(job) == "second"


def test_an_older_result_is_replaced(older: CaptureJob) -> None:
    (older.result / "old.obj").write_text("old")
    assert make(older, "new").publish()
    assert [path.name for path in older.result.iterdir()] == ["run.json"]
    assert seen(older) == ["anna"]


@pytest.mark.parametrize("let_go", [CaptureJob.release, lambda job: release_all(job.out)])
def test_nobody_publishes_when_claims_are_released(job: CaptureJob, let_go) -> None:
    attempt = make(job, "late")
    let_go(job)
    assert not attempt.publish()
    assert seen(job) == []


def test_a_result_that_comes_in_between_stays(job: CaptureJob, when_renamed) -> None:
    """Two that hold the same claim, at the same moment: the first rename wins."""
    attempt = make(job, "mine")

    def meanwhile() -> None:
        job.result.mkdir()
        (job.result / "run.json").write_text("theirs")

    when_renamed(attempt, meanwhile)
    assert not attempt.publish()
    assert result(job) == "theirs"


def test_a_rename_that_fails_brings_the_older_result_back(older: CaptureJob, when_renamed) -> None:
    attempt = make(older, "new")
    when_renamed(attempt, mock.Mock(side_effect=OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        attempt.publish()
    assert result(older) == "old"


def test_killed_between_the_renames_an_attempt_leaves_the_older_result(
    older: CaptureJob, when_renamed, monkeypatch
) -> None:
    """Nothing of what follows is run but for the removal of the attempt's own folder."""
    attempt = make(older, "new")
    when_renamed(attempt, mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        attempt.publish()
    monkeypatch.undo()
    remove_leftovers(older.out)
    assert result(older) == "old"


def test_what_a_killed_attempt_leaves_is_known_as_a_leftover(job: CaptureJob) -> None:
    make(job, "half")
    remove_leftovers(job.out)
    assert seen(job) == []
