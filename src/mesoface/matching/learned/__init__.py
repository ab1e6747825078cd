"""The learned matcher: features, their agreement over the views, implicit function, regulariser, read-out."""

from mesoface.matching.learned.network import SURFACE_MATCHER, Prediction, SurfaceMatcher

__all__ = ["SURFACE_MATCHER", "Prediction", "SurfaceMatcher"]
