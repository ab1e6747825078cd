"""The published networks trained as published (Xiao et al. 2022): the matching cost, then the regulariser.

Both see tiles, where the original sees whole faces, so tiles are brought to the networks' scale, channels and
grid. The published volume has steps of 0.2 mm on texels of some 0.8 mm, and portraits of 1296 pixels show a
face at some 0.27 mm a pixel. A tile has texels of any size and 1.5 pixels for each. So its world is scaled
until a texel is half of the paper's: the photos' scale is right then, and blocks of two by two texels are the
paper's grid. What agrees between photos does not depend on the unit of length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mesoface.errors import MesofaceError
from mesoface.files.weights import load_network
from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.config import MatchingConfig, RegularizerConfig, TrainingError
from mesoface.lab.training.tile import Tile, augmented
from mesoface.lab.training.tile_recipe import TileRecipe
from mesoface.matching.displacement import find_peak
from mesoface.matching.paper import IMPLICIT_FUNCTION, REGULARIZER, STEP_MM, ImplicitFunction, Regularizer
from mesoface.matching.paper.matcher import CONFIDENCE_RADIUS, FULL_SCALE
from mesoface.matching.paper.network import displacement_loss, expected_step, probability_near
from mesoface.uvd.visibility import SEEN

TEXEL_MM = 0.41
"""What a tile's texel is scaled to: 0.27 mm for a pixel of its photos."""
STRIDE = 2
"""A tile's texels to one of the paper's."""
# How far a point may lie beyond the search range and still be in the photos, texels: these are cut 16 pixels
# and 4 texels around what is searched, which is some 14 texels.
_MARGIN = 12
# Shares of a photo that a tile's cut is made to be: a face does not fill its photo either.
_SHARES = (0.5, 1.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """A tile in the paper's scale, with tensors for its networks.

    Args:
        images: V × (3, h, w) blue, green, red in 0…255.
        projections: V × (3, 4) float64, world → pixels of the half-resolution features.
        position: (N, N, 3) float64, mm.
        normal: (N, N, 3) float64 unit.
        truth: (N, N) true displacement, mm; 0 where it is not known.
        known: (N, N) bool, the truth is known and two views at least see the texel.
        range_mm: displacements up to this are in the photos.
        scale: mm of the scene to one of the tile.
    """

    images: list[Tensor]
    projections: list[Tensor]
    position: Tensor
    normal: Tensor
    truth: Tensor
    known: Tensor
    range_mm: float
    scale: float


def scene_of(tile: Tile, device: torch.device) -> Scene:
    """Bring a tile to the paper's scale and grid: T × T texels become N × N, N = T/2.

    Raises:
        MesofaceError: T is not divisible by eight, as two strides of two on the paper's grid require.
    """
    size = tile.truth.shape[0]
    if size % (4 * STRIDE):
        raise MesofaceError(
            f"the paper's networks need tiles with a side divisible by {4 * STRIDE}, this one has {size}",
            remedy="make tiles of 64 texels",
        )
    scale = TEXEL_MM / tile.texel_mm
    to_features = np.diag([0.5, 0.5, 1.0])
    to_tile = np.diag([1 / scale, 1 / scale, 1 / scale, 1])
    seen = (tile.visibility > SEEN).sum(0) >= 2
    truth = _coarser(np.where(seen, tile.truth, np.nan)) * scale
    known = np.isfinite(truth)

    def tensor(values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    normal = _coarser(tile.normal).astype(np.float64)
    return Scene(
        images=[
            tensor(image[..., ::-1].astype(np.float32).transpose(2, 0, 1)) * 255 for image in tile.images
        ],
        projections=[tensor(to_features @ projection @ to_tile) for projection in tile.projections],
        position=tensor(_coarser(tile.position).astype(np.float64) * scale),
        normal=tensor(normal / np.linalg.norm(normal, axis=-1, keepdims=True)),
        truth=tensor(np.where(known, truth, 0)),
        known=tensor(known),
        range_mm=tile.reach_mm * scale + _MARGIN * TEXEL_MM,
        scale=scale,
    )


def as_in_photos(tile: Tile, rng: np.random.Generator) -> Tile:
    """The tile with its cuts of photos made into larger photos, half of the time transposed.

    The feature network normalises over the whole photo, most of which is not the tile: around each cut comes
    its own reflection, darker or brighter, the same in all views as in photos of one rig. And photos in
    portrait are transposed before they are looked at.
    """
    share, brightness, corner = rng.uniform(*_SHARES), rng.uniform(0, 1.3), rng.uniform(size=2)
    framed = [_framed(image, share, brightness, corner) for image in tile.images]
    images = [image for image, _ in framed]
    projections = tile.projections.copy()
    for projection, (_, shift) in zip(projections, framed, strict=True):
        projection[:2] += shift[:, None] * projection[2]
    if rng.uniform() < 0.5:
        images = [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in images]
        projections = np.ascontiguousarray(projections[:, [1, 0, 2]])
    return replace(tile, images=tuple(images), projections=projections)


def at_texels(displacement: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """An (N, N) map of the paper's grid on the tile's ``size`` × ``size`` texels, linearly."""
    return cv2.resize(displacement, (size, size), interpolation=cv2.INTER_LINEAR)


def _framed(
    image: NDArray[np.float16], share: float, brightness: float, corner: NDArray[np.float64]
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """A photo of which ``image`` is a share, and (2,) x and y of the image's corner in it."""
    size = np.array(image.shape[1::-1])
    frame = (np.sqrt(1 / share) - 1) * size  # on both sides together
    before, after = (np.minimum(frame * part, size - 1).astype(np.int64) for part in (corner, 1 - corner))
    left, top, right, bottom = (int(n) for n in (*before, *after))
    around = image.astype(np.float32) * np.float32(brightness)
    photo = cv2.copyMakeBorder(around, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    photo[top : top + size[1], left : left + size[0]] = image
    return np.clip(photo, 0, 1).astype(np.float16), before


def _coarser(values: NDArray) -> NDArray:
    """(T, T[, C]) → (N, N[, C]), means of blocks; NaN where one of a block is."""
    n = values.shape[0] // STRIDE
    return values.reshape(n, STRIDE, n, STRIDE, *values.shape[2:]).mean((1, 3))


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
        load_weights(function, config.init)
        return MatchingRecipe(function, config.augment)
    if config.matching is None:
        raise TrainingError(
            "matching: the paper's regulariser is trained on the costs of a trained implicit function",
            remedy="set matching = the weights.safetensors of `mesoface train matching`",
        )
    regularizer = Regularizer()
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

    network: ImplicitFunction
    augment: bool = True
    points: int = POINTS
    name: str = "implicit_function"

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the cost at points around the surface and over the whole range."""
        scene = scene_of(tile, self.device())
        features = [self.network.image_filter(image[None])[0] for image in scene.images]
        if not scene.known.any():
            nothing = 0 * torch.stack([feature.sum() for feature in features]).sum()
            return nothing, {"cost": 0.0, "knowing_nothing": 0.0}
        texels, displacement = draw_points(scene, rng, self.points)
        position, normal = (values.flatten(0, 1)[texels] for values in (scene.position, scene.normal))
        points = position + normal * displacement[:, None]
        # The same points, counted from another zero: an input that reveals the surface would be relied upon.
        base = float(rng.uniform(-_BASE_ERROR_MM, _BASE_ERROR_MM))
        costs = self.network(features, scene.projections, points, _input(displacement + base))
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
        peak = find_peak(costs_of(self.network, scene, steps).cpu().numpy(), steps.cpu().numpy() * STEP_MM)
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

    network: Regularizer
    augment: bool
    function: ImplicitFunction
    name: str = "regularizer"

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the expected displacement, in steps.

        The volume is a window of what the photos show, drawn anew each time: the truth of a tile is always
        around its middle, which the network would learn.
        """
        scene = scene_of(tile, self.device())
        visible = visible_steps(scene)
        margin = len(visible) // 12 * 2  # of 4k + 1 steps the middle two thirds are 4j + 1
        steps = visible[margin : len(visible) - margin]
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
        scene = scene_of(tile, self.device())
        steps = visible_steps(scene)
        volume = self._volume(scene, steps, 0)
        probability = self.network.probability(volume, torch.ones_like(volume[:, 0, 0]))
        expected = expected_step(probability, steps[None])
        near = probability_near(probability, steps[None], expected, CONFIDENCE_RADIUS)
        size = tile.truth.shape[0]
        millimetres = (expected[0] * STEP_MM / scene.scale).float().cpu().numpy()
        return at_texels(millimetres, size), at_texels(near[0].float().cpu().numpy(), size)

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
