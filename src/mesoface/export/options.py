"""What ``mesoface export`` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Topology = Literal["model", "grid"]
Frame = Literal["face", "world"]
Detail = Literal["all", "measured"]


@dataclass(frozen=True)
class ExportOptions:
    """How a face is exported.

    Args:
        edge_mm: longest edge of the meshes on the skin, mm; None: each format's own default.
        topology: ``"model"``, the face model's, subdivided; ``"grid"``, the dense UV grid of what was
            measured; None: each format's own default.
        detail: ``"all"``, measured and predicted; ``"measured"``, without what was predicted.
        frame: ``"face"``, x to the subject's left, y up, z out of the face; ``"world"``, the capture's own.

    Raises:
        ValueError: an edge that is not a positive length.
    """

    edge_mm: float | None = None
    topology: Topology | None = None
    frame: Frame = "face"
    detail: Detail = "all"

    def __post_init__(self) -> None:
        if self.edge_mm is not None and not 0 < self.edge_mm < float("inf"):
            raise ValueError(f"edge_mm must be a positive length, got {self.edge_mm}")
