"""A multi-view video: one person, the same cameras, frame after frame."""

from mesoface.sequence.run import run_sequence

__all__ = ["run_sequence"]
