"""Masked UV maps: blur, fill, resize, sample, and the rasterisation of a mesh's UV layout.

Maps are (H, W) or (H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass

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


def blur_linearly(values: NDArray, weight: NDArray, sigma: float) -> NDArray[np.float32]:
    """:func:`blur_masked` that keeps slopes up to the rim of what has weight: local linear regression.

    A masked mean lags behind at a rim, where all neighbours lie to one side. Here a plane is fitted to them
    (Cleveland, Robust locally weighted regression, JASA 1979); away from rims both are the same.

    Args:
        values: (H, W, C).
        weight: (H, W) float or bool, ≥ 0.
        sigma: standard deviation, texels, > 0.

    Returns:
        float32 map like ``values``; 0 where there is no weight.
    """
    weight = np.asarray(weight, np.float64)
    row, column = np.mgrid[: weight.shape[0], : weight.shape[1]].astype(np.float64)

    def mean(x: NDArray) -> NDArray:
        return cv2.GaussianBlur(weight * x, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) / total

    total = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), 1e-9)
    y, x = mean(row), mean(column)
    # A hundredth of a texel² keeps the fit regular where all neighbours lie on one line.
    yy, xx = mean(row * row) - y * y + 0.01, mean(column * column) - x * x + 0.01
    xy = mean(row * column) - y * x
    out = np.zeros(np.shape(values), np.float32)
    for channel in range(out.shape[-1]):
        f = np.where(weight > 0, values[..., channel], 0).astype(np.float64)
        middle = mean(f)
        fy, fx = mean(f * row) - middle * y, mean(f * column) - middle * x
        determinant = yy * xx - xy * xy
        slope_y, slope_x = (fy * xx - fx * xy) / determinant, (fx * yy - fy * xy) / determinant
        fitted = middle + slope_y * (row - y) + slope_x * (column - x)
        out[..., channel] = np.where(weight > 0, fitted, 0)
    return out


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


def resize_map(values: NDArray, valid: NDArray[np.bool_] | None, size: int) -> NDArray[np.float32]:
    """Resize a square map to ``size``²; what is outside of ``valid`` (None: nothing is) does not bleed in.

    Enlarging is by linear interpolation and a blur of about half an old texel: cubic interpolation would
    overshoot, and its ripples would show in the normals of every finer level.
    """
    filled = np.asarray(values, np.float32) if valid is None else fill_outside(values, valid)
    old = values.shape[0]
    if size == old:
        return filled
    if size < old:
        return cv2.resize(filled, (size, size), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(filled, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(enlarged, (0, 0), 0.6 * size / old, borderType=cv2.BORDER_REPLICATE)


def resize_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """(size, size) a square mask at another resolution."""
    return resize_map(mask, None, size) > 0.5


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


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns that hold all of a mask, which is not empty, and ``margin`` texels around it."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


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
    x, y = np.clip(uv_to_pixels(np.asarray(uv), size).astype(np.float32), 0, size - 1).T
    x0, y0 = np.minimum(x.astype(int), size - 2), np.minimum(y.astype(int), size - 2)
    fx, fy = x - x0, y - y0
    if values.ndim == 3:
        fx, fy = fx[:, None], fy[:, None]
    top = values[y0, x0] * (1 - fx) + values[y0, x0 + 1] * fx
    bottom = values[y0 + 1, x0] * (1 - fx) + values[y0 + 1, x0 + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.float32)


# Candidate texels held at once; bounds the memory at about 200 MB.
_CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class UVRaster:
    """Which triangle lies at each texel.

    Args:
        face: (H, W) int32 index of the triangle at the texel's centre, -1 where there is none.
        bary: (H, W, 3) float32 barycentric coordinates in it, 0 where there is none.
    """

    face: NDArray[np.int32]
    bary: NDArray[np.float32]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) whether a triangle covers the texel."""
        return self.face >= 0

    def interpolate(self, values: NDArray, faces: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, C) values at the mesh's vertices, ``faces`` (F, 3) → (H, W, C) map; 0 where nothing is."""
        out = np.zeros((*self.face.shape, values.shape[1]), np.float32)
        valid = self.valid
        corners = faces[self.face[valid]]  # (T, 3)
        bary = self.bary[valid]
        out[valid] = sum(bary[:, k, None] * values[corners[:, k]] for k in range(3))
        return out


def texel_centers(size: int) -> NDArray[np.float64]:
    """(H, W, 2) the (u, v) of every texel centre of a square map; row 0 is at the top, v = 1."""
    u = (np.arange(size) + 0.5) / size
    return np.stack(np.meshgrid(u, 1 - u), -1)


def uv_to_pixels(uv: NDArray, size: int) -> NDArray[np.float64]:
    """(..., 2) (u, v) → (..., 2) (column, row) of a square map whose texel centres are at integers."""
    return np.stack([uv[..., 0] * size - 0.5, (1 - uv[..., 1]) * size - 0.5], -1)


def grid_faces(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(F, 3) triangles of a UV grid, indices row · W + column, both halves of every quad in ``valid``.

    Wound counter-clockwise seen from outside when u runs right, v up and the normal outward.
    """
    h, w = valid.shape
    index = np.arange(h * w).reshape(h, w)
    quad = valid[:-1, :-1] & valid[1:, :-1] & valid[:-1, 1:] & valid[1:, 1:]
    a, b, c, d = index[1:, :-1][quad], index[1:, 1:][quad], index[:-1, 1:][quad], index[:-1, :-1][quad]
    return np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def rasterize_uv(uv: NDArray[np.float64], faces: NDArray[np.int64], size: int) -> UVRaster:
    """Find the triangle at every texel centre.

    Where triangles overlap the one with the lower index wins, so the result does not depend on chunking.

    Args:
        uv: (T, 2) in [0, 1]; what lies outside of the square is cut off.
        faces: (F, 3) indices into ``uv``.
        size: side of the map in texels.

    Returns:
        the raster of ``size`` × ``size`` texels.
    """
    face_map = np.full(size * size, -1, np.int32)
    bary_map = np.zeros((size * size, 3), np.float32)
    corners = uv_to_pixels(uv, size)[faces]  # (F, 3, 2)
    low = np.clip(np.ceil(corners.min(1)), 0, size).astype(np.int64)  # first texel centre inside the box
    high = np.clip(np.floor(corners.max(1)), -1, size - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    count = extent[:, 0] * extent[:, 1]
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    det = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    order = np.flatnonzero((count > 0) & (np.abs(det) > 1e-12))[::-1]  # last first: lower indices overwrite
    for part in _chunks(order, count[order]):
        n = count[part]
        owner = np.repeat(part, n)
        local = np.arange(len(owner)) - np.repeat(np.cumsum(n) - n, n)
        width = extent[owner, 0]
        x, y = low[owner, 0] + local % width, low[owner, 1] + local // width
        dx, dy = x - a[owner, 0], y - a[owner, 1]
        b1 = (dx * e2[owner, 1] - dy * e2[owner, 0]) / det[owner]
        b2 = (e1[owner, 0] * dy - e1[owner, 1] * dx) / det[owner]
        inside = (b1 >= -1e-9) & (b2 >= -1e-9) & (b1 + b2 <= 1 + 1e-9)
        texel = y[inside] * size + x[inside]
        face_map[texel] = owner[inside]  # numpy keeps the last of repeated indices
        b1, b2 = b1[inside], b2[inside]
        bary_map[texel] = np.column_stack([1 - b1 - b2, b1, b2])
    return UVRaster(face_map.reshape(size, size), bary_map.reshape(size, size, 3))


def _chunks(order: NDArray[np.int64], count: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split ``order`` so that each part has at most ``_CHUNK`` candidate texels (or one triangle)."""
    if not len(order):
        return []
    part = np.cumsum(count) // _CHUNK
    return np.split(order, np.flatnonzero(np.diff(part)) + 1)
