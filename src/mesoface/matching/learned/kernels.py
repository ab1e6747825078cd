"""How well the views agree at every (u, v, d): compiled for the CPU, and in torch, to be read and elsewhere.

Many views become one description, whatever their number and order. The paper aggregates by the plain mean
and variance over views, occluded ones included. Here every view counts by how well it sees the point, and
each group of a descriptor is summarised by its *coherence*: the mean cosine over all pairs of views. For unit
vectors that is the variance, without the bias that depends on the number of views.

:func:`agreement_in_torch` and the compiled loop compute the same. The loop does it in one pass that keeps a
point's sums in registers, leaves out the views that do not see a texel, and writes nothing but the result.
Its gradient is derived by hand; tests compare both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Channels of a photo's features are padded to a multiple of this: one cache line, one vector register.
LANES = 16
_LEAST = 1e-4


class Agreement(NamedTuple):
    """What the views have in common.

    Args:
        coherence: (G, ...) in [-1, 1], mean cosine of each group over the pairs of views.
        energy: (G, ...) its mean squared length.
        weight: (...,) total weight of the views.
        paired: (...,) the share of it that lies in pairs: 1 - 1/n for n views that count the same.
    """

    coherence: Tensor
    energy: Tensor
    weight: Tensor
    paired: Tensor


def agreement(sampled: Iterable[tuple[Tensor, Tensor]]) -> Agreement:
    """Coherence of each group over the views, without ever holding more than one of them.

    With weights w, Σ_{i≠j} w_i w_j f_i·f_j = |Σ w f|² − Σ w²|f|².

    Args:
        sampled: for every view, the groups (G, C, ...) that it shows at each point, and how much it counts
            there, (...,).
    """
    first = square = weight = weight2 = torch.zeros(())
    for features, w in sampled:
        first = first + w * features
        square = square + w**2 * (features**2).sum(1)
        weight = weight + w
        weight2 = weight2 + w**2
    pairs = weight**2 - weight2
    seen = (pairs > _LEAST).to(pairs.dtype)
    coherence = seen * ((first**2).sum(1) - square) / pairs.clamp(min=_LEAST)
    energy = square / weight2.clamp(min=_LEAST)
    return Agreement(coherence, energy, weight, pairs / (weight**2).clamp(min=_LEAST))


def project(projection: Tensor, position: Tensor, normal: Tensor, steps: Tensor) -> Tensor:
    """Pixels of every (u, v, d).

    Homogeneous pixels are linear in d, so each texel is projected once. In double precision: single would
    round world coordinates to a hundredth of a pixel.

    Args:
        projection: (3, 4) world → pixels.
        position: (H, W, 3) mm.
        normal: (H, W, 3) unit.
        steps: (D,) mm.

    Returns:
        (H, W, D, 2) float32 x, y; far outside of any photo where the point is behind the camera.
    """
    projection = projection.double()
    base = position.double() @ projection[:, :3].T + projection[:, 3]
    along = normal.double() @ projection[:, :3].T
    pixels = base[:, :, None] + steps.double()[:, None] * along[:, :, None]
    depth = pixels[..., 2:]
    ahead = depth > 0
    return torch.where(ahead, pixels[..., :2] / torch.where(ahead, depth, 1), -1e6).float()


def sample(features: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear features at pixels; beyond the photo's edge those of the edge.

    Args:
        features: (C, h, w).
        pixels: (H, W, D, 2) x, y; pixel centres at integers.

    Returns:
        (C, H, W, D)
    """
    height, width, steps, _ = pixels.shape
    size = torch.tensor([features.shape[2] - 1, features.shape[1] - 1], dtype=pixels.dtype)
    grid = 2 * pixels / size.to(pixels.device) - 1
    flat = F.grid_sample(
        features[None], grid.view(1, height, width * steps, 2), padding_mode="border", align_corners=True
    )
    return flat[0].unflatten(2, (width, steps))


class PackedPhotos(NamedTuple):
    """Features of V photos as the compiled loop reads them.

    Args:
        values: (K, L) all photos' features, pixel by pixel, one photo after another; L is the channels padded
            with zeros to a multiple of ``LANES``.
        starts: (V,) at which row of ``values`` each photo begins.
        sizes: (V, 2) their heights and widths.
        channels: without the padding.
    """

    values: Tensor
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    channels: int


def pack_photos(features: Sequence[Tensor]) -> PackedPhotos:
    """Pack V × (C, h, w) features, of any number of channels.

    Raises:
        ValueError: the photos have different numbers of channels, or one has fewer than 2 × 2 pixels.
    """
    channels = {photo.shape[0] for photo in features}
    if len(channels) != 1 or any(photo.ndim != 3 or min(photo.shape[1:]) < 2 for photo in features):
        shapes = ", ".join(str(tuple(photo.shape)) for photo in features)
        raise ValueError(f"features must be (C, h, w) with one C and h, w ≥ 2, got {shapes}")
    count = channels.pop()
    sizes = torch.tensor([photo.shape[1:] for photo in features])
    lengths = sizes.prod(1)
    starts = lengths.cumsum(0) - lengths
    if any(photo.requires_grad for photo in features):
        values = torch.cat([F.pad(photo.flatten(1).T, (0, -count % LANES)) for photo in features])
    else:  # without a second copy of them all
        values = torch.zeros(int(lengths.sum()), count + -count % LANES)
        for part, photo in zip(values.split(lengths.tolist()), features, strict=True):
            part[:, :count] = photo.flatten(1).T
    return PackedPhotos(values, starts.numpy(), sizes.numpy(), count)


def agreement_in_photos(
    features: Sequence[Tensor] | PackedPhotos,
    projections: Tensor,
    position: Tensor,
    normal: Tensor,
    visibility: Tensor,
    steps: Tensor,
    groups: int,
    *,
    threads: int = 1,
) -> Agreement:
    """How well the photos agree at every (u, v, d); differentiable with respect to the features.

    Args:
        features: V × (C, h, w), C = groups × width + 2: descriptor, reliability, contrast. Or packed (CPU).
        projections: (V, 3, 4) world → pixels of the features, pixel centres at integers.
        position: (H, W, 3) mm.
        normal: (H, W, 3) unit.
        visibility: (V, H, W); a view counts by it and by the reliability of what it shows.
        steps: (D,) mm.
        groups: of the descriptor.
        threads: that share the rows of the maps, on the CPU.

    Returns:
        (G, H, W, D) of G = groups + 1 groups, the last of which is the contrast.

    Raises:
        ValueError: the channels are not groups × width + 2, or see :func:`pack_photos`.
    """
    if not isinstance(features, PackedPhotos):
        if not position.is_cpu:
            return agreement_in_torch(features, projections, position, normal, visibility, steps, groups)
        features = pack_photos(features)
    width, rest = divmod(features.channels - 2, groups)
    if width < 1 or rest:
        raise ValueError(f"{features.channels} channels are not {groups} groups and two more")
    out = _CompiledAgreement.apply(
        features.values,
        (features.starts, features.sizes),
        projections.double().numpy(),
        (position.float().contiguous().numpy(), normal.float().contiguous().numpy()),
        visibility.float().contiguous().numpy(),
        steps.double().numpy(),
        groups,
        width,
        threads,
    )
    return Agreement(out[: groups + 1], out[groups + 1 : -2], out[-2], out[-1])


def agreement_in_torch(
    features: Sequence[Tensor],
    projections: Tensor,
    position: Tensor,
    normal: Tensor,
    visibility: Tensor,
    steps: Tensor,
    groups: int,
) -> Agreement:
    """:func:`agreement_in_photos` in torch's own operations, on any device."""

    def seen() -> Iterable[tuple[Tensor, Tensor]]:
        for photo, projection, visible in zip(features, projections, visibility, strict=True):
            sampled = sample(photo, project(projection, position, normal, steps))
            descriptor = sampled[:-2].unflatten(0, (groups, -1))
            # The contrast is one more group in the same width: its other channels are empty.
            empty = torch.zeros_like(descriptor[:1, 1:])
            contrast = torch.cat([sampled[None, -1:], empty], 1)
            yield torch.cat([descriptor, contrast]), visible[..., None] * sampled[-2]

    return agreement(seen())


class _CompiledAgreement(torch.autograd.Function):
    """Threads share the rows of the forward pass; the backward pass adds into one buffer and has one."""

    @staticmethod
    def forward(
        ctx: Any,
        packed: Tensor,
        photos: Any,
        projections: Any,
        surface: Any,
        visibility: Any,
        steps: Any,
        groups: int,
        width: int,
        threads: int,
    ) -> Tensor:
        given = (packed.detach().numpy(), *photos, projections, *surface, visibility, steps, groups, width)
        ctx.given = given
        rows, columns = visibility.shape[1:]
        out = np.empty((2 * (groups + 1) + 2, rows, columns, len(steps)), np.float32)
        edges = np.linspace(0, rows, 4 * threads + 1).astype(int) if threads > 1 else np.array([0, rows])
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first, last: _forward(*given, first, last, out), edges[:-1], edges[1:]))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        out = np.zeros_like(ctx.given[0])
        _backward(*ctx.given, grads[0].contiguous().numpy(), out)
        return torch.from_numpy(out), *(None,) * 8


_compiled: Any = numba.njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
_LEAST32 = np.float32(_LEAST)


@_compiled
def _project_texel(projections, position, normal, seen, lines):
    """Homogeneous pixels of a texel, and their change per mm of displacement, into ``lines`` (V, 6)."""
    for v in range(len(projections)):
        if seen[v] > 0:
            for k in range(3):
                lines[v, k] = projections[v, k, 3]
                lines[v, 3 + k] = 0.0
                for j in range(3):
                    lines[v, k] += projections[v, k, j] * position[j]
                    lines[v, 3 + k] += projections[v, k, j] * normal[j]


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
def _gather(features, starts, sizes, lines, d, seen, reliability, f, total, square):
    """Sum what the views show at a point: features by weight, their squares by its square; and the weights.

    ``f`` (V, L) receives what each of them shows; L is a multiple of ``LANES``. The inner loops have a
    constant length, so that they become vector instructions.
    """
    total[:] = 0
    square[:] = 0
    weight = np.float32(0)
    weight2 = np.float32(0)
    for v in range(len(starts)):
        if seen[v] > 0:
            row, column, fy, fx = _corner(lines, v, d, sizes[v, 0], sizes[v, 1])
            a = starts[v] + row * sizes[v, 1] + column
            b = a + sizes[v, 1]
            w00, w01, w10, w11 = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
            for block in range(0, len(total), LANES):
                for lane in range(LANES):
                    c = block + lane
                    f[v, c] = (
                        w00 * features[a, c]
                        + w01 * features[a + 1, c]
                        + w10 * features[b, c]
                        + w11 * features[b + 1, c]
                    )
            w = seen[v] * f[v, reliability]
            for block in range(0, len(total), LANES):
                for lane in range(LANES):
                    c = block + lane
                    weighted = w * f[v, c]
                    total[c] += weighted
                    square[c] += weighted * weighted
            weight += w
            weight2 += w * w
    # In the sums the contrast takes the place of the reliability: one more group, of one channel.
    total[reliability] = total[reliability + 1]
    square[reliability] = square[reliability + 1]
    return weight, weight2


@_compiled
def _forward(
    features, starts, sizes, projections, position, normal, visibility, steps, groups, width, first, last, out
):
    """Agreement of the views at every (u, v, d) of the rows from ``first`` up to ``last``.

    ``features`` (K, L), ``starts`` and ``sizes`` are those of :class:`PackedPhotos`, the maps those of
    :func:`agreement_in_photos`, ``width`` the channels of a group. ``out`` (2 · (groups + 1) + 2, H, W, D)
    receives the coherence of every group and of the contrast, their energies, weight, share in pairs.
    """
    views, lanes = len(starts), features.shape[1]
    parts, contrast = groups + 1, groups * width
    f = np.empty((views, lanes), np.float32)
    total = np.empty(lanes, np.float32)
    square = np.empty(lanes, np.float32)
    lines = np.empty((views, 6), np.float64)
    for r in range(first, last):
        for t in range(position.shape[1]):
            seen = visibility[:, r, t]
            _project_texel(projections, position[r, t], normal[r, t], seen, lines)
            for k in range(len(steps)):
                weight, weight2 = _gather(
                    features, starts, sizes, lines, steps[k], seen, contrast, f, total, square
                )
                pairs = weight * weight - weight2
                for g in range(parts):
                    length = np.float32(0)
                    own = np.float32(0)
                    for c in range(g * width, min((g + 1) * width, contrast + 1)):
                        length += total[c] * total[c]
                        own += square[c]
                    out[g, r, t, k] = (length - own) / pairs if pairs > _LEAST32 else 0
                    out[parts + g, r, t, k] = own / max(weight2, _LEAST32)
                out[2 * parts, r, t, k] = weight
                out[2 * parts + 1, r, t, k] = pairs / max(weight * weight, _LEAST32)


@_compiled
def _backward(
    features, starts, sizes, projections, position, normal, visibility, steps, groups, width, grad, out
):
    """The gradient of :func:`_forward` with respect to ``features``, added to ``out``, which is like them.

    ``grad`` is the gradient with respect to the result of the forward pass, in its shape; the other
    parameters are as there. The contrast has no gradient: nothing is learned through it.
    """
    views, lanes = len(starts), features.shape[1]
    parts, contrast = groups + 1, groups * width
    f = np.empty((views, lanes), np.float32)
    total = np.empty(lanes, np.float32)
    square = np.empty(lanes, np.float32)
    d_total = np.empty(lanes, np.float32)
    d_square = np.empty(parts, np.float32)
    d_f = np.zeros(lanes, np.float32)
    lines = np.empty((views, 6), np.float64)
    for r in range(position.shape[0]):
        for t in range(position.shape[1]):
            seen = visibility[:, r, t]
            _project_texel(projections, position[r, t], normal[r, t], seen, lines)
            for k in range(len(steps)):
                weight, weight2 = _gather(
                    features, starts, sizes, lines, steps[k], seen, contrast, f, total, square
                )
                pairs = weight * weight - weight2
                d_pairs = np.float32(0)
                d_weight2 = np.float32(0)
                for g in range(parts):
                    length = np.float32(0)
                    own = np.float32(0)
                    for c in range(g * width, min((g + 1) * width, contrast + 1)):
                        length += total[c] * total[c]
                        own += square[c]
                        d_total[c] = 2 * grad[g, r, t, k] * total[c] / pairs if pairs > _LEAST32 else 0
                    d_square[g] = grad[parts + g, r, t, k] / max(weight2, _LEAST32)
                    if pairs > _LEAST32:
                        d_square[g] -= grad[g, r, t, k] / pairs
                        d_pairs -= grad[g, r, t, k] * (length - own) / (pairs * pairs)
                    if weight2 > _LEAST32:
                        d_weight2 -= grad[parts + g, r, t, k] * own / (weight2 * weight2)
                d_weight = grad[2 * parts, r, t, k]
                d_share = grad[2 * parts + 1, r, t, k]
                d_pairs += d_share / max(weight * weight, _LEAST32)
                if weight * weight > _LEAST32:
                    d_weight -= 2 * d_share * pairs / (weight * weight * weight)
                d_weight += 2 * weight * d_pairs
                d_weight2 -= d_pairs
                for v in range(views):
                    if seen[v] > 0:
                        w = seen[v] * f[v, contrast]
                        d_w = d_weight + 2 * w * d_weight2
                        for g in range(groups):
                            length = np.float32(0)
                            for c in range(g * width, (g + 1) * width):
                                length += f[v, c] * f[v, c]
                                d_w += d_total[c] * f[v, c]
                                d_f[c] = w * d_total[c] + 2 * w * w * f[v, c] * d_square[g]
                            d_w += 2 * w * length * d_square[g]
                        shown = f[v, contrast + 1]
                        d_w += d_total[contrast] * shown
                        d_w += 2 * w * shown * shown * d_square[groups]
                        d_f[contrast] = seen[v] * d_w
                        row, column, fy, fx = _corner(lines, v, steps[k], sizes[v, 0], sizes[v, 1])
                        a = starts[v] + row * sizes[v, 1] + column
                        b = a + sizes[v, 1]
                        for c in range(lanes):
                            out[a, c] += (1 - fy) * (1 - fx) * d_f[c]
                            out[a + 1, c] += (1 - fy) * fx * d_f[c]
                            out[b, c] += fy * (1 - fx) * d_f[c]
                            out[b + 1, c] += fy * fx * d_f[c]
