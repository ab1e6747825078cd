"""Local skin patches with exact truth, drawn on the fly: what the matching network learns from."""

from mesoface.lab.training.patches.patch import SkinPatch, draw_patch, patch_tile

__all__ = ["SkinPatch", "draw_patch", "patch_tile"]
