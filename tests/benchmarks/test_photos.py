"""What is done to photos: as much as it says, where it says."""

from __future__ import annotations

import numpy as np
import photos
import pytest

from mesoface.files.images import encode_srgb
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import grid_faces


def grey(level: float, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), level, np.float32)


def chance() -> np.random.Generator:
    return np.random.default_rng(0)


def test_decoding_inverts_encoding():
    linear = np.linspace(0, 1, 101, dtype=np.float32)
    np.testing.assert_allclose(photos.decode_srgb(encode_srgb(linear)), linear, atol=1e-6)


def test_noise_has_its_standard_deviation():
    noisy = photos.noise(8 / 255)(grey(0.5), 0, chance())
    assert (noisy - 0.5).std() == pytest.approx(8 / 255, rel=0.03)


def test_exposure_is_a_gain_in_linear_light():
    linear = photos.decode_srgb(grey(0.4))
    for view, gain in enumerate(photos.GAINS):
        exposed = photos.expose(grey(0.4), view, chance())
        np.testing.assert_allclose(photos.decode_srgb(exposed), gain * linear, rtol=1e-4)
    assert (min(photos.GAINS), max(photos.GAINS)) == (0.6, 1.4)


def test_smooth_skin_loses_its_grain_and_keeps_its_outline():
    grain = 0.02 * chance().standard_normal((64, 64, 1)).astype(np.float32)
    image = grey(0.3) + grain
    image[:, 32:] += 0.4
    smooth = photos.smooth_skin(image, 0, chance())
    assert smooth[:, 8:24].std() < 0.6 * image[:, 8:24].std()
    assert smooth[:, 34:].mean() - smooth[:, :30].mean() == pytest.approx(0.4, abs=0.01)


def test_a_highlight_is_where_a_lamp_is_mirrored():
    ball = uv_sphere(50.0)
    R, t = look_at((0, 0, 600), (0, 0, 0))
    camera = Camera(np.array([[900.0, 0, 99.5], [0, 900.0, 99.5], [0, 0, 1]]), R, t, 200, 200)
    light = photos.highlights(RayCaster(ball), ball, camera)
    row, column = np.unravel_index(light.argmax(), light.shape)
    hit = RayCaster(ball).cast(camera.center, camera.rays(np.array([[float(column), float(row)]])))
    normal = unit(hit.interpolate(ball.vertices, ball.faces))[0]
    mirrored = unit(unit(np.array(photos._LAMPS)) + (0, 0, 1))
    assert (mirrored @ normal).max() > 0.99
    assert light[:20].max() == 0  # beside the ball


def uv_sphere(radius: float, n: int = 60) -> Mesh:
    lat, lon = np.meshgrid(np.linspace(1.5, -1.5, n), np.linspace(-3.1, 3.1, n), indexing="ij")
    points = radius * np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)], -1)
    return Mesh(points.reshape(-1, 3), grid_faces(np.ones((n, n), bool)))
