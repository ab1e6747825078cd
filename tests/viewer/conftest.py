"""A small result: the drawn ball's front, reconstructed perfectly."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import mesoface
from mesoface.geometry.mesh import Mesh
from mesoface.uvd.maps import grid_faces, texel_centers
from mesoface.uvd.space import UVDSpace
from tests.faces import made_face, made_fine, written

SIZE, RADIUS = 48, 80.0


def ball_front(radius: float = RADIUS) -> Mesh:
    """The part of a ball that looks to +z, one vertex a texel."""
    uv = texel_centers(SIZE).reshape(-1, 2)
    x, y = (1.2 * radius * (uv - 0.5)).T
    vertices = np.column_stack([x, y, np.sqrt(radius**2 - x**2 - y**2)])
    return Mesh(vertices, grid_faces(np.ones((SIZE, SIZE), bool)), uv)


@pytest.fixture
def ball_run(capture_folder, tmp_path):
    """``.run``, a result's folder; ``.capture``, its photos' folder; ``.write(…)``, to write another.

    The face is :func:`ball_front`, red; its confidence grows with u.
    """
    capture = mesoface.load_capture(capture_folder(lens=None))
    run = tmp_path / "run"

    mesh, everywhere = ball_front(), np.ones((SIZE, SIZE), bool)
    position = mesh.vertices.reshape(SIZE, SIZE, 3).astype(np.float32)
    space = UVDSpace(position, position / np.float32(RADIUS), everywhere)
    measured = made_fine(space, np.zeros((SIZE, SIZE)), everywhere, texel_centers(SIZE)[..., 0])
    red = np.tile(np.float32([1, 0, 0]), (SIZE, SIZE, 1))

    def write(errors=None, *, fine=measured, relief=None):
        shutil.rmtree(run, ignore_errors=True)
        written(run, made_face(mesh, fine=fine, color=red, relief=relief, capture=capture), errors)

    write()
    return SimpleNamespace(run=run, capture=capture.path, write=write)
