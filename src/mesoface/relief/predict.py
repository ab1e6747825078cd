"""Mesoscopic relief of a measured and textured face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.relief.ground import Ground, make_ground, relief_size
from mesoface.relief.inputs import high_pass
from mesoface.relief.shading import shading_height
from mesoface.relief.types import MesoRelief, Source
from mesoface.running.progress import ProgressCallback, silent
from mesoface.texture import Texture
from mesoface.uvd.fine_surface import FineSurface

SHIPPED = "relief_generator.safetensors"


@dataclass(frozen=True)
class Predictor:
    """What predicts relief.

    Args:
        source: what it is, for the record.
        height: surface and colour → (M, M) height in mm, before the high-pass.
    """

    source: Source
    height: Callable[[Ground, Texture], NDArray[np.float32]]


# Predicted relief fades out towards the rim of what was measured, texels.
_FADE = 6.0


def load_predictor(source: Source, weights: Path | None = None, *, device: str = "cpu") -> Predictor:
    """What predicts relief; a network is read at once, so that a bad file is told before any work.

    Args:
        source: ``"learned"``, a network; ``"shading"``, dark is deep, without one.
        weights: of the network, a safetensors file; None for those that come with mesoface.
        device: torch device.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    if source == "shading":
        return Predictor(source, lambda ground, texture: shading_height(ground))
    # Here, because torch takes seconds to import.
    from mesoface.files.weights import load_network
    from mesoface.relief.learned import learned_height
    from mesoface.relief.network import RELIEF_GENERATOR

    with as_file(files("mesoface") / "assets" / SHIPPED) as shipped:
        network = load_network(weights or shipped, RELIEF_GENERATOR)
    return Predictor(source, lambda ground, texture: learned_height(ground, network, device))


def load_published(weights: Path, *, device: str = "cpu") -> Predictor:
    """The published generator of the paper's preset.

    Args:
        weights: ``meso_generator.safetensors``, as ``mesoface weights import`` wrote it.
        device: torch device.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    from mesoface.files.weights import load_network
    from mesoface.relief.generator import MESO_GENERATOR
    from mesoface.relief.published import published_height

    generator = load_network(weights, MESO_GENERATOR)
    return Predictor(
        "learned", lambda ground, texture: published_height(texture.color, ground.size, generator, device)
    )


def predict_relief(
    fine: FineSurface,
    texture: Texture,
    views: Sequence[View],
    predictor: Predictor,
    *,
    progress: ProgressCallback = silent,
) -> MesoRelief:
    """Relief finer than what was measured.

    Whatever predicts it, what is smoother than six texels is taken away: that is what photos measure, and a
    prediction shall not move it.

    Args:
        fine: the measured surface.
        texture: its colour.
        views: the photos, whose pixels set the maps' size.
        predictor: see :func:`load_predictor`.
        progress: called at the beginning and at the end.
    """
    progress("Mesoscopic detail", 0, 1)
    ground = make_ground(fine, texture, relief_size(fine, views, texture.size))
    height = high_pass(predictor.height(ground, texture), ground.valid)
    distance = cv2.distanceTransform(ground.valid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    height *= np.clip(distance / _FADE, 0, 1)
    progress("Mesoscopic detail", 1, 1)
    return MesoRelief(height.astype(np.float32), ground.valid, predictor.source, ground.texel_mm)
