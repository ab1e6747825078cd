"""The published configuration of Xiao et al. 2022: its networks and its volume, for its published weights."""

from mesoface.matching.paper.features import FeatureNetwork
from mesoface.matching.paper.implicit_function import IMPLICIT_FUNCTION, ImplicitFunction
from mesoface.matching.paper.regularizer import REGULARIZER, Regularizer
from mesoface.matching.paper.views import network_view
from mesoface.matching.paper.volume import STEP_MM, STEPS, cost_volume, read_displacement

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
