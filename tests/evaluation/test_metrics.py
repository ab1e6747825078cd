"""The evaluation protocol against surfaces whose distance is known in closed form, and its heat map."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from scipy.spatial.transform import Rotation

from mesoface.errors import MesofaceError
from mesoface.evaluation import (
    Evaluation,
    GroundTruth,
    Similarity,
    evaluate,
    evaluate_filled,
    filled_line,
    heatmap,
    heatmap_picture,
    points_to_mesh,
    print_evaluation,
    write_heatmap,
)
from mesoface.evaluation.display import round_limit, vertex_errors
from mesoface.evaluation.metrics import angle_between
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.rendering.false_color import UNKNOWN, colorize

SAMPLES = 5_000


def sphere(radius: float, n: int = 90) -> Mesh:
    """A closed sphere around the origin."""
    theta, phi = np.linspace(0, np.pi, n)[1:-1], np.linspace(0, 2 * np.pi, 2 * n, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    ring = radius * np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], -1)
    vertices = np.concatenate([ring.reshape(-1, 3), [[0, 0, radius], [0, 0, -radius]]])
    m, rows = 2 * n, n - 2
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(m), indexing="ij")
    a, b = (i * m + j).ravel(), (i * m + (j + 1) % m).ravel()
    top, bottom, j = rows * m, rows * m + 1, np.arange(m)
    last = (rows - 1) * m
    caps = ((np.full(m, top), j, (j + 1) % m), (last + j, np.full(m, bottom), last + (j + 1) % m))
    return Mesh(vertices, np.concatenate([np.stack(t, 1) for t in ((a, a + m, b + m), (a, b + m, b), *caps)]))


def plane(size: float = 40.0, n: int = 41, x: float = 0.0, z: float = 0.0) -> Mesh:
    """A square in the plane z, facing +z, its left edge at x, centred around y = 0."""
    v, u = np.mgrid[:n, :n] / (n - 1) * size
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.column_stack([a, a + 1, a + n + 1]), np.column_stack([a, a + n + 1, a + n])])
    return Mesh(np.column_stack([u.ravel() + x, v.ravel() - size / 2, np.full(n * n, z)]), faces)


def bumps(seed: int = 0, n: int = 61) -> Mesh:
    """An open surface that can be aligned in only one way."""
    mesh = plane(60, n)
    rng = np.random.default_rng(seed)
    z = 12 * np.sin(mesh.vertices[:, 0] / 18) * np.cos(mesh.vertices[:, 1] / 14)
    for _ in range(6):
        k = rng.normal(size=2) * 0.15
        z += rng.normal() * np.sin(mesh.vertices[:, :2] @ k + rng.uniform(0, 6))
    return mesh.with_vertices(np.column_stack([mesh.vertices[:, :2], z]))


def test_an_identical_surface_has_no_error() -> None:
    result = evaluate(bumps(), bumps(), samples=SAMPLES)
    assert result.accuracy.mean < 1e-12
    assert result.chamfer < 1e-12
    assert result.accuracy.normal_angle < 0.02
    assert result.complete == 1
    assert result.accuracy.within == {"0.2": 1, "0.5": 1, "1": 1}


@pytest.mark.parametrize("gap", [0.3, -0.3])
def test_two_spheres_are_as_far_apart_as_their_radii(gap: float) -> None:
    result = evaluate(sphere(50 + gap), sphere(50), samples=SAMPLES)
    for stats in (result.accuracy, result.completeness):
        assert stats.mean == pytest.approx(0.3, rel=0.02)
        assert stats.median == pytest.approx(0.3, rel=0.02)
        assert stats.p90 == pytest.approx(0.3, rel=0.03)
        assert stats.within == {"0.2": 0, "0.5": 1, "1": 1}
        assert stats.normal_angle < 0.5
    assert result.accuracy.bias == pytest.approx(gap, rel=0.02)
    assert result.completeness.bias == pytest.approx(-gap, rel=0.02)
    assert result.chamfer == pytest.approx(0.3, rel=0.02)


def test_a_plane_shifted_along_its_normal() -> None:
    result = evaluate(plane(z=0.7), plane(), samples=SAMPLES)
    assert result.accuracy.mean == pytest.approx(0.7)
    assert result.accuracy.bias == pytest.approx(0.7)
    assert result.complete == 0
    assert result.accuracy.normal_angle == pytest.approx(0, abs=1e-6)


def test_vertex_density_does_not_matter() -> None:
    coarse = evaluate(plane(n=2, z=0.1), plane(n=50), samples=SAMPLES)
    assert coarse.accuracy.mean == pytest.approx(0.1)
    assert coarse.completeness.mean == pytest.approx(0.1)


def test_a_prediction_beyond_the_rim_is_not_wrong_but_a_hole_is_incomplete() -> None:
    wide, narrow = plane(80, x=-20, z=0.1), plane(40)
    over = evaluate(wide, narrow, samples=SAMPLES)
    assert over.accuracy.mean == pytest.approx(0.1)
    assert over.excluded == pytest.approx(0.75, abs=0.02)
    assert over.complete == 1
    under = evaluate(narrow, wide, samples=SAMPLES)
    assert under.accuracy.mean == pytest.approx(0.1)
    assert under.excluded == 0
    assert under.complete == pytest.approx(0.25, abs=0.02)
    # truth → prediction: the distance to the rim where nothing was predicted
    assert under.completeness.mean > 3


def test_accuracy_is_uniform_over_the_area() -> None:
    # half of the plane is right, half is 1 mm off; the right half has a hundred times the triangles
    fine, off = plane(20, n=101), plane(20, n=11, x=20, z=1.0)
    vertices = np.concatenate([fine.vertices, off.vertices])
    both = Mesh(vertices, np.concatenate([fine.faces, off.faces + len(fine.vertices)]))
    wide = evaluate(both, plane(60, x=-10), samples=SAMPLES)
    assert wide.accuracy.mean == pytest.approx(0.5, abs=0.01)
    assert wide.accuracy.within["0.2"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("degrees", [0.01, 10, 60])
def test_a_patch_rotated_about_its_middle_shows_the_angle(degrees: float) -> None:
    R = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    patch = plane(20, x=-10)
    result = evaluate(patch.with_vertices(patch.vertices @ R.T), plane(60, x=-30), samples=SAMPLES)
    assert result.accuracy.normal_angle == pytest.approx(degrees, rel=1e-4)
    assert result.accuracy.mean == pytest.approx(5 * np.sin(np.radians(degrees)), rel=0.01)


def test_angles_are_exact_from_nothing_to_opposite() -> None:
    a = np.tile([0, 0, 1.0], (4, 1))
    angles = np.radians([0, 1e-5, 90, 180])
    b = np.column_stack([np.sin(angles), np.zeros(4), np.cos(angles)])
    np.testing.assert_allclose(angle_between(a, b), [0, 1e-5, 90, 180], rtol=1e-6, atol=1e-12)


def test_only_the_region_counts() -> None:
    mesh = plane(40)
    bent = mesh.with_vertices(mesh.vertices + np.where(mesh.vertices[:, :1] > 20, [0, 0, 2.0], 0))
    everywhere = evaluate(bent, mesh, samples=SAMPLES)
    left = evaluate(bent, mesh, region=plane(16, x=2, z=-3), samples=SAMPLES)
    assert everywhere.accuracy.mean > 0.9
    assert left.accuracy.mean < 1e-12
    assert left.completeness.mean < 1e-12
    assert left.accuracy.count < 0.5 * SAMPLES


def test_the_region_reaches_15_mm_and_no_further() -> None:
    evaluate(plane(), plane(), region=plane(z=14.9), samples=SAMPLES)
    with pytest.raises(MesofaceError, match="facial region"):
        evaluate(plane(), plane(), region=plane(z=15.1), samples=SAMPLES)


def test_layers_behind_the_skin_are_not_missed_by_the_completeness() -> None:
    skin, behind = plane(), plane(z=-3)
    faces = np.concatenate([skin.faces, behind.faces + len(skin.vertices)])
    layers = Mesh(np.concatenate([skin.vertices, behind.vertices]), faces)
    with_region = evaluate(skin, layers, region=plane(30, x=5), samples=SAMPLES)
    assert with_region.complete == 1
    assert with_region.completeness.mean == pytest.approx(0, abs=1e-9)
    assert evaluate(skin, layers, samples=SAMPLES).complete == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("align", ["rigid", "similarity"])
@pytest.mark.parametrize("degrees", [2, 20])
def test_alignment_recovers_a_known_motion(align: str, degrees: float) -> None:
    truth = bumps()
    R = Rotation.from_rotvec(np.radians(degrees) * np.array([0.5, -0.7, 0.51])).as_matrix()
    motion = Similarity(R, np.array([3.0, -2.0, 4.0]), 0.04 if align == "similarity" else 1.0)
    # a part of the truth, so that the rims differ
    part = truth.select_faces((truth.vertices[truth.faces][:, :, 0] > 8).all(1))
    result = evaluate(motion.apply_to_mesh(part), truth, align=align, samples=SAMPLES)  # type: ignore[arg-type]
    combined = result.alignment.after(motion)
    assert combined.scale == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(combined.R, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(combined.t, 0, atol=0.01)
    assert result.accuracy.mean < 1e-3
    assert result.align == align


@pytest.mark.parametrize("turn", [(0, 0, 180), (170, 0, 0), (90, -60, 20), (-70, 120, 10)])
def test_worlds_may_be_turned_in_any_way(turn: tuple[float, float, float]) -> None:
    """As those of two calibrations are."""
    truth = bumps()
    x = truth.vertices[truth.faces][:, :, 0]
    truth, part = truth.select_faces((x < 40).all(1)), truth.select_faces((x < 38).all(1))
    R = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    motion = Similarity(R, np.array([9.0, 0, 5]), 0.04)
    result = evaluate(motion.apply_to_mesh(part), truth, align="similarity", samples=SAMPLES)
    np.testing.assert_allclose(result.alignment.after(motion).R, np.eye(3), atol=1e-3)
    assert result.accuracy.mean < 1e-2


def test_alignment_keeps_real_differences() -> None:
    truth = bumps()
    dented = truth.vertices.copy()
    dented[np.linalg.norm(truth.vertices[:, :2] - (30, 0), axis=1) < 6, 2] -= 3
    result = evaluate(truth.with_vertices(dented), truth, align="similarity", samples=SAMPLES)
    assert result.alignment.scale == pytest.approx(1, abs=1e-3)
    assert result.accuracy.median < 0.05
    assert result.accuracy.mean > 0.05


def test_the_region_moves_with_the_alignment() -> None:
    truth = bumps()
    motion = Similarity(np.eye(3), np.array([200.0, 0, 0]), 0.1)
    region = truth.select_faces((truth.vertices[truth.faces][:, :, 0] < 30).all(1))
    prediction, region = motion.apply_to_mesh(truth), motion.apply_to_mesh(region)
    start = {"align": "similarity", "initial": motion.inverse()}
    moved = evaluate(prediction, truth, region=region, samples=SAMPLES, **start)
    assert moved.accuracy.mean < 1e-6
    assert 0.5 * SAMPLES < moved.accuracy.count < 0.9 * SAMPLES


def test_wrong_arguments_and_surfaces_that_do_not_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="align must be"):
        evaluate(plane(), plane(), align="affine")  # type: ignore[arg-type]
    with pytest.raises(MesofaceError, match="frame and unit"):
        evaluate(plane(x=1000), plane(), samples=SAMPLES)


def test_broken_meshes_are_refused_by_name() -> None:
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), int))
    flat = Mesh(np.zeros((3, 3)), [[0, 1, 2]])
    nan = plane().with_vertices(np.full((41 * 41, 3), np.nan))
    stray = Mesh(np.eye(3), [[0, 1, 3]])
    cases = ((empty, "no faces"), (flat, "with an area"), (nan, "finite"), (stray, "do not exist"))
    for mesh, words in cases:
        with pytest.raises(MesofaceError, match=f"predicted surface.*{words}"):
            evaluate(mesh, plane())
        with pytest.raises(MesofaceError, match=f"true surface.*{words}"):
            evaluate(plane(), mesh)
        with pytest.raises(MesofaceError, match=f"facial region.*{words}"):
            evaluate(plane(), plane(), region=mesh)


def test_one_truth_serves_many_predictions() -> None:
    truth = GroundTruth(plane(), region=plane(20, x=10))
    for z in (0.1, 0.4):
        assert evaluate(plane(z=z), truth, samples=SAMPLES).accuracy.mean == pytest.approx(z)


def test_result_is_plain_json_and_a_table() -> None:
    result = evaluate(plane(z=0.125), plane(), samples=SAMPLES)
    values = json.loads(json.dumps(result.to_dict()))
    assert values["accuracy"]["median"] == pytest.approx(0.125)
    assert values["completeness"]["count"] == SAMPLES
    assert values["align"] == "none"
    out = io.StringIO()
    print_evaluation(result, Console(file=out, width=80))
    text = out.getvalue()
    assert text.count("0.125") >= 6
    assert "…" not in text
    assert "100.0 %" in text


def test_points_on_the_face_are_measured_and_others_passed_over() -> None:
    rng = np.random.default_rng(0)
    on = np.column_stack([rng.uniform(1, 39, 200), rng.uniform(-19, 19, 200), np.full(200, 0.4)])
    above, beside = on + (0, 0, 20), on + (100, 0, 0)
    stats = points_to_mesh(np.concatenate([on, above, beside, [[np.nan] * 3]]), plane())
    assert stats.count == 200
    assert stats.given == 601
    assert stats.median == pytest.approx(0.4)
    assert stats.bias == pytest.approx(0.4)
    assert stats.to_dict()["within"] == {"0.2": 0, "0.5": 1, "1": 1}


@pytest.mark.parametrize("count", [5, 0])
def test_points_far_from_the_mesh_are_refused(count: int) -> None:
    with pytest.raises(MesofaceError, match=f"none of the {count} points"):
        points_to_mesh(np.full((count, 3), 500.0), plane())


def dome(height: float = 0.0, size: float = 40.0, n: int = 41) -> Mesh:
    """A shallow dome over a square, ``height`` mm higher in its right half."""
    square = plane(size, n, x=-size / 2)
    u, v, _ = square.vertices.T
    z = 8 - (u**2 + v**2) / 80 + np.where(u > 0, height, 0)
    return square.with_vertices(np.column_stack([u, v, z]))


@pytest.fixture
def step() -> tuple[Mesh, Evaluation]:
    """A coarse dome with a step of 0.3 mm, and how far it is from one without."""
    prediction = dome(height=0.3, n=15)
    return prediction, evaluate(prediction, dome(), samples=2000)


def test_colors_follow_the_distance_of_each_vertex() -> None:
    prediction = dome(height=0.3)
    result = evaluate(prediction, dome(size=60, n=61), samples=2000)
    errors = vertex_errors(prediction, result)
    left, right = prediction.vertices[:, 0] < -2, prediction.vertices[:, 0] > 3
    assert errors[left].max() < 0.02
    assert errors[right].min() > 0.2  # 0.3 mm along z, less across the slope
    colors = heatmap(prediction, result, limit=0.5).colors
    np.testing.assert_array_equal(colors[left][0], np.round(colorize(errors[left][:1], (0, 0.5))[0] * 255))
    assert (colors[right] != colors[left][0]).any(1).all()


def test_what_is_not_compared_is_grey_and_positions_stay() -> None:
    motion = Similarity(np.eye(3), np.array([100.0, 0, 0]))
    prediction = motion.apply_to_mesh(dome(size=60, n=61))
    result = evaluate(prediction, dome(), align="rigid", initial=motion.inverse(), samples=2000)
    colored = heatmap(prediction, result)
    np.testing.assert_array_equal(colored.vertices, prediction.vertices)
    grey = (colored.colors == np.round(np.array(UNKNOWN) * 255)).all(1)
    beyond = np.abs(prediction.vertices[:, :2] - (100, 0)).max(1) > 21
    np.testing.assert_array_equal(grey[beyond], True)
    assert not grey[~beyond].all()


def test_limits_are_round() -> None:
    assert round_limit(np.linspace(0, 0.18, 100)) == 0.2
    assert round_limit(np.array([np.nan, 0.0])) == 0.05
    assert round_limit(np.full(9, 33.3)) == 34
    assert round_limit(np.array([np.nan])) == 0.05


def test_files(tmp_path: Path, step: tuple[Mesh, Evaluation]) -> None:
    write_heatmap(tmp_path / "a.ply", *step)
    assert read_mesh(tmp_path / "a.ply").colors is not None
    write_heatmap(tmp_path / "a.png", *step)
    picture = cv2.imread(str(tmp_path / "a.png"))[..., ::-1] / 255
    assert picture.shape[1] > 2 * picture.shape[0] * 0.8
    assert (np.ptp(picture, axis=-1) > 0.3).mean() > 0.1
    with pytest.raises(MesofaceError, match=r"a\.gif.*\.ply or a \.png"):
        write_heatmap(tmp_path / "a.gif", *step)


def test_picture_takes_the_asked_directions(step: tuple[Mesh, Evaluation]) -> None:
    upright, turned = (
        heatmap_picture(*step, forward=(0, 0, 1), up=up, size=(60, 80)) for up in ((0, 1, 0), (0, -1, 0))
    )
    assert upright.shape == turned.shape
    middle = np.s_[:80, 60:120]
    drawn, drawn_turned = (picture[middle].sum(-1) < 2.9 for picture in (upright, turned))
    np.testing.assert_array_equal(drawn, drawn_turned[::-1, ::-1])


def half_filled(gap: float) -> Mesh:
    """A square of 40 mm at z = 0; its right half was filled in, ``gap`` mm too high."""
    mesh = plane()
    right = mesh.vertices[:, 0] > 20
    return replace(mesh.with_vertices(mesh.vertices + np.outer(right, (0, 0, gap))), measured=~right)


def test_what_was_filled_in_does_not_count() -> None:
    prediction, truth = half_filled(2.0), plane(60, x=-10)
    result = evaluate(prediction, truth, samples=SAMPLES)
    alone = evaluate(
        prediction.select_faces(prediction.measured[prediction.faces].all(1)), truth, samples=SAMPLES
    )
    assert result.accuracy == alone.accuracy
    assert result.accuracy.mean < 1e-9
    errors = vertex_errors(prediction, result)
    np.testing.assert_array_equal(np.isnan(errors), ~prediction.measured)


def test_what_was_filled_in_is_measured_apart() -> None:
    prediction, truth = half_filled(2.0), plane(60, x=-10)
    filled = evaluate_filled(prediction, evaluate(prediction, truth, samples=SAMPLES), samples=SAMPLES)
    assert filled.accuracy.median == pytest.approx(2.0)
    assert filled.share == pytest.approx(0.5, abs=0.05)
    assert "not counted above" in filled_line(filled)
    assert "median 2.000 mm" in filled_line(filled)
    assert filled.to_dict()["accuracy"]["median"] == pytest.approx(2.0)


def test_where_nothing_was_filled_in_there_is_nothing_to_measure_apart() -> None:
    whole, truth = plane(), plane(60, x=-10)
    assert evaluate_filled(whole, evaluate(whole, truth, samples=SAMPLES)) is None
    flagged = replace(whole, measured=np.ones(len(whole.vertices), bool))
    assert evaluate_filled(flagged, evaluate(flagged, truth, samples=SAMPLES)) is None


def test_a_surface_of_which_nothing_was_measured_is_refused() -> None:
    nothing = replace(plane(), measured=np.zeros(41 * 41, bool))
    with pytest.raises(MesofaceError, match="no face"):
        evaluate(nothing, plane(60, x=-10))
