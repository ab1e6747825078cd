"""Procedural skin relief: millimetres along the normal, outward positive, as true geometry.

The sizes are those that skin measurements give: pores 0.2–0.5 mm wide, about one per mm² on nose and cheeks;
skin lines 0.3–1 mm apart and 20–60 µm deep; expression wrinkles 0.1–0.6 mm deep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.complexion import Complexion
from mesoface.lab.synthesis.head import Head
from mesoface.lab.synthesis.noise import cell_distances, scatter, solid_noise
from mesoface.lab.synthesis.wrinkles import draw_wrinkles


@dataclass(frozen=True, eq=False)
class Relief:
    """What stands out of the smooth head.

    Args:
        height: (N,) mm along the normal.
        pore: (N,) 0…1, how deep in a pore.
        furrow: (N,) 0…1, how deep in a wrinkle.
        lips: (N,) 0…1, the red of the lips.
        moles: (M, 3) where they are on the reference face.
        mole_radii: (M,) mm.
    """

    height: NDArray[np.float64]
    pore: NDArray[np.float64]
    furrow: NDArray[np.float64]
    lips: NDArray[np.float64]
    moles: NDArray[np.float64]
    mole_radii: NDArray[np.float64]


def make_relief(head: Head, skin: Complexion, rng: np.random.Generator) -> Relief:
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
    cells, _, _ = scatter(surface, np.full(len(surface.faces), 1.4), rng)
    height += rough * (0.5 + 0.5 * skin.age) * _skin_lines(points, cells)
    pore = rough * _pores(points, surface, chart, rng)
    height -= (0.03 + 0.06 * skin.pores) * pore
    moles, radii, raised = _moles(surface, rng)
    height += _bumps(points, moles, radii, raised)
    return Relief(height * head.grown, pore, np.clip(-wrinkles / 0.4, 0, 1), lips, moles, radii)


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
    surface: Mesh, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(M, 3) places, (M,) radii and (M,) heights of a handful of moles, flat or raised, mm."""
    density = rng.uniform(2, 12) / surface.face_areas().sum()
    places, _, _ = scatter(surface, np.full(len(surface.faces), density), rng)
    radii = rng.uniform(0.5, 1.6, len(places))
    return places, radii, radii * rng.choice([0.05, 0.1, 0.4], len(places))


def _bumps(
    points: NDArray[np.float64],
    places: NDArray[np.float64],
    radii: NDArray[np.float64],
    heights: NDArray[np.float64],
) -> NDArray[np.float64]:
    total = np.zeros(len(points))
    for place, radius, height in zip(places, radii, heights, strict=True):
        near = ((points - place) ** 2).sum(1)
        total += height * np.exp(-near / radius**2)
    return total
