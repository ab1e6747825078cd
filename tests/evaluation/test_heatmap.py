"""The error on the surface."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.evaluation import Similarity, evaluate, heatmap, heatmap_picture, write_heatmap
from mesoface.evaluation.display import round_limit, vertex_errors
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.rendering.false_color import UNKNOWN, colorize


def dome(height: float = 0.0, size: float = 40.0, n: int = 41) -> Mesh:
    """A shallow dome over a square, ``height`` mm higher in its right half."""
    v, u = np.mgrid[:n, :n] / (n - 1) * size - size / 2
    z = 8 - (u**2 + v**2) / 80 + np.where(u > 0, height, 0)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.column_stack([a, a + 1, a + n + 1]), np.column_stack([a, a + n + 1, a + n])])
    return Mesh(np.stack([u, v, z], -1).reshape(-1, 3), faces)


def test_colors_follow_the_distance_of_each_vertex() -> None:
    prediction = dome(height=0.3)
    result = evaluate(prediction, dome(size=60, n=61), samples=2000)
    errors = vertex_errors(prediction, result)
    left, right = prediction.vertices[:, 0] < -2, prediction.vertices[:, 0] > 3
    assert errors[left].max() < 0.02
    assert errors[right].min() > 0.2  # 0.3 mm along z, less across the slope
    colors = heatmap(prediction, result, limit=0.5).colors
    np.testing.assert_array_equal(colors[left][0], np.round(colorize(errors[left][:1], (0, 0.5))[0] * 255))
    assert (colors[right] != colors[left][0]).any(1).all()


def test_what_is_not_compared_is_grey_and_positions_stay() -> None:
    motion = Similarity(np.eye(3), np.array([100.0, 0, 0]))
    prediction = motion.apply_to_mesh(dome(size=60, n=61))
    result = evaluate(prediction, dome(), align="rigid", initial=motion.inverse(), samples=2000)
    colored = heatmap(prediction, result)
    np.testing.assert_array_equal(colored.vertices, prediction.vertices)
    grey = (colored.colors == np.round(np.array(UNKNOWN) * 255)).all(1)
    beyond = np.abs(prediction.vertices[:, :2] - (100, 0)).max(1) > 21
    np.testing.assert_array_equal(grey[beyond], True)
    assert not grey[~beyond].all()


def test_limits_are_round() -> None:
    assert round_limit(np.linspace(0, 0.18, 100)) == 0.2
    assert round_limit(np.array([np.nan, 0.0])) == 0.05
    assert round_limit(np.full(9, 33.3)) == 34
    assert round_limit(np.array([np.nan])) == 0.05


def test_files(tmp_path: Path) -> None:
    prediction = dome(height=0.3, n=15)
    result = evaluate(prediction, dome(), samples=2000)
    write_heatmap(tmp_path / "a.ply", prediction, result)
    assert read_mesh(tmp_path / "a.ply").colors is not None
    write_heatmap(tmp_path / "a.png", prediction, result)
    picture = cv2.imread(str(tmp_path / "a.png"))[..., ::-1] / 255
    assert picture.shape[1] > 2 * picture.shape[0] * 0.8
    assert (np.ptp(picture, axis=-1) > 0.3).mean() > 0.1
    with pytest.raises(MesofaceError, match=r"a\.gif.*\.ply or a \.png"):
        write_heatmap(tmp_path / "a.gif", prediction, result)


def test_picture_takes_the_asked_directions() -> None:
    prediction = dome(height=0.3, n=15)
    result = evaluate(prediction, dome(), samples=2000)
    upright = heatmap_picture(prediction, result, forward=(0, 0, 1), up=(0, 1, 0), size=(60, 80))
    turned = heatmap_picture(prediction, result, forward=(0, 0, 1), up=(0, -1, 0), size=(60, 80))
    assert upright.shape == turned.shape
    middle = np.s_[:80, 60:120]
    np.testing.assert_allclose(
        upright[middle].sum(-1) < 2.9, (turned[middle].sum(-1) < 2.9)[::-1, ::-1], atol=0
    )
