"""A small result: the drawn ball's front, reconstructed perfectly."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

import mesoface
from mesoface.captures.capture import Capture
from mesoface.geometry.mesh import Mesh
from mesoface.relief.predict import MesoRelief
from mesoface.results.face import Face
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


def ball_face(capture: Capture, *, fine: bool = True, relief: MesoRelief | None = None) -> Face:
    """:func:`ball_front` as a red face; its confidence grows with u."""
    mesh, uv = ball_front(), texel_centers(SIZE)
    everywhere = np.ones((SIZE, SIZE), bool)
    position = mesh.vertices.reshape(SIZE, SIZE, 3).astype(np.float32)
    space = UVDSpace(position, position / np.float32(RADIUS), everywhere)
    measured = made_fine(space, np.zeros((SIZE, SIZE)), everywhere, uv[..., 0])
    red = np.zeros((SIZE, SIZE, 3), np.float32)
    red[..., 0] = 1
    return made_face(mesh, fine=measured if fine else None, color=red, relief=relief, capture=capture)


@pytest.fixture
def ball_run(capture_folder, tmp_path):
    """``.run``, a result's folder; ``.capture``, its photos' folder; ``.write(face)``, to write another."""
    capture = mesoface.load_capture(capture_folder(lens=None))
    run = tmp_path / "run"

    def write(errors: NDArray | None = None, **what) -> None:
        shutil.rmtree(run, ignore_errors=True)
        written(run, ball_face(capture, **what), errors)

    write()
    return SimpleNamespace(run=run, capture=capture.path, write=write)
