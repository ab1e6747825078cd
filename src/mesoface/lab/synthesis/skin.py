"""Procedural skin: its properties, its relief in millimetres along the normal, outward positive, its colour.

Sizes follow skin measurements: pores 0.2–0.5 mm wide, about one per mm² on nose and cheeks; skin lines
0.3–1 mm apart and 20–60 µm deep; expression wrinkles 0.1–0.6 mm deep.

Colour comes from two pigments, melanin and blood (Tsumura et al. 1999): linear RGB albedo falls exponentially
with the amount of each, so unevenness is drawn as amounts and dark and light skins come from one set of maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.spatial import cKDTree

from mesoface.geometry.camera import Array
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.anatomy import Canvas, Chart, cell_distances, scatter, solid_noise
from mesoface.lab.synthesis.head import Head

_STEP = 0.15  # mm between the points of a line
# Linear RGB of skin without either pigment, and what a unit of each absorbs.
_BASE = np.array([0.74, 0.58, 0.48])
_MELANIN = np.array([0.42, 0.70, 1.00])
_BLOOD = np.array([0.10, 0.62, 0.58])
CLOTH = 0.05  # albedo of caps and collars


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

    height: Array
    pore: Array
    furrow: Array
    lips: Array
    moles: Array
    mole_radii: Array


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


def _skin_lines(points: Array, cells: Array) -> Array:
    """Fine furrows between polygonal plates: where the two nearest cells are equally far."""
    if len(cells) < 2:
        return np.zeros(len(points))
    distance, _ = cell_distances(points, cells, reach=4.0)
    height = np.zeros(len(points))
    near = np.isfinite(distance[:, 1])
    first, second = distance[near].T
    height[near] = -0.035 * np.exp(-((first / 1.5) ** 2) - ((second - first) / 0.22) ** 2)
    return height


def _pores(points: Array, surface: Mesh, chart: anatomy.Chart, rng: np.random.Generator) -> Array:
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


def _moles(points: Array, surface: Mesh, rng: np.random.Generator) -> tuple[Array, Array, Array]:
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

    points: list[Array] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)

    def add(self, sy: Array, depth: float, rng: np.random.Generator, waver: float = 0.0) -> None:
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

    def draw(self, chart: Chart, sigma: float) -> Canvas:
        """Valleys of profile σ with the skin pushed up beside them (no volume is lost)."""
        points, weights = np.concatenate(self.points), np.concatenate(self.weights)
        valley = chart.strokes(points, weights, sigma)
        banks = chart.strokes(points, weights, 2.2 * sigma)
        return 0.5 * banks - 1.25 * valley


def smooth_line(sy: Array) -> Array:
    """(K, 2) knots → points of an interpolating spline every 0.15 mm or so."""
    length = np.linalg.norm(np.diff(sy, axis=0), axis=1)
    knots = np.concatenate([[0], np.cumsum(length)])
    spline = make_interp_spline(knots, sy, k=min(3, len(sy) - 1))
    return spline(np.linspace(0, knots[-1], max(8, int(knots[-1] / _STEP))))


def draw_wrinkles(chart: Chart, age: float, rng: np.random.Generator) -> Canvas:
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


def paint(
    head: Head, relief: SkinRelief, skin: Complexion, rng: np.random.Generator, contrast: float = 1.0
) -> Array:
    """(N, 3) linear RGB albedo of a head's skin, brows and lips.

    Args:
        head: N vertices.
        relief: of the same head; pores and moles are darker.
        skin: the person.
        rng: source of chance.
        contrast: share that is kept of what the skin's pigments, pores and moles differ from their mean.
            Lips, brows and stubble keep theirs.
    """
    points, chart, spacing = head.reference, head.chart, head.spacing
    melanin = 0.10 + 2.8 * skin.melanin**1.6
    blood = 0.30 + 0.15 * skin.redness

    m = melanin * (1 + 0.10 * solid_noise(points, 16.0, rng, octaves=2))
    m = m + (0.04 + 0.04 * melanin) * solid_noise(points, 3.5, rng, octaves=2, spacing=spacing)
    m += (0.08 + 0.05 * melanin) * solid_noise(points, 1.1, rng, octaves=2, gain=0.9, spacing=spacing)
    h = (
        blood
        + 0.05 * solid_noise(points, 20.0, rng)
        + 0.06 * solid_noise(points, 4.0, rng, octaves=2, spacing=spacing)
    )
    h += (0.06 + 0.30 * skin.redness) * chart.sample(_flush(chart, rng), points)

    m += _freckles(head, skin, rng)
    m += 0.35 * relief.pore
    if len(relief.moles):
        distance, nearest = cKDTree(relief.moles).query(points)
        m += (0.8 + 0.5 * melanin) * np.exp(-((distance / relief.mole_radii[nearest]) ** 4))
    if contrast < 1:
        m, h = (pigment.mean() + contrast * (pigment - pigment.mean()) for pigment in (m, h))
    lip_tone = 1 + 0.15 * solid_noise(points, 2.0, rng, octaves=2)
    h += relief.lips * (0.85 * lip_tone)
    m += relief.lips * 0.15 * melanin

    front = points[:, 2] > np.nanmin(chart.landmarks[:, 2]) - 5
    hairs = _brows(chart, rng) + skin.stubble * _beard(chart, rng)
    hair = np.clip(chart.sample(hairs, points), 0.0, 1.0) * front
    albedo = skin_albedo(np.maximum(m, 0), np.maximum(h, 0))
    hair_colour = (1 - skin.hair) * np.array([0.025, 0.018, 0.014]) + skin.hair * np.array([0.20, 0.12, 0.06])
    albedo += (hair_colour - albedo) * hair[:, None]
    # Light is trapped in furrows narrower than the distance at which occlusion is measured.
    albedo *= 1 - 0.35 * relief.furrow[:, None]
    albedo = _line_openings(head, albedo)
    cap: Array = _cap(head)[:, None]
    return albedo * (1 - cap) + CLOTH * cap


def skin_albedo(melanin: NDArray[Any], blood: NDArray[Any]) -> NDArray[Any]:
    """(...,) amounts ≥ 0 of the two pigments → (..., 3) linear RGB."""
    return _BASE * np.exp(-melanin[..., None] * _MELANIN - blood[..., None] * _BLOOD)


def _line_openings(head: Head, albedo: Array) -> Array:
    """Mucous membrane between the lids and between the lips, dark in the depth of the mouth."""
    chart, points = head.chart, head.reference
    membrane = np.clip(head.opening / 0.6, 0, 1)[:, None]
    albedo = albedo + membrane * (np.array([0.40, 0.19, 0.16]) - albedo)
    mouth = chart.sample(chart.polygon(chart.landmark(anatomy.LIPS_OUTER), 1.0), points)
    corners = chart.landmarks[list(anatomy.MOUTH_CORNERS), 2].mean()
    inner = mouth * np.clip(np.maximum((corners - points[:, 2]) / 4, head.opening / 2), 0, 1)
    return albedo * (1 - 0.9 * inner[:, None])


def _flush(chart: Chart, rng: np.random.Generator) -> Canvas:
    """Where blood shows: nose, cheeks, alae, chin, and a few blotches."""
    canvas = chart.blob(chart.landmark(anatomy.NOSE), (9, 9)) + 0.4 * chart.blob(
        chart.landmark(anatomy.CHIN, up=10), (14, 10)
    )
    for cheek, wing in zip(anatomy.CHEEKS, anatomy.ALAE, strict=True):
        canvas += 0.8 * chart.blob(chart.landmark(cheek, up=3), (18, 14))
        canvas += 0.8 * chart.blob(chart.landmark(wing), (5, 6))
    face = chart.landmark(anatomy.FACE_OVAL)
    for _ in range(14):
        place = rng.uniform(face.min(0), face.max(0))
        canvas += rng.uniform(0.2, 0.7) * chart.blob(place, rng.uniform(0.8, 3.0))
    return canvas


def _freckles(head: Head, skin: Complexion, rng: np.random.Generator) -> Array:
    """Melanin of freckles and sun spots, most on nose, cheeks and forehead."""
    chart, points = head.chart, head.reference
    surface = Mesh(points, head.mesh.faces[head.facial])
    sun = chart.blob(chart.landmark(anatomy.NOSE, up=14), (42, 16))
    sun += 0.6 * chart.blob(chart.landmark(anatomy.BETWEEN_BROWS, up=25), (40, 18))
    density = 0.004 + 0.12 * skin.freckles * chart.sample(sun, points[surface.faces].mean(1))
    places, _, _ = scatter(surface, density, rng)
    if not len(places):
        return np.zeros(len(points))
    size, strength = rng.uniform(0.35, 1.1, len(places)), rng.uniform(0.1, 0.45, len(places))
    distance, nearest = cKDTree(places).query(points)
    return strength[nearest] * np.exp(-((distance / size[nearest]) ** 2))


def _brows(chart: Chart, rng: np.random.Generator) -> Canvas:
    """Coverage by single hairs that lean outwards, denser towards the nose."""
    lines, weights = [], []
    under = np.zeros(chart.shape, np.float32)
    for upper_ids, lower_ids in anatomy.BROWS:
        upper, lower = chart.landmark(upper_ids), chart.landmark(lower_ids)
        outwards = np.sign(upper[-1, 0] - upper[0, 0])
        under += chart.polygon(np.concatenate([upper, lower[::-1]]), 2.5)
        for along, across in rng.uniform(size=(300, 2)):
            edge = [
                np.array([np.interp(along * 4, range(5), e[:, k]) for k in range(2)]) for e in (upper, lower)
            ]
            root = edge[1] + across * (edge[0] - edge[1])
            # Hairs stand up at the inner end and lie along the brow further out.
            lean = np.deg2rad(75 - 70 * along + rng.normal(0, 12)) - across * 0.5
            tip = root + rng.uniform(4, 8) * np.array([outwards * np.cos(lean), np.sin(lean)])
            count = 40
            lines.append(np.linspace(root, tip, count))
            taper = np.linspace(1, 0.3, count) * np.linalg.norm(tip - root) / count
            weights.append(taper * rng.uniform(0.25, 0.6))
    hairs = chart.strokes(np.concatenate(lines), np.concatenate(weights), 0.14)
    return np.clip(0.8 * hairs, 0, 0.85) + 0.25 * np.clip(under, 0, 1)


def _beard(chart: Chart, rng: np.random.Generator) -> Canvas:
    """Coverage by shaved hairs on upper lip, chin and jaw."""
    low, high = chart.landmark(anatomy.FACE_OVAL).min(0) - [0, 25], chart.landmark(anatomy.SUBNASALE)
    high = np.array([-low[0], high[1]])
    mouth = chart.landmark(list(anatomy.MOUTH_CORNERS))[:, 1].mean()
    region = np.zeros(chart.shape, np.float32)
    region[:] = chart.blob([0, mouth - 22], (46, 26)) + 0.9 * chart.blob([0, mouth + 12], (24, 6))
    for side in (-1, 1):
        region += chart.blob([side * 0.8 * high[0], mouth - 8], (18, 34))
    lips = chart.polygon(chart.landmark(anatomy.LIPS_OUTER), 2.0)
    region = np.clip(1.4 * region, 0, 1) * (1 - lips)
    roots = rng.uniform(low, high, (int(np.prod(high - low) * 0.9), 2))
    pixel = np.clip(chart.pixels(roots).astype(int), 0, np.array(chart.shape[::-1]) - 1)
    roots = roots[rng.uniform(size=len(roots)) < region[pixel[:, 1], pixel[:, 0]]]
    angle = rng.normal(-np.pi / 2, 0.5, len(roots))
    tips = roots + rng.uniform(0.3, 0.8, (len(roots), 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)
    t = np.linspace(0, 1, 6)[:, None, None]
    dots = (roots + t * (tips - roots)).reshape(-1, 2)
    weight = np.full(len(dots), 0.03)
    return np.clip(chart.strokes(dots, weight, 0.15), 0, 0.45) + 0.08 * region


def _cap(head: Head) -> Array:
    """(N,) 1 under a dark cap from the hairline round above the ears to the nape, and on what was added."""
    chart = head.chart
    sy = chart.flatten(head.reference)
    radius = np.abs(chart.landmark(list(anatomy.JAW_SIDES))[:, 0]).mean()
    hairline, brows = chart.landmark(anatomy.FOREHEAD)[1], chart.landmark(anatomy.BETWEEN_BROWS)[1]
    turn = np.array([0.0, 0.5, 0.9, 1.15, 1.5, 1.8, 2.2])  # azimuth over that of the ears' front
    edge = [hairline + 14, hairline + 10, brows + 22, brows + 14, brows + 14, brows - 40, brows - 60]
    low = np.interp(np.abs(sy[:, 0]) / radius, turn, edge)
    covered = 1 / (1 + np.exp(-np.clip((sy[:, 1] - low) / 0.6, -50, 50)))
    return np.maximum(covered, 1 - head.grown)
