"""The reconstruction's page and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape

import numpy as np
import pytest

from mesoface.captures.capture import Capture
from mesoface.geometry.mesh import Mesh
from mesoface.rendering.false_color import UNKNOWN
from mesoface.rendering.page import render
from mesoface.report.pictures import map_picture, shaded_views, symmetric_limits, with_landmarks
from mesoface.report.reconstruct_page import TEMPLATE, stage_table
from mesoface.running.process import Stage
from tests.rendering.test_page import assert_sealed, parse

PICTURE = np.zeros((8, 6, 3), np.uint8)


def context(**changes) -> dict:
    """What a page shows that has nothing but a name, and the changes."""
    texts = ("subtitle", "scene", "photo_note", "scale", "command", "footer")
    lists = ("facts", "warnings", "photos", "views", "relief", "photo_errors", "maps", "settings", "files")
    empty = {**dict.fromkeys(texts, ""), **dict.fromkeys(lists, ()), **stage_table([]), "evaluation": None}
    return {"title": "a page", "name": "only a name", **empty, **changes}


def full() -> str:
    return render(
        TEMPLATE,
        **context(
            name="shoot <7>",
            subtitle="FaceScape capture",
            facts=[("0.05 mm", "median")],
            warnings=["view 3 is distrusted"],
            photos=[("0", PICTURE), ("1", PICTURE)],
            views=[("front", PICTURE), ("side", PICTURE)],
            relief=[("base", PICTURE)],
            photo_errors=[("0: PSNR 31 dB", PICTURE)],
            photo_note="photo, face, difference",
            command="mesoface reconstruct 'a capture' --out face",
            maps=[("displacement", PICTURE)],
            **stage_table(
                [Stage("loading", 1.5, 512), Stage("matching", 4.5, 2048), Stage("surface", 1, 2048)]
            ),
            scale="1 mm per unit, as given",
            settings=[("preset", "default")],
            evaluation={
                "columns": ["mm", "mean"],
                "rows": [["ours → truth", "0.071"]],
                "summary": "chamfer 0.08 mm",
                "heatmap": PICTURE,
            },
            files=[("fine.ply", "the measured surface")],
            footer="mesoface 0.1.0",
        ),
    )


def test_everything_given_is_on_the_page_and_nothing_is_fetched() -> None:
    text = full()
    assert_sealed(text)
    assert len(parse(text).sources) == 8
    assert "shoot &lt;7&gt;" in text
    for words in (
        "0.05 mm",
        "view 3 is distrusted",
        "1 mm per unit",
        "0.071",
        "chamfer",
        "fine.ply",
        "preset",
        "PSNR 31 dB",
        "reconstruct 'a capture'",
    ):
        assert words in unescape(text)


def test_times_are_summed_and_the_peak_is_the_highest() -> None:
    text = full()
    assert "<td>total</td><td>7.0</td><td>2.00</td>" in text
    assert "<td>surface</td><td>1.0</td><td>2.00</td>" in text


def test_empty_parts_are_left_out() -> None:
    text = render(TEMPLATE, **context())
    assert_sealed(text)
    for words in ("<h2>", "<img", "<table"):
        assert words not in text


def test_landmarks_are_drawn_where_they_are_and_by_weight(make_capture: Callable[..., Capture]) -> None:
    view = make_capture(views=2, size=(96, 128)).views[0]
    points = np.array([[20.0, 30.0], [70.0, 90.0], [np.nan, np.nan], [1e9, 0.0]])
    picture = with_landmarks(view.image, points, np.array([1.0, 0.0, 1.0, 1.0]), height=256)
    assert picture.shape == (256, 192, 3)
    green, red = picture[61, 41].astype(int), picture[181, 141].astype(int)
    assert green[1] > green[0] + 80
    assert red[0] > red[1] + 80
    plain = with_landmarks(view.image, np.zeros((0, 2)), height=256)
    assert (picture != plain).any(-1).mean() < 0.01


@pytest.mark.parametrize("size", [16, 300])
def test_map_picture_has_a_legend_and_grey_where_invalid(size: int) -> None:
    values = np.linspace(-1, 1, size)[None].repeat(size, 0)
    valid = np.zeros((size, size), bool)
    valid[: size // 2] = True
    picture = map_picture(values, valid, "displacement [mm]", limits=(-1, 1), colormap="balance", width=120)
    assert picture.shape[0] > 120
    np.testing.assert_allclose(picture[100, 60], np.array(UNKNOWN) * 255, atol=1)
    assert picture[20, 5, 2] > picture[20, 5, 0] + 60  # negative: blue
    assert picture[20, 115, 0] > picture[20, 115, 2] + 60  # positive: red


def test_symmetric_limits_keep_zero_in_the_middle() -> None:
    low, high = symmetric_limits(np.array([-2.0, 0.5, np.nan, 100]), np.array([True, True, True, False]))
    assert low == -high
    assert 1.9 < high <= 2
    assert symmetric_limits(np.full(3, np.nan)) == (-1, 1)


def test_shaded_views_share_a_frame() -> None:
    v, u = np.mgrid[-5:6, -5:6] * 8.0
    a = (np.arange(10)[:, None] * 11 + np.arange(10)).ravel()
    faces = np.concatenate([np.column_stack([a, a + 1, a + 12]), np.column_stack([a, a + 12, a + 11])])
    mesh = Mesh(np.stack([u, v, -(u**2 + v**2) / 80], -1).reshape(-1, 3), faces)
    small = mesh.with_vertices(mesh.vertices * 0.5)
    whole = shaded_views(mesh, (0, 0, 1), (0, 1, 0), angles=("front", "side"), size=(60, 80))
    framed = shaded_views(small, (0, 0, 1), (0, 1, 0), angles=("front", "side"), frame=mesh, size=(60, 80))
    assert [name for name, _ in whole] == ["front", "side"]
    covered = [(picture < 250).any(-1).mean() for _, picture in (whole[0], framed[0])]
    assert covered[1] == pytest.approx(covered[0] / 4, rel=0.15)
