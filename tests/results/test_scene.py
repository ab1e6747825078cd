"""What the 3D view shows of a face is the face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.clay import exaggerated_relief, reduce_surface
from mesoface.rendering.false_color import UNKNOWN
from mesoface.results.face import load_face
from mesoface.results.scene import face_shadings, face_surfaces
from mesoface.surface.fine import vertex_map
from mesoface.texture import Texture
from tests.faces import written
from tests.rendering.test_page import parse, policy_of


def surfaces_of(face):
    return face_surfaces(face, reduce_surface(face.fine, 250))


def test_surfaces_stand_upright_in_the_middle(drawn_face):
    for surface in surfaces_of(drawn_face):
        low, high = surface.mesh.vertices.min(0), surface.mesh.vertices.max(0)
        np.testing.assert_allclose((low + high)[:2], 0, atol=1)
        assert surface.mesh.vertex_normals()[:, 2].min() > 0.6


def test_the_reduced_surface_lies_on_the_measured_one(drawn_face):
    """Rays from the front meet both at the same depth."""
    measured = surfaces_of(drawn_face)[0]
    rotation = drawn_face.fit.rotation
    own = (drawn_face.base.vertices) @ rotation
    center = rotation @ ((own.min(0) + own.max(0)) / 2)
    x, y = (a.ravel() * 1.0 for a in np.meshgrid(np.arange(-60, 61, 5), np.arange(-60, 61, 5)))
    origins = np.column_stack([x, y, np.full_like(x, 200)])
    ours = RayCaster(measured.mesh).cast(origins, np.tile([0.0, 0, -1], (len(x), 1)))
    theirs = RayCaster(drawn_face.fine.mesh).cast(
        origins @ rotation.T + center, np.tile(-rotation[:, 2], (len(x), 1))
    )
    both = ours.hit & theirs.hit
    assert both.sum() > 400
    np.testing.assert_allclose(ours.distance[both], theirs.distance[both], atol=0.05)


def test_relief_holds_the_ripples_and_the_hole(drawn_face):
    fine = drawn_face.fine
    measured, predicted = surfaces_of(drawn_face)[:2]
    assert (measured.name, predicted.name) == ("measured surface", "with predicted relief")
    relief = measured.relief
    np.testing.assert_array_equal(relief[..., 3] == 255, fine.kept)
    inner = np.zeros_like(fine.kept)
    inner[40:56, 20:40] = True
    normals = relief[..., :3][inner] / 127.5 - 1
    expected = vertex_map(fine.mesh, fine.mesh.normals @ drawn_face.fit.rotation, len(fine.kept))[inner]
    np.testing.assert_allclose(normals, expected, atol=0.012)
    smooth = (fine.space.normal @ drawn_face.fit.rotation)[inner]
    assert np.abs(normals - smooth).max() > 0.1, "without ripples nothing is proven"
    more = predicted.relief[..., :3][inner] / 127.5 - 1 - normals
    # 0.05 cos(y): along y it tilts by up to 0.05 / mm × sampling of 1.7 mm, along x not at all
    assert np.abs(more[:, 1]).mean() > 4 * np.abs(more[:, 0]).mean() > 0


def test_exaggeration_steepens_the_ripples_and_not_the_form(drawn_face):
    inner = np.zeros_like(drawn_face.fine.kept)
    inner[40:56, 20:40] = True
    smooth = drawn_face.fine.space.normal
    plain, high = (exaggerated_relief(drawn_face.fine, factor).normals for factor in (1, 3))
    tilt, tripled = (np.abs(normals - smooth)[inner].mean() for normals in (plain, high))
    assert tripled == pytest.approx(3 * tilt, rel=0.1)
    np.testing.assert_allclose((high - smooth)[inner].mean(0), 0, atol=0.05)


def test_shadings_are_those_that_there_is_something_for(drawn_face):
    errors = np.full(len(drawn_face.fine.mesh.vertices), 0.03)
    names = [shading.name for shading in face_shadings(drawn_face, errors)]
    assert names == ["texture", "clay", "normals", "confidence", "error"]
    bare = replace(drawn_face, texture=None, fine=None, relief=None)
    assert [shading.name for shading in face_shadings(bare)] == ["clay", "normals"]
    assert [surface.name for surface in face_surfaces(bare, None)] == ["base mesh"]


def test_errors_are_coloured_where_they_are_and_grey_where_unknown(drawn_face):
    fine = drawn_face.fine
    left = fine.mesh.uv[:, 0] < 0.5
    errors = np.where(left, np.nan, 1.0)
    picture = face_shadings(drawn_face, errors)[-1].picture
    np.testing.assert_allclose(picture[48, 20], np.array(UNKNOWN) * 255, atol=1)
    red, green, blue = picture[48, 70].astype(int)
    assert red > green + 60
    assert red > blue + 60


def test_vertex_map_puts_every_vertex_on_its_texel(drawn_face):
    fine = drawn_face.fine
    values = vertex_map(fine.mesh, fine.mesh.vertices, len(fine.kept))
    known = np.isfinite(values[..., 0])
    np.testing.assert_allclose(values[known], fine.space.displaced(fine.displacement)[known], atol=1e-3)
    assert known.sum() == len(fine.mesh.vertices)
    assert not (known & ~fine.kept).any()


def test_large_maps_are_shrunk(drawn_face):
    texture = Texture(np.zeros((1500, 1500, 3), np.float32), np.ones((1500, 1500), bool))
    assert face_shadings(replace(drawn_face, texture=texture))[0].picture.shape == (1024, 1024, 3)


def test_in_a_notebook_it_is_a_frame_that_makes_no_request(drawn_face, tmp_path):
    text = drawn_face._repr_html_()
    frame = parse(text)
    assert frame.seen == {"iframe"}
    assert 'sandbox="allow-scripts"' in text
    (page,) = frame.frames
    assert "default-src 'none'" in policy_of(page)
    assert '<div class="turnable">' in page
    assert all(source.startswith("data:") for source in parse(page).sources)
    assert len(load_face(written(tmp_path / "run", drawn_face))._repr_html_()) > 100_000
