"""The face's colour: one texture from all photos, without the photos' seams, exposures and occlusions.

:mod:`mesoface.texture.bake` has the order of the steps.
"""

from mesoface.texture.types import Texture

__all__ = ["Texture"]
