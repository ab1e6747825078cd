"""Operations on masked UV maps: blur, fill, resize, sample. Maps are (H, W) or (H, W, C)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def _broadcast(weight: NDArray, like: NDArray) -> NDArray:
    return weight if like.ndim == 2 else weight[..., None]


def blur_masked(values: NDArray, weight: NDArray, sigma: float) -> NDArray[np.float32]:
    """Gaussian blur that counts only texels with weight (normalised convolution).

    Args:
        values: (H, W[, C]).
        weight: (H, W) float or bool, ≥ 0.
        sigma: standard deviation, texels; 0 returns the values.

    Returns:
        float32 map like ``values``; 0 where no weight is in reach.
    """
    values = np.asarray(values, np.float32)
    if sigma <= 0:
        return values.copy()
    weight = np.asarray(weight, np.float32)
    radius = max(1, int(np.ceil(3 * sigma)))
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)

    def blur(a: NDArray) -> NDArray:
        out = cv2.sepFilter2D(np.ascontiguousarray(a), -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
        return out.reshape(a.shape)  # OpenCV drops a channel axis of length one

    clean = np.where(_broadcast(weight > 0, values), values, 0)
    total = blur(weight)
    summed = blur(clean * _broadcast(weight, values))
    safe = np.maximum(total, 1e-12)
    return np.where(_broadcast(total > 1e-6, values), summed / _broadcast(safe, values), 0).astype(np.float32)


def blur_wide(values: NDArray, weight: NDArray, sigma: float) -> NDArray[np.float32]:
    """:func:`blur_masked` for wide Gaussians, done on a smaller map: several times as fast, and as smooth.

    Args:
        values: (H, W[, C]).
        weight: (H, W) float or bool, ≥ 0.
        sigma: standard deviation, texels; below 12, or on a side that cannot be halved, nothing is gained.
    """
    height, width = np.shape(weight)
    factor = 1
    while sigma / factor >= 12 and not (height % (2 * factor) or width % (2 * factor)):
        factor *= 2
    if factor == 1:
        return blur_masked(values, weight, sigma)
    values, weight = np.asarray(values, np.float32), np.asarray(weight, np.float32)
    size = (width // factor, height // factor)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    clean = np.where(_broadcast(weight > 0, values), values, 0) * _broadcast(weight, values)
    summed = cv2.resize(clean, size, interpolation=cv2.INTER_AREA)
    mean = summed / _broadcast(np.maximum(share, 1e-12), summed)
    small = blur_masked(mean, share, sigma / factor)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)


def fill_outside(values: NDArray, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Continue a map smoothly beyond its mask (pull–push pyramid), so that filters have no rim.

    Valid texels keep their values.
    """
    values = np.asarray(values, np.float32)
    if not valid.any():
        return np.zeros_like(values)
    weight = valid.astype(np.float32)
    levels = [(np.where(_broadcast(valid, values), values, 0).astype(np.float32), weight)]
    while min(levels[-1][1].shape) > 1 and (levels[-1][1] <= 0).any():
        v, w = levels[-1]
        size = ((v.shape[1] + 1) // 2, (v.shape[0] + 1) // 2)
        summed = cv2.resize(v * _broadcast(w, v), size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(w, size, interpolation=cv2.INTER_AREA)
        summed = summed.reshape(*total.shape, *values.shape[2:])
        mean = summed / _broadcast(np.maximum(total, 1e-12), summed)
        levels.append((mean.astype(np.float32), (total > 0).astype(np.float32)))
    out = levels[-1][0]
    for v, w in reversed(levels[:-1]):
        up = cv2.resize(out, (v.shape[1], v.shape[0]), interpolation=cv2.INTER_LINEAR).reshape(v.shape)
        out = np.where(_broadcast(w > 0, v), v, up)
    return out.astype(np.float32)


def smooth_form(position: NDArray, valid: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """(H, W, C) a map blurred over ``sigma`` texels inside of ``valid``, and continued beyond it."""
    return fill_outside(blur_masked(position, valid, sigma), valid)


def resize_map(values: NDArray, valid: NDArray[np.bool_], size: int) -> NDArray[np.float32]:
    """Resize a square map to ``size``²; what is outside of ``valid`` does not bleed in.

    Enlarging is by linear interpolation and a blur of about half an old texel: cubic interpolation would
    overshoot, and its ripples would show in the normals of every finer level.
    """
    filled = fill_outside(values, valid)
    old = values.shape[0]
    if size == old:
        return filled
    if size < old:
        return cv2.resize(filled, (size, size), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(filled, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(enlarged, (0, 0), 0.6 * size / old, borderType=cv2.BORDER_REPLICATE)


def erode(mask: NDArray[np.bool_], texels: int) -> NDArray[np.bool_]:
    """The mask without its outermost ``texels`` texels."""
    return _morph(cv2.erode, mask, texels)


def dilate(mask: NDArray[np.bool_], texels: int) -> NDArray[np.bool_]:
    """The mask grown by ``texels`` texels."""
    return _morph(cv2.dilate, mask, texels)


def _morph(operation, mask: NDArray[np.bool_], texels: int) -> NDArray[np.bool_]:
    if texels <= 0:
        return mask.copy()
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * texels + 1, 2 * texels + 1))
    padded = operation(mask.astype(np.uint8), element, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return padded.astype(bool)


def distance_inside(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W) texels to the nearest one that is not in ``mask``."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def smooth_step(x: NDArray) -> NDArray:
    """0 up to 0, 1 from 1 on, without a kink between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def within(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) ``mask`` with its holes: what is connected to the map's edge only through it."""
    around = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(around, connectivity=4)
    return (labels != labels[0, 0])[1:-1, 1:-1]


def sample_map(values: NDArray, uv: NDArray) -> NDArray[np.float32]:
    """Bilinear values of a square map at (N, 2) (u, v); beyond the border the border's value.

    Returns:
        (N,) or (N, C) float32.
    """
    size = values.shape[0]
    x = (np.asarray(uv)[:, 0] * size - 0.5).astype(np.float32)
    y = ((1 - np.asarray(uv)[:, 1]) * size - 0.5).astype(np.float32)
    x, y = np.clip(x, 0, size - 1), np.clip(y, 0, size - 1)
    x0, y0 = np.minimum(x.astype(int), size - 2), np.minimum(y.astype(int), size - 2)
    fx, fy = x - x0, y - y0
    if values.ndim == 3:
        fx, fy = fx[:, None], fy[:, None]
    top = values[y0, x0] * (1 - fx) + values[y0, x0 + 1] * fx
    bottom = values[y0 + 1, x0] * (1 - fx) + values[y0 + 1, x0 + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.float32)
