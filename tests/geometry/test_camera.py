"""The camera: conventions, projection and back, scaling, cropping, undistortion; and its lenses."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Camera, OpenCVLens, invert, look_at

LENSES = [None, (-0.08, 0.05, 0.0005, -0.0004, 0.0), (0.16672, -0.12968, 0.06086, 0.02629), (0.3, 0.1, 0, 0)]
vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array)
lenses = st.sampled_from(LENSES).map(lambda k: OpenCVLens(k) if k else None)


def camera(lens=None, rotation=(0.3, -0.5, 0.2), t=(10.0, -20.0, 600.0), size=(640, 480)) -> Camera:
    K = np.array([[900.0, 0.0, 310.0], [0.0, 920.0, 260.0], [0.0, 0.0, 1.0]])
    return Camera(K, Rotation.from_rotvec(rotation).as_matrix(), np.array(t), *size, lens)


def test_convention_world_to_camera():
    c = camera()
    np.testing.assert_allclose(c.to_camera([1.0, 2.0, 3.0]), c.R @ [1.0, 2.0, 3.0] + c.t)
    np.testing.assert_allclose(c.to_camera(c.center), 0, atol=1e-10)


def test_convention_opencv_axes():
    c = camera(rotation=(0, 0, 0), t=(0, 0, 0))
    (middle, right, below), depth = c.project([[0, 0, 5.0], [1, 0, 5.0], [0, 1, 5.0]])
    assert right[0] > middle[0]
    assert below[1] > middle[1]  # y points down
    np.testing.assert_allclose(depth, 5)
    np.testing.assert_allclose(c.forward, [0, 0, 1])


def test_convention_pixel_centres_are_integers():
    """A spot drawn into row 3, column 5 projects to (5, 3), and stays there through a resize by area."""
    c = Camera(np.array([[8.0, 0, 7.5], [0, 8.0, 7.5], [0, 0, 1]]), np.eye(3), np.zeros(3), 16, 16)
    image = np.zeros((16, 16), np.float32)
    image[3, 5] = 1
    ray = c.rays([5.0, 3.0])
    np.testing.assert_allclose(c.project(ray)[0], [5, 3])
    y, x = np.argwhere(image)[0]
    np.testing.assert_array_equal([x, y], [5, 3])
    # The block of 2×2 pixels from (4, 2) to (5, 3) becomes the pixel (2, 1): its middle must map to it.
    small = c.scaled(0.5)
    assert cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)[1, 2] == 0.25
    np.testing.assert_allclose(small.project(c.rays([4.5, 2.5]))[0], [2, 1], atol=1e-12)


def test_convention_image_edge_stays_when_scaled():
    c = camera()
    corner = c.unproject([-0.5, -0.5], 600.0)
    np.testing.assert_allclose(c.scaled(0.25).project(corner)[0], [-0.5, -0.5], atol=1e-9)


def test_projection_is_opencvs():
    points = np.random.default_rng(0).normal(0, 80, (50, 3))
    k = LENSES[1]
    c = camera(OpenCVLens(k))
    expected, _ = cv2.projectPoints(points, cv2.Rodrigues(c.R)[0], c.t, c.K, np.array(k))
    np.testing.assert_allclose(c.project(points)[0], expected[:, 0], atol=1e-8)


def test_points_behind_have_no_pixel():
    pixels, depth = camera(rotation=(0, 0, 0), t=(0, 0, 0)).project([[0, 0, -5.0], [0, 0, 0.0], [0, 0, 5.0]])
    np.testing.assert_array_equal(np.isnan(pixels).all(-1), [True, True, False])
    np.testing.assert_array_equal(depth, [-5, 0, 5])


@settings(max_examples=60, deadline=None)
@given(lens=lenses, rotation=vectors, x=st.floats(30, 610), y=st.floats(30, 450), depth=st.floats(1, 5000))
def test_project_inverts_unproject(lens, rotation, x, y, depth):
    c = camera(lens, 2 * rotation)
    point = c.unproject([x, y], depth)
    pixel, back = c.project(point)
    np.testing.assert_allclose(pixel, [x, y], atol=1e-5)
    np.testing.assert_allclose(back, depth, rtol=1e-9)
    along = (point - c.center) @ c.rays([x, y])
    np.testing.assert_allclose(c.center + along * c.rays([x, y]), point, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(first=vectors, second=vectors, shift=vectors, point=vectors)
def test_moving_the_world_composes(first, second, shift, point):
    R1, R2 = (Rotation.from_rotvec(2 * r).as_matrix() for r in (first, second))
    t1, t2, point = 100 * shift, 50 * shift[::-1], 60 * point
    c = camera()
    moved = c.moved(R1, t1).moved(R2, t2)
    np.testing.assert_allclose(moved.project(R2 @ (R1 @ point + t1) + t2)[0], c.project(point)[0], atol=1e-6)
    once = c.moved(R2 @ R1, R2 @ t1 + t2)
    np.testing.assert_allclose(once.P, moved.P, atol=1e-8)
    np.testing.assert_allclose(c.moved(np.eye(3), np.zeros(3)).P, c.P)


@settings(max_examples=40, deadline=None)
@given(
    lens=lenses, factor=st.floats(0.1, 3), left=st.integers(0, 200), top=st.integers(0, 200), point=vectors
)
def test_scaled_and_cropped_follow_the_image(lens, factor, left, top, point):
    c, point = camera(lens), 80 * point
    (x, y), _ = c.project(point)
    cropped, _ = c.cropped(left, top, 100, 90).project(point)
    np.testing.assert_allclose(cropped, [x - left, y - top], atol=1e-9)
    scaled = c.scaled(factor)
    expected = (np.array([x, y]) + 0.5) * [scaled.width / c.width, scaled.height / c.height] - 0.5
    np.testing.assert_allclose(scaled.project(point)[0], expected, atol=1e-9)


def test_scaled_world_leaves_the_picture():
    c, point = camera(OpenCVLens(LENSES[1])), np.array([20.0, 30.0, -40.0])
    scaled = c.scaled_world(2.5)
    np.testing.assert_allclose(scaled.project(2.5 * point)[0], c.project(point)[0])
    np.testing.assert_allclose(scaled.center, 2.5 * c.center)


@pytest.mark.parametrize("lens", LENSES[1:])
def test_undistorted_map_leads_back_into_the_photo(lens):
    c = camera(OpenCVLens(lens))
    ideal, source = c.undistorted()
    assert ideal.lens is None
    assert source.shape == (ideal.height, ideal.width, 2)
    assert source.min() > -1
    assert (source.reshape(-1, 2).max(0) < [c.width, c.height]).all()
    # What the two cameras see at corresponding pixels is the same ray.
    some = np.ix_([0, ideal.height // 3, ideal.height - 1], [0, ideal.width // 2, ideal.width - 1])
    np.testing.assert_allclose(ideal.rays(ideal.pixel_grid()[some]), c.rays(source[some]), atol=1e-6)


@pytest.mark.parametrize("lens", LENSES[1:])
def test_undistorted_keeps_most_of_the_photo(lens):
    c = camera(OpenCVLens(lens))
    _, source = c.undistorted()
    low, high = source.reshape(-1, 2).min(0), source.reshape(-1, 2).max(0)
    assert np.prod(high - low) > 0.85 * c.width * c.height


def test_undistortion_map_of_opencv_is_the_lens_own():
    """The fast way through OpenCV and the plain one, which every other lens takes, give the same map."""
    lens = OpenCVLens(LENSES[2])
    hidden = type("Hidden", (), {"distort": lens.distort, "undistort": lens.undistort})()
    (fast, fast_map), (plain, plain_map) = camera(lens).undistorted(), camera(hidden).undistorted()
    np.testing.assert_array_equal(fast.K, plain.K)
    np.testing.assert_allclose(fast_map, plain_map, atol=1e-4)


def test_skew_is_kept_by_undistortion():
    c = camera(OpenCVLens(LENSES[1]))
    K = c.K.copy()
    K[0, 1] = 12.0
    skewed = Camera(K, c.R, c.t, c.width, c.height, c.lens)
    ideal, source = skewed.undistorted()
    np.testing.assert_allclose(ideal.rays([50.0, 400.0]), skewed.rays(source[400, 50]), atol=1e-6)


def test_undistorted_without_a_lens_is_the_camera_itself():
    c = camera()
    ideal, source = c.undistorted()
    assert ideal is c
    np.testing.assert_array_equal(source[7, 11], [11, 7])


def test_undistorted_with_margin_is_smaller():
    c = camera(OpenCVLens(LENSES[1]))
    assert c.undistorted(0.1)[0].width == pytest.approx(0.8 * c.undistorted()[0].width, abs=3)


def test_undistorted_stays_inside_the_fold():
    """A strong barrel: the photo's corners have no ideal place, the window must stop before the fold."""
    c = camera(OpenCVLens((-0.9, 0.0, 0.0, 0.0)), size=(1200, 1000))
    ideal, _ = c.undistorted()
    corner = np.abs(ideal.rays([[0, 0], [ideal.width - 1, ideal.height - 1]]) @ ideal.R.T)
    assert (np.hypot(corner[:, 0], corner[:, 1]) / corner[:, 2] < np.sqrt(1 / 2.7) + 0.01).all()
    assert ideal.width > 400


def test_undistortion_straightens_lines():
    """A straight edge in the world is straight in the undistorted picture, to a tenth of a pixel."""
    c = camera(OpenCVLens(LENSES[2]), rotation=(0, 0, 0), t=(0, 0, 0))
    rays = c.rays(c.pixel_grid())
    side = rays[..., 0] / rays[..., 2] + 0.3 * rays[..., 1] / rays[..., 2]
    photo = (1 / (1 + np.exp(-side * 600))).astype(np.float32)
    ideal, source = c.undistorted()
    picture = cv2.remap(photo, source, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    rows = np.arange(20, ideal.height - 20, 7)
    crossing = [np.interp(0.5, picture[row], np.arange(ideal.width)) for row in rows]
    assert np.abs(np.polyval(np.polyfit(rows, crossing, 1), rows) - crossing).max() < 0.1


def test_look_at_looks_there_and_stands_there():
    R, t = look_at((100, 50, 600), (0, 10, 0))
    c = Camera(camera().K, R, t, 640, 480)
    np.testing.assert_allclose(c.center, [100, 50, 600])
    np.testing.assert_allclose(c.project([0, 10, 0])[0], [310, 260])
    above, at = c.project([0, 20, 0])[0], c.project([0, 10, 0])[0]
    assert above[1] < at[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"K": np.eye(2)}, "K must have the shape"),
        ({"K": np.full((3, 3), np.nan)}, "not finite"),
        ({"K": np.diag([-5.0, 5.0, 1.0])}, "intrinsics"),
        ({"R": 2 * np.eye(3)}, "not a rotation"),
        ({"R": np.diag([1.0, 1.0, -1.0])}, "not a rotation"),
        ({"t": np.zeros((3, 1))}, "t must have the shape"),
        ({"t": [0, np.inf, 0]}, "not finite"),
        ({"width": 0}, "image size"),
    ],
)
def test_impossible_cameras_are_refused(change, words):
    numbers = {"K": camera().K, "R": np.eye(3), "t": np.zeros(3), "width": 10, "height": 10, **change}
    with pytest.raises(ValueError, match=words):
        Camera(**numbers)


def test_a_camera_does_not_change_under_the_hand():
    K = camera().K.copy()
    c = Camera(K, np.eye(3), np.zeros(3), 10, 10)
    K[0, 0] = 1
    assert c.K[0, 0] == 900
    with pytest.raises(ValueError, match="read-only"):
        c.K[0, 0] = 1


COEFFICIENTS = {
    "four": (-0.2, 0.05, 0.001, -0.002),
    "five": (-0.08, 0.05, 0.0005, -0.0004, 0.01),
    "rational": (0.1, -0.05, 0.001, 0.002, 0.01, 0.12, -0.03, 0.002),
    "thin prism": (0.1, -0.05, 0.001, 0.002, 0.01, 0.12, -0.03, 0.002, 0.003, -0.001, 0.002, 0.001),
    "tilted": (0.1, -0.05, 0.001, 0.002, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, -0.03),
    "phone": (0.16672, -0.12968, 0.06086, 0.02629),
}


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_distortion_is_opencvs(name):
    xy = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
    rays = np.column_stack([xy, np.ones(len(xy))])
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(COEFFICIENTS[name]))
    np.testing.assert_allclose(OpenCVLens(COEFFICIENTS[name]).distort(xy), expected[:, 0], atol=1e-12)


@pytest.mark.parametrize("name", COEFFICIENTS)
@settings(max_examples=20, deadline=None)
@given(x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5))
def test_undistort_inverts_distort(name, x, y):
    lens, xy = OpenCVLens(COEFFICIENTS[name]), np.array([[x, y]])
    np.testing.assert_allclose(lens.undistort(lens.distort(xy)), xy, atol=1e-9)


def test_no_inverse_beyond_the_fold_is_nan():
    # x (1 - x²/2) has its greatest value 0.544 at x = 0.816: nothing is imaged farther out.
    lens = OpenCVLens((-0.5, 0.0, 0.0, 0.0))
    out = lens.undistort(np.array([[0.5, 0.0], [0.56, 0.0], [0.0, 0.9]]))
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1:]).all()
    assert 0.5 < out[0, 0] < 0.816


def test_no_points_are_fine():
    lens = OpenCVLens(COEFFICIENTS["five"])
    assert lens.distort(np.zeros((0, 2))).shape == (0, 2)
    assert lens.undistort(np.zeros((0, 2))).shape == (0, 2)


def test_invert_any_smooth_map():
    twist = lambda p: p @ np.array([[1.1, 0.2], [-0.2, 0.9]]) + 0.05 * np.sin(p)  # noqa: E731
    xy = np.random.default_rng(1).uniform(-1, 1, (50, 2))
    np.testing.assert_allclose(twist(invert(twist, xy)), xy, atol=1e-9)


@pytest.mark.parametrize("coefficients", [(), (0.1,), (0.1,) * 6, (0.1, 0.1, 0.0, np.nan), (np.inf, 0, 0, 0)])
def test_wrong_coefficients_are_refused(coefficients):
    with pytest.raises(ValueError, match="coefficient"):
        OpenCVLens(coefficients)
