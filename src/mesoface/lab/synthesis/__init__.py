"""Captures with ground truth, made from a face model and procedural skin."""

from mesoface.lab.synthesis.capture import SyntheticCapture, make_capture, photograph
from mesoface.lab.synthesis.folder import synthesize
from mesoface.lab.synthesis.sequence import photograph_sequence, synthesize_sequence
from mesoface.lab.synthesis.settings import SynthesisSettings

__all__ = [
    "SynthesisSettings",
    "SyntheticCapture",
    "make_capture",
    "photograph",
    "photograph_sequence",
    "synthesize",
    "synthesize_sequence",
]
