"""A frame's folder takes the place of an older one whole, or not at all."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from mesoface.batch.job import CaptureJob
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.files.atomic import remove_leftovers
from mesoface.sequence import writing


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("end", [Killed, OSError])
def test_an_older_frame_stays_until_the_new_one_has_its_place(tmp_path, monkeypatch, end):
    job = CaptureJob("001", tmp_path / "photos", tmp_path, Settings(), {})
    job.result.mkdir()
    (job.result / "run.json").write_text("old")

    def write_face(folder, *_, **__):
        folder.mkdir()
        (folder / "run.json").write_text("new")

    def replace(source, target):
        if str(target) == str(job.result) and (source / "run.json").read_text() == "new":
            raise end(5, "Input/output error")
        rename(source, target)

    rename = os.rename
    monkeypatch.setattr(writing, "write_face", write_face)
    for name in ("write_track", "write_model", "write_made_from"):
        monkeypatch.setattr(writing, name, lambda *_: None)
    monkeypatch.setattr(os, "replace", replace)
    frame = SimpleNamespace(face=None, track=None)
    measured = writing.MeasuredFrame(job, frame, SimpleNamespace(follows=None), None)
    with pytest.raises((Killed, MesofaceError)):
        writing._write(measured, lambda face: face)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["001"]
    assert (job.result / "run.json").read_text() == "old"
