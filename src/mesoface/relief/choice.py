"""Which prediction of relief the settings stand for."""

from __future__ import annotations

from mesoface.config import Settings
from mesoface.relief.predict import Predictor, load_predictor, load_published

GENERATOR = "meso_generator.safetensors"
"""The published generator among imported weights."""


def choose_predictor(settings: Settings) -> Predictor | None:
    """What predicts relief, its weights read at once; None where nothing shall or can be predicted.

    Raises:
        WeightsError: weights are damaged, or of another network.
    """
    if settings.meso == "off" or settings.until == "base" or why_no_relief(settings):
        return None
    device = settings.torch_device()
    if settings.meso == "learned" and settings.preset == "paper" and settings.weights is not None:
        return load_published(settings.weights / GENERATOR, device=device)
    return load_predictor(settings.meso, settings.meso_weights, device=device)


def why_no_relief(settings: Settings) -> str | None:
    """What a prediction that was asked for misses, in words; None where nothing."""
    if settings.meso == "off":
        return None
    if not settings.texture_size:
        return "it is told from the texture, and --texture-size is 0"
    published = settings.meso == "learned" and settings.preset == "paper"
    if published and not (settings.weights and (settings.weights / GENERATOR).is_file()):
        return f"{settings.weights} has no {GENERATOR}; import dpmap_single_net_G.pth, or pass --meso shading"
    return None
