"""The published matcher as it was published: one volume of 201 × 256² matching costs (Xiao et al. 2022)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.files.weights import WeightsError, load_network
from mesoface.geometry.mesh import Mesh
from mesoface.matching.paper.network import IMPLICIT_FUNCTION, REGULARIZER, ImplicitFunction, Regularizer
from mesoface.matching.paper.volume import (
    CHUNK,
    CONFIDENCE_RADIUS,
    LONGEST_SIDE,
    POINT_BYTES,
    STEPS,
    Reading,
    cost_volume,
    network_view,
    read_displacement,
)
from mesoface.running.process import torch_threads
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.space import Match, UVDSpace
from mesoface.uvd.visibility import cast_visibility, seen_by_two

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

    def to(self, device: str) -> PaperNetworks:
        """The same networks on a torch device."""
        return PaperNetworks(self.function.to(device), self.regularizer.to(device))


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
    files = {name: folder / f"{name}.safetensors" for name in ("implicit_function", "regularizer")}
    for file in files.values():
        if not file.is_file():
            raise WeightsError("no such file: --preset paper needs it", path=file, remedy=_IMPORT)
    networks = IMPLICIT_FUNCTION, REGULARIZER
    return PaperNetworks(
        cast(ImplicitFunction, load_network(files["implicit_function"], IMPLICIT_FUNCTION, others=networks)),
        cast(Regularizer, load_network(files["regularizer"], REGULARIZER, others=networks)),
    )


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
        space: of :func:`~mesoface.matching.paper.volume.paper_space`.
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
    visibility = cast_visibility(space, views, occluder)
    seen = seen_by_two(space, visibility)
    with torch_threads(threads):
        reading = _read_volume(
            space, views, networks.to(device), memory_mb, device, longest_side, steps, progress
        )
    flat = (2 * CONFIDENCE_RADIUS + 1) / len(steps)
    if np.median(reading.confidence[seen]) < _LEAST_CONFIDENCE * flat:
        raise ReconstructionError(
            "the networks prefer no displacement", remedy="check that the weights are trained ones"
        )
    return Match(
        space.recentred(reading.displacement, seen, _NORMAL_MM),
        seen,
        np.where(seen, reading.confidence, 0).astype(np.float32),
        tuple(views),
        visibility,
        tuple(range(len(views))),
        (),
    )


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


def _read_volume(
    space: UVDSpace,
    views: Sequence[View],
    networks: PaperNetworks,
    memory_mb: int,
    device: str,
    longest_side: int,
    steps: Sequence[int],
    progress: ProgressCallback,
) -> Reading:
    """Photos to features, features to costs, costs to displacement."""
    prepared = [network_view(view, longest_side) for view in views]
    images = [image.to(device) for image, _ in prepared]
    projections = [projection.to(device) for _, projection in prepared]
    queries = len(steps) * int(space.valid.sum())
    chunk = min(CHUNK, (memory_mb << 20) // POINT_BYTES)
    parts = len(views) + -(-queries // chunk) + 1
    label = f"Matching, about {_duration(expected_seconds(networks.function, images, queries))}"
    progress(label, 0, parts)
    features: list[Tensor] = []
    for image in images:
        features.append(networks.function.image_filter(image[None])[0])
        progress(label, len(features), parts)
    volume = cost_volume(
        networks.function,
        features,
        projections,
        space,
        steps=steps,
        chunk=chunk,
        progress=lambda _, done, total: progress(label, len(views) + -(-done // chunk), parts),
    )
    reading = read_displacement(networks.regularizer, volume, space, steps=steps)
    progress(label, parts, parts)
    return reading


def _seconds(work: Callable[[], Tensor]) -> float:
    """Time of ``work``, called a second time: the first call also makes ready."""
    float(work().sum())
    start = time.perf_counter()
    float(work().sum())  # waits for the device
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
