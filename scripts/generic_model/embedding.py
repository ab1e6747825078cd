"""Where mediapipe's 468 face points lie on the head mesh, found by looking at many rendered heads."""

from __future__ import annotations

from dataclasses import dataclass

import mediapipe as mp
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from generic_model.exposure import exposure
from generic_model.heads import SKIN_MATERIALS, VISIBLE_MATERIALS, Heads
from generic_model.portraits import Painter, portrait_camera, visible_head
from mesoface.geometry.closest_point import MeshSurface
from mesoface.geometry.mesh import Mesh
from mesoface.running.progress import ProgressCallback

POINTS = 468  # the face; 468–477 are the irises, which turn with the eyeball
VIEWS = ((-50, 0), (-28, 3), (-10, 0), (10, 0), (28, 3), (50, 0), (0, 20), (0, -22), (22, -20), (-22, -20))
OPEN_SKIN = 0.25  # exposure above which skin can be seen: the mouth's and nostrils' insides are below
PASSES = 5
SNAP_PIXELS = (
    9  # how far beside the skin (on an eyeball, a tooth) a point may lie and still count as its rim's
)
FACING = 0.35  # cosine between skin normal and line of sight below which a sighting does not count
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)


@dataclass(frozen=True, eq=False)
class Embedding:
    """A place on the head's topology for each landmark.

    Args:
        ids: (L,) landmark numbers.
        corners: (L, 3) vertices of the triangle.
        bary: (L, 3) barycentric coordinates in it.
        spread: (L,) median distance of the single sightings from it, mm.
        count: (L,) how many sightings.
    """

    ids: NDArray[np.int64]
    corners: NDArray[np.int64]
    bary: NDArray[np.float64]
    spread: NDArray[np.float64]
    count: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Sightings:
    """(S,) landmark, (S, 3) vertices and (S, 3) barycentric coordinates hit, (S, 3) direction of the ray."""

    landmark: NDArray[np.int64]
    corners: NDArray[np.int64]
    bary: NDArray[np.float64]
    ray: NDArray[np.float64]


def reference_shape(heads: Heads) -> NDArray[np.float64]:
    """(N, 3) the mean head with the jaw a little open, so that upper and lower lip are apart."""
    weights = np.zeros(len(heads.names))
    weights[heads.names.index("jawOpen")] = 0.3
    return heads.shape(np.zeros(len(heads.identity)), weights)


def open_skin(heads: Heads) -> NDArray[np.bool_]:
    """(F,) which of the head's triangles are skin that can be seen."""
    mesh, material, _ = visible_head(heads, reference_shape(heads))
    seen = np.zeros(len(heads.triangles), bool)
    kept = np.isin(heads.material, VISIBLE_MATERIALS)
    seen[kept] = np.isin(material, SKIN_MATERIALS) & (exposure(mesh) > OPEN_SKIN)
    return seen


def measure_embedding(
    heads: Heads, seen: NDArray[np.bool_], count: int, seed: int, progress: ProgressCallback, size: int = 512
) -> Embedding:
    """Render ``count`` heads from every direction of ``VIEWS``, detect, cast the points' rays, average.

    Every other head has an expression. A sighting counts where the skin faces the camera; the inner lips
    only where the mouth is open. All are carried to the mean head, where their geometric median is taken,
    made symmetric and put back onto the skin.

    Args:
        heads: the model.
        seen: (F,) see :func:`open_skin`.
        count: number of heads.
        seed: of the identities, expressions, lights.
        progress: called after every head.
        size: pixels of the square pictures.
    """
    detector = mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.4
    )
    painter, rng = Painter(heads), np.random.default_rng(seed)
    parts: list[_Sightings] = []
    with detector:
        for k in range(count):
            expression = np.zeros(len(heads.names))
            if k % 2:
                expression = heads.random_expression(rng, groups=2, strength=0.6)
                expression[heads.names.index("jawOpen")] = rng.uniform(0.1, 0.45)
            vertices = heads.shape(0.8 * rng.normal(size=len(heads.identity)), expression)
            parts += _sightings_of_head(heads, seen, vertices, painter, detector, rng, size)
            progress("rendering and detecting", k + 1, count)
    joined = _Sightings(*(np.concatenate([getattr(p, f) for p in parts]) for f in _Sightings.__annotations__))
    return _average(heads, seen, joined)


def _sightings_of_head(
    heads: Heads,
    seen: NDArray[np.bool_],
    vertices: NDArray[np.float64],
    painter: Painter,
    detector: mp.solutions.face_mesh.FaceMesh,
    rng: np.random.Generator,
    size: int,
) -> list[_Sightings]:
    mesh, material, caster = visible_head(heads, vertices)
    skin = seen[np.isin(heads.material, VISIBLE_MATERIALS)]
    normals = mesh.vertex_normals()
    found = []
    for yaw, pitch in VIEWS:
        camera = portrait_camera(yaw + rng.uniform(-4, 4), pitch + rng.uniform(-4, 4), size)
        image_hits = caster.render(camera)
        image = painter.paint(mesh, material, image_hits, (size, size), rng)
        faces = detector.process(image).multi_face_landmarks
        if not faces:
            continue
        pixels = np.array([(p.x, p.y) for p in faces[0].landmark])[:POINTS] * size - 0.5
        usable, pixels = _onto_skin(
            pixels, np.where(image_hits.hit, skin[image_hits.face], False).reshape(size, size)
        )
        if np.linalg.norm(pixels[13] - pixels[14]) < 0.012 * size:
            usable[list(UPPER_INNER_LIP[1:-1] + LOWER_INNER_LIP[1:-1])] = False
        rays = camera.rays(pixels)
        hits = caster.cast(camera.center, rays)
        facing = -np.einsum("nk,nk->n", hits.interpolate(normals, mesh.faces), rays)
        usable &= hits.hit & (facing > FACING)
        usable[usable] &= skin[hits.face[usable]]
        which = np.flatnonzero(usable)
        corners = mesh.faces[hits.face[which]]
        found.append(_Sightings(which, corners, hits.bary[which], rays[which]))
    return found


def _onto_skin(
    pixels: NDArray[np.float64], skin: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Move pixels (L, 2) that show no skin to the nearest that do; (L,) False where that is too far."""
    distance, (row, column) = distance_transform_edt(~skin, return_indices=True)
    at = np.clip(np.rint(pixels).astype(int), 0, np.array(skin.shape[::-1]) - 1)
    off = distance[at[:, 1], at[:, 0]]
    nearest = np.stack([column[at[:, 1], at[:, 0]], row[at[:, 1], at[:, 0]]], 1)
    return off <= SNAP_PIXELS, np.where((off > 0)[:, None], nearest, pixels)


def _average(heads: Heads, seen: NDArray[np.bool_], sightings: _Sightings) -> Embedding:
    reference, triangles = reference_shape(heads), heads.triangles[seen]
    places = np.einsum("sk,skc->sc", sightings.bary, reference[sightings.corners])
    surface = MeshSurface(Mesh(reference, triangles))
    count = np.bincount(sightings.landmark, minlength=POINTS)
    if count.min() < 20:
        raise SystemExit(f"landmark {count.argmin()} was seen only {count.min()} times; use more heads")
    weight = np.ones(len(places))
    for _ in range(PASSES):
        median = np.stack(
            [
                geometric_median(places[mine], weight[mine])
                for mine in sightings.landmark == np.arange(POINTS)[:, None]
            ]
        )
        closest = surface.closest(_symmetric(median))
        normal = surface.normals(closest)
        # What a detector draws on the far side of a turned head is a guess that lands somewhere else:
        # only the views that the place itself faces may move it.
        facing = -np.einsum("sc,sc->s", normal[sightings.landmark], sightings.ray)
        weight = np.clip(facing - FACING, 0, None) + 1e-9
    off = np.linalg.norm(places - closest.points[sightings.landmark], axis=1)
    trusted = facing > FACING
    spread = np.array([np.median(off[trusted & (sightings.landmark == k)]) for k in range(POINTS)])
    count = np.bincount(sightings.landmark[trusted], minlength=POINTS)
    return Embedding(np.arange(POINTS), triangles[closest.face], closest.bary, spread, count)


def _symmetric(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L, 3) with each point and its twin across x = 0 made mirror images."""
    mirrored = points * (-1, 1, 1)
    twin = np.linalg.norm(points[:, None] - mirrored[None], axis=2).argmin(1)
    mutual = twin[twin] == np.arange(len(points))
    return np.where(mutual[:, None], (points + mirrored[twin]) / 2, points)


def geometric_median(points: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) the point with the least weighted sum of distances to ``points`` (N, 3) (Weiszfeld 1937)."""
    center = np.median(points, axis=0)
    for _ in range(60):
        w = weights / np.maximum(np.linalg.norm(points - center, axis=1), 1e-3)
        center = w @ points / w.sum()
    return center
