"""A patch of skin: drawn, photographed, and seen as a level of the cascade would see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import View
from mesoface.lab.synthesis.cameras import meter, miscalibrate
from mesoface.lab.training.patches.albedo import draw_albedo
from mesoface.lab.training.patches.light import Gloss, diffuse, draw_light
from mesoface.lab.training.patches.occluder import hide_part
from mesoface.lab.training.patches.photo import Flaws, Skin, take_photo
from mesoface.lab.training.patches.rig import draw_cameras, draw_directions, draw_pose
from mesoface.lab.training.patches.scale import draw_scale
from mesoface.lab.training.patches.space import draw_space, middle_of, moved, true_displacement
from mesoface.lab.training.patches.surface import draw_surface
from mesoface.lab.training.patches.visibility import believed_visibility
from mesoface.lab.training.tile import Tile, make_tile
from mesoface.uvd.space import UVDSpace

_SMALLEST = 16


@dataclass(frozen=True, eq=False)
class SkinPatch:
    """A patch of skin with exact truth.

    Args:
        space: T × T texels around which a level of the cascade would search, mm.
        views: V photos, their cameras as a calibration states them.
        visibility: (V, T, T) float32 in [0, 1] as :func:`mesoface.uvd.visibility.cast_visibility` gives it.
        truth: (T, T) float32 true displacement along the space's normals, mm; NaN where there is none near.
        step_mm: distance between the displacements that the level tries.
        reach_mm: it tries them from -reach to +reach.
    """

    space: UVDSpace
    views: tuple[View, ...]
    visibility: NDArray[np.float32]
    truth: NDArray[np.float32]
    step_mm: float
    reach_mm: float


def draw_patch(rng: np.random.Generator, *, size: int = 64, ideal: bool = False) -> SkinPatch:
    """Draw a patch of skin, a rig and its photos.

    Args:
        rng: source of chance; the same state gives the same patch.
        size: side of the patch, texels.
        ideal: matt skin and photos without flaws, which agree exactly on the surface.

    Raises:
        ValueError: the patch would be smaller than the smoothing of its own normals.
    """
    if size < _SMALLEST:
        raise ValueError(f"a patch has at least {_SMALLEST} × {_SMALLEST} texels, got {size}")
    scale = draw_scale(rng, size)
    surface = draw_surface(rng, scale)
    around = draw_space(rng, surface, scale)
    space = middle_of(around)
    step = scale.step * space.texel_mm
    truth = true_displacement(space, surface.heights, scale.reach * step)

    directions = draw_directions(rng)
    pose = draw_pose(rng, directions)
    cameras = draw_cameras(rng, scale, directions @ pose, space.position, space.normal)
    lighting = draw_light(rng)
    lighting = replace(
        lighting,
        lights=tuple(replace(light, direction=light.direction @ pose) for light in lighting.lights),
    )
    normals = surface.heights.normals()
    radiance = diffuse(draw_albedo(rng, surface.cavity), normals, surface.cavity, lighting)
    gloss = Gloss(0.0, 1.0) if ideal else Gloss.draw(rng)
    skin = Skin(surface.heights, radiance, normals, gloss, lighting)
    flaws = Flaws.none() if ideal else Flaws.draw(rng, scale)
    gain = meter(radiance, np.ones(radiance.shape[:2], bool)) * (1.0 if ideal else rng.uniform(0.6, 1.2))
    photos = [take_photo(skin, camera, gain, flaws, rng) for camera in cameras]

    visibility = believed_visibility(around, cameras)
    if rng.uniform() < flaws.occluder:  # two views at least stay free
        for v in rng.permutation(len(cameras))[: min(rng.integers(1, 3), len(cameras) - 2)]:
            photos[v], past = hide_part(photos[v], cameras[v], space.position, rng)
            visibility[v] *= past
    if flaws.sensor.calibration_px > 0:
        middle = space.position.reshape(-1, 3).mean(0)
        cameras = list(miscalibrate(cameras, middle, flaws.sensor.calibration_px, rng))
    # Somewhere in the world, turned anyhow.
    R = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    t = rng.normal(0, 60, 3)
    views = tuple(
        View(str(v), photo.astype(np.float32), camera.moved(R, t))
        for v, (photo, camera) in enumerate(zip(photos, cameras, strict=True))
    )
    return SkinPatch(moved(space, R, t), views, visibility, truth, step, scale.reach * step)


def patch_tile(rng: np.random.Generator, size: int = 64) -> Tile:
    """Draw a patch of skin and cut it to what the matcher sees."""
    patch = draw_patch(rng, size=size)
    return make_tile(
        patch.space,
        patch.views,
        patch.visibility,
        patch.truth,
        step_mm=patch.step_mm,
        reach_mm=patch.reach_mm,
    )
