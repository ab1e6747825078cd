"""The texture of a measured face: the order of the steps, and from a plan to texels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.geometry.mesh import Mesh
from mesoface.running.process import available_memory_mb
from mesoface.running.progress import ProgressCallback, silent
from mesoface.texture import Texture
from mesoface.texture.plan import TexturePlan, enlarge_rows, look_up, pixel_map, plan_texture
from mesoface.texture.weights import find_skin
from mesoface.uvd.photos import face_photo
from mesoface.uvd.space import FineSurface

Map = NDArray[np.float32]

# Rows that a thread works on at a time: what it needs stays in the cache.
_BAND = 64


def paint(plan: TexturePlan, size: int, *, threads: int = 2, progress: ProgressCallback = silent) -> Map:
    """Put the texture together at ``size``².

    One photo is in memory at a time beside the texture itself, whatever the size.

    Args:
        plan: from :func:`mesoface.texture.plan.plan_texture`.
        size: side of the texture, texels.
        threads: bands painted at a time.
        progress: called after each photo.

    Returns:
        (size, size, 3) float32 in [0, 1].
    """
    space = plan.skin.space
    points = space.position[space.valid]
    out = np.empty((size, size, 3), np.float32)
    bands = [range(start, min(start + _BAND, size)) for start in range(0, size, _BAND)]

    def paint_color(rows: range) -> None:
        out[rows.start : rows.stop] = enlarge_rows(plan.color, rows, size)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(paint_color, bands))
        for v, view in enumerate(plan.views):
            progress("Texture", v, len(plan.views))
            photo, camera = face_photo(view, points, space.texel_mm * space.size / size)
            add = partial(_add_detail, out, plan, v, photo, pixel_map(space.position, camera))
            list(pool.map(add, bands))
    progress("Texture", len(plan.views), len(plan.views))
    return np.clip(out, 0, 1, out=out)


def _add_detail(out: Map, plan: TexturePlan, v: int, photo: Map, pixels: Map, rows: range) -> None:
    """What photo ``v``, looked up at ``pixels`` (S, S, 2), has of the detail onto ``rows`` of ``out``."""
    size = len(out)
    share = enlarge_rows(plan.detail[v], rows, size)
    columns = np.flatnonzero(share.any(0))
    if not len(columns):
        return
    span = slice(columns[0], columns[-1] + 1)
    seen = look_up(photo, np.ascontiguousarray(enlarge_rows(pixels, rows, size)[:, span]))
    seen *= plan.gains[v]
    seen -= enlarge_rows(plan.smooth[v], rows, size)[:, span]
    seen *= share[:, span, None]
    out[rows.start : rows.stop, span] += seen


# What a texel takes at the worst moment, when files are written: its colour as float and as bytes, encoded.
_BYTES_A_TEXEL = 32


def check_memory(size: int) -> None:
    """Check that memory suffices for a texture of ``size``².

    Raises:
        ReconstructionError: it does not fit into what memory is free.
    """
    needed, free = size**2 * _BYTES_A_TEXEL / 2**20, available_memory_mb()
    if free is not None and needed > free:
        raise ReconstructionError(
            f"a texture of {size}² needs {needed:,.0f} MB and {free:,.0f} MB are free",
            remedy="use a smaller --texture-size, or close other programs",
        )


def bake_texture(
    fine: FineSurface,
    base: Mesh,
    views: Sequence[View],
    size: int,
    *,
    occluder: Mesh | None = None,
    threads: int = 2,
    progress: ProgressCallback = silent,
) -> Texture:
    """One texture from all photos.

    The paper takes the mean of the photos, weighted by the cosine to the camera. Here photos count where ray
    casting finds that they see the texel, their gains are solved first, and colour and detail are blended
    separately after Burt and Adelson (A multiresolution spline, ACM TOG 1983): colour over wide transitions,
    so that no seam is left, detail nearly from the best photo, so that nothing blurs.

    Args:
        fine: the measured surface.
        base: the base mesh that follows it; where it has openings (eyes, lips) the photos are laid on it.
        views: V photos in millimetres.
        size: side of the texture, texels.
        occluder: further surface that hides the face (ears, neck), or None.
        threads: for the part that depends on ``size``.
        progress: called after each photo.

    Raises:
        CaptureError: a photo's file is not what it was when it was loaded.
    """
    progress("Texture", 0, len(views))
    plan = plan_texture(find_skin(fine, base), views, occluder)
    color = paint(plan, size, threads=threads, progress=progress)
    valid = plan.skin.space.valid.astype(np.float32)
    shown, skin = (enlarge_rows(values, range(size), size) > 0.5 for values in (plan.seen, valid))
    return Texture(color, shown & skin)
