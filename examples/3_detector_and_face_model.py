"""A landmark detector and a face model of your own: python examples/3_detector_and_face_model.py CAPTURE"""

import sys
from dataclasses import replace

import numpy as np

import mesoface
from mesoface.face_models import load_face_model
from mesoface.landmarks import MediapipeDetector


class MedianDetector:
    """Landmarks as the median of three looks at each photo: as it is, darker and brighter."""

    scheme = "mediapipe478"

    def detect(self, capture):
        """See ``mesoface.landmarks.LandmarkDetector``."""
        looks = []
        for gamma in (1.0, 1.3, 0.8):
            views = [replace(view, image=view.image**gamma) for view in capture.views]
            looks.append(MediapipeDetector().detect(replace(capture, views=tuple(views))))
        points = np.nanmedian([look.points for look in looks], 0)  # (V, 478, 2) pixels
        return replace(looks[0], points=points)


class StretchedHead:
    """One head, stretched along its three axes: x to the left, y up, z out of the face."""

    name = "stretched-head"
    n_identity, n_expression, bounds = 3, 0, None
    sigma = 0.1  # a coefficient of 1 makes the head a tenth wider, higher or deeper

    def __init__(self):
        template = load_face_model("generic")
        self.topology, self.mean = template.topology, template.mean  # (N, 3) mm

    def shape(self, identity, expression):
        """(3,), (0,) → (N, 3) vertices, mm."""
        return self.mean * (1 + self.sigma * np.asarray(identity))

    def points(self, identity, expression, corners, bary):
        """Points at (L, 3) ``bary`` of triangles (L, 3) ``corners``, and their derivative (L, 3, 3)."""
        rest = np.einsum("lk,lkc->lc", bary, self.mean[corners])
        jacobian = self.sigma * rest[:, :, None] * np.eye(3)
        return rest + jacobian @ np.asarray(identity), jacobian


capture = mesoface.load_capture(sys.argv[1])
settings = mesoface.Settings(scale=1.0, preset="fast", matcher="ncc", meso="off", texture_size=0)
face = mesoface.reconstruct(capture, settings, detector=MedianDetector(), face_model=StretchedHead())
print("width, height, depth:", *(f"{100 * StretchedHead.sigma * z:+.1f} %" for z in face.fit.identity))
print("fine mesh:", f"{len(face.fine.mesh.vertices):,} vertices, {1 - face.fine.left_out:.1%} of the region")
