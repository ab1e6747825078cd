"""What all views say of a displacement: the compiled passes against their readable twin."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.files.images import LUMA
from mesoface.matching.consensus import Consensus, Photo, compare_views, draw_signs, make_bands
from tests.matching import plain_consensus

SIZE = 160


@pytest.fixture(scope="module", params=[2, 5])
def case(scenes, request):
    """The cap 0.1 mm too far out, its photos with noise: what ``compare_views`` takes."""
    rng = np.random.default_rng(request.param)
    space = scenes.cap(offset=0.1).space(SIZE)
    photos = []
    for view in scenes.views()[: request.param]:
        pixels = (view.image + rng.normal(0, 0.01, view.image.shape).astype("f4")) @ LUMA
        photos.append(Photo(pixels, view.camera, 0.45))
    sees = rng.uniform(0.2, 1, (len(photos), SIZE, SIZE)).astype("f4") * space.valid
    return space, space.texel_mm, photos, sees, make_bands(1.0, 0.8), draw_signs(len(photos), 2)


def maps(said: Consensus):
    """Information, pull and draws of the noise."""
    return said.information, said.pull, *said.noise


def test_the_compiled_passes_are_the_readable_ones(case):
    space = case[0]
    fast, plain = compare_views(*case, threads=2), plain_consensus.compare_views(*case)
    for one, other in zip(maps(fast), plain, strict=True):
        assert one.dtype == np.float32
        # Slow maps are spread on coarser maps: as smooth, but not the same to the last digit.
        assert np.abs(one - other)[space.valid].mean() < 0.01 * np.abs(other)[space.valid].mean() + 1e-5


def test_neither_threads_nor_strips_change_what_is_said(case):
    space = case[0]
    whole, strips = compare_views(*case, threads=1), compare_views(*case, threads=3, memory_mb=1)
    for one, other in zip(maps(whole), maps(strips), strict=True):
        assert np.abs(one - other)[space.valid].mean() < 0.01 * np.abs(one)[space.valid].mean() + 1e-5


def test_information_is_positive_even_of_one_view(case):
    """One view says nothing; rounding must not make that less than nothing."""
    space, texel, photos, sees, bands, signs = case
    for n in (1, len(photos)):
        said = compare_views(space, texel, photos[:n], sees[:n], bands, signs[:, :n])
        assert (said.information > 0).all()
        assert np.isfinite(maps(said)).all()


def test_five_views_pull_the_surface_back(case):
    space, _, photos, *_ = case
    if len(photos) < 5:
        pytest.skip("fewer views are not enough")
    information, pull, *_ = maps(compare_views(*case))
    certain = space.valid & (information > np.median(information[space.valid]))
    step = (pull / information)[certain]
    assert np.median(step) == pytest.approx(-0.1, abs=0.05)


def test_signs_are_balanced_and_always_the_same():
    signs = draw_signs(6, 4)
    assert (np.abs(signs) == 1).all()
    assert (signs.sum(1) == 0).all()
    assert (signs == draw_signs(6, 4)).all()
