"""Features and a matcher of your own: python examples/4_features_and_matcher.py examples/sample_capture"""

import sys

import cv2
import numpy as np

import mesoface
from mesoface.matching.displacement import find_peak, smooth_robustly
from mesoface.matching.lookup import compare_views
from mesoface.matching.matcher import Level, Measurement, well_seen


def gradients(image):
    """(4, h, w) slopes and curvatures of the brightness, of unit length; torch tensors do as well."""
    grey = cv2.GaussianBlur(image.mean(-1), (0, 0), 1.0)
    slopes = np.stack([cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1), (2, 0), (0, 2))])
    return slopes / (np.linalg.norm(slopes, axis=0) + 0.02)


class GradientMatcher:
    """The views are compared by their gradients, coarse to fine; the protocol is ``mesoface.Matcher``."""

    presets = {
        "default": (
            Level(size=64, reach_mm=9.0, step_mm=0.75, base_mm=4.0, normal_mm=9.0),
            Level(size=128, reach_mm=3.0, step_mm=0.3, base_mm=2.0, normal_mm=5.0),
            Level(size=256, reach_mm=0.9, step_mm=0.15, base_mm=1.2, normal_mm=3.0),
        )
    }

    def measure(self, start):
        """The displacement of every texel from this level's base surface, and how far it is to be trusted."""
        features = [gradients(view.image) for view in start.views]
        cameras, steps = [view.camera for view in start.views], start.level.steps
        agreement = compare_views(features, cameras, start.space, start.visibility, steps)  # (D, H, H)
        agreement = np.stack([cv2.GaussianBlur(slice_, (0, 0), 2.0) for slice_ in agreement])
        peak = find_peak(agreement, steps)
        trust = (well_seen(start) * np.clip(peak.score, 0, 1) * peak.interior).astype(np.float32)
        smooth = {"stiffness": 0.25, "sigma": 1.0, "scale_mm": 0.5}
        return Measurement(*smooth_robustly(peak.displacement, trust, start.space.valid, **smooth))


folder = sys.argv[1]
capture = mesoface.load_capture(folder)
settings = mesoface.Settings(scale=1.0, meso="off", texture_size=0)
face = mesoface.reconstruct(capture, settings, matcher=GradientMatcher())
truth = mesoface.read_mesh(f"{folder}/gt.ply")
error = mesoface.evaluate(face.fine.mesh, truth, region=face.region).accuracy
print(
    f"{len(face.fine.mesh.vertices):,} vertices, error: median {error.median:.3f} mm, p90 {error.p90:.3f} mm"
)
