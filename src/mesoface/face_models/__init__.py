"""Face models: one shape space each, loaded by name or from the user's own files, fitted to landmarks."""

from mesoface.face_models.fitting import fit_face, fit_landmarks3d
from mesoface.face_models.loading import load_face_model
from mesoface.face_models.model import FaceFit, FaceModel, LinearFaceModel, Topology, base_mesh
from mesoface.face_models.scale import ScaleEstimate, estimate_scale

__all__ = [
    "FaceFit",
    "FaceModel",
    "LinearFaceModel",
    "ScaleEstimate",
    "Topology",
    "base_mesh",
    "estimate_scale",
    "fit_face",
    "fit_landmarks3d",
    "load_face_model",
]
