"""A face as exports need it, and their options: in the chosen frame, its detail as maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from mesoface.config import option
from mesoface.errors import MesofaceError
from mesoface.geometry.mesh import Mesh
from mesoface.results.face import Face
from mesoface.surface.detail import DetailMaps, FineMaps, detail_maps
from mesoface.surface.fine import vertex_map

Topology = Literal["model", "grid"]
Frame = Literal["face", "world"]
Detail = Literal["all", "measured"]
_PANEL = "Options"


class ExportOptions(BaseModel, extra="forbid", frozen=True):
    """How a face is exported. Options of ``mesoface export`` are made from these fields."""

    edge_mm: float | None = option(
        None,
        "Longest edge of the meshes on the skin, mm: 0.3 for all that was measured. Left out: 2 in glb, 1 in "
        "obj and usd, as measured in ply.",
        panel=_PANEL,
        metavar="MM",
        name="detail_edge",
        ge=0.01,
        allow_inf_nan=False,
    )
    topology: Topology | None = option(
        None,
        "model: the face model's own mesh, subdivided. grid: the dense UV grid that was measured. Left out: "
        "grid in ply, model elsewhere.",
        panel=_PANEL,
        metavar="model|grid",
    )
    frame: Frame = option(
        "face",
        "face: x to the subject's left, y up, z out of the face. world: the capture's own axes, as in RUN.",
        panel=_PANEL,
    )
    detail: Detail = option(
        "all",
        "all: measured relief and, on top, what was predicted. measured: without any prediction.",
        panel=_PANEL,
    )


_DEFAULTS = ExportOptions()


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A face and the options that it is exported with.

    Args:
        face: from memory or from :func:`mesoface.load_face`.
        options: density, topology, frame, detail.
    """

    face: Face
    options: ExportOptions = _DEFAULTS

    @cached_property
    def world(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(3, 3), (3,): an exported point x is at ``rotation @ x + translation`` in the capture's world."""
        fit = self.face.fit
        return (fit.rotation, fit.translation) if self.options.frame == "face" else (np.eye(3), np.zeros(3))

    @cached_property
    def base(self) -> Mesh:
        """Base mesh with UVs, mm."""
        return self.face.base.with_vertices(self._turned(self.face.base.vertices))

    @property
    def facial(self) -> NDArray[np.bool_]:
        """(F,) faces of the base mesh that follow the surface: skin and, with holes filled, eyes and lips."""
        topology = self.face.fit.model.topology
        return topology.closed if self.face.settings.holes == "fill" else topology.facial

    @cached_property
    def detail(self) -> DetailMaps | None:
        """The detailed surface as maps without holes; None where nothing was measured."""
        fine, relief = self.face.fine, self.face.relief
        if fine is None:
            return None
        position = vertex_map(fine.mesh, self._turned(fine.mesh.vertices), len(fine.kept))
        measured = np.isfinite(position[..., 0]) & fine.kept
        position[~measured] = 0
        maps = FineMaps(position, np.where(measured, fine.displacement, 0), measured)
        height = relief.height if relief is not None and self.options.detail == "all" else None
        return detail_maps(self.base, self.facial, maps, height)

    @cached_property
    def required_detail(self) -> DetailMaps:
        """The detailed surface.

        Raises:
            MesofaceError: the run stopped at the base mesh.
        """
        if self.detail is None:
            raise MesofaceError(
                "there is no displacement: this run stopped at the base mesh",
                remedy="export glb, obj, ply, usd or base, or reconstruct without --until base",
            )
        return self.detail

    @cached_property
    def color(self) -> NDArray[np.uint8] | None:
        """(T, T, 3) sRGB texture in the base's UVs, or None."""
        texture = self.face.texture
        # OpenCV rounds as the texture's own file does, and takes no second copy in floats.
        return None if texture is None else cv2.convertScaleAbs(texture.color, alpha=255)

    def _turned(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) points of the capture's world in the frame of the export."""
        rotation, translation = self.world
        return (points - translation) @ rotation
