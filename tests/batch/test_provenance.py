"""When a result still is what would be made today, and when it is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from mesoface.batch.job import CaptureJob
from mesoface.batch.provenance import NAME, capture_input, is_current, recipe_of, write_made_from
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.results.folder import FORMAT


@pytest.fixture
def done(job: CaptureJob) -> CaptureJob:
    """A capture with its result."""
    job.result.mkdir()
    (job.result / "run.json").write_text(json.dumps({"format": FORMAT, "settings": {}}))
    (job.result / "base.obj").write_text("v 0 0 0\n")
    (job.result / "report.html").write_text("<p>")
    write_made_from(job.result, job.recipe, capture_input(job.capture, None))
    return job


def test_a_result_is_current_until_something_changes(done: CaptureJob) -> None:
    assert is_current(done)
    (done.result / "added.exr").write_text("an export")
    (done.capture / "notes.txt").write_text("of no account")
    assert is_current(done)


def test_a_result_without_a_report_is_current_only_where_none_is_asked_for(job: CaptureJob) -> None:
    job.result.mkdir()
    (job.result / "run.json").write_text(json.dumps({"format": FORMAT, "settings": {}}))
    write_made_from(job.result, job.recipe, capture_input(job.capture, None))
    asked = {reports: replace(job, reports=reports) for reports in ("all", "afresh", "none")}
    assert [is_current(job) for job in asked.values()] == [False, False, True]
    assert [is_current(job, followed=True) for job in asked.values()] == [False, True, True]


def touch(job: CaptureJob) -> None:
    os.utime(job.capture / "0.jpg", (1, 1))


def reformat_calibration(job: CaptureJob) -> None:
    params = json.loads((job.capture / "params.json").read_text())
    (job.capture / "params.json").write_text(json.dumps(params, indent=3))


@pytest.mark.parametrize("change", [touch, reformat_calibration])
def test_the_same_content_is_the_same_capture(done: CaptureJob, change: Callable[[CaptureJob], None]) -> None:
    change(done)
    assert is_current(done)


def replace_photo(job: CaptureJob) -> None:
    data = bytearray((job.capture / "0.jpg").read_bytes())
    data[-10] ^= 1
    (job.capture / "0.jpg").write_bytes(data)


def remove_photo(job: CaptureJob) -> None:
    (job.capture / "0.jpg").unlink()


def move_camera(job: CaptureJob) -> None:
    params = json.loads((job.capture / "params.json").read_text())
    params["1_Rt"][0][3] += 1e-9
    (job.capture / "params.json").write_text(json.dumps(params))


def drop_view(job: CaptureJob) -> None:
    params = json.loads((job.capture / "params.json").read_text())
    params["1_valid"] = False
    (job.capture / "params.json").write_text(json.dumps(params))


def spoil_calibration(job: CaptureJob) -> None:
    (job.capture / "params.json").write_text("{")


def remove_mesh(job: CaptureJob) -> None:
    (job.result / "base.obj").unlink()


def spoil_record(job: CaptureJob) -> None:
    (job.result / "run.json").write_text("{")


def spoil_provenance(job: CaptureJob) -> None:
    (job.result / NAME).write_text('{"recipe": 3}')


def remove_result(job: CaptureJob) -> None:
    (job.result / NAME).unlink()


@pytest.mark.parametrize(
    "change",
    [
        replace_photo,
        remove_photo,
        move_camera,
        drop_view,
        spoil_calibration,
        remove_mesh,
        spoil_record,
        spoil_provenance,
        remove_result,
    ],
)
def test_what_changed_is_made_again(done: CaptureJob, change: Callable[[CaptureJob], None]) -> None:
    change(done)
    assert not is_current(done)


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
