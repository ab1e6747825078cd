"""The surface with its holes, and closed by the face model, on a sheet of 64 mm whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from mesoface.geometry.mesh import Mesh
from mesoface.surface.fine import clean_coverage, fine_mesh
from mesoface.surface.whole import open_surface, whole_surface
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import Match
from tests.cap import grid_triangles, grid_uv

SIZE = 128
XY = 64 * (texel_centers(SIZE) - 0.5)
RIM = np.linalg.norm(XY, axis=-1)
EYE = np.linalg.norm(XY - (6, 5), axis=-1) < 4
LOST = np.linalg.norm(XY - (-24, -6), axis=-1) < 9  # reaches beyond the rim
GAP = np.linalg.norm(XY - (-4, 9), axis=-1) < 2.5  # small enough to be closed by interpolation


def height(xy):
    """(..., 2) → mm: the true surface over the model."""
    return 1.5 + 0.06 * xy[..., 0] + 1.2 * np.cos(xy[..., 1] / 12)


@pytest.fixture
def base():
    """The face model: a flat sheet, whose facial mask is a disc of 28 mm with an opening."""
    uv = grid_uv(65)
    return Mesh(np.column_stack([64 * (uv - 0.5), np.zeros(len(uv))]), grid_triangles(65), uv)


@pytest.fixture
def facial(base):
    center = base.vertices[base.faces].mean(1)[:, :2]
    return (np.linalg.norm(center, axis=1) < 28) & ~(np.linalg.norm(center - (6, 5), axis=1) < 4)


@pytest.fixture
def matched(make_sheet):
    space = make_sheet(height(XY), valid=(RIM < 28) & ~EYE)
    measured = space.valid & ~LOST & ~GAP
    # What was not measured is anywhere.
    wild = np.where(measured, 0, 20 * np.sin(XY[..., 0] * 3)).astype(np.float32)
    space = replace(space, position=space.position + space.normal * wild[..., None])
    seen = measured.astype(np.float32)
    return Match(space, measured, seen, (), np.stack([seen, seen]), (0, 1))


def boundary(mesh):
    """(E, 2) the edges with a face on one side only."""
    edges = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], -1).reshape(-1, 2), 1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() == 2, "no edge has three faces"
    return edges[count == 1]


def loops(mesh):
    """How many closed lines bound the mesh."""
    ends = boundary(mesh)
    assert (np.bincount(ends.ravel())[ends] == 2).all(), "no two loops touch"
    after = {int(v): [] for v in np.unique(ends)}
    for a, b in ends.tolist():
        after[a].append(b)
        after[b].append(a)
    count, left = 0, set(after)
    while left:
        count, todo = count + 1, [left.pop()]
        while todo:
            todo += [v for v in after[todo.pop()] if v in left and not left.discard(v)]
    return count


def test_one_loop_bounds_the_whole_surface(matched, base, facial):
    whole, holed = whole_surface(matched, base, facial), open_surface(matched)
    assert loops(holed.mesh) > 1, "the rim, and the eye"
    assert loops(whole.mesh) == 1
    assert whole.kept[EYE].all()
    assert whole.kept[LOST & (RIM < 26)].all()
    assert not whole.kept[RIM > 30].any()


def test_what_was_measured_stays_where_it_was_measured(matched, base, facial):
    whole = whole_surface(matched, base, facial)
    points = whole.mesh.vertices[whole.mesh.measured]
    np.testing.assert_allclose(points[:, 2], height(points[:, :2]), atol=0.02)
    assert whole.measured.sum() > 0.85 * matched.measured.sum()
    assert not (whole.measured & ~matched.measured).any()


def test_what_was_filled_is_bent_onto_it_and_flagged(matched, base, facial):
    whole = whole_surface(matched, base, facial)
    mesh, texels = whole.mesh, whole.filled
    assert texels[EYE].all()
    assert texels[GAP].all()
    np.testing.assert_array_equal(mesh.measured.sum(), whole.measured.sum())
    assert not whole.confidence[texels].any()
    near = np.linalg.norm(mesh.vertices[:, :2] - (6, 5), axis=1) < 4
    np.testing.assert_allclose(mesh.vertices[near, 2], height(mesh.vertices[near, :2]), atol=0.1)
    # Where nothing is near, the model decides; it is still carried along, not torn off.
    assert np.abs(mesh.vertices[:, 2] - height(mesh.vertices[:, :2])).max() < 1.0


def test_there_is_neither_a_step_nor_a_crease_at_the_seam(matched, base, facial):
    mesh = whole_surface(matched, base, facial).mesh
    normals = mesh.face_normals()
    sides = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], -1).reshape(-1, 2), 1)
    order = np.lexsort(sides.T)
    same = (sides[order][1:] == sides[order][:-1]).all(1)
    face = order // 3
    bend = np.degrees(np.arccos(np.clip((normals[face[1:]] * normals[face[:-1]]).sum(1), -1, 1)))[same]
    # The truth bends by 0.5 mm · 1.2 / 12² = 0.24° from quad to quad.
    assert bend.max() < 3.0


def test_edges_at_the_rim_are_as_long_as_their_neighbours(matched, base, facial):
    mesh = whole_surface(matched, base, facial).mesh
    ends = boundary(mesh)
    length = np.linalg.norm(np.diff(mesh.vertices[ends], axis=1)[:, 0], axis=1)
    shortest = np.full(len(mesh.vertices), np.inf)
    np.minimum.at(shortest, ends.ravel(), np.repeat(length, 2))
    assert (length / shortest[ends].min(1)).max() < 3


def test_torn_texels_are_filled_like_holes(matched, base, facial):
    spike = np.linalg.norm(XY - (10, -12), axis=-1) < 1
    position = matched.space.position + np.where(spike, 30, 0)[..., None] * matched.space.normal
    whole = whole_surface(replace(matched, space=replace(matched.space, position=position)), base, facial)
    assert whole.filled[spike].all()
    assert loops(whole.mesh) == 1
    assert np.abs(whole.mesh.vertices[:, 2] - height(whole.mesh.vertices[:, :2])).max() < 1.0


def test_left_out_is_the_share_that_was_not_measured(matched, base, facial):
    whole, valid = whole_surface(matched, base, facial), matched.space.valid
    assert whole.left_out == pytest.approx(1 - (whole.measured & valid).sum() / valid.sum())
    assert 0.1 < whole.left_out < 0.4


def test_where_nothing_was_measured_the_model_stands(matched, base, facial):
    nothing = np.zeros_like(matched.measured)
    whole = whole_surface(replace(matched, measured=nothing), base, facial)
    assert whole.left_out == 1
    np.testing.assert_allclose(whole.mesh.vertices[:, 2], 0, atol=1e-3)


def test_kept_holes_are_those_of_what_was_measured(matched):
    """``--holes keep``: the mesh of the clean coverage, up to where the base's rays meet it."""
    holed, coverage = open_surface(matched), clean_coverage(matched)
    assert holed.kept[coverage.kept].mean() > 0.97
    assert not (holed.kept & ~coverage.kept).any()
    np.testing.assert_array_equal(holed.filled, coverage.filled & holed.kept)
    surface = replace(holed.space, position=holed.space.displaced(holed.displacement))
    expected = fine_mesh(surface, holed.kept)
    np.testing.assert_array_equal(holed.mesh.vertices, expected.vertices)
    np.testing.assert_array_equal(holed.mesh.faces, expected.faces)
