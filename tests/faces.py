"""Faces made of what a test knows: everything else in them is small and plausible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.config import Settings
from mesoface.face_models.model import FaceFit, Topology
from mesoface.face_models.scale import ScaleEstimate
from mesoface.geometry.camera import look_at
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.relief.predict import MesoRelief
from mesoface.results.face import Face
from mesoface.results.files import SavedModel
from mesoface.results.write import write_record, write_result
from mesoface.running.process import Stage
from mesoface.surface.fine import fine_mesh
from mesoface.texture import Texture
from mesoface.uvd.maps import grid_faces, texel_centers
from mesoface.uvd.space import FineSurface, UVDSpace, ViewCheck
from tests.conftest import draw_rig

LANDMARKS = 6
RADIUS = 80.0  # mm
RIPPLE = 0.2  # mm
SIZE = 128  # texels
TURN = look_at((0, 0, 0), (-3, 1, -5), (0.1, 1, 0))[0].T  # somehow: the face's axes in the world
SHIFT = np.array([5.0, 900.0, -40.0])


def made_face(
    base: Mesh,
    *,
    fine: FineSurface | None = None,
    color: NDArray[np.float32] | None = None,
    relief: MesoRelief | None = None,
    capture: Capture | None = None,
    facial: NDArray[np.bool_] | None = None,
    axes: tuple[NDArray, NDArray] = (np.eye(3), np.zeros(3)),
    name: str = "made",
) -> Face:
    """A face.

    Args:
        base: with UVs.
        fine: the measured surface.
        color: (T, T, 3) texture, seen where it is not black.
        relief: predicted.
        capture: its views; None for four of a ball.
        facial: (F,) which faces of ``base`` are measured; None for all.
        axes: rotation and translation of the face model.
        name: of the face model.
    """
    if capture is None:
        rig = draw_rig()
        photos = zip(rig.photos, rig.cameras, strict=True)
        views = [
            View(str(i), photo.astype(np.float32) / 255, camera) for i, (photo, camera) in enumerate(photos)
        ]
        capture = Capture(tuple(views), mm_per_unit=1.0)
    facial = np.ones(len(base.faces), bool) if facial is None else facial
    assert base.uv is not None
    model = SavedModel(name, Topology(base.faces, base.uv, base.uv_index, facial, {}, {}, {}), 5, 2)
    identity, expression = np.linspace(-1, 1, 5), np.array([0.5, 0.25])
    residuals = np.full((len(capture), LANDMARKS), 1.5)
    residuals[0, 0] = np.nan
    fit = FaceFit(model, identity, expression, *axes, 1.0, base.vertices, residuals, 7)
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 80, (len(capture), LANDMARKS, 2))
    points[0, 0] = np.nan
    weights = np.where(np.isnan(points[..., 0]), 0, 0.75)
    distrusted = np.zeros(len(capture), bool)
    return Face(
        base,
        fine,
        None if color is None else Texture(color, color.any(-1)),
        relief,
        fit,
        capture,
        Landmarks2D(points, weights, notes=("view 2: two faces",)),
        Landmarks3D(rng.normal(size=(LANDMARKS, 3)), weights, residuals, distrusted),
        ScaleEstimate(1.25, "iris", 0.043),
        Settings(until="base" if fine is None else "fine"),
        (Stage("loading", 1.5, 300.0),),
        ("view 3: no face found",),
        tuple(ViewCheck(view.name, 0.5, 0.48, 0.02, 0.125, 0.75) for view in capture.views),
    )


def made_fine(
    space: UVDSpace, displacement: NDArray, kept: NDArray[np.bool_], confidence: NDArray, views: int = 4
) -> FineSurface:
    """A measured surface on ``space`` that every view sees where it was ``kept``."""
    displacement = np.where(kept, displacement, 0).astype(np.float32)
    filled = np.zeros_like(kept)
    filled[::7] = kept[::7]
    surface = UVDSpace(space.displaced(displacement), space.normal, space.valid)
    mesh = fine_mesh(surface, kept, kept & ~filled)
    return FineSurface(
        mesh,
        space,
        displacement,
        kept,
        filled,
        np.where(kept, confidence, 0).astype(np.float32),
        np.repeat(kept[None].astype(np.float32), views, 0),
        float(1 - (kept & ~filled & space.valid).sum() / space.valid.sum()),
    )


def written(folder: Path, face: Face, errors: NDArray | None = None) -> Path:
    """``folder`` with the result in it: all that ``load_face`` reads."""
    folder.mkdir(parents=True)
    write_result(folder, face, errors)
    write_record(folder, face)
    return folder


def outward(uv: NDArray) -> NDArray[np.float64]:
    """(..., 2) → (..., 3) directions from the ball's centre, in the face's axes; ± 40° over the UV square."""
    angle = np.radians(80 * (np.asarray(uv) - 0.5))
    x, y = np.sin(angle[..., 0]), np.sin(angle[..., 1])
    return np.stack([x, y, np.sqrt(1 - x**2 - y**2)], -1)


def ripple(uv: NDArray) -> NDArray[np.float64]:
    """(..., 2) → displacement, mm: waves of 13 mm."""
    return RIPPLE * np.sin(50 * uv[..., 0]) * np.cos(40 * uv[..., 1])


def cap(*, fine: bool = True, color: bool = True) -> Face:
    """A cap of a ball, turned in the world, rippled where it was measured.

    The base mesh is a grid over the UV square, whose faces are skin within 0.4 of its middle. The texture's
    red grows with u, its green with v.
    """
    u = np.linspace(0, 1, 25)
    corners = np.stack(np.meshgrid(u, 1 - u), -1).reshape(-1, 2)
    faces = grid_faces(np.ones((25, 25), bool))
    facial = np.linalg.norm(corners[faces].mean(1) - 0.5, axis=1) < 0.4
    uv = texel_centers(SIZE)
    measured = np.linalg.norm(uv - 0.5, axis=-1) < 0.38
    measured &= np.linalg.norm(uv - (0.65, 0.5), axis=-1) > 0.06  # a hole to the subject's left
    normal = outward(uv)
    position = (RADIUS * normal) @ TURN.T + SHIFT
    valid = np.ones_like(measured)
    space = UVDSpace(position.astype(np.float32), (normal @ TURN.T).astype(np.float32), valid)
    texture = np.dstack([uv, np.full((SIZE, SIZE), 0.25)])
    return made_face(
        Mesh((RADIUS * outward(corners)) @ TURN.T + SHIFT, faces, corners),
        fine=made_fine(space, ripple(uv), measured, 0.5 + uv[..., 0] / 2) if fine else None,
        color=(np.round(texture * 255) / 255).astype(np.float32) if color else None,
        facial=facial,
        axes=(TURN, SHIFT),
        name="cap",
    )


def dome(size: int = 96) -> Face:
    """160 × 160 × 40 mm with ripples of 0.2 mm, a hole in it, turned in the world, textured, with relief."""
    uv = texel_centers(size)
    x, y = 160 * (uv[..., 0] - 0.5), 160 * (uv[..., 1] - 0.5)
    z = 40 - (x**2 + y**2) / 320
    normal = np.stack([x / 160, y / 160, np.ones_like(x)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    position = np.stack([x, y, z], -1) @ TURN.T + SHIFT
    kept = (np.hypot(x, y) < 75) & (np.hypot(x - 25, y - 20) > 10)
    everywhere = np.ones_like(kept)
    space = UVDSpace(position.astype(np.float32), (normal @ TURN.T).astype(np.float32), everywhere)
    color = np.dstack([uv[..., 0], uv[..., 1], np.full_like(x, 0.25)]).astype(np.float32)
    height = np.where(kept, 0.05 * np.cos(y), 0).astype(np.float32)
    return made_face(
        fine_mesh(space, everywhere),
        fine=made_fine(space, 0.2 * np.sin(x), kept, 0.5 + x / 200),
        color=np.where(kept[..., None], color, 0),
        relief=MesoRelief(height, kept, "learned", 1.7),
        axes=(TURN, np.zeros(3)),
    )
