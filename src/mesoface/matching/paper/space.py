"""The UV maps that the published networks were trained on (Xiao et al. 2022)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh, unit
from mesoface.uvd.maps import fill_outside
from mesoface.uvd.rasterize import rasterize_uv
from mesoface.uvd.space import UVDSpace

SIZE = 256
"""Texels of a side: FaceScape's face at 512², rows 72–327 and columns 128–383 kept."""
_KERNEL = 21  # texels of the Gaussian on the normals; its sigma is OpenCV's for that kernel, 3.5


def paper_space(mesh: Mesh, facial: NDArray[np.bool_], size: int = SIZE) -> UVDSpace:
    """Base mesh to UV maps as published: positions as they are, normals continued outwards and blurred.

    The published crop of FaceScape's layout is the unit square of our FaceScape model: its UVs are stretched
    to that when the model is read. The other models' layouts fill the unit square with the face as they are.
    So the whole square is rasterised, whatever the model.

    Args:
        mesh: base mesh with UVs, mm.
        facial: (F,) faces of the facial mask.
        size: side of the maps, texels.

    Raises:
        ValueError: the mesh has no UVs or no facial face covers a texel.
    """
    if mesh.uv is None:
        raise ValueError("the base mesh has no UVs")
    uv_faces = mesh.uv_index
    raster = rasterize_uv(mesh.uv, uv_faces[facial], size)
    if not raster.valid.any():
        raise ValueError("no facial face of the base mesh covers a texel")
    faces = mesh.faces[facial]
    position = fill_outside(raster.interpolate(mesh.vertices, faces), raster.valid)
    normal = fill_outside(raster.interpolate(mesh.vertex_normals(), faces), raster.valid)
    blurred = cv2.GaussianBlur(normal, (_KERNEL, _KERNEL), 0)
    return UVDSpace(position, unit(blurred), raster.valid)
