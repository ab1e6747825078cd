"""Accuracy and precision: distances to a true surface or to known points, roughness, stated uncertainties."""

from mesoface.evaluation.bands import BandAgreement, BandRoughness, agreement_by_band, roughness_by_band
from mesoface.evaluation.cheeks import cheeks
from mesoface.evaluation.display import (
    heatmap,
    heatmap_picture,
    print_bands,
    print_evaluation,
    write_heatmap,
)
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
from mesoface.evaluation.uncertainty import UncertaintyCalibration, calibrate_uncertainty
from mesoface.geometry.alignment import Similarity

__all__ = [
    "BandAgreement",
    "BandRoughness",
    "DistanceStats",
    "Evaluation",
    "FilledStats",
    "GroundTruth",
    "PointStats",
    "Similarity",
    "UncertaintyCalibration",
    "agreement_by_band",
    "align_meshes",
    "calibrate_uncertainty",
    "cheeks",
    "evaluate",
    "evaluate_filled",
    "filled_line",
    "heatmap",
    "heatmap_picture",
    "points_to_mesh",
    "print_bands",
    "print_evaluation",
    "roughness_by_band",
    "write_heatmap",
]
