"""What is said of a frame that could not be followed."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from mesoface.sequence import frame as module
from mesoface.sequence.frame import FrameMeasurer


@dataclass(frozen=True)
class StandIn:
    """A face, as far as it matters here."""

    warnings: tuple[str, ...]


@pytest.fixture
def measurer(monkeypatch):
    """One that loses every frame, and measures it afresh at once."""

    def lose(*_):
        raise module._Lost("the face has jumped by 31 mm")

    measurer = object.__new__(FrameMeasurer)
    face = StandIn(("no relief was predicted",))
    monkeypatch.setattr(measurer, "_follow", lose, raising=False)
    monkeypatch.setattr(measurer, "_afresh", lambda *_: (face, SimpleNamespace(space=None)))
    monkeypatch.setattr(module, "track_of", lambda *_: None)
    return measurer


def test_a_frame_that_was_lost_says_so_in_its_own_result(measurer):
    frame = measurer.measure(None, before=object())
    assert frame.reason == "the face has jumped by 31 mm"
    assert frame.face.warnings == ("no relief was predicted", "measured afresh: the face has jumped by 31 mm")


def test_the_first_frame_is_no_reason_to_warn(measurer):
    frame = measurer.measure(None, before=None)
    assert frame.reason == "the first frame"
    assert frame.face.warnings == ("no relief was predicted",)
