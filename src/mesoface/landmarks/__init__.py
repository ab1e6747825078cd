"""Facial landmarks: detection, triangulation, alignment between the views, selection of views by them."""

from mesoface.landmarks.from_file import read_landmarks
from mesoface.landmarks.mediapipe import MediapipeDetector
from mesoface.landmarks.photometric import align_landmarks
from mesoface.landmarks.selection import face_axes, select_views
from mesoface.landmarks.triangulation import closest_points_to_rays, triangulate
from mesoface.landmarks.types import LandmarkDetector, Landmarks2D, Landmarks3D

__all__ = [
    "LandmarkDetector",
    "Landmarks2D",
    "Landmarks3D",
    "MediapipeDetector",
    "align_landmarks",
    "closest_points_to_rays",
    "face_axes",
    "read_landmarks",
    "select_views",
    "triangulate",
]
