"""Everything before matching, done once: what ablations and the timing of parts start from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rows import LPS, SAMPLE

from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.evaluation import Evaluation, GroundTruth, evaluate
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.matching.cascade import match
from mesoface.matching.matcher import Matcher
from mesoface.pipeline import reconstruct
from mesoface.results.face import Face
from mesoface.surface.fine import clean_coverage, fine_mesh
from mesoface.uvd.space import Match, build_uvd_space

CAPTURES = {"lps": LPS, "sample": SAMPLE}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A capture with its base mesh fitted.

    Args:
        face: result of a run that stopped at the base mesh.
        truth: the true surface, with the base mesh's facial mask as the region that counts: the same one for
            whatever is measured.
    """

    face: Face
    truth: GroundTruth

    def match(self, matcher: Matcher, preset: str = "default") -> Match:
        """Measure the surface coarse to fine."""
        base, facial = self.face.base, self.face.fit.model.topology.facial
        return match(
            lambda size: build_uvd_space(base, facial, size),
            self.face.capture.views,
            matcher,
            preset=preset,
            occluder=base.select_faces(~facial),
        )

    def evaluate(self, matched: Match) -> Evaluation:
        """How far what was measured is from the true surface."""
        return evaluate(fine_mesh(matched.space, clean_coverage(matched).kept), self.truth)


@lru_cache(maxsize=2)
def prepare(name: str, views: int = 10) -> Prepared:
    """The best ``views`` photos of one of ``CAPTURES``, in millimetres, with landmarks and base mesh."""
    folder = CAPTURES[name]
    settings = Settings(until="base", scale=1.0, views=views)
    face = reconstruct(load_capture(folder), settings)
    region = face.base.select_faces(face.fit.model.topology.facial)
    return Prepared(face, GroundTruth(_true_surface(folder), region))


@lru_cache(maxsize=1)
def _true_surface(folder: Path) -> Mesh:
    return read_mesh(folder / "gt.ply")
