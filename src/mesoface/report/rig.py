"""Where cameras stand around the head, laid out for ``cameras.html``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mesoface.inspection.inspect import ViewReport

Status = Literal["usable", "distrusted", "missing"]
_MANY = 12  # from so many cameras on they are drawn smaller and without names


@dataclass(frozen=True)
class PlacedCamera:
    """A camera in the drawing, whose unit is 1/320 of its width.

    Args:
        name: of the view.
        status: which decides on the colour.
        turn: SVG transform to where it stands.
        about: its direction, for people.
        label: (x, y) of its name, or None where there is no room.
    """

    name: str
    status: Status
    turn: str
    about: str
    label: tuple[float, float] | None


def status_of(view: ViewReport) -> Status:
    """How far a view can be used."""
    return "distrusted" if view.distrusted else ("usable" if view.face_found else "missing")


def place_cameras(views: Iterable[ViewReport]) -> list[PlacedCamera]:
    """The views that see the face, where they stand around it; the farthest at 124 units from the head."""
    known = [
        (view, np.radians(view.azimuth), view.distance * np.cos(np.radians(view.elevation)))
        for view in views
        if view.azimuth is not None and view.distance is not None and view.elevation is not None
    ]
    furthest = max((distance for _, _, distance in known), default=1.0)
    label_width = 5.0 * max((len(view.name) for view, _, _ in known), default=0) + 6
    scale = 1.0 if len(known) <= _MANY else 0.6
    placed: list[PlacedCamera] = []
    labels: list[tuple[float, float]] = []
    for view, angle, distance in known:
        radius = 124 * distance / furthest
        x, y = radius * np.sin(angle), radius * np.cos(angle)
        turn = f"translate({x:.1f} {y:.1f}) rotate({-np.degrees(angle):.1f}) scale({scale})"
        label = (float(x + 15 * np.sin(angle)), float(y + 15 * np.cos(angle) + 3))
        clear = all(abs(label[0] - a) > label_width or abs(label[1] - b) > 10 for a, b in labels)
        named = len(known) <= _MANY and len(view.name) <= 12 and clear
        labels += [label] * named
        about = f"{view.name}: {view.azimuth:+.0f}° around, {view.elevation:+.0f}° up"
        placed.append(PlacedCamera(view.name, status_of(view), turn, about, label if named else None))
    return placed
