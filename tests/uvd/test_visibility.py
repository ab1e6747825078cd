import numpy as np
import pytest

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import grid_faces, texel_centers
from mesoface.uvd.space import UVDSpace, build_uvd_space
from mesoface.uvd.visibility import cast_visibility, inside_image

SIZE = 96


def make_view(center, width=200, height=200, focal=700.0, mask=None, target=(0, 0, 75)):
    R, t = look_at(center, target)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    camera = Camera(K, R, t, width, height)
    return View("view", np.zeros((height, width, 3), np.float32), camera, mask)


@pytest.fixture(scope="module")
def space(cap):
    return build_uvd_space(cap.mesh, np.ones(len(cap.mesh.faces), bool), SIZE)


def cosine_to(space, view):
    direction = view.camera.center - space.position
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return (direction * space.normal).sum(-1)


def test_weight_follows_the_cosine_on_a_free_sphere(space):
    view = make_view((350, 0, 550))
    weight = cast_visibility(space, [view])[0]
    cosine = cosine_to(space, view)
    expected = np.clip((cosine - 0.15) / 0.45, 0, 1) * space.valid
    inner = np.max(np.abs(texel_centers(SIZE) - 0.5), -1) < 0.35
    np.testing.assert_allclose(weight[inner], expected[inner], atol=0.05)
    assert weight[inner & (cosine > 0.65)].min() == pytest.approx(1, abs=1e-5)
    assert not weight[~space.valid].any()


def test_nothing_that_faces_away_is_seen(space):
    assert not cast_visibility(space, [make_view((0, 0, -600))]).any()
    side = make_view((600, 0, 75))
    weight = cast_visibility(space, [side])[0]
    assert not weight[cosine_to(space, side) < 0.1].any()
    assert weight.any()


def test_a_plate_hides_what_lies_behind_it(space):
    """The shadow of a half-plane x > 0, 100 mm before the camera's focus, seen from straight ahead."""
    view = make_view((0, 0, 700))
    corners = np.array([[0.0, -500, 250], [900, -500, 250], [900, 500, 250], [0, 500, 250]])
    plate = Mesh(corners, [[0, 1, 2], [0, 2, 3]])
    weight, free = cast_visibility(space, [view], RayCaster(plate))[0], cast_visibility(space, [view])[0]
    x = space.position[..., 0]
    assert not weight[x > 2].any()
    left = space.valid & (x < -4)  # the fade at the edge is two coarse texels wide
    np.testing.assert_allclose(weight[left], free[left], atol=1e-5)
    edge = space.valid & (x < -0.5) & (x > -2)
    assert weight[edge].mean() < free[edge].mean()


def test_the_surface_hides_itself():
    """A wall across a flat floor: what lies behind it, seen at a slant, is in its shadow."""
    u, v = np.moveaxis(texel_centers(SIZE), -1, 0)
    x = 100 * (u - 0.5)
    height = 20 * np.clip(1 - np.abs(x) / 2, 0, 1)
    position = np.stack([x, 100 * (v - 0.5), height], -1).astype(np.float32)
    normal = np.zeros_like(position)
    normal[..., 2] = 1
    floor = UVDSpace(position, normal, np.ones((SIZE, SIZE), bool))
    weight = cast_visibility(floor, [make_view((-400, 0, 400), 301, 301, 500.0, target=(0, 0, 0))])[0]
    middle = np.abs(position[..., 1]) < 10
    assert not weight[middle & (x > 3) & (x < 15)].any()  # the shadow of 20 mm at 45° is 20 mm long
    assert weight[middle & (x > 26) & (x < 45)].min() > 0.5
    assert weight[middle & (x < -5) & (x > -45)].min() > 0.5


def test_less_than_the_tolerance_before_it_does_not_hide(space, cap, make_cap):
    view = make_view((0, 0, 700))
    inner = np.max(np.abs(texel_centers(SIZE) - 0.5), -1) < 0.3
    near, far = make_cap(radius=cap.radius + 1).mesh, make_cap(radius=cap.radius + 4).mesh
    assert cast_visibility(space, [view], RayCaster(near))[0][inner].min() > 0.9
    assert not cast_visibility(space, [view], RayCaster(far))[0][inner].any()


def test_only_inside_of_the_photo_and_its_mask(space):
    mask = np.zeros((200, 200), bool)
    mask[:, :100] = True  # left half of the photo; seen from +z the camera's x runs along the world's
    halved, narrow = make_view((0, 0, 700), mask=mask), make_view((0, 0, 700), width=40)
    x = space.position[..., 0]
    weight, strip = cast_visibility(space, [halved, narrow])
    assert not weight[x > 2].any()
    assert weight[space.valid & (x < -4)].min() > 0.5
    pixels = narrow.camera.project(space.position)[0][..., 0]
    assert not strip[(pixels < 1) | (pixels > 38)].any()
    assert strip[space.valid & (pixels > 6) & (pixels < 33)].min() > 0.5


def test_inside_image_keeps_a_margin_and_knows_what_lies_behind():
    view = make_view((0, 0, 700), width=100, height=80)
    pixels = np.array([[2.9, 40], [3.1, 40], [96.1, 40], [95.9, 40], [50, 2.9], [50, 76.1]])
    points = view.camera.unproject(pixels, np.full(6, 600.0))
    np.testing.assert_array_equal(inside_image(view, points), [False, True, False, True, False, False])
    assert not inside_image(view, view.camera.center - 50 * view.camera.forward[None]).any()
    assert inside_image(view, np.zeros((0, 3))).shape == (0,)


def test_larger_maps_get_the_coarse_answer_enlarged(space):
    view = make_view((200, 100, 650))
    large = space.resized(480)
    small, enlarged = cast_visibility(space, [view])[0], cast_visibility(large, [view])[0]
    inner = np.max(np.abs(texel_centers(SIZE) - 0.5), -1) < 0.33
    assert enlarged.shape == (480, 480)
    np.testing.assert_allclose(enlarged[2::5, 2::5][inner], small[inner], atol=0.02)


def test_convention_grid_faces_are_wound_outwards(cap):
    valid = np.ones((6, 6), bool)
    valid[2, 3] = False
    faces = grid_faces(valid)
    direction = cap.direction(texel_centers(6)).reshape(-1, 3)
    mesh = Mesh(cap.radius * direction, faces)
    assert len(faces) == 2 * (25 - 4)
    assert not (faces == 2 * 6 + 3).any()
    assert ((mesh.face_normals() * direction[faces].mean(1)).sum(1) > 0.9).all()
    assert not len(grid_faces(np.eye(6, dtype=bool)))
