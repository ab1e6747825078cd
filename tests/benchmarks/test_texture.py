"""What the texture benchmark measures: seams that are there, and photos that are predicted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from plain_blend import plan_plain_blend
from prediction import FaceInPhoto, find_face, predict, psnr
from seams import measure_seams

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.texture.bake import paint
from mesoface.texture.plan import TexturePlan
from mesoface.texture.weights import Skin
from mesoface.uvd.maps import grid_faces, texel_centers
from mesoface.uvd.space import UVDSpace

SIZE = 64


@pytest.fixture
def skin():
    """A flat sheet of 64 mm, facing +z; its outermost texels do not count."""
    xy = 64 * (texel_centers(SIZE) - 0.5)
    position = np.dstack([xy, np.zeros((SIZE, SIZE))]).astype(np.float32)
    valid = np.max(np.abs(xy), -1) < 28
    return Skin(UVDSpace(position, np.broadcast_to(np.float32((0, 0, 1)), position.shape), valid), valid)


def test_a_step_where_the_photo_changes_is_measured(skin):
    """A camera straight above the sheet, and the same photo twice, the second one brighter."""
    camera = Camera([[640, 0, 319.5], [0, 640, 319.5], [0, 0, 1]], np.diag([1, -1, -1]), [0, 0, 64], 640, 640)
    grain = 0.5 + 0.02 * np.random.default_rng(0).standard_normal((640, 640, 3)).astype(np.float32)
    photos = tuple(View(name, cv2.GaussianBlur(grain, (0, 0), 3), camera) for name in "ab")
    left = np.broadcast_to((np.arange(SIZE) < 32).astype(np.float32), (SIZE, SIZE))
    nothing = np.zeros((2, SIZE, SIZE, 3), np.float32)
    shares = np.stack([left, 1 - left])
    plan = TexturePlan(skin, photos, np.ones((2, 3), np.float32), nothing[0], nothing, shares, shares.sum(0))
    color = paint(plan, 256)
    even = measure_seams(plan, color)
    assert even.across == pytest.approx(even.photo, rel=0.05)
    assert even.matched == pytest.approx(even.across, rel=0.1)
    assert even.inside == pytest.approx(even.photo, rel=0.3)
    step = np.where(np.arange(256)[None, :, None] < 128, 0, np.float32(0.1))
    seam = measure_seams(plan, color + step)
    assert seam.across > even.across + 20
    assert seam.matched == pytest.approx(even.matched), "seams are not held against seams"
    assert seam.photo == pytest.approx(even.photo)


@pytest.fixture
def face():
    """A photo whose pixels are a texture's texels."""
    uv = texel_centers(SIZE)
    photo = np.random.default_rng(1).uniform(0.2, 0.8, (SIZE, SIZE, 3)).astype(np.float32)
    return FaceInPhoto(photo, uv, np.ones((SIZE, SIZE), bool), footprint=1e-3)


def test_the_true_texture_predicts_the_photo_whatever_its_gain(face):
    color = face.photo * np.float32((0.5, 1.0, 1.2))
    assert psnr(face, predict(face, color, texel_mm=1.0)) > 60


def test_noise_costs_what_it_should(face):
    noise = 0.02 * np.random.default_rng(2).standard_normal(face.photo.shape).astype(np.float32)
    assert psnr(face, predict(face, face.photo + noise, texel_mm=1.0)) == pytest.approx(34, abs=0.2)


def test_the_face_is_found_in_the_photo(make_capture):
    """The drawn ball's front: all of it inside of the ball's mask, none of it at the outline."""
    view = make_capture(views=3, arc=40).views[1]
    angle = (texel_centers(40) - 0.5) * 3
    lon, lat = np.moveaxis(angle, -1, 0)
    points = 80 * np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)], -1)
    faces = grid_faces(np.ones((40, 40), bool))
    mesh = Mesh(points.reshape(-1, 3), faces, texel_centers(40).reshape(-1, 2))
    far = Mesh(np.eye(3) * 1e4, [[0, 1, 2]])
    face = find_face(mesh, view, far)
    assert face.shown.sum() > 0.5 * view.mask.sum()
    middle = face.uv[face.uv.shape[0] // 2, face.uv.shape[1] // 2]
    np.testing.assert_allclose(middle, 0.5, atol=0.1)
    assert face.footprint == pytest.approx(600 / view.camera.K[0, 0], rel=0.15)


def test_the_paper_s_blend_is_a_mean_by_the_cosine(make_capture):
    """On the drawn ball, seen by two cameras: between its photos, and nothing else."""
    views = make_capture(views=2, arc=50).views
    uv = texel_centers(SIZE)
    lon, lat = np.moveaxis((uv - 0.5) * 0.8, -1, 0)
    normal = np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)], -1)
    valid = np.ones((SIZE, SIZE), bool)
    skin = Skin(UVDSpace((80 * normal).astype(np.float32), normal.astype(np.float32), valid), valid)
    plan = plan_plain_blend(skin, views)
    np.testing.assert_allclose(plan.detail.sum(0), 1, atol=1e-5)
    cosine = np.stack([((view.camera.center - 80 * normal) / 600 * normal).sum(-1) for view in views])
    np.testing.assert_allclose(plan.detail, cosine / cosine.sum(0), atol=0.02)
    single = [paint(plan_plain_blend(skin, [view]), 32) for view in views]
    both = paint(plan, 32)
    assert (both <= np.maximum(*single) + 0.01).all()
    assert (both >= np.minimum(*single) - 0.01).all()
