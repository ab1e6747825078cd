"""The published configuration of Xiao et al. 2022: its networks and its volume, for its published weights."""

from mesoface.matching.paper.matcher import STEP_MM, STEPS, cost_volume, network_view, read_displacement
from mesoface.matching.paper.network import (
    IMPLICIT_FUNCTION,
    REGULARIZER,
    FeatureNetwork,
    ImplicitFunction,
    Regularizer,
)

__all__ = [
    "IMPLICIT_FUNCTION",
    "REGULARIZER",
    "STEPS",
    "STEP_MM",
    "FeatureNetwork",
    "ImplicitFunction",
    "Regularizer",
    "cost_volume",
    "network_view",
    "read_displacement",
]
