"""A face to export whose every number is known: a cap of a ball, rippled where it was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mesoface
from mesoface.export import ExportSource, read_source
from mesoface.files.maps import write_exr, write_png
from mesoface.files.meshes import write_obj, write_ply
from mesoface.geometry.camera import look_at
from mesoface.geometry.mesh import Mesh
from mesoface.results.folder import FORMAT, BaseFit, write_base_fit
from mesoface.surface.detail import FineMaps
from mesoface.surface.fine import fine_mesh
from mesoface.uvd.rasterize import grid_faces, texel_centers
from mesoface.uvd.space import UVDSpace

RADIUS = 80.0  # mm
RIPPLE = 0.2  # mm
SIZE = 128  # texels
TURN = look_at((0, 0, 0), (-3, 1, -5), (0.1, 1, 0))[0].T  # somehow: the face's axes in the world
SHIFT = np.array([5.0, 900.0, -40.0])


def outward(uv: NDArray) -> NDArray[np.float64]:
    """(..., 2) → (..., 3) directions from the ball's centre, in the face's axes; ± 40° over the UV square."""
    angle = np.radians(80 * (np.asarray(uv) - 0.5))
    x, y = np.sin(angle[..., 0]), np.sin(angle[..., 1])
    return np.stack([x, y, np.sqrt(1 - x**2 - y**2)], -1)


def ripple(uv: NDArray) -> NDArray[np.float64]:
    """(..., 2) → displacement, mm: waves of 13 mm."""
    return RIPPLE * np.sin(50 * uv[..., 0]) * np.cos(40 * uv[..., 1])


def _base(n: int = 25) -> tuple[Mesh, NDArray[np.bool_]]:
    """The cap as an (n × n) grid over the UV square, and which faces are skin: within 0.4 of its middle."""
    u = np.linspace(0, 1, n)
    uv = np.stack(np.meshgrid(u, 1 - u), -1)
    faces = grid_faces(np.ones((n, n), bool))
    uv = uv.reshape(-1, 2)
    middle = uv[faces].mean(1)
    return Mesh(RADIUS * outward(uv), faces, uv), np.linalg.norm(middle - 0.5, axis=1) < 0.4


def cap(*, fine: bool = True, color: bool = True) -> ExportSource:
    """The cap in the world; its texture's red grows with u, its green with v."""
    base, facial = _base()
    uv = texel_centers(SIZE)
    measured = np.linalg.norm(uv - 0.5, axis=-1) < 0.38
    measured &= np.linalg.norm(uv - (0.65, 0.5), axis=-1) > 0.06  # a hole to the subject's left
    displacement = np.where(measured, ripple(uv), 0).astype(np.float32)
    position = (RADIUS + displacement[..., None]) * outward(uv)
    maps = FineMaps(
        np.where(measured[..., None], position @ TURN.T + SHIFT, 0).astype(np.float32), displacement, measured
    )
    texture = np.dstack([uv, np.full((SIZE, SIZE), 0.25)])
    fit = BaseFit(facial, np.linspace(-1, 1, 5), np.array([0.5, 0.25]), TURN, SHIFT)
    return ExportSource(
        base.with_vertices(base.vertices @ TURN.T + SHIFT),
        fit,
        "cap",
        maps if fine else None,
        None,
        np.round(texture * 255).astype(np.uint8) if color else None,
        (np.eye(3), np.zeros(3)),
    )


def write_run(folder: Path, source: ExportSource) -> None:
    """``source`` as ``mesoface reconstruct`` would leave it."""
    folder.mkdir()
    write_obj(folder / "base.obj", source.base)
    write_base_fit(folder / "base_fit.npz", source.fit)
    record = {
        "format": FORMAT,
        "mesoface": mesoface.__version__,
        "settings": {"until": "base" if source.fine is None else "fine"},
        "face_model": source.model,
    }
    if source.fine is not None:
        fine = source.fine
        normal = (outward(texel_centers(SIZE)) @ TURN.T).astype(np.float32)
        write_ply(
            folder / "fine.ply", fine_mesh(UVDSpace(fine.position, normal, fine.measured), fine.measured)
        )
        write_exr(folder / "displacement.exr", np.where(fine.measured, fine.displacement, np.nan))
    if source.color is not None:
        write_png(folder / "texture.png", source.color)
        record["texture"] = {"size": len(source.color)}
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture(scope="session")
def world_cap() -> ExportSource:
    """:func:`cap`, in the capture's world frame."""
    return cap()


@pytest.fixture(scope="session")
def upright_cap(world_cap: ExportSource) -> ExportSource:
    """The same in the face's own axes."""
    return world_cap.upright()


@pytest.fixture(scope="session")
def base_only(world_cap: ExportSource) -> ExportSource:
    """A face of which only the base mesh is known, upright."""
    return replace(world_cap, fine=None, color=None).upright()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(fine=True, color=True)`` → a result folder of the cap."""

    def make(**what: bool) -> Path:
        write_run(tmp_path / "run", cap(**what))
        return tmp_path / "run"

    return make


@pytest.fixture
def reread(make_run: Callable[..., Path]) -> ExportSource:
    """The cap, written as a result and read again."""
    return read_source(make_run())
