"""Eyeballs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.geometry.mesh import Mesh, unit
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.noise import solid_noise
from mesoface.lab.synthesis.scene import Part

_EYEBALL_RADIUS, _IRIS_RADIUS = 12.0, 5.85  # mm, adults' means
_LID_GAP = 0.3  # mm between the eyeball and the lids' edge
_RINGS, _SECTORS = 120, 160


def make_eyes(landmarks: NDArray[np.float64], gaze_at: ArrayLike, rng: np.random.Generator) -> list[Part]:
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


def eyeball_center(lids: NDArray[np.float64]) -> NDArray[np.float64]:
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


def _iris_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = np.array([[0.07, 0.035, 0.015], [0.12, 0.065, 0.025], [0.10, 0.10, 0.045], [0.09, 0.15, 0.20]])
    return palette[rng.integers(len(palette))] * rng.uniform(0.8, 1.4)


def _eyeball(
    center: NDArray[np.float64],
    gaze: NDArray[np.float64],
    colour: NDArray[np.float64],
    pupil: float,
    rng: np.random.Generator,
) -> Part:
    """A sphere with its pole at the pupil, finer towards it."""
    polar = np.pi * np.linspace(0, 1, _RINGS) ** 1.5
    around = np.linspace(0, 2 * np.pi, _SECTORS, endpoint=False)
    side = unit(np.cross([0.0, 1.0, 0.0], gaze))
    up = np.cross(gaze, side)
    theta, phi = (x.ravel() for x in np.meshgrid(polar, around, indexing="ij"))
    direction = (
        np.cos(theta)[:, None] * gaze
        + (np.sin(theta) * np.cos(phi))[:, None] * side
        + (np.sin(theta) * np.sin(phi))[:, None] * up
    )
    vertices = center + _EYEBALL_RADIUS * direction
    grid = np.arange(_RINGS * _SECTORS).reshape(_RINGS, _SECTORS)
    a, b = grid[:-1].ravel(), np.roll(grid, -1, 1)[:-1].ravel()
    c, d = grid[1:].ravel(), np.roll(grid, -1, 1)[1:].ravel()
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


def _step(edge: float, value: NDArray[np.float64], softness: float) -> NDArray[np.float64]:
    """1 below ``edge``, 0 above."""
    return 1 / (1 + np.exp(np.clip((value - edge) / softness * 3, -50, 50)))
