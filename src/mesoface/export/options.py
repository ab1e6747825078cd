"""Options of an export."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mesoface.config import option

Topology = Literal["model", "grid"]
Frame = Literal["face", "world"]
Detail = Literal["all", "measured"]
_PANEL = "Options"


class ExportOptions(BaseModel):
    """How a face is exported. Options of ``mesoface export`` are made from these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
