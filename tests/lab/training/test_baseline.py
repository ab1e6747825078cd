"""The classical matcher on tiles."""

from __future__ import annotations

import numpy as np

from mesoface.lab.training.baseline import _camera, classical_answer
from mesoface.lab.training.patches import patch_tile
from mesoface.lab.training.validation import Answer


def test_cameras_come_back_from_their_projections():
    tile = patch_tile(np.random.default_rng(1), 24)
    for image, projection in zip(tile.images, tile.projections, strict=True):
        camera = _camera(projection, image.shape[1], image.shape[0])
        scale = camera.P[2, 3] / projection[2, 3]
        assert np.allclose(camera.P, scale * projection, rtol=1e-9, atol=1e-6 * abs(scale))


def test_it_measures_something_on_most_patches():
    """Better than staying on the base, on patches that are hard on purpose."""
    tiles = [patch_tile(np.random.default_rng([2, n]), 48) for n in range(6)]
    found = [Answer(tile, (a := classical_answer(tile)).displacement, a.weight) for tile in tiles]
    better = [
        answer.error[answer.known].mean() < np.abs(answer.tile.truth[answer.known]).mean() for answer in found
    ]
    assert sum(better) >= 4
