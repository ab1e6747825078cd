"""The reconstruction's page and its pictures."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import typer

from mesoface.captures.capture import Capture, View
from mesoface.cli.app import app
from mesoface.config import Settings
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.false_color import UNKNOWN
from mesoface.rendering.page import render
from mesoface.report.pictures import face_views, map_picture, photo_errors, symmetric_limits, with_landmarks
from mesoface.report.reconstruct_page import TEMPLATE, command_line, stage_table, view_table
from mesoface.running.process import Stage
from mesoface.texture import Texture
from mesoface.uvd.maps import sample_map
from mesoface.uvd.space import ViewCheck
from tests.faces import made_face
from tests.rendering.test_page import assert_sealed, parse

PICTURE = np.zeros((8, 6, 3), np.uint8)


def context(**changes) -> dict:
    """What a page shows that has nothing but a name, and the changes."""
    texts = ("subtitle", "scene", "photo_note", "scale", "command", "footer")
    lists = ("facts", "warnings", "photos", "views", "relief", "photo_errors", "maps", "settings", "files")
    empty = {**dict.fromkeys(texts, ""), **dict.fromkeys(lists, ()), **stage_table([]), **view_table([])}
    empty["evaluation"] = None
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
            **view_table(
                [ViewCheck("left <1>", 2.0, 1.9, 0.05, 0.12, 0.61), ViewCheck("right", 0.1, 0.094, 0.002)]
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


def test_cameras_and_movement_are_a_row_a_view() -> None:
    text = full()
    assert "<td>left &lt;1&gt;</td><td>2.00</td><td>1.90</td><td>0.050</td><td>12 %</td><td>0.6</td>" in text
    assert "<td>right</td><td>0.10</td><td>0.09</td><td>0.002</td><td>–</td><td>–</td>" in text
    assert "95 % of each estimate was applied" in text


def test_exact_cameras_are_said_to_be_left_as_they_are() -> None:
    note = view_table([ViewCheck("0", 0.05, 0.0, 0.0), ViewCheck("1", 0.04, 0.0, 0.0)])["view_note"]
    assert "no camera was corrected" in note


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


def test_views_of_a_face_share_a_frame() -> None:
    v, u = np.mgrid[-5:6, -5:6] * 8.0
    a = (np.arange(10)[:, None] * 11 + np.arange(10)).ravel()
    faces = np.concatenate([np.column_stack([a, a + 1, a + 12]), np.column_stack([a, a + 12, a + 11])])
    mesh = Mesh(np.stack([u, v, -(u**2 + v**2) / 80], -1).reshape(-1, 3), faces, np.zeros((121, 2)))
    small = mesh.with_vertices(mesh.vertices * 0.5)
    whole, framed = (face_views(made_face(mesh), m, None, ("front", "side"), (60, 80)) for m in (mesh, small))
    assert [name for name, _ in whole] == ["front", "side"]
    covered = [(picture < 250).any(-1).mean() for _, picture in (whole[0], framed[0])]
    assert covered[1] == pytest.approx(covered[0] / 4, rel=0.15)


@pytest.fixture
def view(drawn_face):
    """A perfect photo of the drawn face in its texture, on grey."""
    rotation, center = drawn_face.fit.rotation, drawn_face.base.vertices.mean(0)
    R, t = look_at(center + rotation @ (80, 40, 600), center, rotation[:, 1])
    camera = Camera([[900, 0, 149.5], [0, 900, 199.5], [0, 0, 1]], R, t, 300, 400)
    mesh = drawn_face.fine.mesh
    hits = RayCaster(mesh).render(camera)
    color = sample_map(drawn_face.texture.color, hits.interpolate(mesh.uv, mesh.faces))
    image = np.where(hits.hit[:, None], color, 0.5).reshape(400, 300, 3).astype(np.float32)
    return View("0", image, camera)


def only(face, view, texture=None):
    (error,) = photo_errors([view], RayCaster(face.fine.mesh), texture or face.texture)
    return error


def test_a_perfect_texture_has_hardly_any_error_whatever_the_exposure(drawn_face, view):
    error = only(drawn_face, view)
    assert error.view == "0"
    assert error.psnr > 38
    darker = View("0", view.image * np.float32((0.5, 0.7, 0.9)), view.camera)
    assert only(drawn_face, darker).psnr > 38


def test_a_wrong_texture_has_the_error_it_has(drawn_face, view):
    color = drawn_face.texture.color.copy()
    color[::2] += 0.1
    color[1::2] -= 0.1
    texture = Texture(np.repeat(np.repeat(color, 4, 0), 4, 1), np.ones((384, 384), bool))
    assert 18 < only(drawn_face, view, texture).psnr < 24


def test_what_no_photo_shows_is_not_compared(drawn_face, view):
    nothing = Texture(drawn_face.texture.color, np.zeros_like(drawn_face.texture.seen))
    assert np.isnan(only(drawn_face, view, nothing).psnr)


def test_the_inside_of_the_surface_is_not_compared(drawn_face, view):
    rotation, center = drawn_face.fit.rotation, drawn_face.base.vertices.mean(0)
    R, t = look_at(center - rotation @ (0, 0, 600), center, rotation[:, 1])
    behind = Camera(view.camera.K, R, t, 300, 400)
    assert np.isnan(only(drawn_face, View("0", view.image, behind)).psnr)


def test_the_picture_is_photo_rendering_difference(drawn_face, view):
    picture = only(drawn_face, view).picture
    width = picture.shape[1] // 3
    photo, rendering = picture[:, :width].astype(int), picture[:, width : 2 * width].astype(int)
    assert picture.shape[0] == 300
    assert np.abs(photo - rendering).mean() < 2


def test_a_face_beside_the_picture_does_no_harm(drawn_face, view):
    away = Camera(view.camera.K, view.camera.R, view.camera.t + (5000, 0, 0), 300, 400)
    assert np.isnan(only(drawn_face, View("0", view.image, away)).psnr)


def options() -> dict[str, str]:
    """{option: parameter} of `mesoface reconstruct`."""
    command = typer.main.get_command(app).commands["reconstruct"]
    return {name: parameter.name for parameter in command.params for name in parameter.opts}


def test_defaults_need_no_words():
    assert command_line(Path("shoot"), Settings()) == "mesoface reconstruct shoot --out face"


def test_what_was_set_can_be_pasted_into_a_shell():
    settings = Settings(scale=2.5, preset="best", view_ids=("0", "a b"), until="base", threads=7)
    words = shlex.split(command_line(Path("my shoot"), settings))
    assert words[:3] == ["mesoface", "reconstruct", "my shoot"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given == {
        "--out": "face",
        "--scale": "2.5",
        "--preset": "best",
        "--view-ids": "0,a b",
        "--until": "base",
    }


def test_every_setting_that_may_be_told_has_an_option():
    """A new setting without an option of its name would be told wrongly."""
    known = options()
    for name in set(Settings.model_fields) - {"device", "threads", "memory_mb"}:
        assert f"--{name.replace('_', '-')}" in known
