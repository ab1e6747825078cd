"""Calibrated photos of a face in, a measured and textured 3D face out.

The names below are imported on first use, so that ``import mesoface`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesoface.batch.run import run_batch
    from mesoface.calibration.calibrate import calibrate_folder as calibrate
    from mesoface.captures.capture import Capture, View
    from mesoface.captures.load import load_capture, make_view
    from mesoface.config import Settings
    from mesoface.errors import MesofaceError
    from mesoface.evaluation import evaluate
    from mesoface.export import export_face
    from mesoface.face_models.model import FaceModel
    from mesoface.files.meshes import read_mesh
    from mesoface.geometry.camera import Camera, OpenCVLens
    from mesoface.inspection.inspect import inspect
    from mesoface.landmarks.types import LandmarkDetector
    from mesoface.matching.matcher import Matcher
    from mesoface.pipeline import find_face, finish_face, measure_face, reconstruct
    from mesoface.precision.halves import measure_halves
    from mesoface.results.face import Face, load_face
    from mesoface.save import save_face

__version__ = "0.1.0"

_HOME = {
    "Camera": ("geometry.camera", "Camera"),
    "Capture": ("captures.capture", "Capture"),
    "Face": ("results.face", "Face"),
    "FaceModel": ("face_models.model", "FaceModel"),
    "LandmarkDetector": ("landmarks.types", "LandmarkDetector"),
    "Matcher": ("matching.matcher", "Matcher"),
    "MesofaceError": ("errors", "MesofaceError"),
    "OpenCVLens": ("geometry.camera", "OpenCVLens"),
    "Settings": ("config", "Settings"),
    "View": ("captures.capture", "View"),
    "calibrate": ("calibration.calibrate", "calibrate_folder"),
    "evaluate": ("evaluation", "evaluate"),
    "export_face": ("export", "export_face"),
    "find_face": ("pipeline", "find_face"),
    "finish_face": ("pipeline", "finish_face"),
    "inspect": ("inspection.inspect", "inspect"),
    "load_capture": ("captures.load", "load_capture"),
    "load_face": ("results.face", "load_face"),
    "make_view": ("captures.load", "make_view"),
    "measure_face": ("pipeline", "measure_face"),
    "measure_halves": ("precision.halves", "measure_halves"),
    "read_mesh": ("files.meshes", "read_mesh"),
    "reconstruct": ("pipeline", "reconstruct"),
    "run_batch": ("batch.run", "run_batch"),
    "save_face": ("save", "save_face"),
}
__all__ = [
    "Camera",
    "Capture",
    "Face",
    "FaceModel",
    "LandmarkDetector",
    "Matcher",
    "MesofaceError",
    "OpenCVLens",
    "Settings",
    "View",
    "calibrate",
    "evaluate",
    "export_face",
    "find_face",
    "finish_face",
    "inspect",
    "load_capture",
    "load_face",
    "make_view",
    "measure_face",
    "measure_halves",
    "read_mesh",
    "reconstruct",
    "run_batch",
    "save_face",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mesoface' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(f"mesoface.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
