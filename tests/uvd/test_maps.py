import numpy as np
import pytest

from mesoface.uvd import maps
from mesoface.uvd.maps import (
    blur_linearly,
    blur_masked,
    blur_wide,
    dilate,
    erode,
    fill_outside,
    rasterize_uv,
    resize_map,
    sample_map,
    texel_centers,
    uv_to_pixels,
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


SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def brute_force(uv, faces, size):
    """Texel by texel, triangle by triangle, written from the definition."""
    face = np.full((size, size), -1)
    bary = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            point = np.array([(column + 0.5) / size, 1 - (row + 0.5) / size, 1])
            for f, corners in enumerate(uv[faces]):
                system = np.vstack([corners.T, np.ones(3)])
                if abs(np.linalg.det(system)) < 1e-12:
                    continue
                weights = np.linalg.solve(system, point)
                if (weights >= -1e-9).all():
                    face[row, column], bary[row, column] = f, weights
                    break
    return face, bary


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_overlapping_triangles_match_brute_force(seed):
    rng = np.random.default_rng(seed)
    uv, faces = rng.uniform(-0.2, 1.2, (15, 2)), rng.integers(0, 15, (12, 3))  # degenerate ones too
    raster = rasterize_uv(uv, faces, 17)
    face, bary = brute_force(uv, faces, 17)
    np.testing.assert_array_equal(raster.face, face)
    np.testing.assert_allclose(raster.bary, bary, atol=1e-5)
    assert (face >= 0).any()
    assert (face < 0).any()


def test_convention_row_0_is_at_v_1_and_texel_centres_are_at_half_integers():
    centers = texel_centers(4)
    np.testing.assert_allclose(centers[0, 0], [0.125, 0.875])
    np.testing.assert_allclose(centers[3, 2], [0.625, 0.125])
    raster = rasterize_uv(SQUARE, SQUARE_FACES, 4)
    uv_map = raster.interpolate(SQUARE, SQUARE_FACES)
    np.testing.assert_allclose(uv_map, centers, atol=1e-6)


def test_convention_uv_to_pixels_puts_texel_centres_at_integers():
    pixels = uv_to_pixels(texel_centers(5), 5)
    column, row = np.meshgrid(np.arange(5), np.arange(5))
    np.testing.assert_allclose(pixels, np.stack([column, row], -1), atol=1e-12)


def test_a_texel_is_covered_when_its_centre_is_and_not_when_only_its_area_is():
    size = 8
    low, high = 0.26, 0.49  # covers the centres 2.5/8 and 3.5/8 only
    uv = low + (high - low) * SQUARE
    covered = np.zeros((size, size), bool)
    covered[size - 4 : size - 2, 2:4] = True
    np.testing.assert_array_equal(rasterize_uv(uv, SQUARE_FACES, size).valid, covered)


@pytest.mark.parametrize("size", [8, 33])
def test_shared_edges_leave_no_gap(size):
    """A fan whose edges run through many texel centres: at 8 and 33 the diagonals hit them exactly."""
    ring = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]]
    uv = np.array([[0.5, 0.5], *ring])
    faces = np.array([[0, 1 + k, 1 + (k + 1) % 8] for k in range(8)])
    raster = rasterize_uv(uv, faces, size)
    assert raster.valid.all()
    np.testing.assert_allclose(raster.bary.sum(-1), 1, atol=1e-6)


def test_where_triangles_overlap_the_lower_index_wins():
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 2], [0, 2, 3], [0, 1, 3]])
    raster = rasterize_uv(SQUARE, faces, 16)
    u, v = np.moveaxis(texel_centers(16), -1, 0)
    expected = np.where(v <= u + 1e-9, 0, np.where(u + v <= 1 + 1e-9, 1, 3))
    np.testing.assert_array_equal(raster.face, expected)


@pytest.mark.parametrize("chunk", [1, 50, 999])
def test_chunks_do_not_change_the_result(monkeypatch, chunk):
    rng = np.random.default_rng(5)
    uv, faces = rng.uniform(0, 1, (40, 2)), rng.integers(0, 40, (60, 3))
    whole = rasterize_uv(uv, faces, 32)
    monkeypatch.setattr(maps, "_CHUNK", chunk)
    parts = rasterize_uv(uv, faces, 32)
    np.testing.assert_array_equal(parts.face, whole.face)
    np.testing.assert_array_equal(parts.bary, whole.bary)


def test_what_lies_outside_of_the_square_is_cut_off():
    uv = np.array([[-5.0, -5], [5, -5], [5, 5], [-5, 5], [2, 2], [3, 2], [2, 3]])
    faces = np.array([[4, 5, 6], [0, 1, 2], [0, 2, 3]])
    raster = rasterize_uv(uv, faces, 12)
    assert raster.valid.all()
    assert set(np.unique(raster.face)) == {1, 2}
    np.testing.assert_allclose(raster.interpolate(uv, faces), texel_centers(12), atol=1e-5)


@pytest.mark.parametrize(
    ("uv", "faces"),
    [
        (SQUARE, np.zeros((0, 3), np.int64)),
        (np.zeros((3, 2)) + 0.5, np.array([[0, 1, 2]])),  # a point
        (np.array([[0.0, 0], [0.5, 0.5], [1, 1]]), np.array([[0, 1, 2]])),  # a line
        (np.full((3, 2), np.nan), np.array([[0, 1, 2]])),
        (SQUARE + 3, SQUARE_FACES),
    ],
    ids=["no faces", "point", "line", "not a number", "all outside"],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_nothing_is_covered(uv, faces):
    raster = rasterize_uv(uv, faces, 8)
    assert not raster.valid.any()
    assert not raster.bary.any()
    assert not raster.interpolate(np.ones((len(uv), 2)), faces).any()


def test_interpolation_reproduces_linear_functions_and_leaves_the_rest_at_zero():
    rng = np.random.default_rng(9)
    uv = rng.uniform(0.1, 0.9, (3, 2))
    faces = np.array([[0, 1, 2]])
    linear = lambda p: np.stack([3 * p[..., 0] - 2 * p[..., 1] + 7, p[..., 0] + 40 * p[..., 1]], -1)  # noqa: E731
    raster = rasterize_uv(uv, faces, 64)
    out = raster.interpolate(linear(uv), faces)
    expected = np.where(raster.valid[..., None], linear(texel_centers(64)), 0)
    assert raster.valid.any()
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_linear_blur_keeps_a_slope_up_to_the_rim():
    row, column = np.mgrid[:40, :40]
    ramp = (0.5 * row - 0.2 * column)[..., None].astype(np.float32)
    mask = np.zeros((40, 40), bool)
    mask[5:30, 8:35] = True
    blurred = blur_linearly(ramp, mask, 3.0)
    assert np.abs(blurred - ramp)[mask].max() < 0.02
    assert (blurred[~mask] == 0).all()
    assert np.abs(blur_masked(ramp, mask, 3.0) - ramp)[mask].max() > 0.5


def test_a_linear_blur_is_the_plain_one_away_from_rims():
    noise = np.random.default_rng(0).normal(size=(60, 60, 2)).astype(np.float32)
    everywhere = np.ones((60, 60))
    inner = np.s_[20:40, 20:40]
    assert np.allclose(
        blur_linearly(noise, everywhere, 2.0)[inner], blur_masked(noise, everywhere, 2.0)[inner], atol=5e-3
    )
