"""The published matcher as it was published: one volume of 201 × 256² matching costs (Xiao et al. 2022).

Photos and UV maps as the networks take them, the volume over UV × D, and what is read off it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.files.weights import WeightsError, load_network
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.matching.paper.network import (
    IMPLICIT_FUNCTION,
    REGULARIZER,
    ImplicitFunction,
    Regularizer,
    expected_step,
    probability_near,
)
from mesoface.running.process import torch_threads
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.space import Match, UVDSpace, rasterize_base
from mesoface.uvd.visibility import cast_visibility, seen_by_two

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
    maps = (torch.from_numpy(values.reshape(-1, 3)) for values in (space.position, space.normal))
    position, normal = (values.to(device, torch.float64)[texels] for values in maps)
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


_IMPORT = "run `mesoface weights import checkpoint_if.pkl checkpoint_reg.pkl --out DIR`, pass --weights DIR"
# Confidence, in multiples of what a volume that prefers no step has, that half of the texels must reach.
_LEAST_CONFIDENCE = 1.2
# Smoothing of the measured surface's normals, mm, as on the cascade's level of the same size.
_NORMAL_MM = 2.0
# Side of the piece of a photo, pixels, and points, that the expected time is measured with.
_SAMPLE_SIDE, _SAMPLE_POINTS = 256, 4096


@dataclass(frozen=True, eq=False)
class PaperNetworks:
    """The two networks of the published matcher, in evaluation mode.

    Args:
        function: features and matching cost.
        regularizer: 3D U-Net over the matching costs.
    """

    function: ImplicitFunction
    regularizer: Regularizer


def load_paper_networks(folder: str | Path | None) -> PaperNetworks:
    """The networks from a folder that ``mesoface weights import`` wrote.

    Raises:
        WeightsError: the folder (None) or a file is missing, damaged, or of another network; the message
            names it and what to import.
    """
    if folder is None:
        raise WeightsError("--preset paper needs the published weights: none are shipped", remedy=_IMPORT)
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file; a folder of imported weights was expected" if folder.exists() else "no such folder"
        raise WeightsError(what, path=folder, remedy=_IMPORT)
    kinds = IMPLICIT_FUNCTION, REGULARIZER
    files = [folder / f"{kind.name}.safetensors" for kind in kinds]
    for file in files:
        if not file.is_file():
            raise WeightsError("no such file: --preset paper needs it", path=file, remedy=_IMPORT)
    function, regularizer = (load_network(*pair, others=kinds) for pair in zip(files, kinds, strict=True))
    return PaperNetworks(cast(ImplicitFunction, function), cast(Regularizer, regularizer))


@torch.inference_mode()
def match_paper(
    space: UVDSpace,
    views: Sequence[View],
    networks: PaperNetworks,
    *,
    occluder: Mesh | None = None,
    memory_mb: int = 1024,
    threads: int = 2,
    device: str = "cpu",
    longest_side: int = LONGEST_SIDE,
    steps: Sequence[int] = STEPS,
    progress: ProgressCallback = silent,
) -> Match:
    """Measure the surface around a base mesh with the published networks.

    All views count everywhere, as published. Visibility, by ray casting, comes after: what two views see is
    measured. The label of the progress states the expected time before the work begins.

    Args:
        space: of :func:`~mesoface.matching.paper.matcher.paper_space`.
        views: V ≥ 2 undistorted photos in millimetres.
        networks: see :func:`load_paper_networks`.
        occluder: what hides the face beside the face itself, or None.
        memory_mb: for the points in work, at most 8192 of them. Features come on top: 128 bytes a pixel of
            every photo, 143 MB for 1296 × 864.
        threads: of the networks on the CPU.
        device: torch device of the networks.
        longest_side: of the photos as the networks see them, pixels.
        steps: D = 4k + 1 whole steps in -100…100.
        progress: called as views, chunks of points, and the regulariser are done.

    Raises:
        ReconstructionError: no texel is seen by two views, or the networks prefer no displacement for most.
    """
    hidden_by = None if occluder is None else RayCaster(occluder)
    visibility = cast_visibility(space, views, hidden_by)
    seen = seen_by_two(space, visibility)
    function, regularizer = networks.function.to(device), networks.regularizer.to(device)
    with torch_threads(threads):
        prepared = [network_view(view, longest_side) for view in views]
        images = [image.to(device) for image, _ in prepared]
        queries = len(steps) * int(space.valid.sum())
        chunk = min(CHUNK, (memory_mb << 20) // POINT_BYTES)
        parts = len(views) + -(-queries // chunk) + 1
        label = f"Matching, about {_duration(expected_seconds(function, images, queries))}"
        progress(label, 0, parts)
        features: list[Tensor] = []
        for image in images:
            features.append(function.image_filter(image[None])[0])
            progress(label, len(features), parts)
        volume = cost_volume(
            function,
            features,
            [projection.to(device) for _, projection in prepared],
            space,
            steps=steps,
            chunk=chunk,
            progress=lambda _, done, total: progress(label, len(views) + -(-done // chunk), parts),
        )
        reading = read_displacement(regularizer, volume, space, steps=steps)
        progress(label, parts, parts)
    flat = (2 * CONFIDENCE_RADIUS + 1) / len(steps)
    if np.median(reading.confidence[seen]) < _LEAST_CONFIDENCE * flat:
        raise ReconstructionError(
            "the networks prefer no displacement", remedy="check that the weights are trained ones"
        )
    measured = space.recentred(reading.displacement, seen, _NORMAL_MM)
    confidence = np.where(seen, reading.confidence, 0).astype(np.float32)
    return Match(measured, seen, confidence, tuple(views), visibility, tuple(range(len(views))))


def expected_seconds(function: ImplicitFunction, images: Sequence[Tensor], queries: int) -> float:
    """Time that features and matching costs will take here, measured on a small part of the work.

    Args:
        function: on the device of the images.
        images: V × (3, H, W).
        queries: points of the volume.
    """
    piece = images[0][None, :, :_SAMPLE_SIDE, :_SAMPLE_SIDE]
    feature = function.image_filter(piece)[0]
    to_the_front = torch.eye(3, 4, dtype=torch.float64, device=piece.device)
    points = torch.rand(_SAMPLE_POINTS, 3, dtype=torch.float64, device=piece.device) + 1
    views = len(images)

    def features() -> Tensor:
        return function.image_filter(piece)

    def costs() -> Tensor:
        return function([feature] * views, [to_the_front] * views, points, points[:, 0])

    pixels = sum(image[0].numel() for image in images)
    return _seconds(features) * pixels / piece[0, 0].numel() + _seconds(costs) * queries / _SAMPLE_POINTS


def _seconds(work: Callable[[], Tensor]) -> float:
    """Time of ``work``, called a second time: the first call also makes ready."""
    float(work().sum())
    start = time.perf_counter()
    float(work().sum())  # waits for the device
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
