"""What was filled in, measured apart from what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mesoface.evaluation.metrics import DistanceStats, Evaluation, distance_stats
from mesoface.evaluation.truth import checked_surface
from mesoface.geometry.mesh import Mesh


@dataclass(frozen=True)
class FilledStats:
    """The filled part of a surface against the truth.

    Args:
        accuracy: filled part → truth, inside the facial region.
        share: of the surface's area that was filled in.
    """

    accuracy: DistanceStats
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def evaluate_filled(
    prediction: Mesh, evaluation: Evaluation, *, samples: int = 20_000, seed: int = 0
) -> FilledStats | None:
    """Measure the part of ``prediction`` that :func:`mesoface.evaluation.evaluate` leaves out.

    Args:
        prediction: the mesh that was evaluated, in its own frame.
        evaluation: of what was measured of it: its alignment and its truth are used.
        samples: points drawn on the filled part.
        seed: of the sampling.

    Returns:
        None where nothing was filled in, or nothing of that can be compared with the truth.
    """
    filled = evaluation.alignment.apply_to_mesh(prediction.filled_part())
    if not len(filled.faces) or not filled.face_areas().any():
        return None
    truth, surface = evaluation.truth, checked_surface(filled, "filled surface")
    ours = truth.samples(filled, samples, seed)
    deviation = truth.deviation(ours.points, inside=True)
    keep = deviation.counted
    if not keep.any():
        return None
    own_normals = surface.normals_at(ours.face[keep], ours.bary[keep])
    accuracy = distance_stats(deviation.signed[keep], own_normals, deviation.normals[keep])
    area = prediction.face_areas().sum() * evaluation.alignment.scale**2
    return FilledStats(accuracy, float(filled.face_areas().sum() / area))


def filled_line(filled: FilledStats) -> str:
    """One line for people."""
    accuracy, near = filled.accuracy, filled.accuracy.within["1"]
    return (
        f"filled in, not counted above: {100 * filled.share:.1f} % of the surface; "
        f"mean {accuracy.mean:.3f} mm, median {accuracy.median:.3f} mm, {100 * near:.1f} % within 1 mm"
    )
