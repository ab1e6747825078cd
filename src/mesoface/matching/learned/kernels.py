"""The inner loop of the matcher, compiled: look up every (u, v, d) in every photo, and how well they agree.

It says the same as :mod:`lookup` and :mod:`aggregation` do in torch, in one pass that keeps a point's sums in
registers, leaves out the views that do not see a texel, and writes nothing but the result. The gradient
is derived by hand; tests hold both together.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# Channels of a photo's features are padded to this many: one cache line, one vector register.
LANES = 16
_LEAST = np.float32(1e-4)
_compiled: Any = numba.njit(nogil=True, fastmath=True, cache=True, error_model="numpy")


@_compiled
def _project(projection, position, normal, line):
    """Homogeneous pixel of a texel, and its change per mm of displacement, into ``line`` (6,)."""
    for k in range(3):
        line[k] = projection[k, 3]
        line[3 + k] = 0.0
        for j in range(3):
            line[k] += projection[k, j] * position[j]
            line[3 + k] += projection[k, j] * normal[j]


@_compiled
def _corner(lines, v, d, height, width):
    """Row and column of the upper left of four pixels, and how far the point is into them."""
    z = lines[v, 2] + d * lines[v, 5]
    inverse = 1 / z if z > 0 else 0.0
    x = (lines[v, 0] + d * lines[v, 3]) * inverse
    y = (lines[v, 1] + d * lines[v, 4]) * inverse
    x = min(max(x, 0.0), width - 1.0)
    y = min(max(y, 0.0), height - 1.0)
    column = min(int(x), width - 2)
    row = min(int(y), height - 2)
    return row, column, np.float32(y - row), np.float32(x - column)


@_compiled
def _gather(features, starts, sizes, lines, d, visibility, r, t, reliability, f, total, square):
    """Sum what the views show at a point: features by weight, their squares by its square; and the weights.

    ``f`` (V, LANES) receives what each of them shows.
    """
    total[:] = 0
    square[:] = 0
    weight = np.float32(0)
    weight2 = np.float32(0)
    for v in range(len(starts)):
        if visibility[v, r, t] > 0:
            row, column, fy, fx = _corner(lines, v, d, sizes[v, 0], sizes[v, 1])
            a = starts[v] + row * sizes[v, 1] + column
            b = a + sizes[v, 1]
            w00, w01, w10, w11 = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
            for c in range(LANES):
                f[v, c] = (
                    w00 * features[a, c]
                    + w01 * features[a + 1, c]
                    + w10 * features[b, c]
                    + w11 * features[b + 1, c]
                )
            w = visibility[v, r, t] * f[v, reliability]
            for c in range(LANES):
                weighted = w * f[v, c]
                total[c] += weighted
                square[c] += weighted * weighted
            weight += w
            weight2 += w * w
    # The contrast takes the place of the reliability: one more group, of one channel.
    total[reliability] = total[reliability + 1]
    square[reliability] = square[reliability + 1]
    return weight, weight2


@_compiled
def forward(
    features, starts, sizes, projections, position, normal, visibility, steps, groups, width, first, last, out
):
    """Agreement of the views at every (u, v, d) of the rows from ``first`` to ``last``.

    Args:
        features: (K, LANES) all photos' features, pixel by pixel, one photo after another: groups × width of
            the descriptor, reliability, contrast, nothing.
        starts: (V,) at which row of ``features`` each photo begins.
        sizes: (V, 2) their heights and widths.
        projections: (V, 3, 4) float64.
        position: (H, W, 3).
        normal: (H, W, 3).
        visibility: (V, H, W).
        steps: (D,) mm.
        groups: of the descriptor.
        width: channels of a group.
        first: row of UV.
        last: row of UV, exclusive.
        out: (2 · (groups + 1) + 2, H, W, D): coherence of every group and of the contrast, their energies,
            weight, share in pairs.
    """
    views = len(starts)
    parts = groups + 1
    f = np.empty((views, LANES), np.float32)
    total = np.empty(LANES, np.float32)
    square = np.empty(LANES, np.float32)
    lines = np.empty((views, 6), np.float64)
    for r in range(first, last):
        for t in range(position.shape[1]):
            for v in range(views):
                if visibility[v, r, t] > 0:
                    _project(projections[v], position[r, t], normal[r, t], lines[v])
            for k in range(len(steps)):
                weight, weight2 = _gather(
                    features,
                    starts,
                    sizes,
                    lines,
                    steps[k],
                    visibility,
                    r,
                    t,
                    groups * width,
                    f,
                    total,
                    square,
                )
                pairs = weight * weight - weight2
                for g in range(parts):
                    length = np.float32(0)
                    own = np.float32(0)
                    for c in range(g * width, min((g + 1) * width, groups * width + 1)):
                        length += total[c] * total[c]
                        own += square[c]
                    out[g, r, t, k] = (length - own) / pairs if pairs > _LEAST else 0
                    out[parts + g, r, t, k] = own / max(weight2, _LEAST)
                out[2 * parts, r, t, k] = weight
                out[2 * parts + 1, r, t, k] = pairs / max(weight * weight, _LEAST)


@_compiled
def backward(
    features, starts, sizes, projections, position, normal, visibility, steps, groups, width, grad, out
):
    """The gradient of :func:`forward` with respect to ``features``.

    Args:
        features: as there.
        starts: as there.
        sizes: as there.
        projections: as there.
        position: as there.
        normal: as there.
        visibility: as there.
        steps: as there.
        groups: as there.
        width: as there.
        grad: gradient with respect to the result of the forward pass, in its shape.
        out: like ``features``; the gradient is added to it. The contrast has none: nothing is learned
            through it.
    """
    views = len(starts)
    parts = groups + 1
    f = np.empty((views, LANES), np.float32)
    total = np.empty(LANES, np.float32)
    square = np.empty(LANES, np.float32)
    d_total = np.empty(LANES, np.float32)
    d_square = np.empty(parts, np.float32)
    d_f = np.zeros(LANES, np.float32)
    lines = np.empty((views, 6), np.float64)
    for r in range(position.shape[0]):
        for t in range(position.shape[1]):
            for v in range(views):
                if visibility[v, r, t] > 0:
                    _project(projections[v], position[r, t], normal[r, t], lines[v])
            for k in range(len(steps)):
                weight, weight2 = _gather(
                    features,
                    starts,
                    sizes,
                    lines,
                    steps[k],
                    visibility,
                    r,
                    t,
                    groups * width,
                    f,
                    total,
                    square,
                )
                pairs = weight * weight - weight2
                d_pairs = np.float32(0)
                d_weight2 = np.float32(0)
                for g in range(parts):
                    length = np.float32(0)
                    own = np.float32(0)
                    for c in range(g * width, min((g + 1) * width, groups * width + 1)):
                        length += total[c] * total[c]
                        own += square[c]
                        d_total[c] = 2 * grad[g, r, t, k] * total[c] / pairs if pairs > _LEAST else 0
                    d_square[g] = grad[parts + g, r, t, k] / max(weight2, _LEAST)
                    if pairs > _LEAST:
                        d_square[g] -= grad[g, r, t, k] / pairs
                        d_pairs -= grad[g, r, t, k] * (length - own) / (pairs * pairs)
                    if weight2 > _LEAST:
                        d_weight2 -= grad[parts + g, r, t, k] * own / (weight2 * weight2)
                d_weight = grad[2 * parts, r, t, k]
                d_share = grad[2 * parts + 1, r, t, k]
                d_pairs += d_share / max(weight * weight, _LEAST)
                if weight * weight > _LEAST:
                    d_weight -= 2 * d_share * pairs / (weight * weight * weight)
                d_weight += 2 * weight * d_pairs
                d_weight2 -= d_pairs
                for v in range(views):
                    if visibility[v, r, t] > 0:
                        seen = visibility[v, r, t]
                        w = seen * f[v, groups * width]
                        d_w = d_weight + 2 * w * d_weight2
                        for g in range(groups):
                            length = np.float32(0)
                            for c in range(g * width, (g + 1) * width):
                                length += f[v, c] * f[v, c]
                                d_w += d_total[c] * f[v, c]
                                d_f[c] = w * d_total[c] + 2 * w * w * f[v, c] * d_square[g]
                            d_w += 2 * w * length * d_square[g]
                        contrast = f[v, groups * width + 1]
                        d_w += d_total[groups * width] * contrast
                        d_w += 2 * w * contrast * contrast * d_square[groups]
                        d_f[groups * width] = seen * d_w
                        row, column, fy, fx = _corner(lines, v, steps[k], sizes[v, 0], sizes[v, 1])
                        a = starts[v] + row * sizes[v, 1] + column
                        b = a + sizes[v, 1]
                        for c in range(LANES):
                            out[a, c] += (1 - fy) * (1 - fx) * d_f[c]
                            out[a + 1, c] += (1 - fy) * fx * d_f[c]
                            out[b, c] += fy * (1 - fx) * d_f[c]
                            out[b + 1, c] += fy * fx * d_f[c]
