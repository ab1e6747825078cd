"""The learned matcher in the cascade: its weights, and a level's maps through the network, strip by strip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.files.weights import load_network
from mesoface.matching.classical import COARSE, ClassicalLevel, ClassicalMatcher
from mesoface.matching.classical import PRESETS as CLASSICAL
from mesoface.matching.learned.features import blur_radius
from mesoface.matching.learned.kernels import PackedPhotos, agreement_in_photos, pack_photos
from mesoface.matching.learned.network import (
    SURFACE_MATCHER,
    WINDOWS,
    Opinion,
    Prediction,
    SurfaceMatcher,
    describe_points,
    doubled,
    halved,
    halvings,
    padded,
)
from mesoface.matching.matcher import LevelInput, Measurement, well_seen
from mesoface.running.process import torch_threads
from mesoface.uvd.photos import resample_photo

SHIPPED = "surface_matcher.safetensors"

# Pixels of a prepared photo per texel: what the network was trained at.
OVERSAMPLE = 1.5
# Rows above and below the facial mask that the network looks at, and what their first is a multiple of.
_MARGIN, _GRID = 32, 16
# Memory that one point takes on its way through the network, and what of it is kept until the end, bytes.
_POINT_BYTES, _KEPT_BYTES = 400, 68
# Fewest rows of the maps that are processed at a time.
_LEAST_ROWS = 32
# The network only refines: where the levels before are less sure of what they found, so is it. To the network
# a surface that lies out of reach looks like one that is hard to see.
_LOST, _FOUND = 0.05, 0.15


@dataclass(frozen=True)
class NetworkLevel(ClassicalLevel):
    """A level that the network measures, from the answer of the classical matcher with these settings."""


_NETWORK_512 = NetworkLevel(512, 0.9, 0.15, 0.8, 1.5, window=2.5, stiffness=0.5, smooth=1.2)
_NETWORK_768 = NetworkLevel(768, 0.4, 0.1, 0.7, 1.5, window=2.0, stiffness=0.5, smooth=1.8)
_NETWORK_1024 = NetworkLevel(1024, 0.4, 0.1, 0.7, 1.5, window=2.8, stiffness=0.5, smooth=2.4)
# At 512² the network is better than the correlation, too, but takes five times as long.
PRESETS: dict[str, tuple[ClassicalLevel, ...]] = {
    "fast": (*COARSE, _NETWORK_512),
    "default": (*CLASSICAL["best"][:-1], _NETWORK_768),
    "best": (*COARSE, _NETWORK_512, _NETWORK_768, _NETWORK_1024),
}


class LearnedMatcher:
    """A trained network that goes on from the classical matcher's answer.

    Coarse levels only find the face, and are the classical matcher's alone: it does so as well, in less time.

    Args:
        network: in evaluation mode or not; it is not trained here.
        device: torch device.
        threads: of the CPU.
        memory_mb: for the volumes. Less of it makes more strips; the result stays the same.
    """

    presets: Mapping[str, tuple[ClassicalLevel, ...]] = PRESETS

    def __init__(
        self, network: SurfaceMatcher, *, device: str = "cpu", threads: int = 2, memory_mb: int = 1024
    ):
        self._network = network.train(False).to(device)
        self._device, self._threads, self._memory = device, threads, memory_mb << 20
        self._classical = ClassicalMatcher(device, threads)

    def measure(self, start: LevelInput) -> Measurement:
        """See :class:`mesoface.matching.matcher.Matcher`."""
        classical = self._classical.answer(start)
        if not _for_network(start):
            return classical.measurement
        with torch_threads(self._threads), torch.inference_mode():
            displacement, probability = self._predict(start, Opinion.of(classical, self._device))
        found = np.clip((start.confidence - _LOST) / (_FOUND - _LOST), 0, 1)
        weight = probability * well_seen(start) * found
        return Measurement(displacement, weight)

    def _predict(
        self, start: LevelInput, opinion: Opinion
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H, W) displacement, mm, and the probability that it is right, where the face is."""
        space, level = start.space, start.level
        points = space.position[space.valid].astype(np.float64)
        # Around the origin single precision is enough.
        middle = points.mean(0)
        features, projections = [], []
        for view in start.views:
            pixels, camera = resample_photo(
                view.image, view.camera, points, space.texel_mm, OVERSAMPLE, level.reach_mm
            )
            image = torch.from_numpy(pixels).permute(2, 0, 1).clamp_(0, 1)
            features.append(self._network.features(image.to(self._device)))
            projections.append(camera.moved(np.eye(3), -middle).P)
        position, steps = (space.position - middle).astype(np.float32), self._tensor(level.steps)
        rows, columns = (np.flatnonzero(space.valid.any(axis)) for axis in (1, 0))
        first, last = int(rows[0]) // _GRID * _GRID, int(rows[-1]) + 1
        top, bottom = max(first - _MARGIN, 0), min(last + _MARGIN, len(space.valid))
        part = slice(top, bottom), slice(int(columns[0]), int(columns[-1]) + 1)
        found = match_in_strips(
            self._network,
            self._packed(features),
            self._tensor(np.stack(projections)),
            self._tensor(position[part]),
            self._tensor(space.normal[part]),
            self._tensor(start.visibility[:, *part]),
            opinion.part(*part),
            steps,
            space.texel_mm,
            rows=self._rows(len(steps), *position[part].shape[:2]),
        )
        displacement, probability = np.zeros((2, *space.valid.shape), np.float32)
        inner = slice(first - top, last - top)
        displacement[first:last, part[1]] = found.displacement[inner].cpu().numpy()
        probability[first:last, part[1]] = torch.sigmoid(found.confidence[inner]).cpu().numpy()
        return displacement, probability

    def _packed(self, features: list[Tensor]) -> Sequence[Tensor] | PackedPhotos:
        """The features as they are looked up; packed ones take the place of the list's, to save memory."""
        if self._device != "cpu":
            return features
        packed = pack_photos(features)
        features.clear()
        return packed

    def _rows(self, steps: int, height: int, width: int) -> int:
        """Rows of the maps to process at a time, so that all stays within memory where that is possible."""
        left = self._memory - _KEPT_BYTES * steps * height * width
        return max(left // (_POINT_BYTES * steps * width) - 2 * max(_reach(self._network)), _LEAST_ROWS)

    def _tensor(self, values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def load_matcher(
    path: Path | None = None, *, device: str = "cpu", threads: int = 2, memory_mb: int = 1024
) -> LearnedMatcher:
    """A matcher with its weights.

    Args:
        path: a safetensors file, as ``mesoface train regularizer`` writes it; None for the shipped one.
        device: see :class:`LearnedMatcher`.
        threads: see there.
        memory_mb: see there.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    with as_file(files("mesoface") / "assets" / SHIPPED) as shipped:
        network = load_network(path or shipped, SURFACE_MATCHER)
    assert isinstance(network, SurfaceMatcher)
    return LearnedMatcher(network, device=device, threads=threads, memory_mb=memory_mb)


def match_in_strips(
    network: SurfaceMatcher,
    features: Sequence[Tensor] | PackedPhotos,
    projections: Tensor,
    position: Tensor,
    normal: Tensor,
    visibility: Tensor,
    opinion: Opinion,
    steps: Tensor,
    texel_mm: float,
    *,
    rows: int,
) -> Prediction:
    """:meth:`SurfaceMatcher.forward` from features, for ``rows`` of the maps at a time.

    ``features`` are V × (C, h, w), best packed where the maps are on the CPU; the other parameters and the
    result are the same. A strip is processed with as many rows around it as the layers at full resolution
    look at. What looks further, the regulariser below full resolution, is a quarter of the volume and runs on
    the whole maps.
    """
    regularizer, height, width = network.regularizer, *position.shape[:2]
    depth = halvings(texel_mm)
    missing_rows, missing_columns = (-size % 2**depth for size in (height, width))
    before, after = _reach(network)

    def begin(first: int, last: int) -> tuple[Tensor, Tensor]:
        """Rows of the score (h, W, D), and of the regulariser's first volume (1, h', W', D, C)."""
        near = slice(max(first - before, 0), min(last + before, height))
        seen = opinion.part(near, slice(None))
        place = projections, position[near], normal[near], visibility[:, near], steps
        agreed = agreement_in_photos(
            features, *place, network.features.groups, threads=torch.get_num_threads()
        )
        score, volume = network.implicit_function(describe_points(agreed, seen, steps, texel_mm), seen, steps)
        x = regularizer.begin(padded(volume, missing_rows if last == height else 0, missing_columns))
        inner = slice(first - near.start, None if last == height else last - near.start)
        return score[inner], x[:, :, inner].movedim(1, -1)

    def settle(first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the logits (h, W, D), the displacement (h, W) and the confidence (h, W)."""
        top = max(first - after, 0) // 2 * 2
        bottom = -(-(last + after) // 2) * 2 if last + after < height else x.shape[2]
        # Enlarging looks at one coarse row on either side.
        around = slice(max(top // 2 - 1, 0), bottom // 2 + 1)
        enlarged = doubled(coarse[:, :, around])[:, :, top - 2 * around.start :][:, :, : bottom - top]
        near = slice(top, min(bottom, height))
        logits, surface = regularizer.settle(x[:, :, top:bottom], enlarged, score[near])
        found = network.read_off(logits, surface, score[near], opinion.part(near, slice(None)), steps)
        inner = slice(first - top, last - top)
        return logits[inner], found.displacement[inner], found.confidence[inner]

    strips = [(first, min(first + rows, height)) for first in range(0, height, rows)]
    scores, volumes = zip(*(begin(*strip) for strip in strips), strict=True)
    score, x = torch.cat(scores), torch.cat(volumes, 1).movedim(-1, 1)
    features = []  # not needed any more, and large
    del scores, volumes
    coarse = regularizer.surroundings(halved(x), depth)
    settled = zip(*(settle(*strip) for strip in strips), strict=True)
    logits, displacement, confidence = (torch.cat(parts) for parts in settled)
    return Prediction(logits.movedim(-1, 0), displacement, confidence, score.movedim(-1, 0))


def _reach(network: SurfaceMatcher) -> tuple[int, int]:
    """Rows to either side that layers at full resolution look at: before the coarse ones, and after them."""
    windows = max(blur_radius(sigma) for sigma in WINDOWS)
    ours, last = network.regularizer, network.refinement
    after = (ours.leave, last.first, last.second, last.third)
    return windows + _rows_around(ours.enter), sum(_rows_around(layer) for layer in after)


def _rows_around(layer: nn.Conv2d | nn.Conv3d) -> int:
    """Rows to either side that a convolution of stride one looks at."""
    return layer.kernel_size[0] // 2 * layer.dilation[0]


def _for_network(start: LevelInput) -> bool:
    """Whether the network measures a level.

    It measures its own levels, and of other levels those that are as fine: a classical one only where it is
    the last, because the photos are too coarse for the network's own.
    """
    level, fine = start.level, start.level.size >= _NETWORK_512.size
    return isinstance(level, NetworkLevel) or (fine and (start.last or not isinstance(level, ClassicalLevel)))
