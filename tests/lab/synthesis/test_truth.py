"""The smaller truth against the surface that it stands for."""

from __future__ import annotations

import numpy as np
import trimesh

from mesoface.geometry.mesh import Mesh
from mesoface.geometry.subdivision import split_long_edges
from mesoface.lab.synthesis.capture import SyntheticCapture, photograph
from mesoface.lab.synthesis.head import CoarseFace, coarse_truth
from mesoface.lab.synthesis.settings import SynthesisSettings


def test_fit_is_better_than_sampling() -> None:
    ball = trimesh.creation.icosphere(3, 10.0)
    everywhere = np.ones(len(ball.faces), bool)
    vertices, faces, _, rounds = split_long_edges(ball.vertices, ball.faces, everywhere, 0.5)
    bumpy = vertices * (1 + 0.004 * np.sin(3 * vertices).sum(1, keepdims=True))
    coarse = CoarseFace(ball.faces, len(ball.vertices), rounds)
    fitted, error = coarse_truth(coarse, Mesh(bumpy, faces), np.ones(len(faces), bool))
    np.testing.assert_array_equal(fitted.faces, ball.faces)
    sampled = bumpy[: len(ball.vertices)]
    assert np.linalg.norm(fitted.vertices - sampled, axis=1).max() < 0.3  # it is the same surface
    chords = sampled
    for ends in rounds:
        chords = np.concatenate([chords, chords[ends].mean(1)])
    of_sampling = np.abs(((bumpy - chords) * Mesh(bumpy, faces).vertex_normals()).sum(1))
    assert error.mean() < 0.9 * of_sampling.mean()


def test_surface_that_the_coarse_mesh_can_follow_is_met_exactly() -> None:
    ball = trimesh.creation.icosphere(2, 10.0)
    flat = np.column_stack([ball.vertices[:, :2], np.zeros(len(ball.vertices))])
    keep = ball.vertices[ball.faces].mean(1)[:, 2] > 0
    vertices, faces, parent, rounds = split_long_edges(flat, ball.faces, keep, 0.7)
    tilted = vertices @ np.diag([1, 1, 1]) + vertices[:, :1] * [0, 0, 0.3]
    coarse = CoarseFace(ball.faces[keep], len(flat), rounds)
    fitted, error = coarse_truth(coarse, Mesh(tilted, faces), keep[parent])
    assert error.max() < 1e-6
    np.testing.assert_allclose(fitted.vertices[:, 2], 0.3 * fitted.vertices[:, 0], atol=1e-6)


def test_small_truth_lies_on_the_photographed_face(synthetic: SyntheticCapture) -> None:
    settings = SynthesisSettings(views=2, width=64, height=96, detail_mm=1.5, truth_mm=3.0)
    made = photograph(seed=3, settings=settings)
    assert len(made.truth.vertices) < 0.5 * len(synthetic.truth.vertices)
    assert 0 < made.truth_error.mean() < 0.06
    area = made.truth.face_areas().sum()
    assert abs(area / synthetic.truth.face_areas().sum() - 1) < 0.03
