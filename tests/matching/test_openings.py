"""What lies in an opening of the facial mask is measured after the skin around it."""

from dataclasses import replace

import numpy as np
import pytest

from mesoface.matching.cascade import match
from mesoface.matching.classical import ClassicalMatcher
from mesoface.matching.openings import match_openings
from mesoface.uvd.maps import dilate
from mesoface.uvd.space import build_uvd_space


@pytest.fixture(scope="module")
def views(scenes):
    return scenes.views()


@pytest.fixture(scope="module")
def base(scenes):
    """A smooth cap 3 mm off."""
    return scenes.cap(bumps=0.0, offset=3.0).mesh()


@pytest.fixture(scope="module")
def closing(base):
    """Faces across an opening of some 20 mm."""
    return np.linalg.norm(base.uv[base.faces].mean(1) - (0.55, 0.6), axis=1) < 0.1


@pytest.fixture(scope="module")
def skin(base, closing, views):
    return match(
        lambda size: build_uvd_space(base, ~closing, size), views, ClassicalMatcher(threads=1), preset="fast"
    )


@pytest.fixture(scope="module")
def found(skin, base, closing):
    return match_openings(skin, base, ~closing, closing, ClassicalMatcher(threads=1), preset="fast")


def opening(skin, found):
    return found.space.valid & ~skin.space.valid


def test_the_surface_in_the_opening_is_found(scenes, skin, found):
    inside = opening(skin, found)
    assert inside.sum() > 1000
    assert not skin.measured[inside].any()
    assert found.measured[inside].mean() > 0.95
    error = np.abs(scenes.cap().distance(found.space.position))[inside & found.measured]
    assert np.median(error) < 0.06
    assert np.percentile(error, 90) < 0.2
    assert (found.confidence[inside & found.measured] > 0).all()
    assert (found.visibility[:, inside] > 0).any()


def test_the_skin_stays_as_it_was_measured(skin, found):
    edge = dilate(opening(skin, found), round(1.5 / skin.space.texel_mm) + 1)
    away = skin.space.valid & ~edge
    for name in ("measured", "confidence"):
        np.testing.assert_array_equal(getattr(found, name)[away], getattr(skin, name)[away])
    np.testing.assert_array_equal(found.space.position[away], skin.space.position[away])
    np.testing.assert_array_equal(found.visibility[:, away], skin.visibility[:, away])
    assert found.views is skin.views


def test_no_step_is_at_the_seam(skin, found):
    """The skin of the ring was measured twice, and the second time is fitted to the first."""
    inside = dilate(opening(skin, found), round(1.5 / skin.space.texel_mm)) & found.space.valid
    along = np.linalg.norm(np.diff(found.space.position, axis=1), axis=-1)
    seam = inside[:, 1:] ^ inside[:, :-1]
    assert np.abs(along[seam] - np.median(along[seam])).max() < 0.5 * found.space.texel_mm


def test_what_the_photos_do_not_show_is_the_base_fitted_to_the_skin(scenes, skin, base, closing):
    """Two photos that see the skin, but nothing in the opening."""
    blind = []
    for view in skin.views:
        pixels, _ = view.camera.project(base.vertices[base.faces[closing]].reshape(-1, 3))
        mask = np.ones(view.image.shape[:2], bool)
        low, high = pixels.min(0).astype(int) - 2, pixels.max(0).astype(int) + 3
        mask[low[1] : high[1], low[0] : high[0]] = False
        blind.append(replace(view, mask=mask))
    unseen = replace(skin, views=tuple(blind))
    found = match_openings(unseen, base, ~closing, closing, ClassicalMatcher(threads=1), preset="fast")
    inside = opening(skin, found)
    assert not found.measured[inside].any()
    assert not found.confidence[inside].any()
    # 3 mm too high before it was fitted to the skin; the bumps of 0.8 mm are not known.
    assert np.abs(scenes.cap(bumps=0.0).distance(found.space.position))[inside].max() < 1.2


def test_without_an_opening_nothing_happens(skin, base, closing):
    nothing = np.zeros_like(closing)
    assert match_openings(skin, base, ~closing, nothing, ClassicalMatcher()) is skin


def test_what_is_measured_in_the_opening_gets_an_uncertainty(skin, base, closing, found):
    assert found.uncertainty is None
    stated = replace(skin, uncertainty=np.where(skin.measured, 0.1, 0).astype(np.float32))
    again = match_openings(stated, base, ~closing, closing, ClassicalMatcher(threads=1), preset="fast")
    inside = opening(skin, again)
    assert (again.uncertainty[inside & again.measured] > 0).all()
    away = skin.measured & ~dilate(inside, round(1.5 / skin.space.texel_mm) + 1)
    assert (again.uncertainty[away] == np.float32(0.1)).all()
