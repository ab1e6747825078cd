"""Skin colour from two pigments, melanin and blood (Tsumura et al. 1999): linear RGB albedo.

Albedo falls exponentially with the amount of each pigment, so unevenness is drawn as amounts and
dark and light skins come from one set of maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.anatomy import Chart
from mesoface.lab.synthesis.head import Head
from mesoface.lab.synthesis.noise import scatter, solid_noise
from mesoface.lab.synthesis.skin import Complexion, SkinRelief

# Linear RGB of skin without either pigment, and what a unit of each absorbs.
_BASE = np.array([0.74, 0.58, 0.48])
_MELANIN = np.array([0.42, 0.70, 1.00])
_BLOOD = np.array([0.10, 0.62, 0.58])

CLOTH = 0.05  # albedo of caps and collars


def paint(head: Head, relief: SkinRelief, skin: Complexion, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 3) linear RGB albedo of a head's skin, brows and lips.

    Args:
        head: N vertices.
        relief: of the same head; pores and moles are darker.
        skin: the person.
        rng: source of chance.
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
    cap: NDArray[np.float64] = _cap(head)[:, None]
    return albedo * (1 - cap) + CLOTH * cap


def skin_albedo(melanin: NDArray[Any], blood: NDArray[Any]) -> NDArray[Any]:
    """(...,) amounts ≥ 0 of the two pigments → (..., 3) linear RGB."""
    return _BASE * np.exp(-melanin[..., None] * _MELANIN - blood[..., None] * _BLOOD)


def _line_openings(head: Head, albedo: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mucous membrane between the lids and between the lips, dark in the depth of the mouth."""
    chart, points = head.chart, head.reference
    membrane = np.clip(head.opening / 0.6, 0, 1)[:, None]
    albedo = albedo + membrane * (np.array([0.40, 0.19, 0.16]) - albedo)
    mouth = chart.sample(chart.polygon(chart.landmark(anatomy.LIPS_OUTER), 1.0), points)
    corners = chart.landmarks[list(anatomy.MOUTH_CORNERS), 2].mean()
    inner = mouth * np.clip(np.maximum((corners - points[:, 2]) / 4, head.opening / 2), 0, 1)
    return albedo * (1 - 0.9 * inner[:, None])


def _flush(chart: Chart, rng: np.random.Generator) -> NDArray[np.float32]:
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


def _freckles(head: Head, skin: Complexion, rng: np.random.Generator) -> NDArray[np.float64]:
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


def _brows(chart: Chart, rng: np.random.Generator) -> NDArray[np.float32]:
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


def _beard(chart: Chart, rng: np.random.Generator) -> NDArray[np.float32]:
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


def _cap(head: Head) -> NDArray[np.float64]:
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
