"""From a distribution over D to one displacement: soft-argmin around the most likely step."""

from __future__ import annotations

import torch
from torch import Tensor

# Steps on either side of the most likely one that are averaged over: a second surface further off must not
# pull.
_NEAR = 2


def soft_argmin(logits: Tensor, steps: Tensor) -> Tensor:
    """(H, W) expected displacement, mm, over the steps next to the most likely one.

    Args:
        logits: (D, H, W); their softmax over D is the distribution.
        steps: (D,) mm.
    """
    logits = logits.movedim(0, -1)
    best = logits.detach().argmax(-1, keepdim=True)
    index = torch.arange(len(steps), device=logits.device)
    near = (index - best).abs() <= _NEAR
    p = torch.softmax(logits.masked_fill(~near, -torch.inf), -1)
    return p @ steps.to(p.dtype)
