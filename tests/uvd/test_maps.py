import numpy as np
import pytest

from mesoface.uvd.maps import (
    blur_masked,
    blur_wide,
    dilate,
    erode,
    fill_outside,
    resize_map,
    sample_map,
    texel_centers,
)


@pytest.fixture
def disc():
    u, v = np.moveaxis(texel_centers(48), -1, 0)
    return (u - 0.5) ** 2 + (v - 0.45) ** 2 < 0.3**2


def ramp(size):
    u, v = np.moveaxis(texel_centers(size), -1, 0)
    return (10 * u - 4 * v + 1).astype(np.float32)


class TestBlur:
    @pytest.mark.parametrize("channels", [(), (1,), (3,)])
    def test_constants_stay_constants_whatever_lies_outside(self, disc, channels):
        values = np.full((*disc.shape, *channels), 7.0)
        values[~disc] = np.nan
        out = blur_masked(values, disc, 3.0)
        assert out.shape == values.shape
        assert out.dtype == np.float32
        np.testing.assert_allclose(out[disc], 7, rtol=1e-5)

    def test_zero_out_of_reach(self, disc):
        out = blur_masked(np.ones(disc.shape), disc, 1.0)
        assert out[0, 0] == 0
        assert out[disc].min() > 0

    def test_weights_weigh(self):
        values, weight = np.zeros((9, 9)), np.zeros((9, 9))
        values[4, 3], values[4, 5] = 0.0, 8.0
        weight[4, 3], weight[4, 5] = 3.0, 1.0
        assert blur_masked(values, weight, 1.0)[4, 4] == pytest.approx(2.0, rel=1e-5)

    def test_widens_an_impulse_by_sigma(self):
        values = np.zeros((41, 41))
        values[20, 20] = 1
        out = blur_masked(values, np.ones((41, 41)), 2.5).astype(float)
        x = np.arange(41) - 20
        assert out.sum() == pytest.approx(1, rel=1e-4)
        assert np.sqrt((out.sum(0) * x**2).sum()) == pytest.approx(2.5, rel=0.02)

    def test_no_sigma_is_a_copy(self, disc):
        values = ramp(48)
        out = blur_masked(values, disc, 0)
        np.testing.assert_array_equal(out, values)
        out[0, 0] = 99
        assert values[0, 0] != 99


class TestFill:
    def test_valid_values_stay_and_the_outside_has_no_say(self, disc):
        values = ramp(48)
        noisy = np.where(disc, values, np.nan)
        out = fill_outside(noisy, disc)
        np.testing.assert_array_equal(out[disc], values[disc])
        assert np.isfinite(out).all()
        assert out.min() >= values[disc].min()
        assert out.max() <= values[disc].max()

    def test_continues_without_a_step_at_the_rim(self, disc):
        values = ramp(48)
        out = fill_outside(np.where(disc, values, 1e6), disc)
        rim = dilate(disc, 1) & ~disc
        assert np.abs(out - values)[rim].max() < 1.0  # the ramp itself spans 14

    @pytest.mark.parametrize("size", [1, 2, 7, 33, 100])
    def test_one_texel_is_enough_at_any_size(self, size):
        valid = np.zeros((size, size), bool)
        valid[size // 3, size // 2] = True
        np.testing.assert_allclose(fill_outside(np.where(valid, 4.0, -1), valid), 4, rtol=1e-5)

    def test_vectors_and_nothing_valid(self, disc):
        values = np.stack([ramp(48), -ramp(48), np.ones((48, 48))], -1)
        out = fill_outside(values, disc)
        np.testing.assert_allclose(out[..., 0], fill_outside(values[..., 0], disc), rtol=1e-5)
        assert out.shape == (48, 48, 3)
        assert not fill_outside(values, np.zeros_like(disc)).any()


class TestResize:
    @pytest.mark.parametrize(("old", "new"), [(32, 64), (32, 48), (48, 72), (64, 32), (32, 32)])
    def test_a_ramp_stays_a_ramp_away_from_the_rim(self, old, new):
        out = resize_map(ramp(old), np.ones((old, old), bool), new)
        rim = int(np.ceil(3 * max(1, new / old)))
        inner = (slice(rim, -rim),) * 2
        np.testing.assert_allclose(out[inner], ramp(new)[inner], atol=2e-3)

    def test_shrinking_by_a_fraction_shifts_by_a_twelfth_of_a_texel_at_most(self):
        """OpenCV's area filter takes texels as constant: at 3:2 its samples lie 1/12 old texel off."""
        out, slope = resize_map(ramp(96), np.ones((96, 96), bool), 64), 14 / 96
        assert np.abs(out - ramp(64)).max() < slope / 12 * 1.01

    def test_no_overshoot_at_a_step(self):
        values = np.zeros((32, 32), np.float32)
        values[:, 16:] = 1
        out = resize_map(values, np.ones((32, 32), bool), 128)
        assert out.min() >= -1e-6
        assert out.max() <= 1 + 1e-6
        assert (np.diff(out, axis=1) >= -1e-6).all()

    @pytest.mark.parametrize("new", [24, 48, 96])
    def test_the_outside_does_not_bleed_in(self, disc, new):
        out = resize_map(np.where(disc, 5.0, 1e6).astype(np.float32), disc, new)
        np.testing.assert_allclose(out, 5, rtol=1e-4)


class TestMorphology:
    def test_erode_and_dilate_a_square_by_texels(self):
        mask = np.zeros((20, 20), bool)
        mask[5:15, 5:15] = True
        smaller, larger = erode(mask, 2), dilate(mask, 2)
        np.testing.assert_array_equal(np.flatnonzero(smaller[10]), np.arange(7, 13))
        np.testing.assert_array_equal(np.flatnonzero(larger[10]), np.arange(3, 17))
        assert not larger[3, 3]  # round, so that corners do not grow

    def test_beyond_the_map_there_is_nothing(self):
        full = np.ones((10, 10), bool)
        assert erode(full, 1)[1:-1, 1:-1].all()
        assert erode(full, 1).sum() == 64

    @pytest.mark.parametrize("operation", [erode, dilate])
    def test_no_texels_is_a_copy(self, operation):
        mask = np.eye(4, dtype=bool)
        out = operation(mask, 0)
        np.testing.assert_array_equal(out, mask)
        assert out is not mask


class TestSample:
    def test_linear_functions_are_exact_between_texel_centres(self):
        rng = np.random.default_rng(1)
        uv = rng.uniform(0.05, 0.95, (200, 2))
        values = np.stack([ramp(32), -2 * ramp(32)], -1)
        expected = 10 * uv[:, 0] - 4 * uv[:, 1] + 1
        np.testing.assert_allclose(sample_map(values[..., 0], uv), expected, atol=1e-4)
        np.testing.assert_allclose(sample_map(values, uv), np.stack([expected, -2 * expected], -1), atol=2e-4)

    def test_convention_v_1_is_row_0(self):
        values = np.arange(16, dtype=np.float32).reshape(4, 4)
        assert sample_map(values, np.array([[0.125, 0.875]]))[0] == 0
        assert sample_map(values, np.array([[0.875, 0.125]]))[0] == 15
        np.testing.assert_array_equal(sample_map(values, texel_centers(4).reshape(-1, 2)), values.ravel())

    def test_beyond_the_border_the_border(self):
        values = np.arange(16, dtype=np.float32).reshape(4, 4)
        np.testing.assert_allclose(sample_map(values, np.array([[0.0, 1], [-3, 9], [1, 0]])), [0, 0, 15])


@pytest.mark.parametrize(("shape", "channels"), [((96, 128), ()), ((96, 128), (3,)), ((95, 127), (2,))])
def test_a_wide_blur_is_the_blur_on_a_smaller_map(shape, channels):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(*shape, *channels)).astype(np.float32)
    weight = np.zeros(shape, np.float32)
    weight[10:-10, 20:-5] = 1
    exact, quick = (blur(values, weight, 12.0) for blur in (blur_masked, blur_wide))
    assert quick.shape == values.shape
    inside = weight > 0
    assert np.abs(quick - exact)[inside].max() < 0.15 * exact[inside].std()
