"""A small drawn face, and a browser for the pages."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mesoface.geometry.camera import look_at
from mesoface.relief.predict import MesoRelief
from mesoface.surface.fine import fine_mesh
from mesoface.texture import Texture
from mesoface.uvd.rasterize import texel_centers
from mesoface.uvd.space import FineSurface, UVDSpace


@pytest.fixture
def browser_page(open_browser):
    """A headless Chromium's page."""
    return open_browser(900, 1000)


SIZE = 96
TURN = look_at((0, 0, 0), (-3, 1, -5), (0.1, 1, 0))[0].T  # somehow: the face's axes in the world


@pytest.fixture(scope="session")
def drawn_face():
    """A dome of 160 × 160 × 40 mm with ripples of 0.2 mm, a hole in it, turned in the world, textured."""
    uv = texel_centers(SIZE)
    x, y = 160 * (uv[..., 0] - 0.5), 160 * (uv[..., 1] - 0.5)
    z = 40 - (x**2 + y**2) / 320
    normal = np.stack([x / 160, y / 160, np.ones_like(x)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    position = np.stack([x, y, z], -1) @ TURN.T + (5, 900, -40)
    kept = (np.hypot(x, y) < 75) & (np.hypot(x - 25, y - 20) > 10)
    space = UVDSpace(position.astype(np.float32), (normal @ TURN.T).astype(np.float32), np.ones_like(kept))
    displacement = np.where(kept, 0.2 * np.sin(x), 0).astype(np.float32)
    mesh = fine_mesh(UVDSpace(space.displaced(displacement), space.normal, space.valid), kept)
    none = np.zeros_like(kept)
    confidence = np.where(kept, 0.5 + x / 200, 0).astype(np.float32)
    fine = FineSurface(mesh, space, displacement, kept, none, confidence, kept[None].astype(np.float32), 0.1)
    base = fine_mesh(space, np.ones_like(kept))
    color = np.dstack([uv[..., 0], uv[..., 1], np.full_like(x, 0.25)]).astype(np.float32)
    topology = SimpleNamespace(facial=np.ones(len(base.faces), bool))
    fit = SimpleNamespace(rotation=TURN, model=SimpleNamespace(topology=topology))
    relief = MesoRelief(np.where(kept, 0.05 * np.cos(y), 0).astype(np.float32), kept, "learned", 1.7)
    return SimpleNamespace(base=base, fine=fine, fit=fit, texture=Texture(color, kept), relief=relief)
