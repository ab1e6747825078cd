"""Facial landmarks: found in the photos, triangulated, checked."""

from mesoface.landmarks.mediapipe import MediapipeDetector
from mesoface.landmarks.triangulation import triangulate
from mesoface.landmarks.types import LandmarkDetector, Landmarks2D, Landmarks3D

__all__ = ["LandmarkDetector", "Landmarks2D", "Landmarks3D", "MediapipeDetector", "triangulate"]
