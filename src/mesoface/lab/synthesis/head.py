"""A random head: identity and expression from a face model, refined to a smooth dense surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, eye, vstack
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg

from mesoface.face_models.model import FaceModel
from mesoface.geometry.mesh import Mesh, compact
from mesoface.geometry.subdivision import grow_faces, split_long_edges, subdivide_loop
from mesoface.lab.synthesis.anatomy import EYES, LIPS_INNER, Chart, landmark_positions
from mesoface.lab.synthesis.missing_parts import close_behind
from mesoface.lab.synthesis.settings import SynthesisSettings

_FINEST_CHART = 0.2  # mm per pixel
_SMOOTH_UNTIL = 4.0  # median edge over the wanted one at which smooth subdivision stops


@dataclass(frozen=True, eq=False)
class CoarseFace:
    """The facial triangles before the last splits: a smaller mesh than the photographed one.

    Args:
        faces: (F, 3) facial triangles.
        count: number of vertices before; they are the first ones of the finer mesh.
        halved: for each round of splits, (K, 2) the ends of the edge that each new vertex halves.
    """

    faces: NDArray[np.int64]
    count: int
    halved: list[NDArray[np.int64]]


def coarse_truth(
    coarse: CoarseFace, mesh: Mesh, facial: NDArray[np.bool_]
) -> tuple[Mesh, NDArray[np.float64]]:
    """Fit the coarse triangles to a fine surface by least squares over the fine one's vertices.

    Args:
        coarse: triangles that ``mesh`` was split from.
        mesh: the fine surface with its relief, N vertices.
        facial: (F,) faces of ``mesh`` that lie in the coarse triangles.

    Returns:
        The coarse mesh, and how far along the normal it is from each facial vertex of the fine one, mm.
    """
    weights: csr_matrix = eye(coarse.count, format="csr")
    for ends in coarse.halved:
        weights = vstack([weights, 0.5 * (weights[ends[:, 0]] + weights[ends[:, 1]])], format="csr")
    rows = np.unique(mesh.faces[facial])
    faces, used = compact(coarse.faces, coarse.count)
    weights, wanted = weights[rows][:, np.flatnonzero(used)], mesh.vertices[rows]
    start = mesh.vertices[: coarse.count][used]
    normal_matrix = weights.T @ weights
    # Solved for the change, which is small: the tolerance is then relative to it.
    miss = wanted - weights @ start
    change = [cg(normal_matrix, weights.T @ miss[:, k], atol=1e-6)[0] for k in range(3)]
    vertices = start + np.stack(change, 1)
    error = ((wanted - weights @ vertices) * mesh.vertex_normals()[rows]).sum(1)
    return Mesh(vertices, faces), np.abs(error)


@dataclass(frozen=True, eq=False)
class Head:
    """The skin of a head before it gets its relief, in the face model's frame, mm.

    Args:
        mesh: smooth dense surface without eyeballs and teeth; the openings of eyes and mouth are pockets.
        reference: (N, 3) position of each vertex on the model's mean face. Skin is laid out there, so that
            it follows the expression.
        facial: (F,) faces of the model's facial mask.
        grown: (N,) 1 on the model's own surface, 0 on what was added behind it.
        opening: (N,) mm by which the surface between eyelids or lips was pushed back into the head.
        spacing: (N,) mean length of the edges at each vertex, mm.
        landmarks: (478, 3) on this head, NaN where the model has none.
        chart: of the mean face.
        identity: coefficients it was made from.
        expression: likewise.
        coarse: coarse triangles of the facial surface, if ``settings.truth_mm`` is set.
        motions: (K, N, 3) displacement of each vertex in each of the K other expressions, mm.
        landmark_motions: (K, 478, 3) the same for the landmarks.
    """

    mesh: Mesh
    reference: NDArray[np.float64]
    facial: NDArray[np.bool_]
    grown: NDArray[np.float64]
    opening: NDArray[np.float64]
    spacing: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    chart: Chart
    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    coarse: CoarseFace | None
    motions: NDArray[np.float64]
    landmark_motions: NDArray[np.float64]


def make_head(
    model: FaceModel,
    settings: SynthesisSettings,
    rng: np.random.Generator,
    others: Sequence[NDArray[np.float64]] = (),
) -> Head:
    """Draw an identity and an expression from ``model``'s prior and refine the surface.

    Args:
        model: any face model with MediaPipe landmarks.
        settings: expression strength and triangle size.
        rng: source of chance.
        others: coefficients of K further expressions.

    Raises:
        FaceModelError: the model lacks landmarks.
    """
    identity = rng.standard_normal(model.n_identity) * 0.8
    expression = sample_expression(model.n_expression, settings.expression, rng)
    mean = model.shape(np.zeros(model.n_identity), np.zeros(model.n_expression))
    shape = model.shape(identity, expression)
    chart = Chart(landmark_positions(model, mean), max(_FINEST_CHART, settings.detail_mm / 4))

    faces, facial = model.topology.faces, model.topology.facial
    # Eyeballs and teeth of the model are left out: eyes are made anew (:mod:`.eyes`).
    keep = _connected_to(faces, facial)
    faces, facial = faces[keep], facial[keep]
    opening = _opening_depth(chart, mean)
    pockets = opening[:, None] * [0.0, 0.0, 1.0]
    shape, *made = (each - pockets for each in (shape, *(model.shape(identity, other) for other in others)))
    landmarks = landmark_positions(model, shape)
    landmark_motions = [landmark_positions(model, other) - landmarks for other in made]
    points, faces, model_faces = close_behind(np.column_stack([shape, mean, *made]), faces)
    motions = points[:, 6:] - np.tile(points[:, :3], len(made))
    facial = np.concatenate([facial, np.zeros(len(faces) - model_faces, bool)])
    own = np.zeros(len(points))
    own[faces[:model_faces].ravel()] = 1.0
    opening = np.concatenate([opening, np.zeros(len(points) - len(opening))])

    values = np.column_stack([points[:, :6], own, opening, motions])
    values, faces, facial, coarse = _refine(values, faces, facial, settings)
    reference = values[:, 3:6]
    return Head(
        mesh=Mesh(values[:, :3], faces),
        reference=reference,
        facial=facial,
        grown=values[:, 6],
        opening=values[:, 7],
        spacing=_spacing(reference, faces),
        landmarks=landmarks,
        chart=chart,
        identity=identity,
        expression=expression,
        coarse=coarse,
        motions=values[:, 8:].reshape(len(values), -1, 3).swapaxes(0, 1),
        landmark_motions=np.array(landmark_motions).reshape(-1, 478, 3),
    )


def sample_expression(count: int, strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count,) coefficients: a few modes are active, as in real expressions, the others 0."""
    active = rng.uniform(size=count) < min(1.0, 6.0 / max(count, 1))
    return np.where(active, np.clip(np.abs(rng.standard_normal(count)), 0, 2), 0.0) * strength


def _connected_to(faces: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F,) faces of the surfaces that have a chosen face."""
    count = int(faces.max()) + 1
    a, b = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    _, label = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)
    return np.isin(label[faces[:, 0]], np.unique(label[faces[chosen, 0]]))


def _opening_depth(chart: Chart, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) mm to push points between the eyelids or the lips back: a pocket that deepens from its rim."""
    depth = np.zeros(len(points))
    front = points[:, 2] > np.nanmin(chart.landmarks[:, 2])
    for ring, slope, deepest in ((EYES[0], 1.0, 5.0), (EYES[1], 1.0, 5.0), (LIPS_INNER, 4.0, 15.0)):
        inside = (chart.polygon(chart.landmark(ring), 0.0) > 0.5).astype(np.uint8)
        from_rim = cv2.distanceTransform(inside, cv2.DIST_L2, 5) * chart.resolution
        depth = np.maximum(depth, front * chart.sample(np.minimum(slope * from_rim, deepest), points))
    return depth


def _refine(
    values: NDArray[np.float64],
    faces: NDArray[np.int64],
    facial: NDArray[np.bool_],
    settings: SynthesisSettings,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], CoarseFace | None]:
    """Subdivide everything smoothly, then split long edges in and near the facial region."""
    fine = grow_faces(faces, facial, rings=2)
    for _ in range(3):
        values, faces = subdivide_loop(values, faces)
        facial, fine = np.tile(facial, 4), np.tile(fine, 4)
        a, b = values[faces[facial][:, 0], 3:6], values[faces[facial][:, 1], 3:6]
        if np.median(np.linalg.norm(a - b, axis=1)) < _SMOOTH_UNTIL * settings.detail_mm:
            break
    faces, used = compact(faces, len(values))
    values, coarse = values[used], None
    if settings.truth_mm is not None:
        values, faces, parent, _ = split_long_edges(values, faces, fine, settings.truth_mm)
        facial, fine = facial[parent], fine[parent]
        coarse = CoarseFace(faces[facial], len(values), [])
    values, faces, parent, rounds = split_long_edges(values, faces, fine, settings.detail_mm)
    if coarse is not None:
        coarse.halved.extend(rounds)
    return values, faces, facial[parent], coarse


def _spacing(points: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) mean length of the sides of the faces at each point."""
    perimeter = sum(np.linalg.norm(points[faces[:, i]] - points[faces[:, i - 1]], axis=1) for i in range(3))
    count = np.bincount(faces.ravel(), minlength=len(points))
    total = np.bincount(faces.ravel(), np.repeat(perimeter / 3, 3), len(points))
    return total / np.maximum(count, 1)
