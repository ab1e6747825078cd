"""The learned matcher in the cascade: a level's maps through the network, strip by strip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.matching.classical import COARSE, ClassicalLevel, ClassicalMatcher
from mesoface.matching.classical import PRESETS as CLASSICAL
from mesoface.matching.learned.network import SurfaceMatcher
from mesoface.matching.learned.opinion import Opinion
from mesoface.matching.levels import LevelInput
from mesoface.matching.matcher import Measurement, well_seen
from mesoface.running.process import torch_threads
from mesoface.uvd.photos import resample_photo

# Pixels of a prepared photo per texel: what the network was trained at.
OVERSAMPLE = 1.5
# Texels beyond a strip's edge that the regulariser looks at.
_HALO = 32
# Strips begin at multiples of this, so that the regulariser halves every strip as it would the whole.
_GRID = 16
# Memory that one point of a strip takes on its way through the network, bytes.
_POINT_BYTES = 400
# The network only refines: where the levels before are less sure of what they found, so is it. A surface
# that lies out of reach looks to it like one that is hard to see.
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
    "default": (*CLASSICAL["default"][:-1], _NETWORK_768),
    "best": (*COARSE, _NETWORK_512, _NETWORK_768, _NETWORK_1024),
}


class LearnedMatcher:
    """A trained network that goes on from the classical matcher's answer.

    Coarse levels only find the face, and are the classical matcher's alone: it does so as well, in less time.

    Args:
        network: in evaluation mode or not; it is not trained here.
        device: torch device.
        threads: of the CPU.
        memory_mb: for the volumes; less of it makes more strips, not other results.
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
        where = self._tensor(np.stack(projections))
        position, steps = (space.position - middle).astype(np.float32), self._tensor(level.steps)
        displacement, probability = np.zeros((2, *space.valid.shape), np.float32)
        for inner, outer in self._strips(space.valid, len(level.steps)):
            found = self._network.match(
                features,
                where,
                self._tensor(position[outer]),
                self._tensor(space.normal[outer]),
                self._tensor(start.visibility[:, *outer]),
                opinion.part(*outer),
                steps,
                space.texel_mm,
            )
            rows = slice(inner.start - outer[0].start, inner.stop - outer[0].start)
            displacement[inner, outer[1]] = found.displacement[rows].cpu().numpy()
            probability[inner, outer[1]] = torch.sigmoid(found.confidence[rows]).cpu().numpy()
        return displacement, probability

    def _tensor(self, values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def _strips(self, valid: NDArray[np.bool_], steps: int) -> list[tuple[slice, tuple[slice, slice]]]:
        """Rows to work out, and the rows and columns to look at for them, all within memory."""
        rows, columns = (np.flatnonzero(valid.any(axis)) for axis in (1, 0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        begin, end = int(rows[0]) // _GRID * _GRID, int(rows[-1]) + 1
        height = self._memory // (_POINT_BYTES * steps * (right - left)) - 2 * _HALO
        height = max(height // _GRID * _GRID, _HALO)
        strips = []
        for first in range(begin, end, height):
            last = min(first + height, end)
            outer = slice(max(first - _HALO, 0), min(last + _HALO, len(valid)))
            strips.append((slice(first, last), (outer, slice(left, right))))
        return strips


def _for_network(start: LevelInput) -> bool:
    """Whether the network measures a level: its own, and the last where photos are too coarse for those."""
    return isinstance(start.level, NetworkLevel) or (start.last and start.level.size >= _NETWORK_512.size)
