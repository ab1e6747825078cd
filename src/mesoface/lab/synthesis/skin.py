"""Procedural skin: its properties, and its relief in millimetres along the normal, outward positive.

Sizes follow skin measurements: pores 0.2–0.5 mm wide, about one per mm² on nose and cheeks; skin lines
0.3–1 mm apart and 20–60 µm deep; expression wrinkles 0.1–0.6 mm deep.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.anatomy import Chart
from mesoface.lab.synthesis.head import Head
from mesoface.lab.synthesis.noise import cell_distances, scatter, solid_noise

_STEP = 0.15  # mm between the points of a line


@dataclass(frozen=True)
class Complexion:
    """Properties in which skins differ, each in [0, 1].

    Args:
        age: how deep the wrinkles are.
        melanin: from very light to dark skin.
        redness: how uneven the blood's colour is.
        freckles: how many.
        stubble: how dense a shaved beard.
        pores: how deep.
        hair: from black to fair brows.
        oil: how shiny.
    """

    age: float
    melanin: float
    redness: float
    freckles: float
    stubble: float
    pores: float
    hair: float
    oil: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Complexion:
        """A random person."""
        melanin = rng.beta(1.3, 2.2)
        return cls(
            age=rng.beta(1.6, 1.8),
            melanin=melanin,
            redness=rng.beta(2, 2),
            freckles=rng.beta(1, 2) * (1 - melanin),
            stubble=float(rng.uniform() < 0.5) * rng.uniform(0.2, 1),
            pores=rng.beta(2, 2),
            hair=rng.beta(1, 3) * (1 - melanin),
            oil=rng.beta(2, 3),
        )


@dataclass(frozen=True, eq=False)
class SkinRelief:
    """Relief of the skin on the smooth head.

    Args:
        height: (N,) mm along the normal.
        pore: (N,) 0…1, how deep in a pore.
        furrow: (N,) 0…1, how deep in a wrinkle.
        lips: (N,) 0…1, the red of the lips.
        moles: (M, 3) positions on the reference face.
        mole_radii: (M,) mm.
    """

    height: NDArray[np.float64]
    pore: NDArray[np.float64]
    furrow: NDArray[np.float64]
    lips: NDArray[np.float64]
    moles: NDArray[np.float64]
    mole_radii: NDArray[np.float64]


def make_relief(head: Head, skin: Complexion, rng: np.random.Generator) -> SkinRelief:
    """Draw the relief of a head's skin.

    Args:
        head: N vertices.
        skin: the person.
        rng: source of chance.
    """
    points, chart = head.reference, head.chart
    lips = chart.sample(chart.polygon(chart.landmark(anatomy.LIPS_OUTER), 1.2), points)
    lips *= points[:, 2] > np.nanmin(chart.landmarks[:, 2])
    rough = 1 - lips  # lips are smooth but for their own furrows

    height = 0.12 * solid_noise(points, 14.0, rng, octaves=2)
    height += rough * 0.022 * solid_noise(points, 2.4, rng, octaves=2, spacing=head.spacing)
    wrinkles = chart.sample(draw_wrinkles(chart, skin.age, rng), points)
    height += wrinkles

    surface = Mesh(points, head.mesh.faces[head.facial])
    cells, _, _ = scatter(surface, 1.4, rng)
    height += rough * (0.5 + 0.5 * skin.age) * _skin_lines(points, cells)
    pore = rough * _pores(points, surface, chart, rng)
    height -= (0.03 + 0.06 * skin.pores) * pore
    moles, radii, bumps = _moles(points, surface, rng)
    height += bumps
    return SkinRelief(height * head.grown, pore, np.clip(-wrinkles / 0.4, 0, 1), lips, moles, radii)


def _skin_lines(points: NDArray[np.float64], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fine furrows between polygonal plates: where the two nearest cells are equally far."""
    if len(cells) < 2:
        return np.zeros(len(points))
    distance, _ = cell_distances(points, cells, reach=4.0)
    height = np.zeros(len(points))
    near = np.isfinite(distance[:, 1])
    first, second = distance[near].T
    height[near] = -0.035 * np.exp(-((first / 1.5) ** 2) - ((second - first) / 0.22) ** 2)
    return height


def _pores(
    points: NDArray[np.float64], surface: Mesh, chart: anatomy.Chart, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(N,) 0…1: dense and wide on nose and inner cheeks, sparse and fine elsewhere."""
    centres = points[surface.faces].mean(1)
    nose = chart.blob(chart.landmark(anatomy.NOSE, up=8), (16, 16))
    cheeks = sum(chart.blob(chart.landmark(i), (17, 15)) for i in anatomy.CHEEKS)
    region = np.clip(nose + 0.8 * cheeks, 0, 1)
    seeds, _, _ = scatter(surface, 0.35 + 0.75 * chart.sample(region, centres), rng)
    if len(seeds) < 2:
        return np.zeros(len(points))
    strength = (0.35 + 0.65 * chart.sample(region, seeds)) * rng.uniform(0.4, 1.0, len(seeds))
    radius = (0.16 + 0.14 * strength) * rng.uniform(0.8, 1.3, len(seeds))
    distance, nearest = cell_distances(points, seeds, reach=1.5)
    depth, near = np.zeros(len(points)), np.isfinite(distance[:, 0])
    nearest = nearest[near]
    depth[near] = strength[nearest] * np.exp(-((distance[near, 0] / (1.4 * radius[nearest])) ** 2))
    return depth


def _moles(
    points: NDArray[np.float64], surface: Mesh, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A handful of moles, flat or raised: (M, 3) places, (M,) radii and their (N,) height at points, mm."""
    density = rng.uniform(2, 12) / surface.face_areas().sum()
    places, _, _ = scatter(surface, density, rng)
    radii = rng.uniform(0.5, 1.6, len(places))
    heights, bumps = radii * rng.choice([0.05, 0.1, 0.4], len(places)), np.zeros(len(points))
    for place, radius, height in zip(places, radii, heights, strict=True):
        bumps += height * np.exp(-((points - place) ** 2).sum(1) / radius**2)
    return places, radii, bumps


@dataclass
class _Lines:
    """Lines of one width, collected before they are drawn."""

    points: list[NDArray[np.float64]] = field(default_factory=list)
    weights: list[NDArray[np.float64]] = field(default_factory=list)

    def add(
        self, sy: NDArray[np.float64], depth: float, rng: np.random.Generator, waver: float = 0.0
    ) -> None:
        """A smooth line through ``sy`` (K, 2) that fades at its ends and wavers by about ``waver`` mm."""
        line = smooth_line(sy)
        t = np.linspace(0, 1, len(line))
        if waver:
            for axis in range(2):
                line[:, axis] += waver * sum(
                    rng.normal() / k * np.sin(np.pi * k * t + rng.uniform(0, 6.3)) for k in (2, 4, 7, 11)
                )
        uneven = 1 + 0.35 * sum(
            rng.normal() / k * np.sin(6.3 * k * t + rng.uniform(0, 6.3)) for k in (1, 2, 5)
        )
        self.points.append(line)
        self.weights.append(depth * np.clip(uneven, 0.1, 2) * np.sin(np.pi * t) ** 0.7 * _STEP)

    def draw(self, chart: Chart, sigma: float) -> NDArray[np.float32]:
        """Valleys of profile σ with the skin pushed up beside them (no volume is lost)."""
        points, weights = np.concatenate(self.points), np.concatenate(self.weights)
        valley = chart.strokes(points, weights, sigma)
        banks = chart.strokes(points, weights, 2.2 * sigma)
        return 0.5 * banks - 1.25 * valley


def smooth_line(sy: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 2) knots → points of an interpolating spline every 0.15 mm or so."""
    length = np.linalg.norm(np.diff(sy, axis=0), axis=1)
    knots = np.concatenate([[0], np.cumsum(length)])
    spline = make_interp_spline(knots, sy, k=min(3, len(sy) - 1))
    return spline(np.linspace(0, knots[-1], max(8, int(knots[-1] / _STEP))))


def draw_wrinkles(chart: Chart, age: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Canvas of heights, mm.

    Args:
        chart: of the reference face.
        age: 0 (only the lines of every face) … 1 (deep wrinkles).
        rng: source of chance.
    """
    fine, medium, deep = _Lines(), _Lines(), _Lines()
    _forehead(chart, age, fine, medium, rng)
    _frown(chart, age, medium, rng)
    _eyes(chart, age, fine, medium, rng)
    _nasolabial(chart, age, deep, rng)
    _lips(chart, fine, rng)
    return fine.draw(chart, 0.3) + medium.draw(chart, 0.6) + deep.draw(chart, 1.6)


def _forehead(chart: Chart, age: float, fine: _Lines, medium: _Lines, rng: np.random.Generator) -> None:
    brow = chart.landmark([i for side in anatomy.BROWS for i in side[0]])
    bottom, top = brow[:, 1].max() + 6, chart.landmark(anatomy.FOREHEAD)[1] - 2
    half = np.abs(brow[:, 0]).max()
    count = int(rng.integers(3, 7))
    for level in np.linspace(bottom, top, count) + rng.normal(0, 2, count):
        left, right = -half * rng.uniform(0.4, 0.95), half * rng.uniform(0.4, 0.95)
        s = np.linspace(left, right, 9)
        sag = 5 * np.cos(2 * np.pi * s / (2.2 * half)) * rng.uniform(0.3, 1)
        medium.add(np.stack([s, level - sag], 1), (0.04 + 0.30 * age) * rng.uniform(0.5, 1.2), rng, 0.7)
    for _ in range(18):
        middle, length = rng.uniform(-half, half), rng.uniform(8, 35)
        s = middle + np.linspace(-length / 2, length / 2, 5)
        level = rng.uniform(bottom, top)
        fine.add(np.stack([s, np.full(5, level)], 1), (0.02 + 0.07 * age) * rng.uniform(0.4, 1), rng, 0.6)


def _frown(chart: Chart, age: float, medium: _Lines, rng: np.random.Generator) -> None:
    middle = chart.landmark(anatomy.BETWEEN_BROWS)
    for side in (-1, 1):
        if rng.uniform() < 0.3 + 0.6 * age:
            y = np.linspace(-6, rng.uniform(5, 12), 4)
            s = side * (4.5 + 0.12 * y + rng.normal(0, 0.8))
            medium.add(middle + np.stack([s, y], 1), 0.05 + 0.35 * age * rng.uniform(0.4, 1), rng, 0.4)


def _eyes(chart: Chart, age: float, fine: _Lines, medium: _Lines, rng: np.random.Generator) -> None:
    for ring in anatomy.EYES:
        eye = chart.landmark(ring)
        outer, inner = eye[0], eye[8]
        away = np.sign(outer[0] - inner[0])
        for angle in np.linspace(-0.75, 0.6, int(rng.integers(4, 8))) + rng.normal(0, 0.06):
            start, length = outer + np.array([away * rng.uniform(5, 9), 0]), rng.uniform(9, 24)
            t = np.linspace(0, 1, 5)[:, None]
            direction = np.array([away * np.cos(angle), np.sin(angle)])
            bend = np.array([0, rng.normal(0, 2.0)])
            line = start + [0, 7 * np.sin(angle)] + t * length * direction + t * (1 - t) * bend
            (medium if rng.uniform() < 0.5 else fine).add(
                line, (0.03 + 0.2 * age) * rng.uniform(0.5, 1), rng, 0.3
            )
        lower = eye[1:8]  # along the lower lid, outer to inner corner
        for drop in np.arange(3.0, rng.uniform(8, 14), 2.2):
            arc = lower - [0, 1] * np.array(
                [[drop * (0.9 + 0.25 * np.sin(np.pi * x))] for x in np.linspace(0, 1, 7)]
            )
            fine.add(arc, (0.03 + 0.12 * age) * rng.uniform(0.4, 1), rng, 0.35)
        upper = eye[9:16]
        medium.add(upper + np.array([0, rng.uniform(4.0, 6.0)]), 0.15 + 0.25 * age, rng)


def _nasolabial(chart: Chart, age: float, deep: _Lines, rng: np.random.Generator) -> None:
    for line in anatomy.NASOLABIAL:
        deep.add(chart.landmark(line), 0.15 + 0.7 * age * rng.uniform(0.5, 1), rng, 0.3)


def _lips(chart: Chart, fine: _Lines, rng: np.random.Generator) -> None:
    outer, inner = chart.landmark(anatomy.LIPS_OUTER), chart.landmark(anatomy.LIPS_INNER)
    for position in rng.uniform(0, len(outer), 70):
        i, part = int(position), position % 1
        ends = [ring[i] * (1 - part) + ring[(i + 1) % len(ring)] * part for ring in (outer, inner)]
        line = np.linspace(ends[0], ends[1], 4)
        line[:, 0] += rng.normal(0, 0.3)
        fine.add(line, rng.uniform(0.03, 0.12), rng)
