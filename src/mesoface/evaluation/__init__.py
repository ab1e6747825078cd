"""Accuracy: distances to a true surface, or to points that are known."""

from mesoface.evaluation.display import heatmap, heatmap_picture, print_evaluation, write_heatmap
from mesoface.evaluation.filled import FilledStats, evaluate_filled, filled_line
from mesoface.evaluation.metrics import (
    DistanceStats,
    Evaluation,
    PointStats,
    align_meshes,
    evaluate,
    points_to_mesh,
)
from mesoface.evaluation.truth import GroundTruth
from mesoface.geometry.alignment import Similarity

__all__ = [
    "DistanceStats",
    "Evaluation",
    "FilledStats",
    "GroundTruth",
    "PointStats",
    "Similarity",
    "align_meshes",
    "evaluate",
    "evaluate_filled",
    "filled_line",
    "heatmap",
    "heatmap_picture",
    "points_to_mesh",
    "print_evaluation",
    "write_heatmap",
]
