"""The true surface of a patch at a level of the cascade, its colour, the light on it and its highlights.

The surface has a base, creases and relief, and UV lies on it. The highlights move with the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from mesoface.geometry.mesh import unit
from mesoface.lab.synthesis.scene import Lighting, draw_lighting
from mesoface.lab.synthesis.skin import skin_albedo
from mesoface.lab.training.patches.fields import hairs, log_uniform, rms_slope, spots, waves, wrinkles

# Texels finer than this are detail levels: a few short steps. Coarser levels search further.
_DETAIL_MM = 0.6
# Photos are rendered no finer than this, texels a pixel: matching would only shrink them again.
_FINEST_PIXEL = 0.45
# What a pixel of a phone spans on the face, mm: from a close photo to a small video from afar.
_PHONE_PIXELS = (0.05, 1.0)


@dataclass(frozen=True)
class Scale:
    """The sizes that a level of the cascade works with.

    Args:
        size: side of the patch, texels.
        texel_mm: distance between texels, along the surface.
        step: distance between the displacements that are tried, texels.
        reach: displacements from -reach to +reach are tried, steps.
        base_sigma: standard deviation of the smoothing of the surface that is searched around, texels.
        normal_sigma: of the smoothing of its normals, texels.
        photo_mm: what a pixel of the photos spans where the skin faces the camera.
    """

    size: int
    texel_mm: float
    step: float
    reach: int
    base_sigma: float
    normal_sigma: float
    photo_mm: float

    @property
    def pixel_mm(self) -> float:
        """What a pixel of the *rendered* photos spans, mm."""
        return max(self.photo_mm, _FINEST_PIXEL * self.texel_mm)

    @property
    def shrink(self) -> float:
        """Size of the photos' flaws in rendered pixels, relative to photo pixels."""
        return self.photo_mm / self.pixel_mm


def draw_scale(rng: np.random.Generator, size: int) -> Scale:
    """A level like those of :data:`mesoface.matching.classical.PRESETS`, nearly always a detail level.

    Args:
        rng: source of chance.
        size: side of the patch, texels.
    """
    texel = log_uniform(rng, 0.18, 1.0) if rng.uniform() < 0.9 else log_uniform(rng, 1.0, 3.5)
    detail = texel < _DETAIL_MM
    photo = min(texel * log_uniform(rng, 0.4, 1.8), log_uniform(rng, 0.12, 0.8))
    return Scale(
        size=size,
        texel_mm=texel,
        step=rng.uniform(0.25, 0.6) if detail else rng.uniform(0.22, 0.4),
        reach=int(rng.integers(4, 7)) if detail else int(rng.integers(5, 13)),
        base_sigma=rng.uniform(1.5, 6.0),
        normal_sigma=rng.uniform(2.5, 9.0),
        photo_mm=photo,
    )


def draw_phone_scale(rng: np.random.Generator, size: int) -> Scale:
    """A level that measures detail in the photos of a phone: texels of about their pixels, 0.05 to 1 mm.

    Args:
        rng: source of chance.
        size: side of the patch, texels.
    """
    texel = log_uniform(rng, 0.2, 0.9)
    photo = float(np.clip(texel * log_uniform(rng, 0.25, 1.7), *_PHONE_PIXELS))
    return replace(draw_scale(rng, size), texel_mm=texel, photo_mm=photo, step=rng.uniform(0.25, 0.6))


@dataclass(frozen=True, eq=False)
class HeightField:
    """Heights z over a square of the plane z = 0, bilinear between samples, constant beyond the rim.

    Columns run along +x, rows along -y: seen from +z it looks as the array is printed.

    Args:
        z: (n, n) float32 mm.
        spacing: distance between samples, mm.
    """

    z: NDArray[np.float32]
    spacing: float

    @property
    def size(self) -> int:
        """Samples a side."""
        return self.z.shape[0]

    def plane(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(1, n) x and (n, 1) y of the samples, mm."""
        line = ((np.arange(self.size) - (self.size - 1) / 2) * self.spacing).astype(np.float32)
        return line[None], -line[:, None]

    def index(self, xy: NDArray) -> NDArray:
        """(..., 2) mm → (..., 2) column and row."""
        middle = (self.size - 1) / 2
        return np.stack([middle + xy[..., 0] / self.spacing, middle - xy[..., 1] / self.spacing], -1)

    def at(self, xy: NDArray) -> NDArray[np.float64]:
        """(..., 2) mm → (...,) heights, mm."""
        column, row = np.moveaxis(self.index(xy), -1, 0)
        return map_coordinates(self.z, [row, column], np.float64, order=1, mode="nearest")

    def normals(self) -> NDArray[np.float32]:
        """(n, n, 3) unit normals at the samples, upwards."""
        down, right = np.gradient(self.z, np.float32(self.spacing))
        return unit(np.stack([-right, down, np.ones_like(down)], -1))


# Samples of the height field per texel. Relief has waves from two texels on: eight samples, so that
# bilinear interpolation is true to about a hundredth of a texel.
SAMPLES = 4
# Texels by which the surface extends beyond the patch.
MARGIN = 16
# No base is steeper than this, however far from the middle: it stays a height field.
_STEEPEST = 1.6


@dataclass(frozen=True)
class Bend:
    """The base along one principal direction: an arc that straightens to a slope far out.

    Args:
        curvature: in the middle, 1/mm, positive where the surface bulges out; not 0.
    """

    curvature: float

    def height(self, t: NDArray) -> NDArray:
        """Mm from the middle → mm."""
        lean = t * np.float32(self.curvature / _STEEPEST)
        return -(_STEEPEST**2 / self.curvature) * (np.sqrt(1 + lean**2) - 1)

    def at_arc(self, length: NDArray) -> NDArray[np.float64]:
        """Signed length along the surface from the middle, mm → mm along the plane."""
        line = np.linspace(0, max(float(np.abs(length).max()), 1e-9), 257)
        slope = line * self.curvature / np.sqrt(1 + (line * self.curvature / _STEEPEST) ** 2)
        pace = np.sqrt(1 + slope**2)
        arc = np.concatenate([[0], np.cumsum((pace[1:] + pace[:-1]) / 2 * np.diff(line))])
        return np.sign(length) * np.interp(np.abs(length), arc, line)


@dataclass(frozen=True, eq=False)
class PatchSurface:
    """The true surface and its UV layout.

    Args:
        heights: the surface, mm.
        cavity: (n, n) from 0 on even skin to 1 in the depth of pits and wrinkles.
        bends: of the base, along its two principal directions.
        turn: angle from the x axis to the first of them, radians.
        stretch: (2, 2) from texels to mm on the unrolled base.
    """

    heights: HeightField
    cavity: NDArray[np.float32]
    bends: tuple[Bend, Bend]
    turn: float
    stretch: NDArray[np.float64]

    def plane_at(self, uv: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2) texels right of and above the middle of the patch → (..., 2) mm in the plane.

        Texels are evenly spaced along the base and not in the plane, as a UV layout has them.
        """
        axes = _axes(self.turn)
        along = uv @ self.stretch.T @ axes.T
        flat = np.stack([bend.at_arc(along[..., k]) for k, bend in enumerate(self.bends)], -1)
        return flat @ axes

    def positions(self, uv: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2) texels → (..., 3) points of the surface, mm."""
        xy = self.plane_at(uv)
        return np.concatenate([xy, self.heights.at(xy)[..., None]], -1)


def draw_surface(rng: np.random.Generator, scale: Scale) -> PatchSurface:
    """Draw a patch of skin: bent as a part of a face, often wrinkled, pitted or bumpy, sometimes smooth."""
    n = SAMPLES * (scale.size + 2 * MARGIN)
    heights = HeightField(np.zeros((n, n), np.float32), scale.texel_mm / SAMPLES)
    half = scale.size * scale.texel_mm / 2
    bends = _draw_bends(rng, half)
    turn = rng.uniform(0, np.pi)
    x, y = heights.plane()
    axes = _axes(turn).astype(np.float32)
    z = sum(bend.height(axis[0] * x + axis[1] * y) for bend, axis in zip(bends, axes, strict=True))
    relief = np.float32(scale.texel_mm) * _relief(rng, n)
    if rng.uniform() < 0.25:
        relief = relief + _crease(rng, scale, x, y)
    aspect, shear = np.exp(rng.normal(0, 0.1)), rng.normal(0, 0.08)
    stretch = scale.texel_mm * np.array([[aspect, shear], [shear, 1 / aspect]])
    depth = cv2.GaussianBlur(relief, (0, 0), 1.5 * SAMPLES) - relief
    cavity = np.clip(depth / np.float32(0.25 * scale.texel_mm), 0, 1)
    return PatchSurface(replace(heights, z=(z + relief).astype(np.float32)), cavity, bends, turn, stretch)


def _draw_bends(rng: np.random.Generator, half: float) -> tuple[Bend, Bend]:
    radii = [max(log_uniform(rng, 8, 150), half / 1.3) for _ in range(2)]
    kind = rng.uniform()
    signs = (1, 1) if kind < 0.65 else (1, -1) if kind < 0.9 else (-1, -1)
    return Bend(signs[0] / radii[0]), Bend(signs[1] / radii[1])


def _axes(turn: float) -> NDArray[np.float64]:
    """(2, 2) unit vectors of the principal directions in the plane, as rows."""
    c, s = np.cos(turn), np.sin(turn)
    return np.array([[c, s], [-s, c]])


def _relief(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """(n, n) relief, texels: strengths are slopes, which mean the same at every scale."""
    smooth = rng.uniform() < 0.12
    field = waves(rng, n, shortest=2 * SAMPLES, longest=n, slope=rng.uniform(2.5, 5.5))
    slope = log_uniform(rng, 0.004, 0.015) if smooth else log_uniform(rng, 0.015, 0.3)
    relief = field * np.float32(slope / (SAMPLES * rms_slope(field)))
    if smooth:
        return relief
    if rng.uniform() < 0.35:
        spacing = log_uniform(rng, 2.5, 25)
        width = max(spacing * rng.uniform(0.06, 0.2), 0.4)
        depth = width * log_uniform(rng, 0.1, 0.6)
        for _ in range(1 + int(rng.uniform() < 0.5)):
            relief -= depth * wrinkles(rng, n, spacing=spacing * SAMPLES, width=width * SAMPLES)
    if rng.uniform() < 0.4:  # pores
        sigma = rng.uniform(0.4, 1.2)
        depth = sigma * log_uniform(rng, 0.08, 0.5)
        relief -= depth * spots(rng, n, sigma=sigma * SAMPLES, density=log_uniform(rng, 0.005, 0.06))
    if rng.uniform() < 0.2:  # bumps
        sigma = log_uniform(rng, 0.8, 4)
        height = sigma * log_uniform(rng, 0.08, 0.5)
        relief += height * spots(rng, n, sigma=sigma * SAMPLES, density=log_uniform(rng, 0.002, 0.03))
    return relief


def _crease(
    rng: np.random.Generator, scale: Scale, x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n, n) mm: a rounded step as at a nose wing or a lid, or a groove as between lips, along a curve."""
    texel = scale.texel_mm
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    off, curl = rng.uniform(-0.3, 0.3) * scale.size * texel, rng.normal(0, 0.6) / (scale.size * texel)
    across, along = c * x + s * y - np.float32(off), c * y - s * x
    distance = across + np.float32(curl) * along**2
    width = texel * log_uniform(rng, 1.5, 8)
    steepness = rng.uniform(0.4, 1.4)
    if rng.uniform() < 0.5:
        return width * steepness * np.tanh(distance / np.float32(width))
    return -width * steepness * np.exp(-((distance / np.float32(width)) ** 2))


@dataclass(frozen=True, eq=False)
class Gloss:
    """How shiny the skin is.

    Args:
        strength: 0 is none, 1 as an even dielectric, more where sweat and oil cover the roughness.
        sharpness: exponent of the Blinn–Phong lobe.
    """

    strength: float
    sharpness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Gloss:
        """Matt in three of ten, else from a sheen to sweat."""
        matt = rng.uniform() < 0.3
        return cls(0.0 if matt else log_uniform(rng, 0.3, 5), log_uniform(rng, 8, 120))


def draw_light(rng: np.random.Generator) -> Lighting:
    """One to three soft lights, as in a studio or anywhere round the face, and the light of the room."""
    lighting = draw_lighting(rng)
    turn = Rotation.from_euler("y", rng.normal(0, 0.6) if rng.uniform() < 0.4 else 0.0)
    chosen = rng.permutation(3)[: rng.integers(1, 4)]
    lights = tuple(
        replace(
            light,
            direction=turn.apply(light.direction),
            colour=light.colour * rng.uniform(0.5, 1.5),
            spread=light.spread * log_uniform(rng, 0.3, 1),
        )
        for light in (lighting.lights[k] for k in chosen)
    )
    ambient = log_uniform(rng, 0.3, 2)
    return replace(lighting, lights=lights, sky=ambient * lighting.sky, ground=ambient * lighting.ground)


def diffuse(
    albedo: NDArray[np.float32], normals: NDArray[np.float32], cavity: NDArray[np.float32], lighting: Lighting
) -> NDArray[np.float32]:
    """(n, n, 3) linear radiance of the skin without its gloss: Lambert, softened as in skin.

    Args:
        albedo: (n, n, 3) linear RGB.
        normals: (n, n, 3) unit, in the frame of the lights.
        cavity: (n, n) from 0 to 1 in the depth of pits, which get less light from the room.
        lighting: lights and room.
    """
    flat = normals.reshape(-1, 3).astype(np.float64)
    room = lighting.sky_irradiance(flat) * (1 - 0.4 * cavity.reshape(-1, 1))
    total = sum((light.wrapped(flat) for light in lighting.lights), start=room)
    return albedo * total.reshape(albedo.shape).astype(np.float32)


def highlights(
    normals: NDArray[np.float32], view: NDArray[np.float32], gloss: Gloss, lighting: Lighting
) -> NDArray[np.float32]:
    """(..., 3) radiance mirrored to the camera: normalised Blinn–Phong with Schlick's Fresnel term.

    Args:
        normals: (..., 3) unit.
        view: (3,) unit, towards the camera, in the same frame.
        gloss: of the skin.
        lighting: its lights.
    """
    total = np.zeros_like(normals)
    for light in lighting.lights:
        direction = light.direction.astype(np.float32)
        half = unit(view + direction)
        exponent = np.float32(gloss.sharpness / (1 + 0.5 * gloss.sharpness * light.spread**2))
        lobe = np.maximum(normals @ half, 0) ** exponent * ((exponent + 8) / 8)
        fresnel = 0.028 + 0.972 * (1 - float(view @ half)) ** 5
        facing = np.maximum(normals @ direction, 0)
        total += (gloss.strength * fresnel * lobe * facing)[..., None] * light.colour.astype(np.float32)
    return total


def draw_albedo(rng: np.random.Generator, cavity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw the colour of a patch: from evenly coloured to freckled or hairy.

    Args:
        rng: source of chance.
        cavity: (n, n) from 0 on even skin to 1 in the depth of pits.

    Returns:
        (n, n, 3) linear RGB in [0, 1].
    """
    n = len(cavity)
    dark = rng.beta(1.3, 2.2)
    melanin = 0.10 + 2.8 * dark**1.6
    m = melanin * (1 + _unevenness(rng, n, log_uniform(rng, 0.01, 0.5)))
    h = rng.uniform(0.25, 0.5) * (1 + _unevenness(rng, n, log_uniform(rng, 0.01, 0.5)))
    if rng.uniform() < 0.7:
        m += rng.uniform(0, 0.8) * cavity
    if rng.uniform() < 0.3:  # freckles and moles
        sigma = log_uniform(rng, 0.6, 5) * SAMPLES
        strength = log_uniform(rng, 0.05, 0.9) * (0.5 + melanin)
        m += strength * np.minimum(spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.002, 0.05)), 1.5)
    if rng.uniform() < 0.15:
        m, h = _add_region(rng, m, h)
    albedo = skin_albedo(np.maximum(m, 0), np.maximum(h, 0))
    if rng.uniform() < 0.15:
        cover = hairs(
            rng,
            n,
            width=rng.uniform(0.3, 1.2) * SAMPLES,
            length=log_uniform(rng, 3, 30) * SAMPLES,
            density=log_uniform(rng, 0.3, 6),
        )
        cover = rng.uniform(0.3, 1) * cover[..., None]
        albedo += cover * (rng.uniform(0.01, 0.15) * np.array([1.3, 1.0, 0.8]) - albedo)
    return albedo.astype(np.float32)


def faded(albedo: NDArray[np.float32], contrast: float) -> NDArray[np.float32]:
    """(n, n, 3) albedo of the same mean density with this share of its contrast."""
    if contrast >= 1:
        return albedo
    density = np.log(np.maximum(albedo, 1e-3))
    mean = density.mean((0, 1))
    return np.exp(mean + np.float32(contrast) * (density - mean)).astype(np.float32)


def _unevenness(rng: np.random.Generator, n: int, contrast: float) -> NDArray[np.float32]:
    """(n, n) of zero mean; from patches of the whole square down to a texel."""
    shortest = SAMPLES * log_uniform(rng, 1.0, 4.0)
    return np.float32(contrast) * waves(rng, n, shortest=shortest, longest=n, slope=rng.uniform(1.0, 3.2))


def _add_region(
    rng: np.random.Generator, m: NDArray[np.float32], h: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Another colour on one side of a clear border: lips, a brow, a scar."""
    n = len(m)
    field = waves(rng, n, shortest=n / 4, longest=n, slope=3)
    inside = (field > rng.uniform(-0.5, 0.8)).astype(np.float32)
    inside = cv2.GaussianBlur(inside, (0, 0), log_uniform(rng, 0.5, 5) * SAMPLES)
    if rng.uniform() < 0.5:
        return m, h + log_uniform(rng, 0.05, 0.8) * inside
    return m + rng.uniform(-0.4, 1.0) * inside * m, h
