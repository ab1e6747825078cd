from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.matching.images import prepare_image
from mesoface.uvd.photos import pixel_footprint
from mesoface.uvd.rasterize import texel_centers


@pytest.fixture(scope="module")
def view(scenes):
    return scenes.photograph(14.0, -8.0)


def with_dot(view, point):
    """The view black but for a soft dot where a world point projects."""
    x, y = np.moveaxis(view.camera.pixel_grid(), -1, 0)
    px, py = view.camera.project(point)[0]
    dot = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2)).astype(np.float32)
    return replace(view, image=np.repeat(dot[..., None], 3, 2))


@pytest.mark.parametrize("size", [32, 64, 100, 128, 256, 512])
def test_camera_and_pixels_move_together(scenes, view, size):
    """A dot at a world point is found where the prepared image's camera puts the point, at every scale."""
    space = scenes.cap().space(size)
    point = space.position[size // 3, size // 2].astype(np.float64)
    image = prepare_image(with_dot(view, point), space, 1.5, 3.0)
    assert image.pixels.shape == (image.camera.height, image.camera.width)
    bright = np.clip(image.pixels - 0.3 * image.pixels.max(), 0, None)
    x, y = np.moveaxis(image.camera.pixel_grid(), -1, 0)
    found = np.array([(bright * x).sum(), (bright * y).sum()]) / bright.sum()
    np.testing.assert_allclose(found, image.camera.project(point)[0], atol=0.1)
    q = image.camera.P @ np.append(point, 1)
    np.testing.assert_allclose(q[:2] / q[2], image.camera.project(point)[0])


@pytest.mark.parametrize("size", [64, 128])
def test_oversample_is_pixels_per_texel(scenes, view, size):
    space = scenes.cap().space(size)
    center = space.position[space.valid].mean(0)
    image = prepare_image(view, space, 1.5, 3.0)
    footprint = image.camera.to_camera(center)[2] / image.camera.K[0, 0]
    assert space.texel_mm / footprint == pytest.approx(1.5, rel=0.02)


def test_no_photo_is_enlarged_more_than_twice(scenes, view):
    image = prepare_image(view, scenes.cap().space(512), 8.0, 1.0)
    assert image.camera.K[0, 0] == pytest.approx(2 * view.camera.K[0, 0])


@pytest.mark.parametrize("reach", [0.5, 12.0])
def test_the_cut_holds_the_face_and_the_reach(scenes, view, reach):
    cap = scenes.cap()
    space = cap.space(64)
    image = prepare_image(view, space, 1.5, reach)
    for d in (-reach, reach):
        pixels = image.camera.project(space.displaced(np.full((64, 64), d))[space.valid])[0]
        assert (pixels > 0).all()
        assert (pixels < (image.camera.width - 1, image.camera.height - 1)).all()


def test_what_is_far_from_the_face_is_cut_off(scenes, view):
    wide = replace(
        view,
        image=np.pad(view.image, ((200, 200), (200, 200), (0, 0))),
        camera=view.camera.cropped(-200, -200, 640, 640),
    )
    image = prepare_image(wide, scenes.cap().space(64), 1.5, 1.0)
    scale = image.camera.K[0, 0] / wide.camera.K[0, 0]
    assert image.camera.width / scale < 270
    assert image.camera.height / scale < 270


def test_a_face_partly_outside_is_cut_at_the_photo_s_edge(scenes, view):
    cropped = replace(view, image=view.image[:, :120].copy(), camera=view.camera.cropped(0, 0, 120, 240))
    image = prepare_image(cropped, scenes.cap().space(64), 1.5, 3.0)
    whole = prepare_image(view, scenes.cap().space(64), 1.5, 3.0)
    width, whole_width = (a.camera.width / a.camera.K[0, 0] for a in (image, whole))
    assert width < whole_width
    assert image.pixels.size > 0


def test_slow_shading_is_gone_and_detail_stays(scenes, view):
    space = scenes.cap().space(128)
    x = np.linspace(0, 0.5, 240, dtype=np.float32)
    shaded = replace(view, image=view.image + x[None, :, None])
    plain, other = (prepare_image(v, space, 1.5, 3.0).pixels for v in (view, shaded))
    inner = (slice(40, -40),) * 2
    assert np.abs(plain - other)[inner].max() < 0.01
    assert plain[inner].std() > 0.1


def test_luminance_weighs_the_channels(scenes, view):
    space = scenes.cap().space(64)
    pictures = [np.zeros_like(view.image) for _ in range(3)]
    for channel, picture in enumerate(pictures):
        picture[..., channel] = view.image[..., 0]
    grey = prepare_image(view, space, 1.5, 3.0).pixels
    weights = [
        (prepare_image(replace(view, image=p), space, 1.5, 3.0).pixels * grey).sum() / (grey * grey).sum()
        for p in pictures
    ]
    np.testing.assert_allclose(weights, [0.299, 0.587, 0.114], rtol=1e-4)  # ITU-R BT.601


def test_footprint_is_the_distance_between_neighbouring_pixels(scenes):
    views = [scenes.photograph(0.0), scenes.photograph(28.0, 8.0, size=120)]
    center = np.array([0, 0, 70.0])
    for view, footprint in zip(views, pixel_footprint(views, center), strict=True):
        middle, depth = view.camera.project(center)
        step = view.camera.unproject(middle + [1, 0], depth) - view.camera.unproject(middle, depth)
        assert footprint == pytest.approx(np.linalg.norm(step))


def test_texels_and_photo_are_of_the_same_surface(scenes, view):
    """What the other tests rest on: the photo shows the texture at the cap's own points."""
    cap, uv = scenes.cap(), texel_centers(64)
    points = cap.points(uv)[16:48, 16:48]
    assert np.abs(cap.distance(points)).max() < 1e-9
    x, y = np.moveaxis(view.camera.project(points)[0].astype(np.float32), -1, 0)
    seen = cv2.remap(view.image[..., 0], x, y, cv2.INTER_CUBIC)
    assert np.abs(seen - np.clip(scenes.texture(points, 3), 0, 1)).mean() < 0.02
