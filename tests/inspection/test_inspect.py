import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from mesoface.captures.capture import Capture
from mesoface.errors import LandmarkError
from mesoface.geometry.mesh import unit
from mesoface.inspection.inspect import inspect, print_inspection
from mesoface.landmarks import Landmarks2D
from mesoface.report.inspect_page import inspect_page
from tests.rendering.test_page import assert_sealed

RADIUS = 80.0


class Known:
    """A detector that knows where 68 points on the drawn ball are."""

    scheme = "ibug68"

    def __init__(self, faceless=(), notes=()):
        rng = np.random.default_rng(0)
        points = np.column_stack([rng.uniform(-0.45, 0.45, (68, 2)), np.ones(68)])
        points[36, :2], points[45, :2] = (-0.4, 0.2), (0.4, 0.2)  # outer eye corners
        points[8, :2], points[27, :2] = (0, -0.5), (0, 0.5)  # chin and bridge of the nose
        self.points, self.faceless, self.notes = RADIUS * unit(points), faceless, notes

    def detect(self, capture):
        pixels = np.stack([camera.project(self.points)[0] for camera in capture.cameras])
        weights = np.ones(pixels.shape[:2])
        for v in self.faceless:
            pixels[v], weights[v] = np.nan, 0
        return Landmarks2D(pixels, weights, "ibug68", self.notes)


class Blind:
    scheme = "ibug68"

    def detect(self, capture):
        raise LandmarkError("no face was found in any view", remedy="show a face")


@pytest.fixture
def capture(make_capture):
    return make_capture(views=7, size=(192, 256), arc=100.0)


def with_views(capture, changes):
    """``capture`` with the fields of some views replaced, by their indices."""
    return Capture(tuple(replace(view, **changes.get(v, {})) for v, view in enumerate(capture.views)))


def words(inspection):
    return " | ".join(f"{problem.what} — {problem.remedy}" for problem in inspection.problems)


def printed(inspection):
    out = StringIO()
    print_inspection(inspection, Console(file=out, width=150, color_system=None))
    return out.getvalue()


def test_a_view_is_measured(capture):
    found = inspect(capture, Known())
    side = found.views[0]
    assert (side.width, side.height) == (192, 256)
    assert side.focal == pytest.approx(3.2 * 192)
    # the middle of the points lies 70 mm before the ball's, which the cameras look at from ±50°
    assert side.azimuth == pytest.approx(-56, abs=2)
    assert found.views[6].azimuth == pytest.approx(56, abs=2)
    assert side.distance == pytest.approx(600 - 75, rel=0.15)
    assert side.residual == pytest.approx(0, abs=1e-3)
    assert side.inside == 1
    assert found.coverage.azimuth[1] - found.coverage.azimuth[0] == pytest.approx(112, abs=3)
    assert found.coverage.baseline == pytest.approx(17, abs=4)
    assert found.landmarks3d is not None
    assert not any(problem.severe for problem in found.problems)


def test_views_without_a_face(capture):
    found = inspect(capture, Known(faceless=[1, 2], notes=("view 1: hidden",)))
    assert [view.face_found for view in found.views] == [True, False, False, True, True, True, True]
    assert "views 1, 2" in words(found)
    # three steps of 16.7°, seen from the middle of the face, which is nearer than the ball's
    assert "a gap of 5" in words(found)
    assert "no face" in printed(found)
    assert "view 1: hidden" in printed(found)


def test_swapped_cameras_are_named(capture):
    detected = Known().detect(capture)

    class AsSeen(Known):
        def detect(self, capture):
            return detected

    swapped = {a: {"camera": capture.views[b].camera} for a, b in ((1, 4), (4, 1))}
    found = inspect(with_views(capture, swapped), AsSeen())
    assert [v.name for v in found.views if v.distrusted] == ["1", "4"]
    assert "views 1, 4: the landmarks contradict" in words(found)
    assert " ! " in printed(found)


def test_exposure_and_sharpness_are_judged(capture):
    dark, white = capture.views[0].image * np.float32(0.1), np.ones_like(capture.views[3].image)
    found = inspect(with_views(capture, {0: {"image": dark}, 3: {"image": white}}), Known())
    assert found.views[0].exposure < 0.1
    assert found.views[3].clipped == 1
    text = words(found)
    assert "view 0: the face is underexposed" in text
    assert "view 3: the face is overexposed" in text
    assert "view 3: parts of the face are clipped" in text
    assert "times as bright" in text


def test_a_one_sided_rig_is_told(capture):
    found = inspect(capture.select([3, 4, 5, 6]), Known())
    assert "the subject's right side is hardly seen" in words(found)
    narrow = inspect(capture.select([3, 4]), Known())
    assert "the views span only" in words(narrow)


def test_a_cut_off_face_is_told(capture):
    view = capture.views[2]
    image, camera = np.ascontiguousarray(view.image[:, :96]), view.camera.cropped(0, 0, 96, 256)
    found = inspect(with_views(capture, {2: {"image": image, "camera": camera, "mask": None}}), Known())
    assert found.views[2].inside < 0.8
    assert "view 2: the face is cut off" in words(found)


def test_no_face_is_reported_not_raised(capture):
    found = inspect(capture, Blind())
    assert found.landmarks2d is None
    assert found.coverage is None
    assert found.problems[0].severe
    assert "no face was found" in found.problems[0].what
    assert "no face was found" in printed(found)
    assert "no face found" in inspect_page(found, capture)


def test_the_page_is_self_contained_and_escaped(capture):
    capture = replace(with_views(capture, {0: {"name": "<b>&0"}}), notes=("left out <i>x</i>",))
    page = inspect_page(inspect(capture, Known(faceless=[3])), capture)
    assert page.count("data:image/jpeg;base64,") == 7
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert_sealed(page)
    assert "<b>&0" not in page
    assert "&lt;b&gt;&amp;0" in page
    assert "left out &lt;i&gt;" in page
    assert page.count("<figure") == 7
    assert 'class="missing"' in page
