"""What can happen to photos between the face and the file: changes for :func:`disturb.change_photos`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from disturb import Change, Disturb, change_photos, replace_photo
from numpy.typing import NDArray
from PIL import Image

from mesoface.captures.formats import facescape
from mesoface.files.images import decode_srgb, encode_srgb
from mesoface.files.meshes import read_mesh
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster

# Gains of ± 40 %, dealt to the views so that neighbours differ.
GAINS = (0.6, 1.22, 0.87, 1.4, 0.78, 1.13, 0.69, 1.31, 0.96, 1.04)

# Smooth skin: what is finer than this many pixels and weaker than an outline is attenuated.
_FINE_PX, _OUTLINE, _LEFT = 5.0, 0.1, 0.2
# What the sensor adds to a photo whose own noise was smoothed away with the skin.
_SENSOR = 1.5 / 255

# Oily skin under three lamps: directions from the face (x to the subject's left, y up, z front), sharpness of
# the lobe, and how bright a highlight is where the lamp is mirrored, full scale being 1.
_LAMPS = ((-0.7, 0.35, 0.75), (0.55, 0.6, 0.65), (0.05, -0.3, 0.95))
_SHARPNESS, _SHINE = 36.0, 0.22


def keep(image: NDArray[np.float32], view: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """As it is."""
    return image


def noise(sigma: float) -> Change:
    """Gaussian noise of ``sigma`` (full scale 1) in every channel, on what noise the photo has."""

    def change(image: NDArray[np.float32], view: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return image + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)

    return change


def expose(image: NDArray[np.float32], view: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The view's own gain, in linear light; what does not fit is clipped."""
    return encode_srgb(decode_srgb(image) * np.float32(GAINS[view % len(GAINS)]))


def smooth_skin(image: NDArray[np.float32], view: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Pores, spots and grain attenuated to a fifth, outlines kept, as under make-up; and sensor noise."""
    coarse = cv2.bilateralFilter(image, 0, _OUTLINE, _FINE_PX)
    grain = np.float32(_SENSOR) * rng.standard_normal(image.shape, np.float32)
    return coarse + np.float32(_LEFT) * (image - coarse) + grain


def shine(truth: str) -> Disturb:
    """Highlights of three lamps on oily skin, which move from view to view. ``truth``: the true surface."""

    def disturb(capture: Path, out: Path) -> None:
        cameras = {int(view.name): view.camera for view in facescape.read(capture).views}
        surface = read_mesh(capture / truth)
        caster = RayCaster(surface)

        def change(image: NDArray[np.float32], view: int, rng: np.random.Generator) -> NDArray[np.float32]:
            return encode_srgb(decode_srgb(image) + highlights(caster, surface, cameras[view])[..., None])

        change_photos(change)(capture, out)

    return disturb


def highlights(caster: RayCaster, surface: Mesh, camera: Camera) -> NDArray[np.float32]:
    """(H, W) linear light that the surface mirrors to ``camera`` (Blinn–Phong, Schlick's Fresnel term)."""
    small = camera.scaled(0.5)  # a highlight is wider than a pixel
    rays = small.rays(small.pixel_grid()).reshape(-1, 3)
    hits = caster.cast(small.center, rays)
    normal = unit(hits.interpolate(surface.vertex_normals(), surface.faces))
    light = np.zeros(len(rays))
    for lamp in unit(np.array(_LAMPS)):
        halfway = unit(lamp - rays)
        facing = np.clip(np.einsum("nk,nk->n", normal, halfway), 0, 1)
        grazing = 1 - np.clip(halfway @ lamp, 0, 1)
        light += _SHINE * (1 + 4 * grazing**5) * facing**_SHARPNESS * (normal @ lamp > 0)
    light = np.where(hits.hit, light, 0).reshape(small.height, small.width)
    return cv2.resize(light.astype(np.float32), (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)


def stranger(photo: Path) -> Disturb:
    """One view shows the person of ``photo`` instead."""

    def other(true: Image.Image) -> Image.Image:
        with Image.open(photo) as image:
            return image.convert("RGB").resize(true.size, Image.Resampling.BICUBIC)

    return replace_photo(other)


def upside_down(true: Image.Image) -> Image.Image:
    """The photo turned by 180°, as a camera that was hung upside down writes it."""
    return true.transpose(Image.Transpose.ROTATE_180)
