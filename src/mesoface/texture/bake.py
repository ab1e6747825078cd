"""The texture of a measured face, step by step."""

from __future__ import annotations

from collections.abc import Sequence

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.geometry.mesh import Mesh
from mesoface.running.memory import available_memory_mb
from mesoface.running.progress import ProgressCallback, silent
from mesoface.texture.lookup import enlarge_rows
from mesoface.texture.paint import paint
from mesoface.texture.plan import plan_texture
from mesoface.texture.skin import find_skin
from mesoface.texture.types import Texture
from mesoface.uvd.fine_surface import FineSurface

# What a texel takes at the worst moment, when files are written: its colour as float and as bytes, encoded.
_BYTES_A_TEXEL = 32


def check_memory(size: int) -> None:
    """See that a texture of ``size``² can be had.

    Raises:
        ReconstructionError: it does not fit into what memory is free.
    """
    needed, free = size**2 * _BYTES_A_TEXEL / 2**20, available_memory_mb()
    if free is not None and needed > free:
        raise ReconstructionError(
            f"a texture of {size}² needs {needed:,.0f} MB and {free:,.0f} MB are free",
            remedy="ask for a smaller --texture-size, or close other programs",
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

    The paper takes the mean of the photos, weighted by the cosine to the camera. Here photos count where they
    are seen to see the texel, their gains are solved first, and colour and detail are blended apart after
    Burt and Adelson (A multiresolution spline, ACM TOG 1983): colour over wide transitions, so that no seam
    is left, detail nearly from the best photo, so that nothing blurs.

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
    valid = plan.skin.space.valid.astype("float32")
    everything = range(size)
    seen = (enlarge_rows(plan.seen, everything, size) > 0.5) & (enlarge_rows(valid, everything, size) > 0.5)
    return Texture(color, seen)
