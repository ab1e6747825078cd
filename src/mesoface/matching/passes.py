"""The compiled passes over texels and views behind :mod:`mesoface.matching.consensus`, in the order they run.

All release the interpreter's lock. The first takes one view, the others some rows, so that threads can share
them. Maps are float32; those of views are (V, H, W). Sums over blocks of ``unit`` × ``unit`` texels are
added to.
"""

from __future__ import annotations

import numba
import numpy as np

# Parallax, mm along the surface for a mm of displacement, up to which a view counts in full, and from which
# on it does not count: at a slant a photo shows the texture blurred along just the direction of the parallax.
FULL, NONE = 1.2, 2.0

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})


@_compiled
def observe(
    pixels, P, center, position, normal, smooth, right, down, upright, sees, texel_mm, skin, weight, shift
):
    """One view's luminance at the texels, its weights, and its parallax in texels for a mm."""
    rows, columns = pixels.shape
    last_x, last_y = np.float64(columns - 1), np.float64(rows - 1)
    full, none = np.float32(FULL), np.float32(NONE)
    for r in range(skin.shape[0]):
        for c in range(skin.shape[1]):
            x0, x1, x2 = position[r, c]
            z = P[2, 0] * x0 + P[2, 1] * x1 + P[2, 2] * x2 + P[2, 3]
            x = (P[0, 0] * x0 + P[0, 1] * x1 + P[0, 2] * x2 + P[0, 3]) / z
            y = (P[1, 0] * x0 + P[1, 1] * x1 + P[1, 2] * x2 + P[1, 3]) / z
            x = x if x > 0.0 else 0.0
            y = y if y > 0.0 else 0.0
            x = x if x < last_x else last_x
            y = y if y < last_y else last_y
            i, j = min(int(y), rows - 2), min(int(x), columns - 2)
            fx, fy = np.float32(x - j), np.float32(y - i)
            top = pixels[i, j] + fx * (pixels[i, j + 1] - pixels[i, j])
            bottom = pixels[i + 1, j] + fx * (pixels[i + 1, j + 1] - pixels[i + 1, j])
            skin[r, c] = top + fy * (bottom - top)
            n, m, a, b = normal[r, c], upright[r, c], right[r, c], down[r, c]
            s0, s1, s2 = center[0] - smooth[r, c, 0], center[1] - smooth[r, c, 1], center[2] - smooth[r, c, 2]
            length = np.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
            s0, s1, s2 = s0 / length, s1 / length, s2 / length
            rise = m[0] * n[0] + m[1] * n[1] + m[2] * n[2]
            facing = max(m[0] * s0 + m[1] * s1 + m[2] * s2, np.float32(0.1))
            k = rise / facing
            t0, t1, t2 = n[0] - s0 * k, n[1] - s1 * k, n[2] - s2 * k
            ta = t0 * a[0] + t1 * a[1] + t2 * a[2]
            tb = t0 * b[0] + t1 * b[1] + t2 * b[2]
            aa = a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
            bb = b[0] * b[0] + b[1] * b[1] + b[2] * b[2]
            ab = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
            area = max(aa * bb - ab * ab, np.float32(1e-6))
            u, v = (bb * ta - ab * tb) / area, (aa * tb - ab * ta) / area
            shift[0, r, c], shift[1, r, c] = u, v
            part = (none - np.sqrt(u * u + v * v) * texel_mm) / (none - full)
            weight[r, c] = sees[r, c] * min(max(part, np.float32(0)), np.float32(1))


@_compiled
def mean_and_products(skins, weights, first, last, unit, sums):
    """Blocks' means of skin × mean texture and of its square, for each view, by weight."""
    share = np.float32(1 / unit**2)
    for r in range(first, last):
        for c in range(skins.shape[2]):
            weight, mean = np.float32(0), np.float32(0)
            for v in range(len(skins)):
                weight += weights[v, r, c]
                mean += weights[v, r, c] * skins[v, r, c]
            mean /= max(weight, np.float32(1e-3))
            i, j = r // unit, c // unit
            for v in range(len(skins)):
                w = share * weights[v, r, c] * mean
                sums[v, 0, i, j] += w * skins[v, r, c]
                sums[v, 1, i, j] += w * mean


@_compiled
def residuals(skins, weights, contrast, first, last, unit, texture, sums):
    """The texture that explains all views best; blocks' means of squared residuals and of their freedom."""
    share = np.float32(1 / unit**2)
    for r in range(first, last):
        for c in range(skins.shape[2]):
            total, mean, square, weight = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for v in range(len(skins)):
                w, g = weights[v, r, c], contrast[v, r, c]
                total += w * g * g
                mean += w * g * skins[v, r, c]
                square += w * w * g * g
                weight += w
            total = max(total, np.float32(1e-3))
            mean /= total
            texture[r, c] = mean
            residual = np.float32(0)
            for v in range(len(skins)):
                rest = skins[v, r, c] - contrast[v, r, c] * mean
                residual += weights[v, r, c] * rest * rest
            views = max(total * total / max(square, np.float32(1e-6)), np.float32(1.05))
            i, j = r // unit, c // unit
            sums[0, i, j] += share * residual
            sums[1, i, j] += share * weight * (1 - 1 / views)


@_compiled
def robust_mean(skins, weights, contrast, noise, limits, first, last, unit, robust, texture, total, sums):
    """Weights against outliers, the mean with them, and blocks' means of the noise and the power in it."""
    share = np.float32(1 / unit**2)
    for r in range(first, last):
        for c in range(skins.shape[2]):
            limit, old = limits[r, c], texture[r, c]
            sum_, mean, square = np.float32(0), np.float32(0), np.float32(0)
            for v in range(len(skins)):
                g, s = contrast[v, r, c], skins[v, r, c]
                w = weights[v, r, c] / max(np.float32(1), abs(s - g * old) / limit)
                robust[v, r, c] = w
                sum_ += w * g * g
                mean += w * g * s
                square += w * w * g * g
            sum_ = max(sum_, np.float32(1e-3))
            mean /= sum_
            texture[r, c], total[r, c] = mean, sum_
            i, j = r // unit, c // unit
            sums[0, i, j] += share * square / sum_ * noise[r, c]
            sums[1, i, j] += share * sum_ * mean * mean


@_compiled
def pull(skins, weights, contrast, shifts, texture, total, gain, certainty, signs, first, last, said):
    """Adds information, information × step, and draws of its noise, the texture eliminated."""
    height, width = texture.shape
    pulls, draws = np.empty(len(signs), np.float32), np.empty(len(signs), np.float32)
    half = np.float32(0.5)
    for r in range(first, last):
        up, low = max(r - 1, 0), min(r + 1, height - 1)
        for c in range(width):
            left, right = max(c - 1, 0), min(c + 1, width - 1)
            across = gain[r, c] * (texture[r, right] - texture[r, left]) * (half if right - left == 2 else 1)
            down = gain[r, c] * (texture[low, c] - texture[up, c]) * (half if low - up == 2 else 1)
            known, pulled, shared, drawn = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            pulls[:], draws[:] = np.float32(0), np.float32(0)
            for v in range(len(skins)):
                w, g = weights[v, r, c], contrast[v, r, c]
                change = g * (across * shifts[v, 0, r, c] + down * shifts[v, 1, r, c])
                rest = skins[v, r, c] - g * texture[r, c]
                known += w * change * change
                pulled += w * change * rest
                shared += w * g * change
                drawn += w * g * rest
                for k in range(len(signs)):
                    pulls[k] += signs[k, v] * w * change * rest
                    draws[k] += signs[k, v] * w * g * rest
            # One view alone says nothing; rounding must not make that less than nothing.
            known = max(known - shared * shared / total[r, c], np.float32(0))
            said[0, r, c] += certainty[r, c] * known
            said[1, r, c] -= certainty[r, c] * (pulled - shared * drawn / total[r, c])
            for k in range(len(signs)):
                said[2 + k, r, c] -= certainty[r, c] * (pulls[k] - shared * draws[k] / total[r, c])
