"""A patch of skin: drawn, photographed, and seen as a level of the cascade would see it.

It has the UVD space that the cascade would search around, and the truth in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import View
from mesoface.lab.synthesis.cameras import meter, miscalibrate
from mesoface.lab.training.patches.cameras import (
    believed_visibility,
    draw_cameras,
    draw_directions,
    draw_pose,
)
from mesoface.lab.training.patches.fields import log_uniform, waves
from mesoface.lab.training.patches.photo import Flaws, PatchSkin, hide_part, take_photo
from mesoface.lab.training.patches.surface import (
    MARGIN,
    Gloss,
    HeightField,
    PatchSurface,
    Scale,
    diffuse,
    draw_albedo,
    draw_light,
    draw_phone_scale,
    draw_scale,
    draw_surface,
    faded,
)
from mesoface.lab.training.tile import Tile, make_tile
from mesoface.uvd.space import UVDSpace, smooth_normals

_UP = np.array([0.0, 0.0, 1.0], np.float32)
# The relief that the smoothed surface misses takes up at most this share of the reach.
_RELIEF_SHARE = 0.6
# How far the true displacement is looked for, reaches.
_SEARCHED = 2.5


def draw_space(rng: np.random.Generator, surface: PatchSurface, scale: Scale) -> UVDSpace:
    """The true surface, smoothed, and off by a smooth random error; with the margin around the patch.

    As after a level of the cascade the truth lies within reach of it nearly everywhere, and not quite.

    Args:
        rng: source of chance.
        surface: the truth.
        scale: the level.
    """
    around = scale.size + 2 * MARGIN
    line = np.arange(around) - (around - 1) / 2
    true = surface.positions(np.stack(np.broadcast_arrays(line[None], -line[:, None]), -1))
    everywhere, up = np.ones((around, around), bool), np.broadcast_to(_UP, true.shape)
    normal = smooth_normals(true.astype(np.float32), everywhere, scale.normal_sigma, up)
    reach = scale.reach * scale.step * scale.texel_mm
    position, missed = _smoothed(true, normal, scale.base_sigma, _RELIEF_SHARE * reach)
    inner = slice(MARGIN, MARGIN + scale.size)
    shortest = log_uniform(rng, 2 * scale.base_sigma, scale.size)
    error = waves(rng, around, shortest=shortest, longest=around, slope=rng.uniform(1, 3))
    error = error + np.float32(rng.normal(0, 0.5))
    largest = np.percentile(np.abs(error[inner, inner]), 95)
    amount = rng.uniform(0.05, 1.05) * (reach - missed) / largest
    position = position + normal * (np.float32(amount) * error)[..., None]
    return UVDSpace(position.astype(np.float32), normal, everywhere)


def middle_of(around: UVDSpace) -> UVDSpace:
    """The space of the patch alone, without the margin."""
    inner = (slice(MARGIN, around.size - MARGIN),) * 2
    return UVDSpace(around.position[inner], around.normal[inner], around.valid[inner])


def true_displacement(space: UVDSpace, heights: HeightField, reach_mm: float) -> NDArray[np.float32]:
    """Where the surface is, along the normals: of several meetings the nearest to zero counts.

    Args:
        space: (H, H) texels.
        heights: the true surface.
        reach_mm: the surface is looked for two and a half times as far.

    Returns:
        (H, H) mm, NaN where it was not met.
    """
    position, normal = space.position.astype(np.float64), space.normal.astype(np.float64)

    def above(d: NDArray) -> NDArray[np.float64]:
        point = position + normal * d[..., None]
        return point[..., 2] - heights.at(point[..., :2])

    steps = np.linspace(-_SEARCHED * reach_mm, _SEARCHED * reach_mm, 41)
    height = np.stack([above(np.full(space.valid.shape, d)) for d in steps])
    crosses = (height[:-1] <= 0) & (height[1:] > 0)
    middle = np.abs(steps[:-1] + steps[1:])[:, None, None]
    first = np.where(crosses, middle, np.inf).argmin(0)
    low, high = steps[first], steps[first + 1]
    for _ in range(10):  # bisection: 2^-10 of a 40th of the range
        half = (low + high) / 2
        inside = above(half) <= 0
        low, high = np.where(inside, half, low), np.where(inside, high, half)
    return np.where(crosses.any(0), (low + high) / 2, np.nan).astype(np.float32)


def moved(space: UVDSpace, R: NDArray[np.float64], t: NDArray[np.float64]) -> UVDSpace:
    """The space in a world moved by ``x → R x + t``."""
    position = space.position @ R.T + t
    return replace(
        space, position=position.astype(np.float32), normal=(space.normal @ R.T).astype(np.float32)
    )


def _smoothed(
    true: NDArray[np.float64], normal: NDArray[np.float32], sigma: float, limit: float
) -> tuple[NDArray[np.float64], float]:
    """``true`` (H, H, 3) smoothed by ``sigma`` texels or as much less as keeps 90 % within ``limit`` mm.

    Returns:
        the positions, and the distance within which 90 % lie.
    """
    for _ in range(6):
        position = cv2.GaussianBlur(true, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        away = np.abs(np.einsum("hwc,hwc->hw", true - position, normal))
        inner = away[MARGIN:-MARGIN, MARGIN:-MARGIN]
        missed = float(np.percentile(inner, 90))
        if missed <= limit:
            break
        sigma *= 0.7
    return position, missed


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


def draw_patch(
    rng: np.random.Generator, *, size: int = 64, ideal: bool = False, phone: bool = False
) -> SkinPatch:
    """Draw a patch of skin, a rig and its photos.

    Args:
        rng: source of chance; the same state gives the same patch.
        size: side of the patch, texels.
        ideal: matt skin and photos without flaws, which agree exactly on the surface.
        phone: photos from life, as a phone takes them, more of them and of skin with less contrast.

    Raises:
        ValueError: the patch would be smaller than the smoothing of its own normals.
    """
    if size < _SMALLEST:
        raise ValueError(f"a patch has at least {_SMALLEST} × {_SMALLEST} texels, got {size}")
    scale = draw_phone_scale(rng, size) if phone else draw_scale(rng, size)
    surface = draw_surface(rng, scale)
    around = draw_space(rng, surface, scale)
    space = middle_of(around)
    step = scale.step * space.texel_mm
    truth = true_displacement(space, surface.heights, scale.reach * step)

    directions = draw_directions(rng, video=phone)
    pose = draw_pose(rng, directions)
    cameras = draw_cameras(rng, scale, directions @ pose, space.position, space.normal)
    lighting = draw_light(rng)
    lights = tuple(replace(light, direction=light.direction @ pose) for light in lighting.lights)
    lighting = replace(lighting, lights=lights)
    normals = surface.heights.normals()
    albedo = draw_albedo(rng, surface.cavity)
    gloss = Gloss(0.0, 1.0) if ideal else Gloss.draw(rng)
    draw_flaws = Flaws.draw_phone if phone else Flaws.draw
    flaws = Flaws.none() if ideal else draw_flaws(rng, scale)
    albedo = faded(albedo, flaws.sensor.skin_contrast)
    radiance = diffuse(albedo, normals, surface.cavity, lighting)
    skin = PatchSkin(surface.heights, radiance, normals, gloss, lighting)
    gain = meter(radiance, np.ones(radiance.shape[:2], bool)) * (1.0 if ideal else rng.uniform(0.6, 1.2))
    photos = [take_photo(skin, camera, gain, flaws, scale.pixel_mm, rng) for camera in cameras]

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


def patch_tile(rng: np.random.Generator, size: int = 64, *, phone: bool = False) -> Tile:
    """Draw a patch of skin, see :func:`draw_patch`, and cut it to what the matcher sees."""
    return make_tile(**vars(draw_patch(rng, size=size, phone=phone)))
