"""face.glb in a browser, by a reader of a few lines that knows only what glTF's specification says."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.export import ExportOptions
from mesoface.export.glb import export_glb

READER = Path(__file__).parent / "draw_glb.js"


@pytest.fixture
def page(open_browser):
    """A headless Chromium's page."""
    return open_browser(400, 400)


def test_a_browser_draws_it_in_its_size(upright_cap, tmp_path, page):
    export_glb(replace(upright_cap, options=ExportOptions(edge_mm=6)), tmp_path)
    text = base64.b64encode((tmp_path / "face.glb").read_bytes()).decode()
    (tmp_path / "empty.html").write_text("<!doctype html>")
    page.open((tmp_path / "empty.html").as_uri())
    seen = page.evaluate(f"({READER.read_text()})('{text}')")
    side = 2 * 0.08 * np.sin(np.radians(40))  # metres
    assert seen["size"][:2] == pytest.approx([side, side], rel=0.01)
    assert seen["images"] == [[128, 128], [128, 128]]
    assert seen["error"] == 0
    pixels = np.array(seen["pixels"]).reshape(200, 200, 4)  # from the bottom up
    assert pixels[0, 0, 3] == 0, "nothing beside the face"
    # red is u and grows to the subject's left, green is v and grows upwards; one pixel is a millimetre
    x = np.degrees(np.arcsin(np.array([-40, 0, 40]) / 80)) / 80 + 0.5
    np.testing.assert_allclose(pixels[100, [60, 100, 140], 0] / 255, x, atol=0.03)
    np.testing.assert_allclose(pixels[[60, 100, 140], 100, 1] / 255, x, atol=0.03)
    assert not page.errors
    assert [url for url in page.requests if not url.startswith("file:")] == []
