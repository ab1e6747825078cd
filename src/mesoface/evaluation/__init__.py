"""How good is it: distances to a true surface, or to points of which some are known."""

from mesoface.evaluation.alignment import Similarity, align_meshes
from mesoface.evaluation.metrics import DistanceStats, Evaluation, evaluate
from mesoface.evaluation.truth import GroundTruth

__all__ = ["DistanceStats", "Evaluation", "GroundTruth", "Similarity", "align_meshes", "evaluate"]
