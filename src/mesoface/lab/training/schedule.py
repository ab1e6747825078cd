"""The learning rate of a step."""

from __future__ import annotations

import math

from mesoface.lab.training.config import OptimizerSettings


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """Linear warm-up, then half a cosine from ``rate`` down to ``final_rate`` of it, or level.

    A function of the step alone: there is no state to restore.

    Args:
        step: from 0 to ``steps`` - 1.
        steps: of the whole training.
        settings: see :class:`OptimizerSettings`.
    """
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.rate
    progress = (step - settings.warmup) / max(1, steps - 1 - settings.warmup)
    height = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return settings.rate * (settings.final_rate + (1 - settings.final_rate) * height)
