from dataclasses import replace

import numpy as np
import pytest

from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import build_uvd_space, surface_normals


def all_faces(mesh):
    return np.ones(len(mesh.faces), bool)


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.fixture(scope="module")
def space(cap):
    return build_uvd_space(cap.mesh, all_faces(cap.mesh), 128)


def test_positions_and_normals_of_a_sphere(cap, space):
    direction = cap.direction(texel_centers(128))
    valid = space.valid
    # Smoothing pulls a sphere inwards by σ²/2R at most; the positions' σ is half of 3 mm.
    sag = 1.5**2 / cap.radius
    error = np.linalg.norm(space.position - cap.radius * direction, axis=-1)[valid]
    assert error.max() < 2 * sag + 0.01
    assert angle_deg(space.normal, direction)[valid].max() < 4.0  # one-sided windows at the rim
    assert np.median(angle_deg(space.normal, direction)[valid]) < 0.1
    np.testing.assert_allclose(np.linalg.norm(space.normal, axis=-1), 1, atol=1e-5)


def test_the_mask_is_where_the_faces_are(cap, space):
    u, v = np.moveaxis(texel_centers(128), -1, 0)
    np.testing.assert_array_equal(space.valid, (np.abs(u - 0.5) <= 0.4) & (np.abs(v - 0.5) <= 0.4))
    upper = cap.mesh.uv[cap.mesh.faces].mean(1)[:, 1] > 0.5
    half = build_uvd_space(cap.mesh, upper, 128)
    assert half.valid[:63].sum() == space.valid[:63].sum()
    assert not half.valid[65:].any()


def test_convention_displacement_is_positive_outwards(cap, space):
    out = np.linalg.norm(space.displaced(np.full((128, 128), 2.0)), axis=-1)[space.valid]
    inwards = np.linalg.norm(space.displaced(np.full((128, 128), -2.0)), axis=-1)[space.valid]
    np.testing.assert_allclose(out, cap.radius + 2, atol=0.1)
    np.testing.assert_allclose(inwards, cap.radius - 2, atol=0.1)


def test_texel_mm_is_the_arc_between_texels(cap, space):
    # Longitudes shrink with the cosine of the latitude, so the median lies a little below R · span / size.
    assert 0.9 < space.texel_mm / (cap.radius * 1.2 / 128) <= 1
    assert space.resized(64).texel_mm == pytest.approx(2 * space.texel_mm, rel=0.02)


def test_nothing_valid_has_no_texel_size(space):
    assert np.isnan(replace(space, valid=np.zeros_like(space.valid)).texel_mm)


@pytest.mark.parametrize("size", [64, 128, 200])
def test_resized_is_the_same_surface(cap, space, size):
    other = space.resized(size)
    inner = np.max(np.abs(texel_centers(size) - 0.5), -1) < 0.35
    assert other.size == size
    assert other.valid[inner].all()
    error = other.position - cap.radius * cap.direction(texel_centers(size))
    assert np.linalg.norm(error, axis=-1)[inner].max() < 0.15
    assert angle_deg(other.normal, cap.direction(texel_centers(size)))[inner].max() < 0.5


def test_resized_takes_a_given_mask(space):
    mask = np.zeros((64, 64), bool)
    mask[20:40, 30:35] = True
    np.testing.assert_array_equal(space.resized(64, mask).valid, mask)


def test_recentred_moves_the_zero_and_turns_the_normals(cap, space):
    """A sphere made into a tilted one: the displacement to a ball of the same size, 6 mm to the right."""
    direction = cap.direction(texel_centers(128))
    shift = np.array([6.0, 0, 0])
    along = (space.normal * (space.position - shift)).sum(-1)
    rest = ((space.position - shift) ** 2).sum(-1) - cap.radius**2
    displacement = -along + np.sqrt(along**2 - rest)
    recentred = space.recentred(displacement, space.valid, smooth_mm=2.0)
    inner = np.max(np.abs(texel_centers(128) - 0.5), -1) < 0.35
    distance = np.linalg.norm(recentred.position - shift, axis=-1)
    np.testing.assert_allclose(distance[inner], cap.radius, atol=0.02)
    truth = (recentred.position - shift) / distance[..., None]
    assert angle_deg(recentred.normal, truth)[inner].max() < 0.3
    assert angle_deg(direction, truth)[inner].max() > 3  # the old normals would have failed this
    np.testing.assert_array_equal(recentred.valid, space.valid)


def test_recentred_distrusts_what_is_not_valid(space):
    valid = space.valid.copy()
    valid[60:66, 60:66] = False
    displacement = np.where(valid, 1.0, 500.0)
    moved = space.recentred(displacement, valid, smooth_mm=2.0)
    np.testing.assert_allclose(moved.position, space.displaced(np.ones((128, 128))), atol=1e-3)


def test_surface_normals_follow_outward_even_where_the_uvs_are_mirrored(cap):
    direction = cap.direction(texel_centers(64)).astype(np.float32)
    for maps in (direction, direction[:, ::-1]):
        assert angle_deg(surface_normals(cap.radius * maps, maps), maps)[1:-1, 1:-1].max() < 0.1


def test_surface_normals_of_a_point_are_the_given_ones():
    outward = np.zeros((4, 4, 3), np.float32)
    outward[..., 2] = 1
    np.testing.assert_array_equal(surface_normals(np.zeros((4, 4, 3), np.float32), outward), outward)


def test_separate_uv_indices_are_used(cap, space):
    order = np.random.default_rng(0).permutation(len(cap.mesh.uv))
    inverse = np.argsort(order)
    shuffled = replace(cap.mesh, uv=cap.mesh.uv[order], uv_faces=inverse[cap.mesh.faces])
    other = build_uvd_space(shuffled, all_faces(cap.mesh), 128)
    np.testing.assert_allclose(other.position, space.position, atol=1e-5)


def test_a_mesh_that_cannot_be_used_is_refused(cap):
    with pytest.raises(ValueError, match="no UVs"):
        build_uvd_space(replace(cap.mesh, uv=None), all_faces(cap.mesh), 32)
    with pytest.raises(ValueError, match="covers a texel"):
        build_uvd_space(cap.mesh, np.zeros(len(cap.mesh.faces), bool), 32)
    with pytest.raises(ValueError, match="covers a texel"):
        build_uvd_space(replace(cap.mesh, uv=cap.mesh.uv + 5), all_faces(cap.mesh), 32)
