"""The volume of matching costs over UV × D, and the displacement read off it (Xiao et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.matching.paper.implicit_function import ImplicitFunction
from mesoface.matching.paper.regularizer import Regularizer, expected_step, probability_near
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.space import UVDSpace

STEP_MM = 0.2
"""Displacement of one step, mm."""
FULL_SCALE = 100
"""Steps at which the implicit function's displacement input is 1."""
STEPS = range(-FULL_SCALE, FULL_SCALE + 1)
"""The published volume's 201 steps."""
CONFIDENCE_RADIUS = 5
"""Steps around the displacement whose share is its confidence: one sigma of the costs' training target."""
POINT_BYTES = 9 << 10
"""Memory for the networks' intermediate results at one point, about."""
CHUNK = 8192
"""Points at a time. From some 20,000 on they no longer fit a CPU's caches; each takes half as long again."""


@torch.inference_mode()
def cost_volume(
    network: ImplicitFunction,
    features: Sequence[Tensor],
    projections: Sequence[Tensor],
    space: UVDSpace,
    *,
    steps: Sequence[int] = STEPS,
    chunk: int = CHUNK,
    progress: ProgressCallback = silent,
) -> Tensor:
    """Matching cost at every texel of the facial mask and every step along its normal.

    Args:
        network: trained, on the device of the features.
        features: V × (128, h, w).
        projections: V × (3, 4), world → pixels of the features.
        space: H × H texels, in the projections' world, mm.
        steps: D whole steps in -100…100.
        chunk: points at a time. Memory is some :data:`POINT_BYTES` a point, whatever the volume.
        progress: told the points done.

    Returns:
        (D, H, H) float32 on the features' device; 0 outside the facial mask.

    Raises:
        ValueError: no step or one out of range, a chunk below one, or what the network refuses.
    """
    if not len(steps) or max(abs(step) for step in steps) > FULL_SCALE:
        raise ValueError(f"steps must be in -{FULL_SCALE}…{FULL_SCALE}, one at least")
    if chunk < 1:
        raise ValueError(f"chunk must be 1 or more, got {chunk}")
    device = features[0].device
    texels = torch.from_numpy(np.flatnonzero(space.valid)).to(device)
    position, normal = (
        torch.from_numpy(values.reshape(-1, 3)).to(device, torch.float64)[texels]
        for values in (space.position, space.normal)
    )
    step = torch.tensor(list(steps), dtype=torch.float64, device=device)
    costs = torch.empty(len(step) * len(texels), device=device)
    for start in range(0, len(costs), chunk):
        index = torch.arange(start, min(start + chunk, len(costs)), device=device)
        slice_, texel = index // len(texels), index % len(texels)
        points = position[texel] + normal[texel] * (step[slice_] * STEP_MM)[:, None]
        costs[index] = network(features, projections, points, step[slice_] / FULL_SCALE)
        progress("matching cost", start + len(index), len(costs))
    volume = torch.zeros(len(step), space.size**2, device=device)
    volume[:, texels] = costs.reshape(len(step), -1)
    return volume.reshape(len(step), space.size, space.size)


@dataclass(frozen=True, eq=False)
class Reading:
    """What the regularised volume says.

    Args:
        displacement: (H, W) float32, mm along the normals; 0 outside the facial mask.
        confidence: (H, W) float32 in [0, 1], the share of the volume's distribution over D that lies within
            :data:`CONFIDENCE_RADIUS` steps of the displacement; 0 outside the facial mask.
    """

    displacement: NDArray[np.float32]
    confidence: NDArray[np.float32]


@torch.inference_mode()
def read_displacement(
    network: Regularizer, volume: Tensor, space: UVDSpace, *, steps: Sequence[int] = STEPS
) -> Reading:
    """Regularise a volume of matching costs and take the expected displacement.

    Args:
        network: trained, in eval mode: else the batch statistics of this one volume are used.
        volume: (D, H, H) of :func:`cost_volume`; D = 4k + 1, H divisible by four.
        space: H × H texels.
        steps: D steps that the slices stand for.

    Raises:
        ValueError: a shape is another one, or the network is in training mode.
    """
    if network.training:
        raise ValueError("the regulariser is in training mode; it must be in evaluation mode")
    if len(steps) != len(volume):
        raise ValueError(f"steps must be as many as the volume's {len(volume)} slices, got {len(steps)}")
    values = torch.tensor(list(steps), dtype=volume.dtype, device=volume.device)[None]
    mask = torch.from_numpy(space.valid).to(volume)[None]
    probability = network.probability(volume[None, None], mask)
    expected = expected_step(probability, values)
    near = probability_near(probability, values, expected, CONFIDENCE_RADIUS)
    return Reading((expected * mask * STEP_MM)[0].cpu().numpy(), (near * mask)[0].cpu().numpy())
