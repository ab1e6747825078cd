"""A small result: the drawn ball's front, reconstructed perfectly."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import mesoface
from mesoface.files.maps import write_png
from mesoface.files.meshes import write_obj, write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.results.cameras import write_cameras
from mesoface.results.folder import FORMAT, BaseFit, write_base_fit
from mesoface.uvd.rasterize import grid_faces, texel_centers

SIZE, RADIUS = 48, 80.0


def ball_front(radius: float = RADIUS) -> Mesh:
    """The part of a ball that looks to +z, one vertex a texel."""
    uv = texel_centers(SIZE).reshape(-1, 2)
    x, y = (1.2 * radius * (uv - 0.5)).T
    vertices = np.column_stack([x, y, np.sqrt(radius**2 - x**2 - y**2)])
    return Mesh(vertices, grid_faces(np.ones((SIZE, SIZE), bool)), uv)


@pytest.fixture
def ball_run(capture_folder, tmp_path):
    """``.run``, a result's folder; ``.capture``, its photos' folder; ``.record``, to change run.json."""
    capture = mesoface.load_capture(capture_folder(lens=None))
    run, mesh = tmp_path / "run", ball_front()
    run.mkdir()
    write_obj(run / "base.obj", mesh)
    for name in ("fine.ply", "region.ply"):
        write_ply(run / name, mesh)
    confidence = np.tile(np.linspace(0, 1, SIZE, dtype=np.float32), (SIZE, 1))
    write_png(run / "confidence.png", confidence)
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[..., 0] = 255
    write_png(run / "texture.png", red)
    fit = BaseFit(np.ones(len(mesh.faces), bool), np.zeros(1), np.zeros(1), np.eye(3), np.zeros(3))
    write_base_fit(run / "base_fit.npz", fit)
    write_cameras(run / "cameras.json", capture)

    def record(**changes):
        known = {
            "format": FORMAT,
            "mesoface": mesoface.__version__,
            "settings": {"until": "fine"},
            "capture": {"path": str(capture.path)},
            "texture": {},
        }
        (run / "run.json").write_text(json.dumps({**known, **changes}))

    record()
    return SimpleNamespace(run=run, capture=capture.path, record=record, mesh=mesh)
