"""A COLMAP model in ``sparse/0``, without points, through pycolmap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.lenses import BrownLens, ColmapLens
from mesoface.captures.formats.writers.terms import Unsupported, brown_of, refuse_aspect, refuse_skew
from mesoface.geometry.camera import OpenCVLens

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write one camera and one photo per view.

    Raises:
        Unsupported: COLMAP has no model for a lens, or its model has one focal length and the camera two.
    """
    model = pycolmap.Reconstruction()
    for id, view in enumerate(views, 1):
        camera = pycolmap.Camera(_camera(view) | {"camera_id": id})
        model.add_camera_with_trivial_rig(camera)
        pose = pycolmap.Rigid3d(np.column_stack([view.camera.R, view.camera.t]))
        name = view.image_path.relative_to(folder / "images").as_posix()
        model.add_image_with_trivial_frame(pycolmap.Image(name=name, camera_id=id, image_id=id), pose)
    (folder / "sparse" / "0").mkdir(parents=True, exist_ok=True)
    model.write(str(folder / "sparse" / "0"))


def _camera(view: ViewSource) -> dict[str, object]:
    """A camera as pycolmap takes it; COLMAP's pixel centres are at (0.5, 0.5)."""
    refuse_skew(view)
    K, lens = view.camera.K, view.camera.lens
    name, coefficients = "PINHOLE", tuple[float, ...]()
    if isinstance(lens, ColmapLens):
        name, coefficients = lens.model, lens.parameters
    elif isinstance(lens, OpenCVLens) and len(lens.coefficients) == 4:
        name, coefficients = "OPENCV", lens.coefficients
    elif isinstance(lens, OpenCVLens) and not any(lens.coefficients[8:]):
        name, coefficients = "FULL_OPENCV", (*lens.coefficients, 0.0, 0.0, 0.0)[:8]
    elif isinstance(lens, BrownLens):
        brown_of(view)  # raises, with the reason
    elif lens is not None:
        raise Unsupported(view.name, "COLMAP's lenses have neither thin prism nor tilt", undistort=True)
    kind = pycolmap.Camera.create_from_model_name(1, name, 1.0, 1, 1)
    focal = [K[0, 0], K[1, 1]]
    if len(kind.focal_length_idxs()) == 1:
        refuse_aspect(view)
        focal = focal[:1]
    params = [*focal, K[0, 2] + 0.5, K[1, 2] + 0.5, *coefficients]
    return {"model": name, "width": view.camera.width, "height": view.camera.height, "params": params}
