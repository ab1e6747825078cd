"""The compiled lookup and agreement as one operation of torch, with its gradient. CPU only."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mesoface.matching.learned import kernels
from mesoface.matching.learned.aggregation import Agreement


def agreement_in_photos(
    features: Sequence[Tensor],
    projections: Tensor,
    position: Tensor,
    normal: Tensor,
    visibility: Tensor,
    steps: Tensor,
    groups: int,
    threads: int = 1,
) -> Agreement:
    """The same as :func:`mesoface.matching.learned.lookup.agreement_in_photos`.

    Args:
        features: V × (C, h, w), C ≤ 16.
        projections: see there.
        position: see there.
        normal: see there.
        visibility: see there.
        steps: see there.
        groups: see there.
        threads: the rows of the maps are shared between them.
    """
    channels = features[0].shape[0]
    sizes = torch.tensor([photo.shape[1:] for photo in features])
    lengths = sizes.prod(1)
    starts = lengths.cumsum(0) - lengths
    packed = torch.cat([F.pad(photo.flatten(1).T, (0, kernels.LANES - channels)) for photo in features])
    out = _Agreement.apply(
        packed,
        (starts.numpy(), sizes.numpy()),
        projections.double().numpy(),
        (position.float().contiguous().numpy(), normal.float().contiguous().numpy()),
        visibility.float().contiguous().numpy(),
        steps.double().numpy(),
        groups,
        (channels - 2) // groups,
        threads,
    )
    return Agreement(out[: groups + 1], out[groups + 1 : -2], out[-2], out[-1])


class _Agreement(torch.autograd.Function):
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
            list(
                pool.map(lambda first, last: kernels.forward(*given, first, last, out), edges[:-1], edges[1:])
            )
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        out = np.zeros_like(ctx.given[0])
        kernels.backward(*ctx.given, grads[0].contiguous().numpy(), out)
        return torch.from_numpy(out), *(None,) * 8
