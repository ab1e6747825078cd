"""The learned matcher: a network that goes on from the classical matcher's result."""

from mesoface.matching.learned.network import SURFACE_MATCHER, Prediction, SurfaceMatcher

__all__ = ["SURFACE_MATCHER", "Prediction", "SurfaceMatcher"]
