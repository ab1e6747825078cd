"""The learned matcher: features, their agreement over the views, implicit function, regulariser, read-out."""

from mesoface.matching.learned.network import Prediction, SurfaceMatcher

__all__ = ["Prediction", "SurfaceMatcher"]
