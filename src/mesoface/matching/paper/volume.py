"""Photos and UV maps as the published networks take them, their volume of costs over UV × D, and what is read
off it (Xiao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.captures.capture import View
from mesoface.geometry.mesh import Mesh, unit
from mesoface.matching.paper.network import ImplicitFunction, Regularizer, expected_step, probability_near
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.space import UVDSpace, rasterize_base

LONGEST_SIDE = 1296
"""Pixels of the longer side of a photo."""


def network_view(view: View, longest_side: int = LONGEST_SIDE) -> tuple[Tensor, Tensor]:
    """Photo for the feature network, and projection into its features.

    Resized to ``longest_side``; photos in portrait are transposed, and so are the rows of the projection.

    Args:
        view: undistorted.
        longest_side: of the result, pixels.

    Returns:
        image (3, H, W) float32, blue, green, red in 0…255, W ≥ H; projection (3, 4) float64, world → pixels
        of the half-resolution features: feature (x, y) is centred on the pixel (2x, 2y).

    Raises:
        ValueError: the view is not undistorted.
    """
    if view.camera.lens is not None:
        raise ValueError(f"view {view.name} is not undistorted")
    factor = longest_side / max(view.camera.width, view.camera.height)
    camera, pixels = view.camera, view.image
    if factor != 1:
        camera = camera.scaled(factor)
        shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, (camera.width, camera.height), interpolation=shrink)
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[::-1])) * 255
    projection = torch.from_numpy(np.diag([0.5, 0.5, 1.0]) @ camera.P)
    if camera.height > camera.width:
        image, projection = image.transpose(1, 2).contiguous(), projection[[1, 0, 2]]
    return image, projection


SIZE = 256
"""Texels of a side: FaceScape's face at 512², rows 72–327 and columns 128–383 kept."""
_KERNEL = 21  # texels of the Gaussian on the normals; its sigma is OpenCV's for that kernel, 3.5


def paper_space(mesh: Mesh, facial: NDArray[np.bool_], size: int = SIZE) -> UVDSpace:
    """Base mesh to UV maps as published: positions as they are, normals continued outwards and blurred.

    The published crop of FaceScape's layout is the unit square of our FaceScape model: its UVs are stretched
    to that when the model is read. The other models' layouts fill the unit square with the face as they are.
    So the whole square is rasterised, whatever the model.

    Args:
        mesh: base mesh with UVs, mm.
        facial: (F,) faces of the facial mask.
        size: side of the maps, texels.

    Raises:
        ValueError: the mesh has no UVs or no facial face covers a texel.
    """
    maps = rasterize_base(mesh, facial, size)
    return replace(maps, normal=unit(cv2.GaussianBlur(maps.normal, (_KERNEL, _KERNEL), 0)))


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
        progress: called with the number of points that are done.

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
    """The displacement that the regularised volume yields.

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
