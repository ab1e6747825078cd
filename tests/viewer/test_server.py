"""The viewer in a real browser; frusta and photos stand where the cameras say."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Camera, look_at

pytest.importorskip("viser", reason="needs the extra mesoface[view]")

from mesoface.viewer.result import read_result
from mesoface.viewer.server import (
    Viewer,
    covering_field_of_view,
    field_of_view,
    frustum_scale,
    photo_plane,
    quaternion,
)


@pytest.fixture
def viewer(ball_run):
    """The drawn ball's viewer, on a port that is free."""
    viewer = Viewer(read_result(ball_run.run), port=18080)
    yield viewer
    viewer.close()


@pytest.fixture
def page(viewer, open_browser):
    """A browser that shows it."""
    page = open_browser(1000, 700)
    page.open(f"http://localhost:{viewer.port}/")
    page.wait("document.querySelector('canvas')")
    return page


def middle(page) -> np.ndarray:
    """(3,) RGB in the middle of the window, where the ball is."""
    window = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    height, width = window.shape[:2]
    return window[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4, ::-1].mean((0, 1))


def until(page, fits, what: str) -> None:
    """Wait until the middle's colour is as expected."""
    end = time.monotonic() + 60
    while not fits(color := middle(page)):
        assert time.monotonic() < end, f"{what}: the middle is {color}; errors: {page.errors}"
        time.sleep(0.3)


def choose(page, old: str, new: str) -> None:
    """In the panel's list that shows ``old``, take ``new``."""
    field = f"[...document.querySelectorAll('input')].find(x => x.value === '{old}')"
    page.wait(field)
    page.click(*page.evaluate(f"(r => [r.left + 20, r.top + r.height / 2])({field}.getBoundingClientRect())"))
    option = f"[...document.querySelectorAll('[role=option]')].find(x => x.textContent === '{new}')"
    page.wait(option)
    page.evaluate(f"{option}.click()")


def test_modes_and_cameras_without_an_error_or_a_request_to_elsewhere(viewer, page, ball_run):
    until(page, lambda c: c.max() < 245 and np.ptp(c) < 60, "clay")
    choose(page, "clay", "texture")
    until(page, lambda c: c[0] > 180 and c[1:].max() < 60, "the texture is red")
    choose(page, "texture", "normals")
    until(page, lambda c: c[2] > 180 and abs(c[0] - c[1]) < 40 and c[0] < 190, "facing us: blue")
    choose(page, "normals", "texture")
    choose(page, "fine", "base")
    until(page, lambda c: c[0] > 180 and c[1:].max() < 60, "the base mesh is red too")

    result = read_result(ball_run.run)
    name, camera = list(result.face.cameras.views.items())[1]
    choose(page, "free", name)
    photo = result.photos[name]
    viewer.look_through(name, photo=1.0)
    x, y = camera.K[:2, 2].round().astype(int)
    expected = photo[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(0)
    until(page, lambda c: np.abs(c - expected).max() < 25, f"only the photo, {expected}")
    viewer.look_through(name, photo=0.0)
    until(page, lambda c: c[0] > 180 and c[1:].max() < 60, "only the face")

    assert page.errors == []
    assert all(url.split("/")[2].split(":")[0] == "localhost" for url in page.requests), page.requests


def test_what_there_is_not_is_refused(viewer):
    with pytest.raises(ValueError, match="surface must be"):
        viewer.show("detailed", "clay")
    with pytest.raises(ValueError, match="shading must be"):
        viewer.show("fine", "error")
    with pytest.raises(ValueError, match="view must be"):
        viewer.look_through("nobody")


def test_it_listens_on_this_machine_only(viewer):
    assert viewer.server.get_host() == "127.0.0.1"


def test_a_clicked_camera_is_looked_through(viewer, page):
    until(page, lambda c: c.max() < 245, "the ball")
    shown = middle(page)
    client = next(iter(viewer.server.get_clients().values()))
    name, camera = next(iter(viewer._cameras.items()))
    # before the camera, looking at it: its photo fills the middle
    client.camera.up_direction = -camera.R[1]
    client.camera.position = camera.center + camera.forward * 0.45
    client.camera.look_at = camera.center
    until(page, lambda c: np.abs(c - shown).max() > 5, "the camera's frustum")
    time.sleep(1)
    width, height = page.evaluate("[innerWidth, innerHeight]")
    page.click(width / 2, height / 2)
    end = time.monotonic() + 30
    while viewer._through.value != name:
        assert time.monotonic() < end
        time.sleep(0.2)
        page.evaluate("1")
    assert page.errors == []


@pytest.fixture
def camera() -> Camera:
    """Its principal point is far from the middle."""
    R, t = look_at((300, 80, 500), (0, 10, 0), (0.1, 1, 0))
    return Camera([[900, 0, 210], [0, 950, 420], [0, 0, 1]], R, t, 540, 960)


def test_the_photo_covers_exactly_what_the_camera_sees(camera):
    center, width, height = photo_plane(camera, 250.0)
    w, x, y, z = quaternion(camera)
    right, down, _ = Rotation.from_quat([x, y, z, w]).as_matrix().T
    for sign in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        corner = center + right * sign[0] * width / 2 + down * sign[1] * height / 2
        pixel, depth = camera.project(corner)
        expected = [-0.5 if sign[0] < 0 else 539.5, -0.5 if sign[1] < 0 else 959.5]
        np.testing.assert_allclose(pixel, expected, atol=1e-9)
        assert depth == pytest.approx(250)


@pytest.mark.parametrize("aspect", [0.4, 1.0, 2.5])
def test_the_window_has_the_whole_photo_in_it_and_no_more_than_needed(camera, aspect):
    slope = np.tan(covering_field_of_view(camera, aspect) / 2)
    corners = np.array([[-0.5, -0.5], [539.5, 959.5]])
    x, y = np.abs((corners - camera.K[:2, 2]) / np.diag(camera.K)[:2]).T
    assert max(x.max() / (slope * aspect), y.max() / slope) == pytest.approx(1)


def test_a_frustum_is_as_long_as_asked(camera):
    """viser divides by the cube root of a third of half-width × half-height × 1, and multiplies by scale."""
    y = np.tan(field_of_view(camera) / 2)
    x = y * camera.width / camera.height
    assert frustum_scale(camera, 0.2) / np.cbrt(x * y / 3) == pytest.approx(0.2)
