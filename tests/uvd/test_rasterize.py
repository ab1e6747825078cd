import numpy as np
import pytest

from mesoface.uvd import maps
from mesoface.uvd.maps import rasterize_uv, texel_centers, uv_to_pixels

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
    raster = rasterize_uv(uv, np.array([[4, 5, 6], [0, 1, 2], [0, 2, 3]]), 12)
    assert raster.valid.all()
    assert set(np.unique(raster.face)) == {1, 2}
    np.testing.assert_allclose(
        raster.interpolate(uv, np.array([[4, 5, 6], [0, 1, 2], [0, 2, 3]])), texel_centers(12), atol=1e-5
    )


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
