import numpy as np
import pytest

from mesoface.landmarks.networks import Crop


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2])
@pytest.mark.parametrize("side", [60.0, 150.0, 700.0])
def test_what_is_seen_in_the_cut_is_where_to_image_says(angle, side):
    y, x = np.mgrid[:400, :500].astype(np.float32)
    spot = np.array([231.3, 187.6])
    blob = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * (side / 30) ** 2))
    image = np.repeat(np.rint(blob * 255).astype(np.uint8)[..., None], 3, 2)
    crop = Crop(np.array([225.0, 190.0]), side, angle)
    cut = crop.cut(image, 128)[..., 0].astype(float)
    j, i = np.mgrid[:128, :128]
    centre = np.array([(cut * i).sum(), (cut * j).sum()]) / cut.sum()
    np.testing.assert_allclose(crop.to_image((centre[None] + 0.5) / 128)[0], spot, atol=0.01 * side)


def test_crop_around_a_turned_face_stands_upright(toy_face):
    flat = toy_face[:, :2] * [1, -1]  # y down
    c, s = np.cos(0.5), np.sin(0.5)
    turned = flat @ np.array([[c, -s], [s, c]]).T + [300, 200]
    crop = Crop.around(turned, 1.5)
    assert crop.angle == pytest.approx(0.5, abs=0.01)
    assert crop.side == pytest.approx(1.5 * 190, rel=0.02)
    np.testing.assert_allclose(crop.center, [300, 200], atol=3)


def test_jitter_moves_along_the_crops_own_axes():
    crop = Crop(np.zeros(2), 100.0, np.pi / 2).jittered((0.1, 0.0), 1.5, 0.1)
    np.testing.assert_allclose(crop.center, [0, 10], atol=1e-9)
    assert (crop.side, crop.angle) == (150.0, pytest.approx(np.pi / 2 + 0.1))
