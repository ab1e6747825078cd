"""From a plan to texels: photo after photo, a band of rows at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mesoface.running.progress import ProgressCallback, silent
from mesoface.texture.lookup import enlarge_rows, look_up, pixel_map
from mesoface.texture.photo import face_photo
from mesoface.texture.plan import TexturePlan

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
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda rows: _paint_color(out, plan, rows), bands))
        for v, view in enumerate(plan.views):
            progress("Texture", v, len(plan.views))
            photo, camera = face_photo(view, points, space.texel_mm * space.size / size)
            add = partial(_add_detail, out, plan, v, photo, pixel_map(space.position, camera))
            list(pool.map(add, bands))
    progress("Texture", len(plan.views), len(plan.views))
    return np.clip(out, 0, 1, out=out)


def _paint_color(out: Map, plan: TexturePlan, rows: range) -> None:
    """Colour without detail into ``rows`` of ``out``."""
    out[rows.start : rows.stop] = enlarge_rows(plan.color, rows, len(out))


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
