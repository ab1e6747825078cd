"""Which of a capture's sixty views are used."""

from __future__ import annotations

from collections.abc import Sequence

from mesoface.captures.capture import Capture, CaptureSource
from mesoface.errors import CaptureError
from mesoface.lab.facescape.photos import readable_views
from mesoface.landmarks import MediapipeDetector, triangulate
from mesoface.landmarks.selection import select_views

_LOOK_AT = 648  # pixels of a photo's longest side at which views are judged


def choose_views(source: CaptureSource, count: int) -> tuple[list[int], list[str]]:
    """The best views: spread around the face, sharp, with the whole face in them, trusted by the others.

    Args:
        source: a capture in FaceScape's layout.
        count: how many at most.

    Returns:
        their numbers, ascending, and a sentence about every photo that cannot be read.

    Raises:
        MesofaceError: fewer than two views can be used, or no face is found.
    """
    views, notes = readable_views(source.views, _LOOK_AT)
    capture = Capture(tuple(_at_least_two(views, source, notes)), source.path, source.format)
    landmarks = MediapipeDetector().detect(capture)
    chosen = select_views(capture, landmarks, triangulate(capture.cameras, landmarks), count)
    chosen = _at_least_two(chosen, source, ["too few show a face on which they agree"])
    return [int(capture.names[v]) for v in chosen], notes


def given_views(source: CaptureSource, wanted: Sequence[int]) -> tuple[list[int], list[str]]:
    """The views that a list asks for, in its order, but for those that are invalid or cannot be read."""
    known = {int(view.name): view for view in source.views}
    notes = [
        f"view {number} is left out: invalid, or not in params.json"
        for number in wanted
        if number not in known
    ]
    views, unreadable = readable_views(tuple(known[number] for number in wanted if number in known), _LOOK_AT)
    notes += unreadable
    return [int(view.name) for view in _at_least_two(views, source, notes)], notes


def _at_least_two(views: list, source: CaptureSource, reasons: Sequence[str]) -> list:
    if len(views) < 2:
        why = "; ".join([*reasons, *source.notes][:3])
        raise CaptureError(
            f"{len(views)} usable views, at least two are needed ({why})",
            path=source.path,
            remedy="put the photos back, or leave the capture out",
        )
    return views
