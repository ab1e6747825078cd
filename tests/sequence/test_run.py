"""The order of a sequence's frames: failures, cuts, interruptions, and what is written of them.

Frames are measured by a stand-in that takes no time; what it makes depends on the frame before alone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from mesoface.batch import attempt
from mesoface.batch.job import BatchOptions, CaptureJob
from mesoface.config import Settings
from mesoface.errors import CaptureError, IncompleteError, MesofaceError
from mesoface.files.atomic import remove_leftovers
from mesoface.results.files import FORMAT
from mesoface.sequence import run
from mesoface.sequence.frame import Frame
from mesoface.sequence.person import Person
from mesoface.sequence.state import Track, read_track

SETTINGS = Settings(preset="fast", texture_size=0, meso="off")
RECORD = {"format": FORMAT, "settings": {}, "capture": {"views": []}, "seconds": 0.5, "peak_mb": 300.0}


class StandIn:
    """Does what ``plan.txt`` in the frame says."""

    measured: ClassVar[list[str]] = []
    track: ClassVar[Track]  # its expression counts the frames that it has come through

    def __init__(self, person, model, settings):
        assert person.views == ("0", "1")

    def measure(self, capture, before, why):
        self.measured.append(capture.path.name)
        plan = capture.path / "plan.txt"
        word = plan.read_text() if plan.is_file() else ""
        if word == "fail":
            raise CaptureError("the photo is torn", path=capture.path)
        if word == "stop":
            raise KeyboardInterrupt
        reason = why if before is None else "a cut" if word == "cut" else None
        number = 0.0 if reason else before.expression[0] + 1
        face = SimpleNamespace(after=lambda _: face)
        return Frame(
            face, replace(self.track, expression=np.array([number])), None if reason else 0.9, reason
        )

    def finish(self, face):
        return face


@pytest.fixture
def frames(tmp_path, small_capture, make_track, monkeypatch):
    """``frames("", "cut")`` → folders of frames with what shall become of them, and a stand-in to do it."""

    def find_person(captures, settings, model, *, format, progress):
        return Person(
            identity=(0.0,) * model.n_identity,
            views=("0", "1"),
            mm_per_unit=1.0,
            scale_source="given",
            scale_uncertainty=0.0,
            scheme="s",
            frames=(captures[0][0],),
        )

    def save_face(face, folder, *, truth=None, report=True):
        folder.mkdir()
        if report:
            (folder / "report.html").write_text("<p>")
        (folder / "run.json").write_text(json.dumps(RECORD))

    StandIn.measured, StandIn.track = [], make_track(np.zeros)
    monkeypatch.setattr(run, "find_person", find_person)
    monkeypatch.setattr(run, "FrameMeasurer", StandIn)
    monkeypatch.setattr(attempt, "save_face", save_face)
    monkeypatch.setattr(attempt, "write_thumbnail", lambda path, face: path.write_bytes(b"jpg"))
    monkeypatch.setattr(run, "load_source", lambda source, names: SimpleNamespace(path=source.path))
    monkeypatch.setattr(run, "recipe_of", lambda settings: {"settings": settings.preset})

    def make(*plans: str) -> list[Path]:
        folders = []
        for number, plan in enumerate(plans):
            folder = tmp_path / "video" / f"{number:03d}"
            shutil.copytree(small_capture, folder)
            (folder / "plan.txt").write_text(plan)
            folders.append(folder)
        return folders

    return make


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def sequence(folders, out, settings=SETTINGS, **options):
    """Reconstruct the frames; the rows."""
    StandIn.measured.clear()
    return run.run_sequence(folders, out, settings=settings, options=BatchOptions(**options))


def measured(folders, out, settings=SETTINGS, **options):
    """The frames that are measured when a sequence is resumed."""
    sequence(folders, out, settings, resume=True, **options)
    return list(StandIn.measured)


def said(out: Path) -> list[tuple]:
    done = json.loads((out / "sequence.json").read_text())["done"]
    return [(frame["frame"], frame["follows"], frame["reason"]) for frame in done]


def test_each_frame_follows_the_one_before(frames, out):
    rows = sequence(frames("", "", "cut", ""), out)
    assert [row.id for row in rows] == ["000", "001", "002", "003"]
    assert said(out) == [
        ("000", None, "the first frame"),
        ("001", "000", None),
        ("002", None, "a cut"),
        ("003", "002", None),
    ]
    assert [read_track(out / row.id).expression[0] for row in rows] == [0, 1, 0, 1]
    assert (out / "batch.html").is_file()
    assert json.loads((out / "sequence.json").read_text())["afresh"] == ["000", "002"]


def test_a_frame_that_fails_stops_no_other(frames, out):
    with pytest.raises(IncompleteError, match=r"001.*torn") as caught:
        sequence(frames("", "fail", "", ""), out)
    assert caught.value.exit_code == 3
    assert said(out)[1:] == [("002", None, "the previous frame failed"), ("003", "002", None)]
    assert not (out / "001").exists()


def test_a_frame_is_written_while_the_next_is_measured(frames, out, monkeypatch):
    next_begun, save_face = threading.Event(), attempt.save_face

    def slow(face, folder, **options):
        if folder.name.startswith(".000-"):
            assert next_begun.wait(30)
        save_face(face, folder, **options)

    class Signalling(StandIn):
        def measure(self, capture, before, why):
            if before is not None:
                next_begun.set()
            return super().measure(capture, before, why)

    monkeypatch.setattr(attempt, "save_face", slow)
    monkeypatch.setattr(run, "FrameMeasurer", Signalling)
    rows = sequence(frames("", ""), out)
    assert [row.error for row in rows] == [None, None]


def test_a_frame_that_cannot_be_written_stops_no_other(frames, out, monkeypatch):
    folders, save_face = frames("", "", ""), attempt.save_face

    def full(face, folder, **options):
        if folder.name.startswith(".001-"):
            raise OSError(errno.ENOSPC, "no space left on device")
        save_face(face, folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr(attempt, "save_face", full)
        with pytest.raises(IncompleteError, match=r"001.*no space left"):
            sequence(folders, out)
    assert [frame[:2] for frame in said(out)] == [("000", None), ("002", "001")]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["000", "002"]

    assert measured(folders, out) == ["001"], "002 follows what 001 is again"
    assert [frame[:2] for frame in said(out)] == [("000", None), ("001", "000"), ("002", "001")]


def test_an_interrupted_sequence_goes_on_with_the_same_result(frames, out, tmp_path):
    folders = frames("", "", "stop", "")
    whole = tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        sequence(folders, out)
    assert not any(path.name.startswith(".") for path in out.iterdir())
    (folders[2] / "plan.txt").write_text("")
    assert measured(folders, out) == ["002", "003"], "what was complete was kept"
    sequence(folders, whole)
    assert said(out) == said(whole)
    for name in ("000", "001", "002", "003"):
        assert read_track(out / name).expression[0] == read_track(whole / name).expression[0]


def test_what_follows_a_frame_that_is_made_again_is_made_again(frames, out):
    folders = frames("", "", "")
    sequence(folders, out)
    shutil.rmtree(out / "001")
    assert measured(folders, out) == ["001"], "002 follows a frame that is the same again"
    shutil.rmtree(out / "001")
    (folders[1] / "plan.txt").write_text("fail")
    with pytest.raises(IncompleteError):
        sequence(folders, out, resume=True)
    assert StandIn.measured == ["001", "002"], "002 followed a frame that is gone"


def test_frames_that_follow_have_no_report_unless_asked_for(frames, out):
    folders = frames("", "", "cut", "")

    def reports() -> list[str]:
        return sorted(path.parent.name for path in out.glob("*/report.html"))

    sequence(folders, out)
    assert reports() == ["000", "002"]
    assert measured(folders, out, reports="afresh") == measured(folders, out, reports="none") == []
    assert measured(folders, out, reports="all") == ["001", "003"]
    assert reports() == ["000", "001", "002", "003"]
    assert measured(folders, out, reports="afresh") == [], "one more report does no harm"

    shutil.rmtree(out)
    sequence(folders, out, reports="none")
    assert reports() == []
    assert measured(folders, out, reports="afresh") == ["000", "002"]


def test_other_settings_keep_nothing(frames, out):
    folders = frames("", "")
    sequence(folders, out)
    other = Settings(preset="default", texture_size=0, meso="off")
    assert measured(folders, out, other) == ["000", "001"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda params: params["1_Rt"][0].__setitem__(3, 5.0), "view 1 has another camera"),
        (lambda params: params.update({"1_valid": False}), "view 1 is missing"),
    ],
)
def test_a_frame_with_other_cameras_is_named(frames, out, change, words):
    folders = frames("", "")
    params = json.loads((folders[1] / "params.json").read_text())
    change(params)
    (folders[1] / "params.json").write_text(json.dumps(params))
    with pytest.raises(IncompleteError, match=words):
        sequence(folders, out)


@pytest.mark.parametrize("values", [{"preset": "paper"}, {"until": "base"}])
def test_settings_that_make_no_sequence_are_refused_at_once(frames, out, values):
    with pytest.raises(MesofaceError, match="sequence"):
        sequence(frames("", ""), out, Settings(**values))
    assert not out.exists()


def test_a_folder_with_a_sequence_is_not_written_over(frames, out):
    folders = frames("", "")
    sequence(folders, out)
    with pytest.raises(MesofaceError, match="--resume"):
        sequence(folders, out)


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
    monkeypatch.setattr(run, "write_face", write_face)
    for name in ("write_track", "write_model", "write_made_from"):
        monkeypatch.setattr(run, name, lambda *_: None)
    monkeypatch.setattr(os, "replace", replace)
    frame = SimpleNamespace(face=None, track=None)
    with pytest.raises((Killed, MesofaceError)):
        run._write(job, frame, SimpleNamespace(follows=None), None, lambda face: face)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["001"]
    assert (job.result / "run.json").read_text() == "old"
