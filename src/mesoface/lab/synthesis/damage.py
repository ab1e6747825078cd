"""What a phone in the hand and its software do to photos, beyond what a camera on a stand does.

Before the exposure: the shutter rolls while the phone moves, the person moves between two photos, and each
exposure is blurred along a path (:func:`disturb`). After it: noise is smoothed away and fine texture with it,
tones are mapped locally, edges are sharpened, and a video coder quantises the rest (:func:`process`).

The coder is H.264's lossy core (Wiegand et al. 2003) in a few lines: a prediction from an earlier frame that
was moved, a block transform of what is left, one quantiser step for all frequencies, chroma at half the
resolution, and smoothing across block borders. The pinned OpenCV has no encoder for H.264 or HEVC, and its
others do not take a quantiser. Entropy coding loses nothing and is left out.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from mesoface.files.images import LUMA
from mesoface.lab.synthesis.settings import PhoneSettings

# Wavelengths of the skin's movement, mm: shorter ones would be relief.
_MOVES_MM = 30.0
# Points of a path of motion blur.
_PATH = 9
# Side of a block of the transform, pixels.
_BLOCK = 8
# Share of a quantiser step that is added before rounding down: H.264 rounds predicted blocks further down.
_INTRA, _INTER = 1 / 3, 1 / 6
# Standard deviation of the base of local tone mapping, share of the photo's longer side.
_BASE = 0.05
# Standard deviation of the sharpening mask, pixels.
_MASK = 1.2
# Differences, levels of 255, that the strongest denoising takes for noise.
_NOISE = 40.0


def disturb(
    radiance: NDArray[np.float32], settings: PhoneSettings, pixel_mm: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The radiance as it falls on the sensor of a phone that moves, from a face that moves.

    Args:
        radiance: (H, W, 3) linear RGB through every pixel.
        settings: strengths.
        pixel_mm: what a pixel spans on the face.
        rng: source of chance of this photo.

    Returns:
        (H, W, 3) float32; ``radiance`` itself where all strengths are 0.
    """
    height, width = radiance.shape[:2]
    shift = _drawn_shift((height, width), settings, pixel_mm, rng)
    if shift is not None:
        rows, columns = np.indices((height, width), np.float32)
        radiance = cv2.remap(
            radiance, columns + shift[0], rows + shift[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        radiance = np.maximum(radiance, 0)
    if settings.motion_px > 0:
        radiance = shake(radiance, settings.motion_px * float(np.exp(rng.normal(0, 0.4))), rng)
    return radiance


def _drawn_shift(
    shape: tuple[int, int], settings: PhoneSettings, pixel_mm: float, rng: np.random.Generator
) -> NDArray[np.float32] | None:
    """(2, H, W) columns and rows by which the content lies beside its place; None: nowhere."""
    if settings.rolling_px == settings.movement_mm == 0:
        return None
    height, width = shape
    drift = rng.normal(0, settings.rolling_px / np.sqrt(2), 2)
    time = np.linspace(-0.5, 0.5, height)
    # The phone speeds up or slows down during the readout.
    time = time + rng.uniform(-0.5, 0.5) * (time**2 - 1 / 12)
    shift = np.zeros((2, height, width), np.float32)
    shift += (drift[:, None] * time).astype(np.float32)[..., None]
    if settings.movement_mm > 0:
        cells = np.ceil(np.array(shape) * pixel_mm / _MOVES_MM).astype(int) + 3
        strength = settings.movement_mm / pixel_mm / np.sqrt(2)
        for k in range(2):
            coarse = rng.normal(0, strength, cells).astype(np.float32)
            shift[k] += _spread(coarse, shape, _MOVES_MM / pixel_mm)
    return shift


def _spread(coarse: NDArray[np.float32], shape: tuple[int, int], spacing: float) -> NDArray[np.float32]:
    """Values every ``spacing`` pixels → (H, W), smoothly."""
    at = [np.arange(n, dtype=np.float32) / np.float32(spacing) + 1 for n in shape]
    rows, columns = np.meshgrid(*at, indexing="ij")
    return cv2.remap(coarse, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def shake(radiance: NDArray[np.float32], length_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, 3) blurred along a slightly bent path of ``length_px`` pixels in a random direction."""
    if length_px <= 0:
        return radiance
    angle, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15)
    t = np.linspace(-0.5, 0.5, _PATH)
    along = length_px * (t + 1j * bend * (4 * t**2 - 1 / 3)) * np.exp(1j * angle)
    along -= along.mean()
    half = int(np.ceil(np.abs(along).max())) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for x, y in zip(along.real + half, along.imag + half, strict=True):
        i, j = int(y), int(x)
        fy, fx = y - i, x - j
        kernel[i : i + 2, j : j + 2] += np.outer([1 - fy, fy], [1 - fx, fx]) / _PATH
    return cv2.filter2D(radiance, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def process(photo: NDArray[np.uint8], settings: PhoneSettings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo as the phone's software keeps it: smoothed, tone-mapped, sharpened and coded as video.

    Args:
        photo: (H, W, 3) sRGB from the sensor.
        settings: strengths.
        rng: source of chance of this photo.

    Returns:
        (H, W, 3); ``photo`` itself where all strengths are 0.
    """
    photo = denoise(photo, settings.denoising)
    photo = map_tones(photo, settings.tone_mapping)
    photo = sharpen(photo, settings.sharpening)
    return code_video(photo, settings.video_qp, rng)


def denoise(photo: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """Bilateral smoothing (Tomasi and Manduchi 1998): differences of skin texture go as noise does."""
    if strength <= 0:
        return photo
    smooth = cv2.bilateralFilter(photo, 7, strength * _NOISE, 1 + strength)
    return cv2.addWeighted(photo, 1 - 0.85 * strength, smooth, 0.85 * strength, 0)


def map_tones(photo: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """Surroundings are brought towards one brightness; contrast within them stays (local tone mapping)."""
    if strength <= 0:
        return photo
    values = photo.astype(np.float32)
    luma = values @ LUMA + 16
    base = cv2.GaussianBlur(luma, (0, 0), _BASE * max(luma.shape), borderType=cv2.BORDER_REPLICATE)
    gain = (base / np.exp(np.log(base).mean())) ** np.float32(-0.5 * strength)
    return _rounded(values * gain[..., None])


def sharpen(photo: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Unsharp masking: edges get halos, and noise grows."""
    if amount <= 0:
        return photo
    values = photo.astype(np.float32)
    soft = cv2.GaussianBlur(values, (0, 0), _MASK, borderType=cv2.BORDER_REPLICATE)
    return _rounded(values + np.float32(amount) * (values - soft))


def code_video(photo: NDArray[np.uint8], qp: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A frame after H.264's lossy steps at quantisation parameter ``qp``; 0 leaves it as it is.

    The reference frame shows the same content elsewhere, itself coded; the frame is predicted from it by
    bilinear interpolation.
    """
    if qp <= 0:
        return photo
    step = quantiser_step(qp)
    height, width = photo.shape[:2]
    luma, *chroma = cv2.split(cv2.cvtColor(photo, cv2.COLOR_RGB2YCrCb).astype(np.float32))
    half = ((width + 1) // 2, (height + 1) // 2)
    move = rng.uniform(-_BLOCK, _BLOCK, 2)
    coded = [_code_plane(luma, step, move)]
    for plane in chroma:
        small = _code_plane(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), step, move / 2)
        coded.append(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    return cv2.cvtColor(_rounded(np.stack(coded, -1)), cv2.COLOR_YCrCb2RGB)


def quantiser_step(qp: float) -> float:
    """H.264's quantiser step, levels of 255: it doubles with every six of ``qp``."""
    return 0.625 * 2.0 ** (qp / 6)


def _code_plane(plane: NDArray[np.float32], step: float, move: NDArray[np.float64]) -> NDArray[np.float32]:
    earlier = _quantised(_moved(plane, move), step, _INTRA)
    prediction = _moved(earlier, -move)
    return _deblocked(prediction + _quantised(plane - prediction, step, _INTER, deblock=False), step)


def _moved(plane: NDArray[np.float32], move: NDArray[np.float64]) -> NDArray[np.float32]:
    matrix = np.array([[1, 0, move[0]], [0, 1, move[1]]])
    size = plane.shape[::-1]
    return cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _quantised(
    plane: NDArray[np.float32], step: float, rounding: float, *, deblock: bool = True
) -> NDArray[np.float32]:
    """(H, W) after the quantisation of its blocks' cosine transforms, with a dead zone around zero."""
    height, width = plane.shape
    padded = cv2.copyMakeBorder(plane, 0, -height % _BLOCK, 0, -width % _BLOCK, cv2.BORDER_REPLICATE)
    rows, columns = padded.shape[0] // _BLOCK, padded.shape[1] // _BLOCK
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK)
    waves = fft.dctn(blocks, axes=(1, 3), norm="ortho")
    waves = np.sign(waves) * np.floor(np.abs(waves) / step + rounding) * step
    out = fft.idctn(waves, axes=(1, 3), norm="ortho").reshape(padded.shape)[:height, :width]
    return _deblocked(out, step) if deblock else np.ascontiguousarray(out, np.float32)


def _deblocked(plane: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Steps across the borders of blocks that the quantiser may have made are smoothed."""
    out = np.array(plane, np.float32)
    for lines in (out, out.T):
        border = np.arange(_BLOCK, len(lines) - 1, _BLOCK)
        p1, p0, q0, q1 = (lines[border + k] for k in (-2, -1, 0, 1))
        change = np.clip((3 * (q0 - p0) + (p1 - q1)) / 8, -step / 4, step / 4)
        change[np.abs(q0 - p0) > step] = 0  # an edge of the photo itself
        lines[border - 1] += change
        lines[border] -= change
    return out


def _rounded(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
