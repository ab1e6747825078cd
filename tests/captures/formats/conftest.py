"""What the formats' tests share: the drawn rig's photos in a folder, and cameras compared by projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mesoface.captures.capture import CaptureSource
from mesoface.geometry.camera import Camera

POINTS = np.random.default_rng(0).normal(0, 40, (20, 3))
LENS = (-0.08, 0.05, 0.0005, -0.0004, 0.01)


@pytest.fixture
def rig(drawn_rig):
    """Three cameras with a lens, 96×128."""
    return drawn_rig(3, lens=LENS)


@pytest.fixture
def folder(rig, tmp_path: Path) -> Path:
    """A folder with the rig's photos as ``photos/cam0.png`` …, and nothing else."""
    (tmp_path / "photos").mkdir()
    for i, photo in enumerate(rig.photos):
        Image.fromarray(photo).save(tmp_path / f"photos/cam{i}.png")
    return tmp_path


@pytest.fixture
def assert_cameras() -> Callable[..., None]:
    """``assert_cameras(source, cameras)``: same names, sizes, projections; points may be in other units."""

    def check(source: CaptureSource, cameras: Sequence[Camera], *, units_per_mm: float = 1.0) -> None:
        assert [view.name for view in source.views] == [f"cam{i}" for i in range(len(cameras))]
        for view, camera in zip(source.views, cameras, strict=True):
            assert (view.camera.width, view.camera.height) == (camera.width, camera.height)
            seen, depth = view.camera.project(POINTS * units_per_mm)
            expected, _ = camera.project(POINTS)
            np.testing.assert_allclose(seen, expected, atol=1e-6)
            assert (depth > 0).all()

    return check
