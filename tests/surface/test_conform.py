from dataclasses import replace

import numpy as np
import pytest

from mesoface.geometry.mesh import Mesh, unit
from mesoface.surface.fine import conform_base, fine_mesh, measure_displacement, smooth_base
from mesoface.uvd.maps import sample_map, texel_centers
from mesoface.uvd.space import UVDSpace
from tests.cap import grid_triangles, grid_uv


@pytest.fixture(scope="module")
def waves():
    """(128, 128) relief of 0.3 mm with a wavelength of 3 mm."""
    xy = 64 * (texel_centers(128) - 0.5)
    return 0.3 * np.sin(xy * 2 * np.pi / 3).prod(-1)


@pytest.fixture(scope="module")
def bumpy_cap(waves):
    """A sphere of 80 mm with that relief, and the sphere itself."""
    lon, lat = np.moveaxis((texel_centers(128) - 0.5), -1, 0)
    direction = np.dstack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)])
    valid = np.abs(texel_centers(128) - 0.5).max(-1) < 0.4
    position = ((80 + waves)[..., None] * direction).astype(np.float32)
    return UVDSpace(position, direction.astype(np.float32), valid)


def off_plane(points, offset=0.0):
    return np.abs(points[..., 2] - offset)


class TestSmoothBase:
    def test_detail_goes_and_shape_stays(self, bumpy_cap):
        base = smooth_base(bumpy_cap, bumpy_cap.valid, smooth_mm=2.0)
        inner = np.abs(texel_centers(128) - 0.5).max(-1) < 0.3
        radius = np.linalg.norm(base.position, axis=-1)[inner]
        assert radius.std() < 0.01  # the relief's is 0.15
        assert abs(radius.mean() - 80) < 2.0**2 / 80 + 0.01  # a sphere under a Gaussian sinks by σ²/R
        away = (base.normal * unit(base.position)).sum(-1)[inner]
        assert np.degrees(np.arccos(np.clip(away, -1, 1))).max() < 1.0
        np.testing.assert_allclose(np.linalg.norm(base.normal, axis=-1), 1, atol=1e-5)

    def test_what_was_not_kept_has_no_say(self, make_sheet):
        space = make_sheet()
        kept = space.valid & (space.position[..., 0] < 5)
        wild = replace(space, position=np.where(kept[..., None], space.position, np.float32(1e4)))
        base = smooth_base(wild, kept)
        assert off_plane(base.position[kept]).max() < 1e-3
        assert np.abs(base.position).max() < 40
        assert base.normal[kept][:, 2].min() > 0.999
        np.testing.assert_array_equal(base.valid, space.valid)


class TestMeasureDisplacement:
    def test_it_is_the_relief_over_the_plane(self, make_sheet, waves):
        flat, kept = make_sheet(), make_sheet().valid
        displacement, found = measure_displacement(flat, fine_mesh(make_sheet(waves), kept))
        inner = kept & (np.linalg.norm(flat.position[..., :2], axis=-1) < 27)
        assert found[inner].all()
        np.testing.assert_allclose(displacement[inner], waves[inner], atol=1e-3)
        assert not found[~kept].any()
        assert not displacement[~found].any()

    def test_base_and_displacement_make_the_fine_surface(self, bumpy_cap):
        base = smooth_base(bumpy_cap, bumpy_cap.valid)
        displacement, found = measure_displacement(base, fine_mesh(bumpy_cap, bumpy_cap.valid))
        points = base.displaced(displacement)[found].astype(np.float64)
        x = 64 * np.arctan2(points[:, 0], points[:, 2])
        y = 64 * np.arcsin(points[:, 1] / np.linalg.norm(points, axis=1))
        truth = 80 + 0.3 * np.sin(x * 2 * np.pi / 3) * np.sin(y * 2 * np.pi / 3)
        # Chords of 0.5 mm cut the crests of 3 mm waves by 0.3 · (2π/3)² · 0.5² / 8 · 2 = 0.08 mm at most.
        assert np.abs(np.linalg.norm(points, axis=1) - truth).max() < 0.08
        assert found[bumpy_cap.valid].mean() > 0.97

    @pytest.mark.parametrize("height", [-6.0, 6.0])
    def test_sign_and_reach(self, make_sheet, height):
        fine = fine_mesh(make_sheet(height), make_sheet().valid)
        displacement, found = measure_displacement(make_sheet(), fine)
        np.testing.assert_allclose(displacement[found], height, atol=1e-4)
        assert found.sum() > 0.95 * make_sheet().valid.sum()
        displacement, found = measure_displacement(make_sheet(), fine, reach_mm=5.0)
        assert not found.any()
        assert not displacement.any()

    @pytest.mark.parametrize("height", [0.0, 1e-7, 0.04, -0.04, 0.5, -0.5])
    @pytest.mark.parametrize("layer", [5.0, -5.0])
    def test_the_nearest_of_two_layers_counts(self, make_sheet, height, layer):
        near, far = (fine_mesh(make_sheet(z), make_sheet().valid) for z in (height, layer))
        faces = np.vstack([near.faces, far.faces + len(near.vertices)])
        both = Mesh(np.vstack([near.vertices, far.vertices]), faces)
        displacement, found = measure_displacement(make_sheet(), both)
        assert found.sum() > 0.95 * make_sheet().valid.sum()
        np.testing.assert_allclose(np.median(displacement[found]), height, atol=1e-5)
        assert np.mean(np.abs(displacement[found] - height) < 1e-5) > 0.999

    def test_an_empty_mesh_is_met_nowhere(self, make_sheet):
        _, found = measure_displacement(make_sheet(), fine_mesh(make_sheet(), np.zeros((128, 128), bool)))
        assert not found.any()


class TestConform:
    @pytest.fixture
    def base(self):
        """A grid of 33² vertices in the sheet's UVs, 64 mm wide and 2 mm too low, and a loose triangle."""
        uv, faces = grid_uv(33), np.concatenate([grid_triangles(33), [[1089, 1090, 1091]]])
        vertices = np.column_stack([64 * (uv - 0.5), np.full(len(uv), -2.0)])
        loose = np.array([[0.0, 0, -30], [5, 0, -30], [0, 5, -30]])
        return Mesh(np.vstack([vertices, loose]), faces, np.vstack([uv, np.zeros((3, 2))]))

    @pytest.fixture
    def facial(self, base):
        """All of its faces but the loose one."""
        return np.arange(len(base.faces)) < len(base.faces) - 1

    def test_measured_vertices_lie_on_the_surface(self, base, facial, make_sheet, waves):
        space = make_sheet(waves)
        moved = conform_base(base, facial, space, space.valid)
        known = np.linalg.norm(base.vertices[:1089, :2], axis=1) < 27
        surface = sample_map(space.position, base.uv[:1089][known])
        np.testing.assert_allclose(moved.vertices[:1089][known], surface, atol=1e-5)
        np.testing.assert_array_equal(moved.faces, base.faces)
        assert moved.uv is base.uv

    def test_the_others_follow_smoothly_and_loose_parts_stay(self, base, facial, make_sheet):
        space = make_sheet(1.0)  # 3 mm above the base
        moved = conform_base(base, facial, space, space.valid)
        lift = (moved.vertices - base.vertices)[:1089]
        assert np.abs(lift[:, :2]).max() < 1e-4
        assert lift[:, 2].max() <= 3 + 1e-5
        assert lift[:, 2].min() > 2.4  # a pull to zero of a thousandth of a neighbour's
        np.testing.assert_array_equal(moved.vertices[1089:], base.vertices[1089:])

    def test_the_motion_between_two_heights_is_harmonic(self, base, facial, make_sheet):
        """Known strips at both sides, at other heights: in between the motion runs linearly."""
        x = 64 * (texel_centers(128)[..., 0] - 0.5)
        kept = np.abs(x) > 20
        space = make_sheet(np.where(x < 0, -1.0, 3.0), valid=np.ones((128, 128), bool))
        lift = (conform_base(base, facial, space, kept).vertices - base.vertices)[:1089]
        row = slice(16 * 33, 17 * 33)  # y = 0: at the rims the motion is free to bend
        between = np.abs(base.vertices[row, 0]) < 21
        expected = 3 + base.vertices[row, 0] * 4 / 44
        np.testing.assert_allclose(lift[row, 2][between], expected[between], atol=0.25)
        assert (np.diff(lift[row, 2]) > -1e-6).all()

    def test_faces_outside_of_the_mask_do_not_pull(self, base, facial, make_sheet):
        """UVs of other parts may lie anywhere: only facial faces are looked up."""
        space = make_sheet(1.0, valid=np.ones((128, 128), bool))
        facial = facial.copy()
        facial[:-1] = base.vertices[base.faces[:-1]].mean(1)[:, 0] < 0
        base = replace(base, uv=np.where(base.vertices[:, :1] > 2, 0.25, base.uv))
        moved = conform_base(base, facial, space, space.valid)
        # The border's value stands for what lies beyond it: half a texel, 0.25 mm.
        assert np.abs((moved.vertices - base.vertices)[:1089, :2]).max() < 0.3

    def test_separate_uv_indices_are_used(self, base, facial, make_sheet, waves):
        order = np.random.default_rng(0).permutation(len(base.uv))
        shuffled = replace(base, uv=base.uv[order], uv_faces=np.argsort(order)[base.faces])
        space = make_sheet(waves)
        a, b = (conform_base(m, facial, space, space.valid).vertices for m in (base, shuffled))
        np.testing.assert_allclose(a, b, atol=1e-6)

    def test_nothing_measured_moves_nothing(self, base, facial, make_sheet):
        moved = conform_base(base, facial, make_sheet(5.0), np.zeros((128, 128), bool))
        np.testing.assert_array_equal(moved.vertices, base.vertices)
