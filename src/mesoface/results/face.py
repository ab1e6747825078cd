"""The result of a reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mesoface.captures.capture import Capture
from mesoface.config import Settings
from mesoface.face_models.model import FaceFit
from mesoface.face_models.scale import ScaleEstimate
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.relief.predict import MesoRelief, add_relief
from mesoface.running.process import Stage
from mesoface.texture import Texture
from mesoface.uvd.rasterize import grid_faces
from mesoface.uvd.space import FineSurface

_REGION_SIZE = 192


@dataclass(frozen=True, eq=False)
class Face:
    """A reconstructed face, in the capture's world frame in millimetres.

    Args:
        base: base mesh in the face model's own topology. It follows the measured surface without its
            detail where there is one, else it is the fitted model.
        fine: the measured surface, or None when the run stopped at the base.
        texture: its colour, or None when the run stopped at the base or none was asked for.
        relief: predicted relief, finer than what was measured, or None where none was asked for.
        fit: the face model's fit to the landmarks.
        capture: the views that were used, in millimetres.
        landmarks2d: landmarks in those views.
        landmarks3d: landmarks in space, mm.
        scale: where the millimetres come from.
        settings: as given.
        stages: time and memory.
        warnings: what the user should know, one sentence each.
    """

    base: Mesh
    fine: FineSurface | None
    texture: Texture | None
    relief: MesoRelief | None
    fit: FaceFit
    capture: Capture
    landmarks2d: Landmarks2D
    landmarks3d: Landmarks3D
    scale: ScaleEstimate
    settings: Settings
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]

    def after(self, stages: Sequence[Stage]) -> Face:
        """The same face with ``stages`` (loading, say) before those that made it."""
        return replace(self, stages=(*stages, *self.stages))

    @cached_property
    def surface(self) -> Mesh:
        """The fine mesh, or the base mesh when the run stopped there."""
        return self.base if self.fine is None else self.fine.mesh

    @cached_property
    def detailed(self) -> Mesh | None:
        """The fine mesh with predicted relief, vertices moved along their normals; None without either."""
        if self.fine is None or self.relief is None:
            return None
        return add_relief(self.fine.mesh, self.relief)

    @cached_property
    def region(self) -> Mesh:
        """The facial mask in space, left-out texels included: where errors to a true surface are measured.

        It is the mask on the measured surface, or on the fitted model where nothing was measured.
        """
        if self.fine is None:
            return self.base.select_faces(self.fit.model.topology.facial)
        space = self.fine.space
        coarse = space.resized(min(_REGION_SIZE, space.size))
        mesh = Mesh(coarse.position.reshape(-1, 3).astype(np.float64), grid_faces(coarse.valid))
        return mesh.select_faces(np.ones(len(mesh.faces), bool))

    def _repr_html_(self) -> str:
        """The face in 3D, for notebooks: it can be turned, and makes no network request."""
        from mesoface.results.scene import notebook_view  # here: pages are not needed without a notebook

        return notebook_view(self)
