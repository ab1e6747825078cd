"""The whole way, from photos to a measured face, as a Python call."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

import mesoface
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.evaluation import evaluate
from mesoface.face_models import load_face_model
from mesoface.files.meshes import read_mesh
from mesoface.landmarks import next_best_view
from mesoface.matching.cascade import choose_matcher
from mesoface.pipeline import choose_measure
from mesoface.uvd.maps import rasterize_uv, sample_map

BASE = mesoface.Settings(scale=1.0, until="base")


@pytest.fixture(scope="module")
def capture(sample_capture):
    return mesoface.load_capture(sample_capture, names=["1", "3", "4", "6"])


@pytest.fixture(scope="module")
def base(capture):
    """The fitted base mesh of four views."""
    return mesoface.reconstruct(capture, BASE)


def without(face, view):
    """The landmarks of a run, without those of one view."""
    weights = face.landmarks2d.weights.copy()
    weights[view] = 0
    return replace(face.landmarks2d, weights=weights)


def test_the_fine_surface_is_near_the_truth_everywhere(sample_face, sample_capture):
    truth = read_mesh(sample_capture / "gt.ply")
    error = evaluate(sample_face.fine.mesh, truth, region=sample_face.region, samples=20_000)
    assert error.accuracy.p90 < 0.12
    assert error.completeness.median < 0.05


def test_the_base_follows_the_measured_surface(sample_face, sample_capture):
    """Better than the model could be fitted to landmarks, without the model's topology being lost."""
    truth = read_mesh(sample_capture / "gt.ply")
    facial = sample_face.fit.model.topology.facial
    fitted, followed = (
        evaluate(mesh.select_faces(facial), truth, samples=5000)
        for mesh in (sample_face.fit.mesh, sample_face.base)
    )
    assert followed.accuracy.mean < 0.3 * fitted.accuracy.mean
    np.testing.assert_array_equal(sample_face.base.faces, sample_face.fit.model.topology.faces)


def test_the_fine_mesh_is_sound(sample_face):
    mesh, fine = sample_face.fine.mesh, sample_face.fine
    assert np.isfinite(mesh.vertices).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-4)
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1
    agree = np.einsum("fk,fk->f", mesh.face_normals(), mesh.normals[mesh.faces[:, 0]])
    assert (agree < 0).mean() < 0.001, "normals and winding go together"
    edges = np.linalg.norm(np.diff(mesh.face_corners(), axis=1), axis=-1)
    assert edges.max() < 8 * fine.space.texel_mm, "no spikes"
    assert not (fine.filled & ~fine.kept).any()
    assert not fine.confidence[~fine.kept].any()


def test_the_surface_is_whole(sample_face):
    """One loop bounds it: eyes, mouth and nostrils are closed, and nothing is missing at the rim."""
    mesh, fine = sample_face.fine.mesh, sample_face.fine
    sides = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], -1).reshape(-1, 2), 1)
    sides, count = np.unique(sides, axis=0, return_counts=True)
    assert count.max() == 2
    rim = sides[count == 1]
    ends, index = np.unique(rim, return_inverse=True)
    assert (np.bincount(index.ravel()) == 2).all()
    graph = coo_matrix((np.ones(len(rim)), index.reshape(-1, 2).T), (len(ends), len(ends)))
    assert connected_components(graph, directed=False)[0] == 1
    np.testing.assert_array_equal(mesh.measured.sum(), fine.measured.sum())
    assert 0.9 < mesh.measured.mean() < 1
    topology = sample_face.fit.model.topology
    opening = rasterize_uv(topology.uv, topology.uv_faces[topology.closing], fine.space.size).valid
    assert fine.measured[opening].mean() > 0.8, "eyes and lips are measured, not only filled"


def test_eyes_and_lips_are_nearer_to_the_truth_than_the_model(sample_face, sample_capture):
    topology, truth = sample_face.fit.model.topology, read_mesh(sample_capture / "gt.ply")
    fine, fitted = sample_face.fine.mesh, sample_face.fit.mesh.select_faces(topology.closing)
    opening = rasterize_uv(topology.uv, topology.uv_faces[topology.closing], 512).valid
    inside = (sample_map(opening.astype(np.float32), fine.uv) > 0.99)[fine.faces].all(1)
    ours, models = (evaluate(mesh, truth, samples=5000) for mesh in (fine.select_faces(inside), fitted))
    assert ours.accuracy.median < 0.75 * models.accuracy.median
    assert ours.accuracy.normal_angle < 0.6 * models.accuracy.normal_angle


def test_progress_is_told_of_every_stage(capture, base):
    calls = []
    mesoface.reconstruct(capture, BASE, landmarks=base.landmarks2d, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("Base mesh", 1, 1)


def test_given_landmarks_are_used(capture, base):
    again = mesoface.reconstruct(capture, BASE, landmarks=base.landmarks2d)
    np.testing.assert_allclose(again.base.vertices, base.base.vertices, atol=0.05)


def test_view_ids_choose_and_keep_landmarks_with_their_views(capture, base):
    settings = mesoface.Settings(scale=1.0, until="base", view_ids=("6", "3", "4"))
    face = mesoface.reconstruct(capture, settings, landmarks=base.landmarks2d)
    for name, points in zip(face.capture.names, face.landmarks2d.points, strict=True):
        np.testing.assert_array_equal(points, base.landmarks2d.points[capture.names.index(name)])
    distance = np.linalg.norm(face.base.vertices - base.base.vertices, axis=1).mean()
    assert 0 < distance < 3


def test_a_view_without_a_face_is_not_used(capture, base):
    face = mesoface.reconstruct(capture, BASE, landmarks=without(base, 1))
    assert face.capture.names == ("1", "4", "6")


def test_views_auto_uses_what_is_worth_its_time_and_says_so(capture, base, monkeypatch):
    assert BASE.views == "auto"
    assert base.capture.names == capture.names
    assert not any("usable views are used" in warning for warning in base.warnings)
    monkeypatch.setattr(next_best_view, "FEWEST", 3)
    monkeypatch.setattr(next_best_view, "_WORTH", 1.0)
    face = mesoface.reconstruct(capture, BASE, landmarks=base.landmarks2d)
    assert len(face.capture) == 3
    assert any(warning.startswith("3 of 4 usable views are used: another") for warning in face.warnings)
    asked = BASE.model_copy(update={"views": 4})
    assert len(mesoface.reconstruct(capture, asked, landmarks=base.landmarks2d).capture) == 4


@pytest.mark.parametrize("views", [1, 121, 2.5, True, None, "none", "-3", ""])
def test_a_number_of_views_that_makes_no_sense_is_refused(views):
    with pytest.raises(ValueError, match="must be auto, or a number from 2 to 120"):
        mesoface.Settings(views=views)


@pytest.mark.parametrize(("views", "used"), [("auto", "auto"), (10, 10), ("12", 12), (120, 120)])
def test_views_are_a_number_or_auto(views, used):
    """Settings of older results have a number."""
    assert mesoface.Settings(views=views).views == used


# ---------------------------------------------------------------- the world


def with_unit(capture, unit_mm):
    """The same photos, calibrated in another unit."""
    return capture.in_millimetres(1 / unit_mm)


@pytest.mark.parametrize("unit_mm", [1000.0, 25.4])
def test_the_unit_of_the_calibration_does_not_matter(capture, base, unit_mm):
    """Photos calibrated in metres, with ``scale=1000``, make the same face in the same place."""
    other = replace(with_unit(capture, unit_mm), mm_per_unit=None)
    settings = mesoface.Settings(scale=unit_mm, until="base")
    face = mesoface.reconstruct(other, settings, landmarks=base.landmarks2d)
    assert face.scale.mm_per_unit == unit_mm
    np.testing.assert_allclose(face.base.vertices, base.base.vertices, atol=0.02)
    for a, b in zip(face.capture.cameras, base.capture.cameras, strict=True):
        np.testing.assert_allclose(a.center, b.center, atol=1e-6)


def test_the_stated_unit_is_used_and_a_given_scale_goes_before_it(capture, base):
    metres = replace(with_unit(capture, 1000.0), mm_per_unit=1000.0)
    for settings in (mesoface.Settings(until="base"), mesoface.Settings(until="base", scale=1000.0)):
        face = mesoface.reconstruct(metres, settings, landmarks=base.landmarks2d)
        assert face.scale.source == ("capture" if settings.scale is None else "given")
        np.testing.assert_allclose(face.base.vertices, base.base.vertices, atol=0.02)


def test_twice_the_scale_is_twice_the_face_in_the_same_frame(capture, base, sample_capture):
    """The photos alone decide the shape: everything is multiplied about the world's origin."""
    settings = mesoface.Settings(scale=2.0, preset="fast", threads=1)
    face = mesoface.reconstruct(capture, settings, landmarks=base.landmarks2d)
    truth = read_mesh(sample_capture / "gt.ply")
    doubled = truth.with_vertices(2 * truth.vertices)
    error = evaluate(face.fine.mesh, doubled, region=face.region, samples=20_000)
    assert error.accuracy.median < 0.1
    for a, b in zip(face.capture.cameras, base.capture.cameras, strict=True):
        np.testing.assert_allclose(a.center, 2 * b.center, atol=1e-6)


# ---------------------------------------------------------------- what cannot be


def test_landmarks_in_one_view_are_not_enough(capture, base):
    weights = np.zeros_like(base.landmarks2d.weights)
    weights[2] = 1
    with pytest.raises(MesofaceError) as error:
        mesoface.reconstruct(capture, BASE, landmarks=replace(base.landmarks2d, weights=weights))
    assert error.value.remedy


def test_an_unknown_view_is_named(capture):
    with pytest.raises(MesofaceError, match="no view named 9"):
        mesoface.reconstruct(capture, mesoface.Settings(view_ids=("3", "9")))


def test_photos_of_something_else_make_no_face(capture, base):
    """The landmarks of a face on photos of noise: nothing is passed off as measured."""
    rng = np.random.default_rng(1)
    noise = replace(
        capture,
        views=tuple(
            replace(view, image=rng.random(view.image.shape, dtype=np.float32)) for view in capture.views
        ),
    )
    settings = mesoface.Settings(scale=1.0, preset="fast", threads=1)
    with pytest.raises(ReconstructionError, match="agree on only") as error:
        mesoface.reconstruct(noise, settings, landmarks=base.landmarks2d)
    assert error.value.path == capture.path
    assert error.value.remedy


# ---------------------------------------------------------------- objects in place of names


class Remembering:
    """Stands for an object that is handed in, and notes the calls of one method."""

    def __init__(self, whole, method):
        self._whole, self._method, self.calls = whole, method, 0

    def __getattr__(self, name):
        value = getattr(self._whole, name)
        if name != self._method:
            return value

        def counted(*args, **options):
            self.calls += 1
            return value(*args, **options)

        return counted


def test_what_is_handed_in_is_used_in_place_of_what_the_settings_name(capture, base):
    """A name that nobody knows would be an error: it is not looked at."""
    model = Remembering(load_face_model("generic"), "points")
    detector = SimpleNamespace(scheme="mediapipe478", detect=lambda capture: base.landmarks2d)
    settings = mesoface.Settings(scale=1.0, until="base", face_model="nowhere.npz")
    face = mesoface.reconstruct(capture, settings, detector=detector, face_model=model)
    assert model.calls
    assert face.fit.model is model


def test_the_stages_one_by_one_are_the_whole(capture, base):
    settings = mesoface.Settings(scale=1.0, preset="fast", matcher="ncc", texture_size=256, threads=1)
    found = mesoface.find_face(capture, settings, landmarks=base.landmarks2d)
    matcher = Remembering(choose_matcher("ncc", threads=1), "measure")
    measured = mesoface.measure_face(found, choose_measure(settings, matcher))
    relief = SimpleNamespace(
        source="flat", height=lambda ground, texture: np.zeros((ground.size, ground.size), np.float32)
    )
    face = mesoface.finish_face(measured, relief)
    levels = matcher.presets["fast"]
    finer = sum(level.size >= 128 for level in levels)
    assert matcher.calls == len(levels) + 3 * finer, "two eyes and a mouth follow the skin"
    assert [stage.name for stage in found.stages] == ["landmarks", "views and scale", "base mesh"]
    assert [stage.name for stage in face.stages][3:] == [
        *("matching", "surface", "texture", "mesoscopic detail")
    ]
    assert face.relief.source == "flat"
    whole = mesoface.reconstruct(capture, settings, landmarks=base.landmarks2d, relief=relief)
    np.testing.assert_array_equal(whole.fine.mesh.vertices, face.fine.mesh.vertices)
