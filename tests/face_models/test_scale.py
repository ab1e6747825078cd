from dataclasses import replace

import numpy as np
import pytest

from mesoface.captures.capture import Capture, View
from mesoface.errors import ReconstructionError
from mesoface.face_models import estimate_scale
from mesoface.face_models.scale import IRIS_MM, PUPILS_MM, eye_opening
from mesoface.landmarks.types import Landmarks2D, Landmarks3D


def eyes(opening=0.35, pupils=PUPILS_MM, iris=IRIS_MM):
    """(478, 3) landmarks in mm of which only the eyes, their irises and the chin matter."""
    points = np.full((478, 3), np.nan)
    points[152] = (0, -75, 100)
    width = 28.0
    sides = (
        (-1, (33, 133), ((160, 144), (159, 145), (158, 153)), 468),
        (1, (263, 362), ((387, 373), (386, 374), (385, 380)), 473),
    )
    for sign, (outer, inner), lids, center in sides:
        middle, right, up = np.array([sign * pupils / 2, 30, 85]), np.eye(3)[0], np.eye(3)[1] * opening
        points[outer], points[inner] = middle + sign * width / 2 * right, middle - sign * width / 2 * right
        for shift, (upper, lower) in zip((-6, 0, 6), lids, strict=True):
            points[upper] = middle + shift * right + width / 2 * up
            points[lower] = middle + shift * right - width / 2 * up
        points[center : center + 5] = middle
        points[center + 1, 0] += iris / 2
        points[center + 3, 0] -= iris / 2
        points[center + 2, 1] += iris / 2
        points[center + 4, 1] -= iris / 2
    return points


def seen(cameras, points, unit_mm, noise_px=0.0):
    rng = np.random.default_rng(0)
    world = points / unit_mm
    pixels = np.stack([camera.project(np.nan_to_num(world))[0] for camera in cameras])
    pixels[:, np.isnan(points).any(1)] = np.nan
    pixels += rng.normal(0, noise_px, pixels.shape)
    weights = np.isfinite(pixels).all(2).astype(float)
    views = tuple(
        View(str(i), np.zeros((c.height, c.width, 3), np.float32), c) for i, c in enumerate(cameras)
    )
    placed = Landmarks3D(world, weights, np.zeros_like(weights), np.zeros(len(cameras), bool))
    return Capture(views), Landmarks2D(pixels, weights), placed


@pytest.mark.parametrize("unit_mm", [1.0, 37.0])
def test_open_eyes_give_the_scale_from_iris_and_pupils(ring, unit_mm):
    estimate = estimate_scale(*seen(ring(5, unit_mm=unit_mm), eyes(), unit_mm, 0.1))
    assert estimate.source == "iris and pupils"
    assert estimate.mm_per_unit == pytest.approx(unit_mm, rel=0.02)
    assert 0.03 < estimate.relative_uncertainty < 0.05
    assert "from iris and pupils ± 3." in str(estimate)


@pytest.mark.parametrize(
    ("face", "source", "least_uncertainty"),
    [({"pupils": 46.0}, "iris", 0), ({"opening": 0.05, "iris": 8.0}, "pupils", 0.06)],
    ids=["iris and pupils contradict each other", "closed eyes"],
)
def test_where_one_measure_fails_the_other_decides(ring, face, source, least_uncertainty):
    estimate = estimate_scale(*seen(ring(5), eyes(**face), 1.0))
    assert estimate.source == source
    assert estimate.mm_per_unit == pytest.approx(1, rel=0.01)
    assert estimate.relative_uncertainty > least_uncertainty


def test_eyes_seen_from_the_side_do_not_give_an_iris(ring):
    cameras = [ring(7, spread=60)[i] for i in (0, 6)]
    assert estimate_scale(*seen(cameras, eyes(), 1.0)).source == "pupils"


def test_what_the_user_or_the_format_says_comes_first(ring):
    capture, found, placed = seen(ring(3), eyes(), 1.0)
    metric = replace(capture, mm_per_unit=1000.0)
    given = estimate_scale(metric, found, placed, override=2.5)
    assert (given.mm_per_unit, given.source, given.relative_uncertainty) == (2.5, "given", 0.0)
    stated = estimate_scale(metric, found, placed)
    assert (stated.mm_per_unit, stated.source, stated.relative_uncertainty) == (1000.0, "capture", 0.0)


@pytest.mark.parametrize("override", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(ring, override):
    with pytest.raises(ReconstructionError, match=r"is not possible.*--scale MM_PER_UNIT"):
        estimate_scale(*seen(ring(2), eyes(), 1.0), override=override)


def test_without_eyes_there_is_no_guess(ring):
    capture, found, placed = seen(ring(3), np.full((478, 3), np.nan), 1.0)
    with pytest.raises(ReconstructionError, match=r"scale is unknown.*--scale"):
        estimate_scale(capture, found, placed)
    with pytest.raises(ReconstructionError, match="'ibug68' landmarks have no irises"):
        estimate_scale(capture, replace(found, scheme="ibug68"), placed)


def test_eye_opening_is_height_over_width():
    assert eye_opening(eyes(opening=0.3), 0) == pytest.approx(0.3)
    assert eye_opening(eyes(opening=0.1)[:, :2], 1) == pytest.approx(0.1)
