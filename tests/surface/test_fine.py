from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mesoface.surface.fine import clean_coverage, fine_mesh
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import Match

TEXEL = 0.5  # mm


def matched(space, measured):
    nothing = np.zeros((0, *measured.shape), np.float32)
    return Match(space, measured & space.valid, measured.astype(np.float32), (), nothing, (), ())


def box(size, x0, x1, y0, y1):
    """Texels with x, y (mm, from the middle) in these ranges."""
    x, y = np.moveaxis(64 * (texel_centers(size) - 0.5), -1, 0)
    return (x > x0) & (x < x1) & (y > y0) & (y < y1)


class TestCoverage:
    @pytest.fixture
    def cover(self, make_sheet):
        """``cover(measured, valid=…, size=…)`` → the coverage of a sheet that is measured there."""

        def make(measured, **sheet):
            return clean_coverage(matched(make_sheet(**sheet), measured))

        return make

    def test_what_is_measured_is_kept(self, cover, make_sheet):
        coverage = cover(np.ones((128, 128), bool))
        assert coverage.left_out < 0.01
        assert not coverage.filled.any()
        assert not (coverage.kept & ~make_sheet().valid).any()

    def test_small_holes_are_closed_and_marked(self, cover):
        hole = box(128, 2, 8, -3, 3)  # 36 mm²
        coverage = cover(~hole)
        assert coverage.kept[hole].all()
        assert coverage.filled[hole].all()
        assert not coverage.filled[~hole].any()

    @pytest.mark.parametrize("hole", [(0, 9, -4, 5), (22, 32, -2.5, 2.5)], ids=["81 mm²", "bay at the rim"])
    def test_large_holes_and_bays_stay_open(self, cover, hole):
        coverage = cover(~box(128, *hole))
        assert not coverage.kept[box(128, *hole)].any()
        assert not coverage.filled.any()

    def test_openings_of_the_mask_stay_open(self, cover, make_sheet):
        eye = box(128, -12, -4, 2, 6)
        coverage = cover(~eye, valid=make_sheet().valid & ~eye)
        assert not coverage.kept[eye].any()
        assert coverage.left_out < 0.02

    def test_unmeasured_skin_at_an_opening_is_closed_as_far_as_it_is_small(self, cover, make_sheet):
        eye, lid = box(128, -12, -4, 2, 6), box(128, -12, -4, 0, 2)
        coverage = cover(~lid, valid=make_sheet().valid & ~eye)
        assert coverage.filled[lid].all()
        assert not coverage.kept[eye].any()

    def test_islands_and_tongues_are_cut(self, cover, make_sheet):
        main = box(128, -25, 8, -15, 15)
        tongue = box(128, 7, 16, 4, 7)  # 3 mm wide
        island = box(128, 14, 20, -8, -3)  # 30 mm² of 1000
        coverage = cover(main | tongue | island)
        assert not coverage.kept[island].any()
        assert not coverage.kept[tongue & box(128, 9, 16, 4, 7)].any()
        assert coverage.kept[main & make_sheet().valid & box(128, -20, 6, -13, 13)].all()

    def test_a_second_large_part_stays(self, cover):
        left, right = box(128, -20, -4, -12, 12), box(128, 4, 18, -12, 12)
        coverage = cover(left | right)
        assert coverage.kept[left].mean() > 0.95
        assert coverage.kept[right].mean() > 0.95

    def test_left_out_is_the_share_of_the_mask(self, cover, make_sheet):
        coverage = cover(box(128, -40, 0, -40, 40))
        assert coverage.left_out == pytest.approx(0.5, abs=0.01)
        assert coverage.left_out == pytest.approx(1 - coverage.kept.sum() / make_sheet().valid.sum())

    def test_sizes_are_in_millimetres(self, cover):
        """The same hole at twice the resolution has four times the texels and is closed all the same."""
        hole = box(256, 2, 8, -3, 3)
        assert cover(~hole, size=256).filled[hole].all()

    def test_nothing_measured(self, cover, make_sheet):
        coverage = cover(np.zeros((128, 128), bool))
        assert coverage.left_out == 1
        assert not coverage.kept.any()
        assert len(fine_mesh(make_sheet(), coverage.kept).faces) == 0


@pytest.fixture(scope="module")
def wavy(make_sheet):
    """The sheet with waves of 2 mm along x: z = 2 sin(x / 4 mm)."""
    x = 64 * (texel_centers(128)[..., 0] - 0.5)
    return make_sheet(2 * np.sin(x / 4))


class TestMesh:
    def test_every_face_looks_outwards_and_has_area(self, wavy):
        mesh = fine_mesh(wavy, wavy.valid)
        assert (mesh.face_normals()[:, 2] > 0.5).all()
        assert mesh.face_areas().min() > 0.1 * TEXEL**2 / 2
        assert (mesh.vertex_normals()[:, 2] > 0.5).all()

    def test_edges_are_shared_by_two_faces_in_opposite_directions(self, wavy):
        faces = fine_mesh(wavy, wavy.valid).faces
        directed = Counter(map(tuple, np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])))
        assert max(directed.values()) == 1
        rim = sum((b, a) not in directed for a, b in directed)
        assert 0 < rim < 0.05 * len(directed)

    def test_convention_vertices_are_texels_with_their_uv(self, wavy):
        mesh = fine_mesh(wavy, wavy.valid)
        assert mesh.uv_faces is None
        column, row = np.rint(np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]]) * 128 - 0.5).astype(int)
        np.testing.assert_array_equal(mesh.vertices, wavy.position[row, column].astype(np.float64))
        np.testing.assert_allclose(mesh.uv, texel_centers(128)[row, column])
        assert len(np.unique(row * 128 + column)) == len(mesh.vertices)
        assert set(np.unique(mesh.faces)) == set(range(len(mesh.vertices)))

    def test_normals_are_those_of_the_surface(self, wavy):
        mesh = fine_mesh(wavy, wavy.valid)
        slope = 0.5 * np.cos(mesh.vertices[:, 0] / 4)
        truth = np.column_stack([-slope, 0 * slope, 1 + 0 * slope])
        truth /= np.linalg.norm(truth, axis=1, keepdims=True)
        np.testing.assert_allclose(mesh.normals, truth, atol=0.01)

    def test_only_kept_texels_and_openings_stay_open(self, wavy):
        hole = box(128, -6, 6, -3, 3)
        mesh = fine_mesh(wavy, wavy.valid & ~hole)
        x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
        assert not ((np.abs(x) < 6) & (np.abs(y) < 3)).any()
        middle = mesh.vertices[mesh.faces].mean(1)
        assert not ((np.abs(middle[:, 0]) < 5.7) & (np.abs(middle[:, 1]) < 2.7)).any()
        area = mesh.face_areas().sum()
        assert area < fine_mesh(wavy, wavy.valid).face_areas().sum() - 60

    def test_torn_quads_are_left_out(self, make_sheet):
        step = np.where(np.arange(128) < 64, 0.0, 15.0)[None] * np.ones((128, 1))
        mesh = fine_mesh(make_sheet(step), make_sheet().valid)
        corners = mesh.vertices[mesh.faces]
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max()
        assert longest < 6 * TEXEL
        assert set(np.unique(mesh.vertices[:, 2])) == {0.0, 15.0}

    def test_a_gap_along_the_surface_is_not_bridged(self, make_sheet):
        space = make_sheet()
        position = space.position.copy()
        position[:, 64:, 0] += 10
        mesh = fine_mesh(replace(space, position=position), space.valid)
        assert (mesh.vertices[mesh.faces][..., 0].ptp(1) <= 6 * TEXEL).all()
        assert len(mesh.faces) == len(fine_mesh(space, space.valid).faces) - 2 * (
            space.valid[:, 63].sum() - 1
        )

    def test_a_spike_is_left_out(self, make_sheet):
        height = np.zeros((128, 128))
        height[64, 64] = 20
        mesh = fine_mesh(make_sheet(height), make_sheet().valid)
        assert mesh.vertices[:, 2].max() == 0
        assert len(mesh.faces) == len(fine_mesh(make_sheet(), make_sheet().valid).faces) - 6

    def test_folded_and_collapsed_quads_are_left_out(self, make_sheet):
        space = make_sheet()
        position = space.position.copy()
        position[:, 60:70, 0] = position[:, 69:59:-1, 0]  # runs backwards there
        position[20:24] = position[20:21]  # four rows on one line
        mesh = fine_mesh(replace(space, position=position), space.valid)
        assert (mesh.face_normals()[:, 2] > 0.99).all()
        assert mesh.face_areas().min() > 0.1

    def test_counts_of_a_small_patch(self, make_sheet):
        kept = np.zeros((128, 128), bool)
        kept[50:53, 60:64] = True  # 3 × 4 texels
        kept[90, 60:64] = True  # a line makes no quad
        mesh = fine_mesh(make_sheet(), kept)
        assert (len(mesh.vertices), len(mesh.faces)) == (12, 12)
