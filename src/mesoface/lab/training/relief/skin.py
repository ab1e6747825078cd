"""Squares of textured skin with known relief, drawn in UV: the training data of the relief network.

A texture is the mean of several photos, so no photo is rendered: skin is lit, its highlights are averaged
over cameras, and the result is blurred and made noisy as a blend of photos is. The relief is drawn at the
scale of texels, once as it is and once as a matcher measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.files.images import LUMINANCE, encode_srgb
from mesoface.geometry.mesh import unit
from mesoface.lab.synthesis.damage import process
from mesoface.lab.synthesis.scene import Lighting
from mesoface.lab.synthesis.skin import skin_albedo
from mesoface.lab.training.patches.fields import hairs, log_uniform, rms_slope, spots, waves, wrinkles
from mesoface.lab.training.patches.photo import SKIN_CONTRAST, draw_software
from mesoface.lab.training.patches.surface import Gloss, diffuse, draw_light, faded, highlights
from mesoface.relief.inputs import high_pass, make_inputs, slopes

MARGIN = 24
"""Texels beyond a square, so that filters have no rim."""


@dataclass(frozen=True, eq=False)
class DrawnRelief:
    """A square of skin.

    Args:
        height: (n, n) over a smooth ground, texels.
        pore: (n, n) 0…1, how deep in a pore.
        furrow: (n, n) 0…1, how deep in a wrinkle.
        cavity: (n, n) 0…1, how far below its surroundings.
    """

    height: NDArray[np.float32]
    pore: NDArray[np.float32]
    furrow: NDArray[np.float32]
    cavity: NDArray[np.float32]


def draw_relief(rng: np.random.Generator, n: int) -> DrawnRelief:
    """From nearly smooth to rough: waves of a power law, and often wrinkles, pores or bumps."""
    field = waves(rng, n, shortest=rng.uniform(2, 5), longest=n, slope=rng.uniform(2.2, 5))
    height = field * np.float32(log_uniform(rng, 0.01, 0.2) / rms_slope(field))
    pore, furrow = np.zeros_like(height), np.zeros_like(height)
    if rng.uniform() < 0.45:
        spacing = log_uniform(rng, 3, 40)
        width = max(spacing * rng.uniform(0.06, 0.2), 0.7)
        for _ in range(1 + int(rng.uniform() < 0.5)):
            furrow = np.maximum(furrow, wrinkles(rng, n, spacing=spacing, width=width))
        furrow = cv2.GaussianBlur(furrow, (0, 0), 0.5)
        height = height - width * log_uniform(rng, 0.05, 0.45) * furrow
    if rng.uniform() < 0.45:
        sigma = log_uniform(rng, 0.8, 2.5)
        pore = np.clip(spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.005, 0.06)), 0, 1)
        height = height - sigma * log_uniform(rng, 0.05, 0.4) * pore
    if rng.uniform() < 0.25:
        sigma = log_uniform(rng, 1.2, 8)
        bump = spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.002, 0.03))
        height = height + sigma * log_uniform(rng, 0.05, 0.35) * bump
    if rng.uniform() < 0.3:
        height = height + _crease(rng, n)
    depth = cv2.GaussianBlur(height, (0, 0), rng.uniform(2, 6)) - height
    cavity = np.clip(depth / np.float32(log_uniform(rng, 0.08, 0.6)), 0, 1)
    return DrawnRelief(height.astype(np.float32), pore.astype(np.float32), furrow.astype(np.float32), cavity)


def _crease(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """(n, n) texels, along a curve: a rounded step as at a nose wing, or a groove as between lips."""
    field = waves(rng, n, shortest=n / 2, longest=2 * n, slope=3)
    # The field's own slope makes a distance of it; smoothed, or the grid that it was drawn on would show.
    slope = cv2.GaussianBlur(np.hypot(*np.gradient(field)), (0, 0), n / 16)
    distance = field / np.maximum(slope, 0.3 * rms_slope(field))
    width, steepness = np.float32(log_uniform(rng, 1.2, 8)), np.float32(rng.uniform(0.1, 0.8))
    if rng.uniform() < 0.5:
        return width * steepness * np.tanh(distance / width)
    return -width * steepness * np.exp(-((distance / width) ** 2))


def measured(height: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, n) the height as a matcher measures it: smoothed over its window, and with smooth errors."""
    n = len(height)
    blurred = cv2.GaussianBlur(height, (0, 0), log_uniform(rng, 1.8, 7))
    error = waves(rng, n, shortest=log_uniform(rng, 5, 14), longest=n, slope=rng.uniform(1.5, 4))
    return blurred + error * np.float32(log_uniform(rng, 0.008, 0.15) / rms_slope(error))


# Blur of the truth: nothing finer than about a texel can be predicted.
_FINEST = 0.6
_TILT = 1e-2
# Pixels of a phone's photos on a texel.
_PHONE_PIXELS = (0.35, 1.0)
_UNKNOWN_LIGHT = 0.1  # share of squares whose light is unknown


@dataclass(frozen=True, eq=False)
class Square:
    """A square of skin to learn from: as it is drawn or cut, or with fewer bits, as it is kept.

    Args:
        maps: (11, n, n) float32, kept as float16; see :func:`mesoface.relief.inputs.make_inputs`.
        relief: (n, n) likewise, what the network should predict, texels: what the measurement has missed,
            high-passed.
        valid: (n, n) bool, where there is skin.
        color: (n, n, 3) float32 sRGB in [0, 1], kept as uint8.
    """

    maps: NDArray[np.floating]
    relief: NDArray[np.floating]
    valid: NDArray[np.bool_]
    color: NDArray


@dataclass(frozen=True, eq=False)
class _Ground:
    """The smooth form under the relief, and how it is turned in the light.

    Args:
        tangents: (2, 3) directions of columns and rows at the middle.
        outward: (3,) there.
        lean: (2, n, n) slopes of the ground away from the middle.
    """

    tangents: NDArray[np.float64]
    outward: NDArray[np.float64]
    lean: NDArray[np.float32]

    def normals(self, along_columns: NDArray[np.float32], along_rows: NDArray[np.float32]) -> NDArray:
        """(n, n, 3) unit normals where the relief has the given slopes."""
        lean = self.lean + np.stack([along_columns, along_rows])
        normal = self.outward - np.einsum("khw,kc->hwc", lean, self.tangents)
        return unit(normal.astype(np.float32))


def draw_square(rng: np.random.Generator, size: int, *, phone: bool = False) -> Square:
    """Draw one.

    Args:
        rng: source of chance.
        size: side, texels.
        phone: a texture of photos from life, as a phone takes them, of skin with less contrast.
    """
    n = size + 2 * MARGIN
    relief, ground, lighting = draw_relief(rng, n), _draw_ground(rng, n), _draw_light(rng)
    normals = ground.normals(*slopes(relief.height))
    albedo = _draw_albedo(rng, relief)
    if phone:
        albedo = faded(albedo, rng.uniform(*SKIN_CONTRAST))
    radiance = diffuse(albedo, normals, rng.uniform(0, 1.2) ** 2 * relief.cavity, lighting)
    radiance *= _shadow(rng, n)[..., None]
    radiance += _mean_highlight(rng, normals, ground, lighting)
    color = _blended(rng, np.maximum(radiance, 0))
    if phone:
        color = _by_phone(rng, color)

    seen = measured(relief.height, rng)
    valid = _draw_valid(rng, n)
    light = _guessed(rng, _light_slopes(ground, lighting))
    return make_square(color, light, relief.height, seen, valid)


def make_square(
    color: NDArray[np.float32],
    light: NDArray[np.float32],
    height: NDArray[np.float32],
    seen: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> Square:
    """The middle of a square that was drawn or cut with :data:`MARGIN` texels around it.

    Args:
        color: (n, n, 3) sRGB.
        light: (n, n, 2) see :func:`mesoface.relief.inputs.make_inputs`.
        height: (n, n) true relief, texels.
        seen: (n, n) what a measurement has of it.
        valid: (n, n) where there is skin.
    """
    maps = make_inputs(color, light, seen, valid)
    missed = high_pass(cv2.GaussianBlur(height, (0, 0), _FINEST) - seen, valid)
    inside = slice(MARGIN, len(height) - MARGIN)
    return Square(
        maps[:, inside, inside], missed[inside, inside], valid[inside, inside], color[inside, inside]
    )


def _draw_light(rng: np.random.Generator) -> Lighting:
    """As photos of patches have it; often from one side, where shading shows form."""
    lighting = draw_light(rng)
    if rng.uniform() < 0.4:
        return lighting
    room = log_uniform(rng, 0.1, 1)
    return replace(
        lighting, lights=lighting.lights[:1], sky=room * lighting.sky, ground=room * lighting.ground
    )


def _draw_ground(rng: np.random.Generator, n: int) -> _Ground:
    """Somewhere on a face that looks along +z, bent as faces are."""
    azimuth, elevation = np.clip(rng.normal(0, [0.6, 0.4]), -1.3, 1.1)
    spin = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi))
    turn = Rotation.from_euler("yxz", [azimuth, -elevation, 0]) * spin
    along_columns, down, outward = turn.apply([[1, 0, 0], [0, -1, 0], [0, 0, 1]])
    span = np.arange(n, dtype=np.float32) - n / 2
    x, y = np.meshgrid(span, span)
    # Curvature in 1/texel: radii of 8 mm and more at texels of 0.1 to 0.3 mm.
    k = rng.normal(0, log_uniform(rng, 5e-4, 1.2e-2), 3).astype(np.float32)
    lean = np.stack([k[0] * x + k[2] * y, k[2] * x + k[1] * y])
    return _Ground(np.stack([along_columns, down]), outward, np.clip(lean, -1, 1))


def _draw_albedo(rng: np.random.Generator, relief: DrawnRelief) -> NDArray[np.float32]:
    """(n, n, 3) linear RGB: uneven pigments, freckles, dark pores and furrows, sometimes hairs."""
    n = len(relief.height)

    def uneven(strength: float) -> NDArray[np.float32]:
        field = waves(rng, n, shortest=rng.uniform(2, 8), longest=n, slope=rng.uniform(1.5, 4))
        return field * np.float32(strength)

    melanin = 0.1 + 2.8 * rng.beta(1.3, 2.2) ** 1.6
    m = melanin + uneven(log_uniform(rng, 0.003, 0.1) * (0.5 + melanin))
    b = rng.uniform(0.3, 0.7) + uneven(log_uniform(rng, 0.003, 0.12))
    if rng.uniform() < 0.3:
        m = m + log_uniform(rng, 0.03, 0.4) * spots(
            rng, n, sigma=log_uniform(rng, 1, 9), density=log_uniform(rng, 0.003, 0.05)
        )
    m = m + rng.uniform(0, 0.3) ** 2 * (relief.pore + relief.furrow)
    albedo = skin_albedo(np.maximum(m, 0), np.maximum(b, 0)).astype(np.float32)
    albedo *= 1 - np.float32(rng.uniform(0, 0.5) ** 2) * np.maximum(relief.furrow, relief.pore)[..., None]
    if rng.uniform() < 0.25:
        cover = hairs(
            rng, n, width=rng.uniform(0.6, 2), length=log_uniform(rng, 3, 40), density=rng.uniform(0.5, 6)
        )
        cover = cv2.GaussianBlur(cover, (0, 0), 0.6) * np.float32(rng.uniform(0.2, 0.9))
        albedo += (np.float32(rng.uniform(0.01, 0.12)) - albedo) * cover[..., None]
    return albedo


def _shadow(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """(n, n) 1 in the light; sometimes a soft edge of a cast shadow runs through the square."""
    if rng.uniform() > 0.15:
        return np.ones((n, n), np.float32)
    edge = waves(rng, n, shortest=n / 2, longest=2 * n, slope=2) / np.float32(log_uniform(rng, 0.02, 0.6))
    dark = rng.uniform(0.3, 0.9)
    return (dark + (1 - dark) / (1 + np.exp(-np.clip(edge, -30, 30)))).astype(np.float32)


def _mean_highlight(
    rng: np.random.Generator, normals: NDArray[np.float32], ground: _Ground, lighting: Lighting
) -> NDArray[np.float32]:
    """(n, n, 3) what of the shine is left in the mean of a few photos."""
    gloss, total = Gloss.draw(rng), np.zeros_like(normals)
    if gloss.strength == 0:
        return total
    count = int(rng.integers(2, 5))
    for _ in range(count):
        beside = ground.tangents.T @ np.tan(np.clip(rng.normal(0, 0.5, 2), -1.1, 1.1))
        total += highlights(normals, unit(ground.outward + beside).astype(np.float32), gloss, lighting)
    return total * np.float32(rng.uniform(0.3, 1) / count)


def _blended(rng: np.random.Generator, radiance: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, n, 3) sRGB: exposed, blurred by lens, pixels and what the photos disagree on, noisy."""
    gain = rng.uniform(0.2, 0.55) / max(float((radiance @ LUMINANCE).mean()), 1e-6)
    balance = np.exp(rng.normal(0, 0.06, 3))
    exposed = radiance * (gain * balance).astype(np.float32)
    sharp = log_uniform(rng, 0.4, 1.8)
    color = encode_srgb(cv2.GaussianBlur(exposed, (0, 0), sharp))
    noise = rng.standard_normal(color.shape, np.float32)
    # Noise is as coarse as the photos' pixels, and partly the same in all channels.
    noise = cv2.GaussianBlur(noise + noise.mean(-1, keepdims=True), (0, 0), sharp * rng.uniform(0.5, 1.2))
    noise *= np.float32(log_uniform(rng, 0.3, 5) / 255 / max(float(noise.std()), 1e-9))
    return np.clip(color + noise, 0, 1)


def _by_phone(rng: np.random.Generator, color: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, n, 3) sRGB: the mean of a few photos that a phone's software has processed, at their own scale."""
    software, n = draw_software(rng, 1.0), len(color)
    total, count = np.zeros_like(color), int(rng.integers(2, 5))
    side = round(n * log_uniform(rng, *_PHONE_PIXELS))
    small = cv2.resize(color, (side, side), interpolation=cv2.INTER_AREA)
    for _ in range(count):
        grain = rng.normal(0, 1 / 255, small.shape).astype(np.float32)
        photo = process((np.clip(small + grain, 0, 1) * 255 + 0.5).astype(np.uint8), software, rng)
        total += cv2.resize(photo.astype(np.float32) / 255, (n, n), interpolation=cv2.INTER_LINEAR)
    return np.clip(total / count, 0, 1)


def _light_slopes(ground: _Ground, lighting: Lighting) -> NDArray[np.float32]:
    """(n, n, 2) true relative change of luminance per slope along columns and rows, without any relief."""

    def luminance(columns: float, rows: float) -> NDArray[np.float32]:
        shape = ground.lean.shape[1:]
        tilt = np.full(shape, columns, np.float32), np.full(shape, rows, np.float32)
        even = np.ones((*shape, 3), np.float32)
        lit = diffuse(even, ground.normals(*tilt), np.zeros(shape, np.float32), lighting)
        return np.log(np.maximum(lit @ LUMINANCE, 1e-3)).astype(np.float32)

    return np.stack(
        [
            (luminance(_TILT, 0) - luminance(-_TILT, 0)) / (2 * _TILT),
            (luminance(0, _TILT) - luminance(0, -_TILT)) / (2 * _TILT),
        ],
        -1,
    )


def _guessed(rng: np.random.Generator, light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The light as it is estimated from a face: too strong or weak, turned, or not known at all."""
    if rng.uniform() < _UNKNOWN_LIGHT:
        return np.zeros_like(light)
    turn, strength = rng.normal(0, 0.35), np.exp(rng.normal(0, 0.3))
    c, s = strength * np.cos(turn), strength * np.sin(turn)
    return (light @ np.array([[c, s], [-s, c]]) + rng.normal(0, 0.1, 2)).astype(np.float32)


def _draw_valid(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    """(n, n) mostly all of it, sometimes with the rim of the face or of an opening."""
    if rng.uniform() > 0.2:
        return np.ones((n, n), bool)
    return waves(rng, n, shortest=n / 3, longest=2 * n, slope=2) > rng.uniform(-2, -0.5)
