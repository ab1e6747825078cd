"""Where things are on a face, and what skin is drawn with: groups of MediaPipe landmarks, a flat chart for
strokes, and random fields over points in space (smooth noise, cells), which need no UVs and have no seams.

Nothing here depends on a face model's mesh, so one skin fits every model that has the landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mesoface.errors import FaceModelError
from mesoface.face_models.model import FaceModel
from mesoface.geometry.camera import Array
from mesoface.geometry.mesh import Mesh

SCHEME = "mediapipe478"
Canvas = NDArray[np.float32]
"""(rows, columns) values drawn on a :class:`Chart`."""
# Rings and lines of the 468-point topology; "right" is the subject's right.
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
# Per side, from the nose outwards: upper and lower edge of the brow.
BROWS = (
    ((107, 66, 105, 63, 70), (55, 65, 52, 53, 46)),
    ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276)),
)
NASOLABIAL = ((129, 203, 206, 216, 212), (358, 423, 426, 436, 432))
CHEEKS, NOSE, CHIN, FOREHEAD, BETWEEN_BROWS = (205, 425), 4, 152, 10, 9
ALAE, JAW_SIDES, SUBNASALE, MOUTH_CORNERS = (129, 358), (234, 454), 2, (61, 291)
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_LATTICE = 40
# Standard deviation of white noise after cubic B-spline interpolation, averaged over the cell.
_SPLINE_STD = (151 / 315) ** 1.5


def landmark_positions(model: FaceModel, vertices: Array) -> Array:
    """(478, 3) landmarks on the model's mesh at ``vertices`` (N, 3); NaN where the model has none.

    Raises:
        FaceModelError: the model lacks landmarks that place the skin.
    """
    topology = model.topology
    points = np.full((478, 3), np.nan)
    if SCHEME in topology.landmark_ids:
        corners = vertices[topology.faces[topology.landmark_faces[SCHEME]]]
        bary = topology.landmark_bary[SCHEME]
        points[topology.landmark_ids[SCHEME]] = np.einsum("lk,lkc->lc", bary, corners)
    single = (*CHEEKS, NOSE, CHIN, FOREHEAD, BETWEEN_BROWS, *ALAE, *JAW_SIDES, SUBNASALE, *MOUTH_CORNERS)
    groups = (LIPS_OUTER, LIPS_INNER, *EYES, *BROWS[0], *BROWS[1], *NASOLABIAL, FACE_OVAL, single)
    missing = sorted({i for group in groups for i in group if np.isnan(points[i, 0])})
    if missing:
        raise FaceModelError(
            f"face model {model.name!r} lacks {len(missing)} of the {SCHEME} landmarks that place the skin "
            f"(the first: {missing[0]})",
            remedy="use the model 'generic' or 'ict'",
        )
    return points


@dataclass(frozen=True, eq=False)
class Chart:
    """A face unrolled from a cylinder: s along the circumference, y up, both mm. A canvas to draw on.

    Unrolling stretches surfaces that face up, down or sideways (under and beside the nose). Strokes can be
    drawn here; textures that must be even belong on the surface (:func:`solid_noise`).

    Args:
        landmarks: (478, 3) on the reference face.
        resolution: mm per pixel of the canvas.
    """

    landmarks: Array
    resolution: float = 0.2

    @cached_property
    def _frame(self) -> tuple[float, float, Array, tuple[int, int]]:
        """Axis depth and radius of the cylinder, lower corner of the canvas, its (rows, columns)."""
        sides = self.landmarks[list(JAW_SIDES)]
        depth, radius = float(sides[:, 2].mean()) - 10.0, float(np.abs(sides[:, 0]).mean())
        y = self.landmarks[list(FACE_OVAL), 1]
        low = np.array([-2.2 * radius, y.min() - 30.0])
        high = np.array([2.2 * radius, y.max() + 60.0])
        columns, rows = np.ceil((high - low) / self.resolution).astype(int)
        return depth, radius, low, (int(rows), int(columns))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the canvas."""
        return self._frame[3]

    def flatten(self, points: Array) -> Array:
        """(..., 3) points of the reference face → (..., 2) s and y, mm."""
        depth, radius, _, _ = self._frame
        s = radius * np.arctan2(points[..., 0], points[..., 2] - depth)
        return np.stack([s, points[..., 1]], -1)

    def landmark(self, index: int | ArrayLike, *, up: float = 0.0) -> Array:
        """(..., 2) s and y of landmarks, or of places ``up`` mm above them."""
        return self.flatten(self.landmarks[np.asarray(index)]) + np.array([0.0, up])

    def pixels(self, sy: Array) -> Array:
        """(..., 2) s and y → (..., 2) column and row of the canvas."""
        return (sy - self._frame[2]) / self.resolution

    def polygon(self, sy: Array, feather: float) -> Canvas:
        """Canvas that is 1 inside the closed curve ``sy`` (K, 2) and falls to 0 over ``feather`` mm."""
        canvas = np.zeros(self.shape, np.uint8)
        corners = np.round(self.pixels(sy) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, shift=4)
        return self.blur(canvas.astype(np.float32) / 255, feather / 2)

    def blob(self, sy: ArrayLike, sigma: float | tuple[float, float]) -> Canvas:
        """Canvas with a Gaussian of height 1 and ``sigma`` mm (along s, along y) at ``sy`` (2,)."""
        column, row = self.pixels(np.asarray(sy, np.float64))
        sx, sy_ = np.broadcast_to(np.asarray(sigma, np.float64) / self.resolution, 2)
        x = np.exp(-(((np.arange(self.shape[1]) - column) / sx) ** 2) / 2)
        y = np.exp(-(((np.arange(self.shape[0]) - row) / sy_) ** 2) / 2)
        return np.outer(y, x).astype(np.float32)

    def strokes(self, sy: Array, weight: Array, sigma: float) -> Canvas:
        """Canvas of soft lines.

        Args:
            sy: (K, 2) points along the lines, closer together than ``sigma``.
            weight: (K,) height of the line there times the length the point stands for, mm.
            sigma: of the Gaussian profile across the line, mm.
        """
        canvas = np.zeros(self.shape[0] * self.shape[1])
        at = self.pixels(sy)
        corner = np.floor(at).astype(int)
        part = at - corner
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column, row = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (column >= 0) & (column < self.shape[1]) & (row >= 0) & (row < self.shape[0])
            share = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]) * weight
            canvas += np.bincount((row * self.shape[1] + column)[inside], share[inside], len(canvas))
        # A line of unit weight per mm becomes one of height 1.
        canvas *= np.sqrt(2 * np.pi) * sigma / self.resolution**2
        return self.blur(canvas.reshape(self.shape).astype(np.float32), sigma)

    def blur(self, canvas: Canvas, sigma: float) -> Canvas:
        """Gaussian blur by ``sigma`` mm."""
        if sigma < 0.3 * self.resolution:
            return canvas
        return cv2.GaussianBlur(canvas, (0, 0), sigma / self.resolution, borderType=cv2.BORDER_REPLICATE)

    def sample(self, canvas: Canvas, points: Array) -> Array:
        """(N,) bilinear values of ``canvas`` at points (N, 3) of the reference face; 0 outside of it."""
        column, row = self.pixels(self.flatten(points)).T
        return map_coordinates(canvas, [row, column], order=1, mode="constant", cval=0.0)


def solid_noise(
    points: Array,
    wavelength: float,
    rng: np.random.Generator,
    *,
    octaves: int = 1,
    gain: float = 0.6,
    spacing: Array | None = None,
) -> Array:
    """Smooth noise of zero mean and unit variance: white noise on a lattice, cubic B-spline interpolated.

    Args:
        points: (N, 3) mm.
        wavelength: size of the coarsest octave's features, mm.
        rng: source of chance; the number of draws does not depend on ``points``.
        octaves: each has half the wavelength of the one before it.
        gain: amplitude of an octave over the one before it.
        spacing: (N,) distance to neighbouring points, mm. Where it is too coarse for an octave, the octave
            fades instead of aliasing.

    Returns:
        (N,).
    """
    total, power = np.zeros(len(points)), 0.0
    for octave in range(octaves):
        lattice = rng.standard_normal((_LATTICE,) * 3).astype(np.float32)
        # A turned lattice hides its axes, and its period from the eye.
        turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        cell = wavelength / 2 ** (octave + 1)
        where = points @ (turn / cell) + rng.uniform(0, _LATTICE, 3)
        value = map_coordinates(lattice, where.T, order=3, mode="grid-wrap", prefilter=False)
        if spacing is not None:
            value *= np.clip(3 - 2 * spacing / cell, 0, 1)
        total += gain**octave * value
        power += gain ** (2 * octave)
    return total / (_SPLINE_STD * np.sqrt(power))


def scatter(
    mesh: Mesh, density: Array | float, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64], Array]:
    """Random points on a surface.

    Args:
        mesh: F faces.
        density: expected points per mm², of each of the F faces or of all.
        rng: source of chance.

    Returns:
        (K, 3) points, (K,) the face of each and (K, 3) its barycentric coordinates.
    """
    expected = np.cumsum(mesh.face_areas() * np.maximum(density, 0))
    count = rng.poisson(expected[-1]) if len(expected) else 0
    face = np.searchsorted(
        expected, rng.uniform(0, expected[-1] if len(expected) else 0, count), side="right"
    )
    face = np.minimum(face, len(mesh.faces) - 1)
    r, s = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    bary = np.stack([1 - r, r * (1 - s), r * s], 1)
    return np.einsum("kc,kcd->kd", bary, mesh.face_corners()[face]), face, bary


def cell_distances(points: Array, seeds: Array, *, reach: float) -> tuple[Array, NDArray[np.int64]]:
    """Distances to the two nearest seeds (Worley 1996).

    Args:
        points: (N, 3).
        seeds: (K, 3), K ≥ 2.
        reach: seeds further away are ignored.

    Returns:
        (N, 2) distances, nearest first, inf where there is none within reach; and (N,) the nearest seed,
        K where there is none.
    """
    distance, index = cKDTree(seeds).query(points, k=2, distance_upper_bound=reach)
    return distance, index[:, 0]
