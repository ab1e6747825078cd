"""Mesoscopic relief of a measured and textured face: predictors, prediction, the mesh with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.config import Settings
from mesoface.files.images import LUMINANCE, decode_srgb
from mesoface.geometry.mesh import Mesh
from mesoface.relief.inputs import DARKEST, HIGH_PASS, Ground, high_pass, make_ground, relief_size
from mesoface.running.progress import ProgressCallback, silent
from mesoface.texture import Texture
from mesoface.uvd.maps import blur_masked, distance_inside, sample_map
from mesoface.uvd.space import FineSurface

SHIPPED = "relief_generator.safetensors"
GENERATOR = "meso_generator.safetensors"
"""The published generator among imported weights."""

# Predicted relief fades out towards the rim of what was measured, texels.
_FADE = 6.0


@dataclass(frozen=True, eq=False)
class MesoRelief:
    """Predicted relief, finer than what was measured; nothing measured is in it.

    Args:
        height: (M, M) float32 mm along the measured surface's normals, outward positive, in the base mesh's
            UV layout; high-passed, 0 where nothing is predicted.
        valid: (M, M) where something is.
        source: what predicted it, for example ``learned`` or ``shading``.
        texel_mm: median distance between neighbouring texels, mm.
    """

    height: NDArray[np.float32]
    valid: NDArray[np.bool_]
    source: str
    texel_mm: float

    @property
    def size(self) -> int:
        """Side of the maps, texels."""
        return self.valid.shape[0]


class Predictor(Protocol):
    """Predicts relief. Any object with this attribute and this method can be used."""

    @property
    def source(self) -> str:
        """What it is, for the record."""
        ...

    def height(self, ground: Ground, texture: Texture, /) -> NDArray[np.float32]:
        """(M, M) height in mm along the normals, outward positive, before the high-pass.

        ``ground`` has M × M maps of the surface and its colour; ``texture`` is the whole texture.
        """
        ...


@dataclass(frozen=True)
class FunctionPredictor:
    """A :class:`Predictor` from a function.

    Args:
        source: what it is, for the record.
        height: see :meth:`Predictor.height`.
    """

    source: str
    height: Callable[[Ground, Texture], NDArray[np.float32]]


def choose_predictor(settings: Settings) -> Predictor | None:
    """The predictor that the settings name, its weights read at once; None where none is wanted or possible.

    With the paper's preset it is the published generator, as ``mesoface weights import`` wrote it.

    Raises:
        WeightsError: weights are damaged, or of another network.
    """
    if settings.meso == "off" or settings.until == "base" or why_no_relief(settings):
        return None
    device = settings.torch_device()
    if settings.meso == "learned" and settings.preset == "paper" and settings.weights is not None:
        from mesoface.files.weights import load_network
        from mesoface.relief.network import MESO_GENERATOR, published_height

        network = load_network(settings.weights / GENERATOR, MESO_GENERATOR)
        return FunctionPredictor(
            "learned", lambda ground, texture: published_height(texture.color, ground.size, network, device)
        )
    return load_predictor(settings.meso, settings.meso_weights, device=device)


def why_no_relief(settings: Settings) -> str | None:
    """Why the relief that the settings ask for cannot be predicted, in words; None where it can."""
    if settings.meso == "off":
        return None
    if not settings.texture_size:
        return "it is predicted from the texture, and --texture-size is 0"
    published = settings.meso == "learned" and settings.preset == "paper"
    if published and not (settings.weights and (settings.weights / GENERATOR).is_file()):
        return f"{settings.weights} has no {GENERATOR}; import dpmap_single_net_G.pth, or pass --meso shading"
    return None


def load_predictor(
    source: Literal["learned", "shading"], weights: Path | None = None, *, device: str = "cpu"
) -> Predictor:
    """A predictor that comes with mesoface; a network is read at once, so that a bad file is reported early.

    Args:
        source: ``learned``: a network; ``shading``: dark is deep, without a network.
        weights: of the network, a safetensors file; None for those that come with mesoface.
        device: torch device.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    if source == "shading":
        return FunctionPredictor(source, lambda ground, texture: shading_height(ground))
    # Here, because torch takes seconds to import.
    from mesoface.files.weights import load_network
    from mesoface.relief.network import RELIEF_GENERATOR, learned_height

    with as_file(files("mesoface") / "assets" / SHIPPED) as shipped:
        network = load_network(weights or shipped, RELIEF_GENERATOR)
    return FunctionPredictor(source, lambda ground, texture: learned_height(ground, network, device))


def predict_relief(
    fine: FineSurface,
    texture: Texture,
    views: Sequence[View],
    predictor: Predictor,
    *,
    where: NDArray[np.bool_] | None = None,
    progress: ProgressCallback = silent,
) -> MesoRelief:
    """Relief finer than what was measured.

    Whatever predicts it, what is smoother than six texels is removed: that is what photos measure, and a
    prediction must not move it.

    Args:
        fine: the measured surface.
        texture: its colour.
        views: the photos, whose pixels set the maps' size.
        predictor: see :func:`choose_predictor`; or an object of your own.
        where: (H, H) texels to predict on; None: all of the surface.
        progress: called at the beginning and at the end.

    Raises:
        ValueError: the predictor returned a map of another shape.
    """
    progress("Mesoscopic detail", 0, 1)
    ground = make_ground(fine, texture, relief_size(fine, views, texture.size), where)
    predicted = np.asarray(predictor.height(ground, texture), np.float32)
    if predicted.shape != ground.valid.shape:
        raise ValueError(
            f"relief must be {ground.valid.shape}, {predictor.source} returned {predicted.shape}"
        )
    height = high_pass(predicted, ground.valid)
    height *= np.clip(distance_inside(ground.valid) / _FADE, 0, 1)
    progress("Mesoscopic detail", 1, 1)
    return MesoRelief(height.astype(np.float32), ground.valid, predictor.source, ground.texel_mm)


def add_relief(mesh: Mesh, relief: MesoRelief) -> Mesh:
    """The mesh with its vertices moved along its normals by the relief; topology and UVs stay.

    Args:
        mesh: with one UV a vertex, in the relief's layout.
        relief: what was predicted.

    Raises:
        ValueError: the mesh has no UVs, or UVs that are not its vertices' own.
    """
    if mesh.uv is None or mesh.uv_faces is not None:
        raise ValueError("every vertex needs one UV")
    height = sample_map(relief.height, mesh.uv)[:, None]
    moved = mesh.with_vertices(mesh.vertices + mesh.vertex_normals() * height)
    return Mesh(
        moved.vertices, moved.faces, moved.uv, None, moved.vertex_normals(), mesh.colors, mesh.measured
    )


# Depth of a spot that is as dark as 1/e of its surroundings, texels: a judgement, fitted to nothing.
_DEPTH = 1.0
# Neighbours that a texel is compared with: rings of eight, radii in texels.
_RINGS = (1.5, 3.0, 5.0)
# Hair and lips, as logarithms of ratios to the skin around: darker and redder than this is half damped.
_HAIR, _HAIR_WIDTH = 0.45, 0.12
_RED, _RED_WIDTH = 0.22, 0.06
# What "around" means, mm, and how far hair and lips are spread to be on the safe side, mm.
_AROUND_MM, _SPREAD_MM = 12.0, 0.6


def shading_height(ground: Ground) -> NDArray[np.float32]:
    """(M, M) relief by "dark is deep", mm, before the high-pass; nothing in it is learned.

    Pits see less of the light around them, so small skin features that are darker than their surroundings
    are taken for deeper (Beeler et al., High-quality single-shot capture of facial geometry, SIGGRAPH 2010,
    section 5). Brows, stubble and lips are dark for other reasons: there the effect is damped.

    A neighbour counts by its closeness, and less the more it stands above or below the texel's own tangent
    plane: what is darker because the measured form turns away is no pit.

    Args:
        ground: surface and colour.
    """
    linear = np.maximum(decode_srgb(ground.color), DARKEST)
    luminance = np.log(linear @ LUMINANCE)
    luminance = cv2.GaussianBlur(luminance, (0, 0), 0.7)
    total = np.full(luminance.shape, 1e-6, np.float32)
    brighter = np.zeros_like(luminance)
    for column, row in _offsets():
        there = _moved(ground.position, column, row) - ground.position
        distance = np.maximum(np.sqrt(np.einsum("hwk,hwk->hw", there, there)), 1e-6)
        aside = np.abs(np.einsum("hwk,hwk->hw", there, ground.normal)) / distance
        weight = np.exp(-distance / (HIGH_PASS / 2 * ground.texel_mm)) * np.maximum(1 - aside, 0)
        weight *= _moved(ground.valid.astype(np.float32), column, row)
        total += weight
        brighter += weight * (_moved(luminance, column, row) - luminance)
    darkness = brighter / total
    return (-_DEPTH * ground.texel_mm * skin_share(ground) * darkness).astype(np.float32)


def skin_share(ground: Ground) -> NDArray[np.float32]:
    """(M, M) 1 on bare skin, towards 0 on hair and lips: much darker or redder than the skin around."""
    linear = np.maximum(decode_srgb(ground.color), DARKEST)
    luminance = np.log(linear @ LUMINANCE)
    redness = np.log(linear[..., 0]) - np.log(linear[..., 1])
    around = _AROUND_MM / ground.texel_mm
    usual = blur_masked(np.stack([luminance, redness], -1), ground.valid, around)
    hair = _above(usual[..., 0] - luminance, _HAIR, _HAIR_WIDTH)
    lips = _above(redness - usual[..., 1], _RED, _RED_WIDTH)
    other = cv2.GaussianBlur(np.maximum(hair, lips), (0, 0), _SPREAD_MM / ground.texel_mm)
    return np.where(ground.valid, 1 - np.clip(2 * other, 0, 1), 0).astype(np.float32)


def _above(value: NDArray[np.float32], middle: float, width: float) -> NDArray[np.float32]:
    """From 0 far below ``middle`` to 1 far above."""
    return (1 / (1 + np.exp(-np.clip((value - middle) / width, -30, 30)))).astype(np.float32)


def _offsets() -> list[tuple[int, int]]:
    """Columns and rows to the neighbours, each once."""
    angles = np.arange(8) * np.pi / 4
    places = {
        (round(radius * np.cos(angle)), round(radius * np.sin(angle)))
        for radius in _RINGS
        for angle in angles
    }
    return sorted(places)


def _moved(values: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
    """The map's value ``column`` columns and ``row`` rows further; at the border the border's."""
    height, width = values.shape[:2]
    rows = np.clip(np.arange(height) + row, 0, height - 1)
    columns = np.clip(np.arange(width) + column, 0, width - 1)
    return values[rows[:, None], columns[None]]
