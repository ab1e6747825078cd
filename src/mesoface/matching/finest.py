"""The finest level: the surface on texels as fine as the pixels of full-size photos.

The cascade compares photos of at most 2048 pixels. Where the files hold more, the measured surface is put on
finer maps, and all views are compared once more there (:func:`mesoface.matching.refinement.refine`), with the
photos' own pixels. Photos are read one after another, and only what shows the face is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.files.images import LUMA
from mesoface.matching.consensus import Photo
from mesoface.matching.refinement import refine
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import resize_mask
from mesoface.uvd.photos import face_photo, file_camera, straighten, typical_footprint
from mesoface.uvd.space import Match

# Sides of the maps, texels. A preset goes up to its own.
_SIZES = (1024, 1536, 2048)
_UP_TO = {"fast": 0, "default": 1536, "best": 2048}
# One step is enough from a surface that was refined already: a second moved captures/dslr by 0.003 mm.
_ROUNDS = 1


def finest_size(found: Match, preset: str) -> int:
    """Side of the finest maps whose texels are no finer than the pixels of the photos' files.

    Args:
        found: the measured surface.
        preset: sets a limit.

    Returns:
        the size of ``found`` where the photos show nothing finer.
    """
    space = found.space
    center = space.position[found.measured].mean(0)
    pixel = typical_footprint([file_camera(view) for view in found.views], center)
    whole = space.texel_mm * space.size
    fits = [size for size in _SIZES if size <= _UP_TO[preset] and whole / size >= pixel]
    return max([space.size, *fits])


def measure_finest(
    found: Match,
    facial_mask: Callable[[int], NDArray[np.bool_]],
    *,
    preset: str = "default",
    memory_mb: int = 1024,
    threads: int = 2,
    progress: ProgressCallback = silent,
) -> Match:
    """Measure the skin again on texels as fine as the pixels of the photos' files.

    Args:
        found: the surface as the cascade and the refinement left it; it may hold more than the facial mask
            (eyes and lips). What is not skin follows the skin around it.
        facial_mask: makes the facial mask (H, H) at a size.
        preset: sets a limit to the size: 1536² for ``default``, 2048² for ``best``, none of it for ``fast``.
        memory_mb: for what is compared at a time.
        threads: of the CPU.
        progress: called once a photo and once a step.

    Returns:
        ``found`` itself where the photos show nothing finer than its texels.

    Raises:
        CaptureError: a photo's file is not what it was when it was loaded.
    """
    size = finest_size(found, preset)
    if size == found.space.size:
        return found
    finer = found.resized(resize_mask(found.space.valid, size))
    skin = finer.measured & facial_mask(size)
    if not skin.any():
        return found
    photos = _read(finer.views, finer.space.position[skin], finer.space.texel_mm, progress)
    refined = refine(
        replace(finer, measured=skin),
        photos,
        rounds=_ROUNDS,
        memory_mb=memory_mb,
        threads=threads,
        progress=progress,
    )
    sigma = refined.uncertainty
    if sigma is not None and finer.uncertainty is not None:
        sigma = np.where(skin, sigma, finer.uncertainty)
    return replace(finer, space=refined.space, uncertainty=sigma)


def _read(
    views: Sequence[View], points: NDArray[np.float32], texel_mm: float, progress: ProgressCallback
) -> list[Photo]:
    """Luminance around the face, from the photos' files where they hold more than the views."""
    photos = []
    for number, view in enumerate(views):
        progress("Reading full-size photos", number, len(views))
        pixels, camera = straighten(*face_photo(view, points, texel_mm), points)
        photos.append(Photo(pixels @ LUMA, camera, typical_footprint([camera], points.mean(0))))
    progress("Reading full-size photos", len(views), len(views))
    return photos
