"""A random head: identity and expression from a face model, refined to a smooth dense surface; and what the
model lacks: the back of the head, a neck and eyeballs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix, csr_matrix, eye, vstack
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg

from mesoface.face_models.model import FaceModel
from mesoface.geometry.camera import Array
from mesoface.geometry.mesh import Mesh, compact, unit
from mesoface.geometry.subdivision import grow_faces, split_long_edges, subdivide_loop
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.anatomy import EYES, LIPS_INNER, Chart, landmark_positions, solid_noise
from mesoface.lab.synthesis.scene import Part
from mesoface.lab.synthesis.settings import SynthesisSettings

_FINEST_CHART = 0.2  # mm per pixel
_SMOOTH_UNTIL = 4.0  # median edge over the wanted one at which smooth subdivision stops
_RINGS = 24  # of the back of the head
_EYEBALL_RADIUS, _IRIS_RADIUS = 12.0, 5.85  # mm, adults' means
_LID_GAP = 0.3  # mm between the eyeball and the edge of the lids
_EYE_RINGS, _EYE_SECTORS = 120, 160


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


def coarse_truth(coarse: CoarseFace, mesh: Mesh, facial: NDArray[np.bool_]) -> tuple[Mesh, Array]:
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
    reference: Array
    facial: NDArray[np.bool_]
    grown: Array
    opening: Array
    spacing: Array
    landmarks: Array
    chart: Chart
    identity: Array
    expression: Array
    coarse: CoarseFace | None
    motions: Array
    landmark_motions: Array


def make_head(
    model: FaceModel, settings: SynthesisSettings, rng: np.random.Generator, others: Sequence[Array] = ()
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
    # Eyeballs and teeth of the model are left out: eyes are made anew (:func:`make_eyes`).
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


def sample_expression(count: int, strength: float, rng: np.random.Generator) -> Array:
    """(count,) coefficients: a few modes are active, as in real expressions, the others 0."""
    active = rng.uniform(size=count) < min(1.0, 6.0 / max(count, 1))
    return np.where(active, np.clip(np.abs(rng.standard_normal(count)), 0, 2), 0.0) * strength


def _connected_to(faces: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F,) faces of the surfaces that have a chosen face."""
    count = int(faces.max()) + 1
    a, b = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    _, label = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)
    return np.isin(label[faces[:, 0]], np.unique(label[faces[chosen, 0]]))


def _opening_depth(chart: Chart, points: Array) -> Array:
    """(N,) mm to push points between the eyelids or the lips back: a pocket that deepens from its rim."""
    depth = np.zeros(len(points))
    front = points[:, 2] > np.nanmin(chart.landmarks[:, 2])
    for ring, slope, deepest in ((EYES[0], 1.0, 5.0), (EYES[1], 1.0, 5.0), (LIPS_INNER, 4.0, 15.0)):
        inside = (chart.polygon(chart.landmark(ring), 0.0) > 0.5).astype(np.uint8)
        from_rim = cv2.distanceTransform(inside, cv2.DIST_L2, 5) * chart.resolution
        depth = np.maximum(depth, front * chart.sample(np.minimum(slope * from_rim, deepest), points))
    return depth


def _refine(
    values: Array, faces: NDArray[np.int64], facial: NDArray[np.bool_], settings: SynthesisSettings
) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_], CoarseFace | None]:
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


def _spacing(points: Array, faces: NDArray[np.int64]) -> Array:
    """(N,) mean length of the sides of the faces at each point."""
    perimeter = sum(np.linalg.norm(points[faces[:, i]] - points[faces[:, i - 1]], axis=1) for i in range(3))
    count = np.bincount(faces.ravel(), minlength=len(points))
    total = np.bincount(faces.ravel(), np.repeat(perimeter / 3, 3), len(points))
    return total / np.maximum(count, 1)


def close_behind(values: Array, faces: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64], int]:
    """Grow a rounded back from the outer rim of a face, if the surface is open behind.

    The back is half an ellipsoid that is bent to meet the rim, not an actual skull.

    Args:
        values: (N, 3·k) k shapes of one topology, side by side; +y up, +z front, mm.
        faces: (F, 3).

    Returns:
        (N', 3·k) vertices, the old ones first; (F', 3) faces, the old ones first; and F.
    """
    rim = longest_rim(faces)
    if len(rim) < 3 or np.ptp(values[rim, 1]) < 0.5 * np.ptp(values[:, 1]):
        return values, faces, len(faces)  # no rim, or it runs round a neck: there is a head already
    shapes = [_back(values[:, k : k + 3], rim) for k in range(0, values.shape[1], 3)]
    grown = np.concatenate([values, np.column_stack(shapes)])
    return grown, np.concatenate([faces, _rings(rim, len(values))]), len(faces)


def longest_rim(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K,) vertices of the longest closed boundary, in the order in which the faces beside it run."""
    sides = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    count = int(faces.max(initial=-1)) + 1
    lone = sides[~np.isin(sides[:, 0] * count + sides[:, 1], sides[:, 1] * count + sides[:, 0])]
    following = dict(lone.tolist())
    best: list[int] = []
    while following:
        start, vertex = following.popitem()
        loop = [start]
        while vertex != start and vertex in following:
            loop.append(vertex)
            vertex = following.pop(vertex)
        if vertex == start and len(loop) > len(best):
            best = loop
    return np.array(best, np.int64)


def _back(vertices: Array, rim: NDArray[np.int64]) -> Array:
    """((RINGS - 1)·K + 1, 3) vertices behind the rim, ring by ring, the pole last."""
    start = vertices[rim]
    height, width = np.ptp(start[:, 1]), np.ptp(start[:, 0])
    middle = (start.max(0) + start.min(0)) / 2
    center = np.array([middle[0], middle[1], start[:, 2].mean() - 0.12 * height])
    offset = start - center
    around = np.arctan2(offset[:, 1] / height, offset[:, 0] / width)
    depth = 0.55 * height
    side = 0.56 * width * np.cos(around)
    up = np.where(around > 0, 0.62, 0.45) * height * np.sin(around)  # the nape is narrower than the crown
    begin = -np.arcsin(np.clip(offset[:, 2] / depth, -0.9, 0.9))

    def ellipsoid(t: float) -> Array:
        polar = begin + t * (np.pi / 2 - begin)
        return center + np.stack([side * np.cos(polar), up * np.cos(polar), -depth * np.sin(polar)], 1)

    miss = start - ellipsoid(0.0)
    steps = np.arange(1, _RINGS) / _RINGS
    rings = [ellipsoid(t) + (1 - t) ** 3 * miss for t in steps]
    return np.concatenate([*rings, ellipsoid(1.0)[:1]])


def _rings(rim: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Faces between the rim, the rings behind it (numbered from ``first``) and the pole."""
    k = len(rim)
    grid = np.concatenate([rim[None], first + np.arange((_RINGS - 1) * k).reshape(-1, k)])
    a, b, c, d = _cells(grid)
    # The rim runs as its faces do, so the new faces run against it.
    sides = np.stack([np.stack([b, a, c], -1), np.stack([b, c, d], -1)], 1).reshape(-1, 3)
    pole = np.full(k, first + (_RINGS - 1) * k)
    return np.concatenate([sides, np.stack([np.roll(grid[-1], -1), grid[-1], pole], 1)])


def make_neck(landmarks: Array) -> Mesh:
    """A plain neck that widens to shoulders, for a face model that has none.

    Args:
        landmarks: (478, 3) on the head.
    """
    chin = landmarks[anatomy.CHIN, 1]
    sides = landmarks[list(anatomy.JAW_SIDES)]
    middle, half = sides.mean(0), np.ptp(sides[:, 0]) / 2
    y = np.linspace(45, -170, 40)
    flare = np.clip(-(y + 70) / 100, 0, 1) ** 2
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    x = np.outer(0.70 * half + 90 * flare, np.cos(angle))
    z = middle[2] - 32 + np.outer(0.66 * half + 15 * flare, np.sin(angle))
    vertices = np.stack([middle[0] + x, np.broadcast_to((chin + y)[:, None], x.shape), z], -1).reshape(-1, 3)
    a, b, c, d = _tube(*x.shape)
    return Mesh(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]))


def _cells(grid: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Corners a, b, c, d of the cells of a grid that is closed around: a, b on one ring, c, d on the next."""
    beside = np.roll(grid, -1, 1)
    return grid[:-1], beside[:-1], grid[1:], beside[1:]


def _tube(rings: int, sectors: int) -> list[NDArray[np.int64]]:
    """The same, flat, of vertices numbered ring by ring."""
    return [corner.ravel() for corner in _cells(np.arange(rings * sectors).reshape(rings, sectors))]


def make_eyes(landmarks: Array, gaze_at: ArrayLike, rng: np.random.Generator) -> list[Part]:
    """Both eyeballs.

    Args:
        landmarks: (478, 3) on the head, mm.
        gaze_at: (3,) the point that both eyes look at.
        rng: iris colour and pattern, pupil size, vergence error.

    Returns:
        Two spheres, the subject's right one first.
    """
    colour = _iris_colour(rng)
    pupil = rng.uniform(1.4, 2.4)
    parts = []
    for ring in anatomy.EYES:
        lids = landmarks[list(ring)]
        center = eyeball_center(lids)
        gaze = unit(np.asarray(gaze_at, np.float64) - center + rng.normal(0, 8.0, 3))
        parts.append(_eyeball(center, gaze, colour, pupil, rng))
    return parts


def eyeball_center(lids: Array) -> Array:
    """(3,) centre of a sphere that touches the lids from behind without coming through between the corners.

    Args:
        lids: (16, 3) ring of lid landmarks, corners at 0 and 8.
    """
    middle = lids.mean(0)
    edge = lids[[2, 3, 4, 5, 6, 10, 11, 12, 13, 14]] - middle
    along = edge[:, 2]
    # |edge + depth·z| = radius, solved for the depth behind the lids' middle (+z is forward)
    root = (_EYEBALL_RADIUS + _LID_GAP) ** 2 - (edge**2).sum(1) + along**2
    depth = np.sqrt(np.maximum(root, 0)) - along
    return middle - [0, 0, depth.max()]


def _iris_colour(rng: np.random.Generator) -> Array:
    palette = np.array([[0.07, 0.035, 0.015], [0.12, 0.065, 0.025], [0.10, 0.10, 0.045], [0.09, 0.15, 0.20]])
    return palette[rng.integers(len(palette))] * rng.uniform(0.8, 1.4)


def _eyeball(center: Array, gaze: Array, colour: Array, pupil: float, rng: np.random.Generator) -> Part:
    """A sphere with its pole at the pupil, finer towards it."""
    polar = np.pi * np.linspace(0, 1, _EYE_RINGS) ** 1.5
    around = np.linspace(0, 2 * np.pi, _EYE_SECTORS, endpoint=False)
    side = unit(np.cross([0.0, 1.0, 0.0], gaze))
    up = np.cross(gaze, side)
    theta, phi = (x.ravel() for x in np.meshgrid(polar, around, indexing="ij"))
    direction = (
        np.cos(theta)[:, None] * gaze
        + (np.sin(theta) * np.cos(phi))[:, None] * side
        + (np.sin(theta) * np.sin(phi))[:, None] * up
    )
    vertices = center + _EYEBALL_RADIUS * direction
    a, b, c, d = _tube(_EYE_RINGS, _EYE_SECTORS)
    faces = np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)])
    mesh = Mesh(vertices, faces, normals=direction)

    radius = _EYEBALL_RADIUS * np.sin(np.minimum(theta, np.pi / 2))  # from the gaze axis, mm
    fibres = solid_noise(np.stack([np.cos(phi), np.sin(phi), 0.12 * radius], 1), 0.16, rng, octaves=3)
    iris = colour * np.exp(0.35 * fibres)[:, None] * (0.75 + 0.5 * _step(3.2, radius, 0.5))[:, None]
    iris *= (0.25 + 0.75 * _step(_IRIS_RADIUS - 0.5, radius, 0.3))[:, None]  # limbal ring
    iris *= (0.02 + 0.98 * (1 - _step(pupil, radius, 0.08)))[:, None]
    veins = np.abs(solid_noise(direction, 0.30, rng, octaves=3))
    red = np.clip(radius / _EYEBALL_RADIUS - 0.55, 0, 1) * np.exp(-((veins / 0.25) ** 2))
    sclera = np.array([0.58, 0.52, 0.49]) * np.exp(-red[:, None] * np.array([0.3, 1.4, 1.3]))
    inside = _step(_IRIS_RADIUS, radius, 0.2)[:, None] * (theta < np.pi / 2)[:, None]
    albedo = inside * iris + (1 - inside) * sclera
    return Part(mesh, albedo, np.full(len(vertices), 1.2), np.full(len(vertices), 700.0))


def _step(edge: float, value: Array, softness: float) -> Array:
    """1 below ``edge``, 0 above."""
    return 1 / (1 + np.exp(np.clip((value - edge) / softness * 3, -50, 50)))
