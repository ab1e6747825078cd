"""When a result still is what would be made today, and when it is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mesoface.batch.job import CaptureJob
from mesoface.batch.provenance import NAME, capture_input, is_current, recipe_of, write_made_from
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.results.files import FORMAT


def make_result(job: CaptureJob, *files: str) -> CaptureJob:
    """A capture with a result that has these files."""
    job.result.mkdir()
    (job.result / "run.json").write_text(json.dumps({"format": FORMAT, "settings": {}}))
    for name in files:
        (job.result / name).write_text("")
    write_made_from(job.result, job.recipe, capture_input(job.capture, None))
    return job


@pytest.fixture
def done(job: CaptureJob) -> CaptureJob:
    """A capture with its result."""
    return make_result(job, "base.obj", "report.html")


def test_a_result_is_current_until_something_changes(done: CaptureJob) -> None:
    assert is_current(done)
    (done.result / "added.exr").write_text("an export")
    (done.capture / "notes.txt").write_text("of no account")
    assert is_current(done)


def test_a_result_without_a_report_is_current_only_where_none_is_asked_for(job: CaptureJob) -> None:
    make_result(job)
    asked = {reports: replace(job, reports=reports) for reports in ("all", "afresh", "none")}
    assert [is_current(job) for job in asked.values()] == [False, False, True]
    assert [is_current(job, followed=True) for job in asked.values()] == [False, True, True]


def change_params(job: CaptureJob, key: str, change: Callable[[Any], Any], indent: int | None = None) -> None:
    """Write the calibration again with the value at ``key`` changed."""
    params = json.loads((job.capture / "params.json").read_text())
    params[key] = change(params[key])
    (job.capture / "params.json").write_text(json.dumps(params, indent=indent))


def change_photo(job: CaptureJob) -> None:
    data = bytearray((job.capture / "0.jpg").read_bytes())
    data[-10] ^= 1
    (job.capture / "0.jpg").write_bytes(data)


def shift(Rt: list[list[float]]) -> list[list[float]]:
    Rt[0][3] += 1e-9
    return Rt


# what is changed in a capture or its result: (how, whether the result is still current)
CHANGES: dict[str, tuple[Callable[[CaptureJob], object], bool]] = {
    "a photo's time": (lambda job: os.utime(job.capture / "0.jpg", (1, 1)), True),
    "the calibration's layout": (lambda job: change_params(job, "1_Rt", lambda Rt: Rt, indent=3), True),
    "a photo": (change_photo, False),
    "a photo is gone": (lambda job: (job.capture / "0.jpg").unlink(), False),
    "a camera": (lambda job: change_params(job, "1_Rt", shift), False),
    "a view's validity": (lambda job: change_params(job, "1_valid", lambda _: False), False),
    "the calibration is broken": (lambda job: (job.capture / "params.json").write_text("{"), False),
    "a file of the result is gone": (lambda job: (job.result / "base.obj").unlink(), False),
    "the record is broken": (lambda job: (job.result / "run.json").write_text("{"), False),
    "the provenance is broken": (lambda job: (job.result / NAME).write_text('{"recipe": 3}'), False),
    "the provenance is gone": (lambda job: (job.result / NAME).unlink(), False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_result_is_made_again_if_its_capture_changed_in_content(done: CaptureJob, what: str) -> None:
    change, current = CHANGES[what]
    change(done)
    assert is_current(done) == current


def test_another_recipe_is_another_result(done: CaptureJob) -> None:
    assert not is_current(replace(done, recipe={**done.recipe, "mesoface": "9"}))
    assert not is_current(replace(done, truth="params.json"))


def test_a_recipe_is_what_decides_the_result(tmp_path) -> None:
    base = recipe_of(Settings())
    assert base == json.loads(json.dumps(recipe_of(Settings(threads=7, device="cpu", memory_mb=99))))
    assert base != recipe_of(Settings(preset="fast"))
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    first = recipe_of(Settings(weights=weights))
    weights.write_bytes(b"two")
    assert first["settings"] == recipe_of(Settings(weights=weights))["settings"]
    assert first != recipe_of(Settings(weights=weights))
    moved = weights.rename(tmp_path / "moved.safetensors")
    moved.write_bytes(b"one")
    assert first == recipe_of(Settings(weights=moved)), "content counts"
    with pytest.raises(MesofaceError, match="nowhere"):
        recipe_of(Settings(weights=tmp_path / "nowhere"))


def test_weights_may_be_a_folder(tmp_path) -> None:
    (tmp_path / "w").mkdir()
    empty = recipe_of(Settings(weights=tmp_path / "w"))
    (tmp_path / "w" / "regularizer.safetensors").write_bytes(b"one")
    assert empty != recipe_of(Settings(weights=tmp_path / "w"))


def test_a_capture_that_is_none_has_no_input(tmp_path) -> None:
    with pytest.raises(MesofaceError, match="empty folder"):
        capture_input(tmp_path, None)
