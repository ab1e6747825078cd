"""The published networks trained as published (Xiao et al. 2022): the matching cost, then the regulariser.

Both see tiles, where the original sees whole faces: see :mod:`mesoface.lab.training.paper_tiles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.files.weights import load_network
from mesoface.lab.training.augment import augmented
from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.config import MatchingConfig, RegularizerConfig, TrainingError
from mesoface.lab.training.paper_tiles import Scene, as_in_photos, at_texels, scene_of
from mesoface.lab.training.tile import Tile
from mesoface.lab.training.tile_recipe import TileRecipe
from mesoface.matching.displacement import find_peak
from mesoface.matching.paper import IMPLICIT_FUNCTION, REGULARIZER, STEP_MM, ImplicitFunction, Regularizer
from mesoface.matching.paper.matcher import CONFIDENCE_RADIUS, FULL_SCALE
from mesoface.matching.paper.network import displacement_loss, expected_step, probability_near

SIGMA = 5.0
"""Standard deviation of the Gaussian that the cost is trained to, steps."""
_NEAR_SIGMA = 10.0  # of the points drawn around the surface, steps
_FAR_SHARE = 5  # for so many points around the surface one over the whole range
POINTS = 4096
"""Points of a tile around the surface; the original draws 10,000 of a face."""
_FEATURE_GAIN = 10.0  # of the first weights: variances of skin's features are of order one then
# How far off the base is counted to be at most, mm: the whole range is searched in what tiles show.
_BASE_ERROR_MM = 15.0


def paper_recipe(config: MatchingConfig) -> TileRecipe:
    """The network of a stage with first weights: random, or those of ``init``.

    Raises:
        MesofaceError: weights do not fit, or the regulariser has no costs to be trained on.
    """
    if not isinstance(config, RegularizerConfig):
        function = new_function()
        if config.init is not None:
            load_weights(function, config.init)
        return MatchingRecipe(function, config.augment)
    if config.matching is None:
        raise TrainingError(
            "matching: the paper's regulariser is trained on the costs of a trained implicit function",
            remedy="set matching = the weights.safetensors of `mesoface train matching`",
        )
    regularizer = Regularizer()
    if config.init is not None:
        load_weights(regularizer, config.init)
    function = cast(ImplicitFunction, load_network(config.matching, IMPLICIT_FUNCTION, others=[REGULARIZER]))
    return RegularizerRecipe(regularizer, config.augment, function)


def new_function() -> ImplicitFunction:
    """An implicit function with random first weights.

    As torch draws them, features of skin differ so little between views that the MLP sees next to nothing
    beside its displacement input, and training stands still for hundreds of tiles. So they are made larger.
    """
    function = ImplicitFunction()
    with torch.no_grad():
        function.image_filter.feature.weight *= _FEATURE_GAIN
    return function


class _PaperRecipe(TileRecipe):
    """What both of them are shown."""

    augment: bool

    def prepare(self, tile: Tile, rng: np.random.Generator) -> Tile:
        """See :func:`as_in_photos`."""
        return as_in_photos(augmented(tile, rng) if self.augment else tile, rng)


@dataclass(eq=False)
class MatchingRecipe(_PaperRecipe):
    """Features and implicit function, trained to a Gaussian around the surface.

    Args:
        network: the implicit function.
        augment: whether tiles are disturbed before training sees them.
        points: around the surface, of a tile.
    """

    network: nn.Module
    augment: bool = True
    points: int = POINTS
    name: str = "implicit_function"

    @property
    def _function(self) -> ImplicitFunction:
        return cast(ImplicitFunction, self.network)

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the cost at points around the surface and over the whole range."""
        scene = scene_of(tile, self.device())
        features = [self._function.image_filter(image[None])[0] for image in scene.images]
        if not scene.known.any():
            nothing = 0 * torch.stack([feature.sum() for feature in features]).sum()
            return nothing, {"cost": 0.0, "knowing_nothing": 0.0}
        texels, displacement = draw_points(scene, rng, self.points)
        position, normal = (values.flatten(0, 1)[texels] for values in (scene.position, scene.normal))
        points = position + normal * displacement[:, None]
        # The same points, counted from another zero: an input that reveals the surface would be relied upon.
        base = float(rng.uniform(-_BASE_ERROR_MM, _BASE_ERROR_MM))
        costs = self._function(features, scene.projections, points, _input(displacement + base))
        truth = scene.truth.flatten()[texels]
        target = torch.exp(-0.5 * ((displacement - truth) / (SIGMA * STEP_MM)) ** 2).to(costs)
        error = F.mse_loss(costs, target)
        nothing = target.var(correction=0)  # the error of an answer that is the same everywhere
        return error, {"cost": float(error.detach()), "knowing_nothing": float(nothing)}

    @torch.no_grad()
    def predict(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the cost is highest, and how high."""
        scene = scene_of(tile, self.device())
        steps = visible_steps(scene)
        peak = find_peak(costs_of(self._function, scene, steps).cpu().numpy(), steps.cpu().numpy() * STEP_MM)
        size = tile.truth.shape[0]
        return at_texels(peak.displacement / np.float32(scene.scale), size), at_texels(peak.score, size)


@dataclass(eq=False)
class RegularizerRecipe(_PaperRecipe):
    """The 3D U-Net over the costs of an implicit function that is trained already.

    Args:
        network: the regulariser.
        augment: whether tiles are disturbed before training sees them.
        function: in evaluation mode; not trained.
    """

    network: nn.Module
    augment: bool
    function: ImplicitFunction
    name: str = "regularizer"

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the expected displacement, in steps.

        The volume is a window of what the photos show, drawn anew each time: the truth of a tile is always
        around its middle, which the network would learn.
        """
        scene = self._scene(tile)
        visible = visible_steps(scene)
        steps = visible[_window(len(visible))]
        room = int(visible[-1] - steps[-1])
        base = int(rng.integers(-room, room + 1))
        volume = self._volume(scene, steps, base)
        target = scene.truth.float() / STEP_MM - base
        known = (scene.known & (target.abs() <= steps[-1])).float()
        mask = torch.ones_like(known)  # a tile lies inside of the face
        found = self.network(volume, steps[None], mask[None])[0]
        error = displacement_loss(found * known, target, known)
        return error, {"squared_steps": float(error.detach())}

    @torch.no_grad()
    def predict(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Expected displacement, and the probability around it."""
        scene = self._scene(tile)
        steps = visible_steps(scene)
        volume = self._volume(scene, steps, 0)
        probability = cast(Regularizer, self.network).probability(volume, torch.ones_like(volume[:, 0, 0]))
        expected = expected_step(probability, steps[None])
        near = probability_near(probability, steps[None], expected, CONFIDENCE_RADIUS)
        size = tile.truth.shape[0]
        millimetres = (expected[0] * STEP_MM / scene.scale).float().cpu().numpy()
        return at_texels(millimetres, size), at_texels(near[0].float().cpu().numpy(), size)

    def _scene(self, tile: Tile) -> Scene:
        return scene_of(tile, self.device())

    @torch.no_grad()
    def _volume(self, scene: Scene, steps: Tensor, base: int) -> Tensor:
        """(1, 1, D, N, N) costs; see :func:`costs_of`."""
        return costs_of(self.function.to(self.device()), scene, steps, base)[None, None]


def draw_points(scene: Scene, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Texels whose truth is known, and displacements at which the cost is evaluated.

    ``count`` points lie around the surface (standard deviation ten steps), as many inside as outside; a fifth
    as many anywhere in what the photos show. Those that fall out of the photos are left out.

    Args:
        scene: the tile; its truth is known somewhere.
        rng: source of chance.
        count: points around the surface.

    Returns:
        (N,) indices of texels, row · W + column, and (N,) displacements, mm, on the scene's device.
    """
    far = count // _FAR_SHARE
    texels = rng.choice(np.flatnonzero(scene.known.cpu().numpy()), count + far)
    side = np.where(np.arange(count) % 2, 1, -1)
    around = side * np.abs(rng.normal(0, _NEAR_SIGMA * STEP_MM, count))
    truth = scene.truth.cpu().numpy().ravel()[texels[:count]]
    anywhere = rng.uniform(-scene.range_mm, scene.range_mm, far)
    displacement = np.concatenate([truth + around, anywhere])
    visible = np.abs(displacement) <= scene.range_mm
    device = scene.truth.device
    return torch.from_numpy(texels[visible]).to(device), torch.from_numpy(displacement[visible]).to(device)


def visible_steps(scene: Scene) -> Tensor:
    """(D,) whole steps that the photos of a tile show: D = 4k + 1, as the regulariser needs it."""
    count = 2 * min(int(scene.range_mm / STEP_MM) // 2, FULL_SCALE // 2)
    return torch.arange(-count, count + 1.0, device=scene.truth.device)


def _window(count: int) -> slice:
    """The middle two thirds of ``count`` = 4k + 1 steps, as many as 4j + 1."""
    margin = count // 12 * 2
    return slice(margin, count - margin)


def costs_of(function: ImplicitFunction, scene: Scene, steps: Tensor, base: int = 0) -> Tensor:
    """Matching costs of a tile.

    Args:
        function: the implicit function.
        scene: the tile.
        steps: (D,) whole steps.
        base: steps from the scene's base surface to the one that ``steps`` are counted from.

    Returns:
        (D, N, N).
    """
    features = [function.image_filter(image[None])[0] for image in scene.images]
    slices = []
    for step in steps:
        points = (scene.position + scene.normal * ((step + base) * STEP_MM)).flatten(0, 1)
        displacement = (step * STEP_MM).expand(len(points))
        slices.append(function(features, scene.projections, points, _input(displacement)))
    return torch.stack(slices).reshape(len(steps), *scene.truth.shape)


def _input(displacement: Tensor) -> Tensor:
    """Millimetres as the implicit function's last input: 100 steps are 1."""
    return displacement / (STEP_MM * FULL_SCALE)
