"""Captures with ground truth, made from a face model and procedural skin."""

from mesoface.synthesis.capture import SyntheticCapture, make_capture, photograph
from mesoface.synthesis.folder import synthesize
from mesoface.synthesis.sequence import photograph_sequence, synthesize_sequence
from mesoface.synthesis.settings import SynthesisSettings

__all__ = [
    "SynthesisSettings",
    "SyntheticCapture",
    "make_capture",
    "photograph",
    "photograph_sequence",
    "synthesize",
    "synthesize_sequence",
]
