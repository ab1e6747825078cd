"""A lit, bumpy half ball as a measured and textured face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.files.images import encode_srgb
from mesoface.geometry.mesh import unit
from mesoface.lab.training.patches.fields import waves
from mesoface.relief.inputs import Ground
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import surface_normals
from tests.cap import SPAN, directions

SIZE, RADIUS = 256, 60.0
TEXEL = 0.2


@dataclass(frozen=True, eq=False)
class Lit:
    """A ground, what it was made of, and the relief that is missing in it.

    Args:
        ground: as the mesoscopic stage sees it.
        bumps: (S, S) mm, all that is in the photos.
        missing: (S, S) mm, what of it was not measured.
        gradient: (S, S, 3) of the logarithm of luminance as the normal turns.
    """

    ground: Ground
    bumps: NDArray[np.float32]
    missing: NDArray[np.float32]
    gradient: NDArray[np.float32]


@pytest.fixture(scope="session")
def lit() -> Lit:
    """Bumpy even skin, one light from above and the light of the room; the finest bumps were not measured."""
    # Texels of 0.2 mm on a ball of 60 mm.
    normal = directions((texel_centers(SIZE) - 0.5) * (SIZE * TEXEL / RADIUS / SPAN) + 0.5).astype(np.float32)
    form = np.float32(RADIUS) * normal
    bumps = np.float32(0.05) * waves(np.random.default_rng(3), SIZE, shortest=5, longest=80, slope=3)
    measured = cv2.GaussianBlur(bumps, (0, 0), 3)
    light, room = unit(np.array([0.2, 0.85, 0.5], np.float32)), np.float32(0.25)
    lit_normals = surface_normals(form + bumps[..., None] * normal, normal)
    luminance = 0.4 * (room + np.maximum(lit_normals @ light, 0))
    color = encode_srgb(luminance[..., None] * np.array([1.0, 0.75, 0.65], np.float32))
    valid = np.ones((SIZE, SIZE), bool)
    gradient = light / (room + np.maximum(normal @ light, 0))[..., None]
    position = form + measured[..., None] * normal
    return Lit(Ground(position, form, normal, color, valid, TEXEL), bumps, bumps - measured, gradient)
