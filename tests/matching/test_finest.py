"""The finest level reads the photos' files, and measures what the smaller photos in memory do not show."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from mesoface.captures.capture import ViewSource
from mesoface.matching import finest
from mesoface.matching.finest import finest_size, measure_finest
from mesoface.uvd.maps import erode
from mesoface.uvd.space import Match
from mesoface.uvd.visibility import cast_visibility

COARSE, FINE = 96, 192
FULL, SMALL = 480, 120


def mask(scenes):
    """Makes the cap's mask at a size."""
    return lambda size: scenes.cap().space(size).valid


@pytest.fixture(scope="module")
def found(scenes, tmp_path_factory) -> Match:
    """The cap with bumps that a cascade has left, its photos of 480 pixels loaded at 120."""
    space = scenes.cap().space(COARSE)
    row, column = np.mgrid[:COARSE, :COARSE] * space.texel_mm
    bumps = 0.15 * np.sin(2 * np.pi * row / 7) * np.sin(2 * np.pi * column / 7)
    space = replace(space, position=space.displaced(bumps))
    folder, views = tmp_path_factory.mktemp("photos"), []
    for number, view in enumerate(scenes.views(size=FULL)):
        path = folder / f"{number}.png"
        Image.fromarray(np.uint8(255 * view.image + 0.5)).save(path)
        image = cv2.resize(view.image, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        camera = view.camera.scaled(SMALL / FULL)
        whole = ViewSource(view.name, path, view.camera)
        views.append(replace(view, image=image, camera=camera, image_path=path, full_size=whole))
    seen = cast_visibility(space, views)
    return Match(space, space.valid, space.valid.astype("f4"), tuple(views), seen, tuple(range(len(views))))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(finest, "_SIZES", (FINE,))


def error(scenes, match: Match, of=None) -> float:
    """Mean distance from the cap, mm, without the rim."""
    inside = erode(match.measured, match.space.size // 16)
    inside = inside if of is None else inside & of
    return float(np.abs(scenes.cap().distance(match.space.position[inside])).mean())


def test_the_files_are_read_and_measured(scenes, found):
    measured = measure_finest(found, mask(scenes))
    assert measured.space.size == FINE
    assert measured.visibility.shape == (len(found.views), FINE, FINE)
    assert measured.confidence.shape == (FINE, FINE)
    assert error(scenes, measured) < 0.5 * error(scenes, found)
    # The photos in memory do not show as much.
    without = replace(found, views=tuple(replace(view, full_size=None) for view in found.views))
    assert finest_size(without, "default") == COARSE


def test_memory_does_not_change_the_surface(scenes, found):
    whole = measure_finest(found, mask(scenes))
    strips = measure_finest(found, mask(scenes), memory_mb=1)
    apart = np.linalg.norm(whole.space.position - strips.space.position, axis=-1)
    assert 0 < apart[whole.measured].max() < 0.02


def test_what_is_not_skin_goes_along_with_the_skin(scenes, found):
    def without_middle(size):
        skin = mask(scenes)(size)
        skin[size // 3 : size // 2, size // 3 : size // 2] = False
        return skin

    measured = measure_finest(found, without_middle)
    before = found.space.resized(FINE).position
    moved = np.linalg.norm(measured.space.position - before, axis=-1)
    inside = slice(FINE // 3 + 8, FINE // 2 - 8)
    assert measured.measured[inside, inside].all()
    # Bumps stay in the middle: it follows as a whole.
    assert np.ptp(moved[inside, inside]) < 0.15
    assert error(scenes, measured, without_middle(FINE)) < 0.6 * error(scenes, found)


def test_fast_has_no_finest_level(scenes, found):
    assert measure_finest(found, mask(scenes), preset="fast") is found


def test_photos_that_show_nothing_finer_are_not_read_again(scenes, found):
    coarse = tuple(replace(view, full_size=None) for view in found.views)
    same = replace(found, views=coarse)
    assert measure_finest(same, mask(scenes)) is same


def test_progress_ends_at_its_totals(scenes, found):
    calls = []
    measure_finest(found, mask(scenes), progress=lambda *call: calls.append(call))
    last = {name: (done, total) for name, done, total in calls}
    assert set(last) == {"Reading full-size photos", "Refinement"}
    assert all(done == total for done, total in last.values())
