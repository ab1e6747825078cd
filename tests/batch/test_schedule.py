"""Who is tried again, who is not, and in which order, with an engine that does as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mesoface.batch.engine import Ended
from mesoface.batch.job import CLAIMS, Attempt, CaptureJob, Made
from mesoface.batch.run import run_schedule
from mesoface.errors import MesofaceError
from mesoface.running.workers import End, Outcome

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
