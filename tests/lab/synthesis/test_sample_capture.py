"""The capture that ships with the project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mesoface.captures.load import load_capture
from mesoface.files.meshes import read_mesh
from mesoface.geometry.ray_casting import RayCaster

SAMPLE = Path(__file__).resolve().parents[3] / "examples" / "sample_capture"


def test_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 4e6


def test_sample_shows_its_truth() -> None:
    capture, truth = load_capture(SAMPLE), read_mesh(SAMPLE / "gt.ply")
    assert len(capture) == 8
    assert json.loads((SAMPLE / "truth.json").read_text())["truth"]["error_mm"]["mean"] < 0.02
    caster = RayCaster(truth)
    for view in capture.views:
        small = view.camera.scaled(0.25)
        skin = caster.render(small).hit.reshape(small.height, small.width)
        step = view.camera.width / small.width
        row, column = np.nonzero(skin)
        picked = view.image[(row * step).astype(int), (column * step).astype(int)]
        assert skin.mean() > 0.1
        # Skin is redder than blue all over; cloth and wall are grey.
        assert np.mean(picked[:, 0] > picked[:, 2] + 0.05) > 0.95
