"""The prepared folder as Xiao et al. (AAAI 2022) lay it out, and what mesoface adds to it.

Theirs: ``id.json``, ``select_dict.json``, ``Rt_scale_dict.json``, ``facial_mask.png``, ``images/001/01/``
with undistorted photos and ``params.json``, ``fit_mesh/`` and ``maps/<split>/``. Ours:
``images/001/01.ply``, a link to the scan; ``<split>.txt``, lists of captures; ``captures/001_01.json``, what
was done; ``captures.csv`` and ``report.html``, the same to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mesoface.lab.facescape.metadata import SCALES, SELECTION, SPLITS
from mesoface.lab.facescape.names import CaptureId

MapKind = Literal["pos_map", "norm_map", "mv_map"]


@dataclass(frozen=True)
class PreparedFolder:
    """Where things are in a prepared folder.

    Args:
        root: the folder.
    """

    root: Path

    @property
    def splits(self) -> Path:
        """``{"train": ["001_01", …], …}``."""
        return self.root / SPLITS

    @property
    def selection(self) -> Path:
        """The views of each capture."""
        return self.root / SELECTION

    @property
    def scales(self) -> Path:
        """Scale and alignment of each capture."""
        return self.root / SCALES

    @property
    def facial_mask(self) -> Path:
        """White where the maps hold the face, 512²."""
        return self.root / "facial_mask.png"

    @property
    def table(self) -> Path:
        """A row for each capture, the failed ones with their reason."""
        return self.root / "captures.csv"

    @property
    def report(self) -> Path:
        """The same to look at."""
        return self.root / "report.html"

    def list_of(self, split: str) -> Path:
        """A list of a split's captures, for `mesoface batch` and `mesoface train tiles`."""
        return self.root / f"{split}.txt"

    def images(self, id: CaptureId) -> Path:
        """Photos and cameras of a capture, itself a capture in FaceScape's layout."""
        return self.root / "images" / f"{id.person:03d}" / f"{id.expression:02d}"

    def scan(self, id: CaptureId) -> Path:
        """The true surface in the world of :meth:`images`; only where there is one."""
        return self.images(id).with_suffix(".ply")

    def fit_mesh(self, id: CaptureId) -> Path:
        """The base mesh in the same world."""
        return self.root / "fit_mesh" / f"fit_mesh_{id.key}.obj"

    def map(self, kind: MapKind, split: str, id: CaptureId) -> Path:
        """Positions, normals or displacements of the base mesh's UV space."""
        return self.root / "maps" / split / kind / f"{kind}_{id.key}.npy"

    def record(self, id: CaptureId) -> Path:
        """What was done; it is written last, so a capture with a record is complete."""
        return self.root / "captures" / f"{id.key}.json"

    def id_of(self, images: Path) -> CaptureId | None:
        """The capture whose :meth:`images` a path is, None when it is none."""
        images = Path(images).resolve()
        try:
            id = CaptureId(int(images.parent.name), int(images.name))
        except ValueError:
            return None
        return id if self.images(id).resolve() == images else None
