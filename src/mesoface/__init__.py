"""Calibrated photos of a face in, a measured and textured 3D face out.

The names below are imported on first use, so that ``import mesoface`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesoface.captures.capture import Capture, View
    from mesoface.captures.load import load_capture
    from mesoface.config import Settings
    from mesoface.errors import MesofaceError
    from mesoface.evaluation import evaluate
    from mesoface.geometry.camera import Camera
    from mesoface.pipeline import reconstruct
    from mesoface.results.face import Face
    from mesoface.save import save_face

__version__ = "0.1.0"

_HOME = {
    "Camera": "geometry.camera",
    "Capture": "captures.capture",
    "Face": "results.face",
    "MesofaceError": "errors",
    "Settings": "config",
    "View": "captures.capture",
    "evaluate": "evaluation",
    "load_capture": "captures.load",
    "reconstruct": "pipeline",
    "save_face": "save",
}
__all__ = [
    "Camera",
    "Capture",
    "Face",
    "MesofaceError",
    "Settings",
    "View",
    "evaluate",
    "load_capture",
    "reconstruct",
    "save_face",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mesoface' has no attribute {name!r}")
    return getattr(import_module(f"mesoface.{_HOME[name]}"), name)
