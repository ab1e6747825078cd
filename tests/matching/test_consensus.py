"""What all views say of a displacement: the compiled passes against their readable twin."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.files.images import LUMA
from mesoface.matching.consensus import Photo, compare_views, make_bands
from tests.matching import plain_consensus

SIZE = 160


@pytest.fixture(scope="module", params=[2, 5])
def case(scenes, request):
    """The cap 0.1 mm too far out, its photos with noise: space, texels, photos, visibility, bands."""
    rng = np.random.default_rng(request.param)
    space = scenes.cap(offset=0.1).space(SIZE)
    photos = []
    for view in scenes.views()[: request.param]:
        pixels = (view.image + rng.normal(0, 0.01, view.image.shape).astype("f4")) @ LUMA
        photos.append(Photo(pixels, view.camera, 0.45))
    sees = rng.uniform(0.2, 1, (len(photos), SIZE, SIZE)).astype("f4") * space.valid
    return space, space.texel_mm, photos, sees, make_bands(1.0, 0.8)


def test_the_compiled_passes_are_the_readable_ones(case):
    space = case[0]
    fast, plain = compare_views(*case, threads=2), plain_consensus.compare_views(*case)
    for one, other in zip(fast, plain, strict=True):
        assert one.dtype == np.float32
        # Slow maps are spread on coarser maps: as smooth, but not the same to the last digit.
        assert np.abs(one - other)[space.valid].mean() < 0.01 * np.abs(other)[space.valid].mean() + 1e-5


def test_neither_threads_nor_strips_change_what_is_said(case):
    space = case[0]
    whole, strips = compare_views(*case, threads=1), compare_views(*case, threads=3, memory_mb=1)
    for one, other in zip(whole, strips, strict=True):
        assert np.abs(one - other)[space.valid].mean() < 0.01 * np.abs(one)[space.valid].mean() + 1e-5


def test_information_is_positive_even_of_one_view(case):
    """One view says nothing; rounding must not make that less than nothing."""
    space, texel, photos, sees, bands = case
    for count in (1, len(photos)):
        information, pull = compare_views(space, texel, photos[:count], sees[:count], bands)
        assert (information > 0).all()
        assert np.isfinite(pull).all()


def test_five_views_pull_the_surface_back(case):
    space, _, photos, *_ = case
    if len(photos) < 5:
        pytest.skip("fewer views are not enough")
    information, pull = compare_views(*case)
    certain = space.valid & (information > np.median(information[space.valid]))
    step = (pull / information)[certain]
    assert np.median(step) == pytest.approx(-0.1, abs=0.05)
