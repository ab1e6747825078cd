import numpy as np
import pytest

from mesoface.matching.displacement import fill_by_confidence, find_peak, smooth_robustly

STEPS = np.arange(-4, 5) * 0.5


def parabolas(centre):
    """(9, H, W) scores 1 - (d - centre)² / 10."""
    return (1 - (STEPS[:, None, None] - centre) ** 2 / 10).astype(np.float32)


class TestFindPeak:
    def test_sub_step_is_exact_on_a_parabola(self):
        centre = np.linspace(-1.7, 1.7, 40).reshape(4, 10)
        peak = find_peak(parabolas(centre), STEPS)
        np.testing.assert_allclose(peak.displacement, centre, atol=1e-4)
        assert peak.interior.all()
        np.testing.assert_allclose(peak.score, parabolas(centre).max(0))
        assert peak.displacement.dtype == np.float32

    def test_beyond_the_range_is_not_interior_and_stays_in_range(self):
        centre = np.array([[-9.0, -2.4, 2.4, 9.0]])
        peak = find_peak(parabolas(centre), STEPS)
        assert not peak.interior.any()
        assert (np.abs(peak.displacement) <= 2.0).all()
        np.testing.assert_array_equal(np.sign(peak.displacement), [[-1, -1, 1, 1]])

    def test_flat_scores_are_no_measurement(self):
        peak = find_peak(np.zeros((9, 2, 2), np.float32), STEPS)
        assert not peak.interior.any()
        assert np.isfinite(peak.displacement).all()

    def test_three_steps_are_enough(self):
        scores = np.array([0.0, 1.0, 0.5], np.float32).reshape(3, 1, 1)
        peak = find_peak(scores, np.array([-1.0, 0.0, 1.0]))
        assert peak.displacement[0, 0] == pytest.approx(1 / 6)


class TestFill:
    def test_confident_texels_stand(self):
        rng = np.random.default_rng(0)
        displacement = rng.normal(size=(32, 32)).astype(np.float32)
        out = fill_by_confidence(displacement, np.full((32, 32), 1e6, np.float32), 0.3)
        np.testing.assert_allclose(out, displacement, atol=1e-4)

    def test_a_hole_takes_its_surroundings(self):
        displacement = np.full((64, 64), 2.0, np.float32)
        displacement[:, 32:] = 4.0
        confidence = np.full((64, 64), 50.0, np.float32)
        for columns in (slice(10, 18), slice(46, 54)):
            confidence[28:36, columns], displacement[28:36, columns] = 0, 99
        out = fill_by_confidence(displacement, confidence, 0.3)
        np.testing.assert_allclose(out[28:36, 10:18], 2, atol=0.15)
        np.testing.assert_allclose(out[28:36, 46:54], 4, atol=0.15)

    def test_at_the_stiffness_half_is_the_texels_own(self):
        """One texel of confidence s in a sea of certain zeros: s·d / (s + s), nearly."""
        displacement, confidence = np.zeros((32, 32), np.float32), np.full((32, 32), 1e4, np.float32)
        displacement[16, 16], confidence[16, 16] = 1.0, 0.3
        assert fill_by_confidence(displacement, confidence, 0.3)[16, 16] == pytest.approx(0.5, abs=0.01)

    def test_the_stiffer_the_smoother(self):
        noise = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
        confidence = np.ones((64, 64), np.float32)
        spread = [fill_by_confidence(noise, confidence, s).std() for s in (0.01, 0.3, 3.0)]
        assert spread[0] > 0.9
        assert spread[0] > spread[1] > spread[2]

    @pytest.mark.parametrize("size", [2, 5, 48])
    def test_no_confidence_at_all_is_zero(self, size):
        out = fill_by_confidence(np.ones((size, size), np.float32), np.zeros((size, size), np.float32), 0.3)
        np.testing.assert_allclose(out, 0, atol=1e-6)


class TestSmooth:
    @staticmethod
    def smooth(displacement, confidence, valid=None, **kwargs):
        valid = np.ones(displacement.shape, bool) if valid is None else valid
        settings = {"stiffness": 0.3, "sigma": 0.7, "scale_mm": 0.5, **kwargs}
        return smooth_robustly(displacement, confidence, valid, **settings)

    def test_outliers_lose_their_weight_and_do_not_pull(self):
        x, y = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64))
        truth = (x + 0.5 * y).astype(np.float32)
        rng = np.random.default_rng(2)
        bad = rng.random((64, 64)) < 0.1
        measured = np.where(bad, truth + rng.choice([-6, 6], (64, 64)), truth).astype(np.float32)
        smooth, weight = self.smooth(measured, np.ones((64, 64), np.float32))
        inner = (slice(6, -6),) * 2
        assert np.abs(smooth - truth)[inner].max() < 0.2
        assert np.median(np.abs(smooth - truth)[inner]) < 0.03
        plain, _ = self.smooth(measured, np.ones((64, 64), np.float32), scale_mm=1e6)
        assert np.abs(plain - truth)[inner].max() > 1  # what would be without the re-weighting
        assert weight[bad].mean() < 0.7 * weight[~bad].mean()

    def test_a_block_of_outliers_with_little_confidence_is_filled_from_around(self):
        displacement, confidence = np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)
        displacement[28:36, 28:36], confidence[28:36, 28:36] = 5.0, 0.01
        smooth, weight = self.smooth(displacement, confidence)
        assert np.abs(smooth).max() < 0.1
        assert weight[30:34, 30:34].max() < 0.01

    def test_weight_is_at_most_the_confidence_and_zero_out_of_the_mask_s_reach(self):
        confidence = np.zeros((32, 32), np.float32)
        confidence[:, :16] = 0.8
        valid = np.zeros((32, 32), bool)
        valid[:, :16] = True
        _, weight = self.smooth(np.zeros((32, 32), np.float32), confidence, valid)
        np.testing.assert_allclose(weight[:, :14], 0.8, rtol=1e-3)
        assert not weight[:, 20:].any()

    def test_nothing_measured_is_zero_everywhere(self):
        smooth, weight = self.smooth(np.full((16, 16), 7, np.float32), np.zeros((16, 16), np.float32))
        np.testing.assert_allclose(smooth, 0, atol=1e-6)
        assert not weight.any()
