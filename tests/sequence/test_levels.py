"""Which levels measure a frame that was tracked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesoface.sequence.warm import levels_of


@pytest.mark.parametrize(
    ("preset", "enlarged", "largest", "sizes"),
    [
        ("fast", 4.0, 1024, [256, 512, 512]),
        ("default", 4.0, 1024, [256, 512, 640]),
        ("best", 4.0, 1024, [256, 512, 768]),
        ("default", 1.0, 1024, [256, 512, 512]),
        ("best", 1.0, 1024, [256, 512, 512]),
        ("default", 4.0, 512, [256, 512, 512]),
        ("best", 4.0, 256, [256]),
    ],
)
def test_levels_are_as_fine_as_the_photos_and_the_first_frame(plate, preset, enlarged, largest, sizes):
    """A pixel of the plate's photos is some 0.5 mm; a texel 0.35 mm at 512², 0.28 at 640²."""
    zoom = (enlarged, enlarged, 1.0)
    views = [
        replace(view, camera=replace(view.camera, K=(view.camera.K.T * zoom).T)) for view in plate.views()
    ]
    levels = levels_of(preset, views, plate.space(), largest)
    assert [level.size for level in levels] == sizes
