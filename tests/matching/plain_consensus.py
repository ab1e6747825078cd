"""The readable twin of :mod:`mesoface.matching.consensus`: the same model in whole maps, without strips."""

from __future__ import annotations

import cv2
import numpy as np

from mesoface.matching import consensus, passes
from mesoface.matching.consensus import TANGENT_MM
from mesoface.matching.ncc import look_up_pixels, project_texels
from mesoface.uvd.maps import blur_masked, blur_wide
from mesoface.uvd.space import surface_normals

_EVEN_MM, _FULL, _NONE, _HUBER = consensus._EVEN_MM, passes.FULL, passes.NONE, consensus._HUBER


def compare_views(space, texel_mm, photos, sees, bands, signs):
    """See :func:`mesoface.matching.consensus.compare_views`."""
    sigma = _EVEN_MM / texel_mm
    cameras = [photo.camera for photo in photos]
    skins, weights, shifts = [], [], []
    for photo, seen, shift in zip(photos, sees, _parallaxes(space, texel_mm, cameras), strict=True):
        length = np.hypot(*shift) * texel_mm
        weight = seen * np.clip((_NONE - length) / (_NONE - _FULL), 0, 1)
        skin = look_up_pixels(photo.pixels, *project_texels(space, photo.camera.P), 0.0)
        skins.append(skin - blur_wide(skin, weight > 0, sigma))
        weights.append(weight)
        shifts.append(shift)
    stacked = np.stack(skins), np.stack(weights)
    said = np.sum([compare_band(*stacked, shifts, band, sigma, signs) for band in bands], axis=0)
    information, *pulls = (cv2.GaussianBlur(np.where(space.valid, x, 0), (0, 0), 0.7) for x in said)
    return information + np.float32(consensus._REGULAR), *pulls


def compare_band(skins, weights, shifts, band, sigma, signs):
    """See :func:`mesoface.matching.consensus.compare_band`.

    Texel by texel the model is: skin of a view = its contrast × (texture + gradient of the texture along the
    view's parallax × displacement). The texture is eliminated.
    """
    skins = np.stack([band(skin) for skin in skins])
    texture = (weights * skins).sum(0) / np.maximum(weights.sum(0), 1e-3)
    contrast = np.stack([_contrast(skin, texture, w, sigma) for skin, w in zip(skins, weights, strict=True)])
    texture, total = _mean_texture(skins, contrast, weights)
    residual = skins - contrast * texture
    # The mean follows the views, so that residuals are too small by what each view weighs in it.
    views = total**2 / np.maximum((weights**2 * contrast**2).sum(0), 1e-6)
    freedom = weights.sum(0) * (1 - 1 / np.maximum(views, 1.05))
    noise = _spread((weights * residual**2).sum(0), sigma) / np.maximum(_spread(freedom, sigma), 1e-3)
    noise = np.maximum(noise, 1e-8)
    weights = weights / np.maximum(1, np.abs(residual) / (_HUBER * np.sqrt(noise)))
    texture, total = _mean_texture(skins, contrast, weights)
    # What is left of the noise in the mean has a gradient, too, which would be taken for information.
    left = _spread((weights**2 * contrast**2).sum(0) / total * noise, sigma)
    signal = 1 - left / np.maximum(_spread(total * texture**2, sigma), 1e-12)
    across, down = (np.clip(signal, 0.02, 1) * _slope(texture, axis) for axis in (1, 0))
    known, pulled, shared, drawn = np.zeros((4, *texture.shape), np.float32)
    signed, signed_drawn = np.zeros((2, len(signs), *texture.shape), np.float32)
    for skin, weight, gain, (u, v), sign in zip(skins, weights, contrast, shifts, signs.T, strict=True):
        change, rest = gain * (across * u + down * v), skin - gain * texture
        known += weight * change**2
        pull, draw = weight * change * rest, weight * gain * rest
        pulled += pull
        shared += weight * gain * change
        drawn += draw
        for k, s in enumerate(sign):
            signed[k] += s * pull
            signed_drawn[k] += s * draw
    certainty = band.noise / noise
    # One view alone says nothing; rounding must not make that less than nothing.
    known = np.maximum(known - shared**2 / total, 0)
    pulls = np.stack([pulled, *signed]) - shared / total * np.stack([drawn, *signed_drawn])
    return np.concatenate([(certainty * known)[None], -certainty * pulls])


def _mean_texture(skins, contrast, weights):
    """(H, W) the texture that explains all views best, and its weight."""
    total = np.maximum((weights * contrast**2).sum(0), 1e-3)
    return (weights * contrast * skins).sum(0) / total, total


def _contrast(skin, texture, weight, sigma):
    """(H, W) by how much the texture is weaker or stronger in one view than in the mean, locally."""
    both = _spread(weight * skin * texture, sigma)
    return np.clip(both / np.maximum(_spread(weight * texture**2, sigma), 1e-9), 0.05, 1.5)


def _parallaxes(space, texel_mm, cameras):
    """For each camera the texels (right, down) that its photo slides on the skin by a mm of displacement."""
    position = blur_masked(space.position, space.valid, TANGENT_MM / texel_mm)
    right, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
    normal = surface_normals(position, space.normal)
    rr, dd, rd = (_dot(a, b) for a, b in ((right, right), (down, down), (right, down)))
    area = np.maximum(rr * dd - rd**2, 1e-6)
    rise = _dot(normal, space.normal)
    for camera in cameras:
        sight = camera.center.astype(np.float32) - position
        sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
        slide = space.normal - sight * (rise / np.maximum(_dot(normal, sight), 0.1))[..., None]
        a, b = _dot(slide, right), _dot(slide, down)
        yield ((dd * a - rd * b) / area).astype(np.float32), ((rr * b - rd * a) / area).astype(np.float32)


def _dot(a, b):
    return np.einsum("hwc,hwc->hw", a, b)


def _slope(x, axis):
    return np.gradient(x, axis=axis).astype(np.float32)


def _spread(x, sigma):
    """(H, W) Gaussian blur; a wide one on a smaller map, which is as smooth."""
    factor = 2 ** max(int(np.ceil(np.log2(sigma / 8))), 0)
    if factor == 1:
        return cv2.GaussianBlur(x, (0, 0), sigma)
    height, width = x.shape
    small = cv2.resize(x, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
