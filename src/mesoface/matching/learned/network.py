"""The learned matcher's network, in the order in which data runs through it.

Features of the photos (``features.py``) → their agreement at every (u, v, d) → implicit function →
regulariser → soft-argmin → refinement; :class:`SurfaceMatcher`, at the end, puts the parts together. After
Xiao et al. 2022, section 3, but much smaller: the classical matcher's result is an input, and the network
learns what to add to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesoface.files.weights import Network
from mesoface.matching.classical import ClassicalAnswer
from mesoface.matching.learned.features import Features, gaussian_blur
from mesoface.matching.learned.kernels import Agreement, agreement_in_photos

# Implicit function: standard deviations of the windows of the correlation of all views, texels.
WINDOWS = (1.0, 2.5)
# Squared distance from the classical result, steps, from which on a larger distance changes nothing.
_FAR_SQUARED = 9.0
# Rows of UV processed at a time, so that what lies between the layers stays in the cache.
_ROWS = 4

# Regulariser: texel size, mm, from which on the volume is not halved any more, and most halvings.
COARSEST_MM, _DEEPEST = 2.5, 4
# Torch convolves a single volume whose first dimensions multiply to at most this ten times slower than two.
_SMALL = 20480

# Soft-argmin: steps on either side of the most likely one that are averaged. A second surface further off
# must not pull.
_NEAR = 2
# Refinement: differences beyond so many steps all count the same.
_FAR = 4.0

# At the start of training: how much the score follows the correlation and the classical surface, and the
# factor on the layers that are added to them.
_CLASSICAL = (1.0, 0.4)
_QUIET = 0.1
# And the logit of the classical surface's share in the result.
_SHARE = 1.5


class Pointwise(nn.Linear):
    """A linear layer at every point: (C, ...) → (K, ...), the result with its channels last in memory.

    Torch's convolutions with a kernel of one take a slow path on the CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(C, ...) → (K, ...)."""
        points = torch.addmm(self.bias, x.flatten(1).T, self.weight.T)
        return points.T.unflatten(1, x.shape[1:])


class Opinion(NamedTuple):
    """The classical matcher's result for a level, or for a part of it: where the network starts from.

    A :class:`~mesoface.matching.classical.ClassicalAnswer` in tensors: scores (D, H, W), the others (H, W).
    """

    scores: Tensor
    peak: Tensor
    trust: Tensor
    displacement: Tensor
    weight: Tensor

    @classmethod
    def of(cls, answer: ClassicalAnswer, device: torch.device | str) -> Opinion:
        """The same as tensors."""
        tensors = {k: torch.from_numpy(np.ascontiguousarray(a)).to(device) for k, a in vars(answer).items()}
        return cls(**tensors)

    def part(self, rows: slice, columns: slice) -> Opinion:
        """Of a rectangle of the maps."""
        return Opinion(*(value[..., rows, columns] for value in self))

    def distance(self, steps: Tensor) -> Tensor:
        """(H, W, D) how far each displacement lies beyond the classical one, in steps."""
        return (steps.to(self.displacement.dtype) - self.displacement[..., None]) / (steps[1] - steps[0])


def closeness(distance: Tensor) -> Tensor:
    """Logarithm of a bell around the classical result that is level from a few steps off."""
    return -0.5 * (distance**2).clamp(max=_FAR_SQUARED)


def describe_points(agreed: Agreement, opinion: Opinion, steps: Tensor, texel_mm: float) -> Tensor:
    """V(p) and d(p): the input of the implicit function at each (u, v, d).

    Args:
        agreed: how well the views agree there; the last of its G + 1 groups is the contrast.
        opinion: of the classical matcher.
        steps: (D,) mm.
        texel_mm: distance between texels.

    Returns:
        (2 · G + 2 + 10, H, W, D)
    """
    coherence, energy, weight, paired = agreed
    product, power = coherence[-1], energy[-1]
    correlation = [gaussian_blur(product, sigma) / (gaussian_blur(power, sigma) + 0.05) for sigma in WINDOWS]
    step = float(steps[1] - steps[0])
    d = (steps.to(product.dtype) / (8 * step)).expand_as(product)
    level = torch.log2(torch.tensor([2 * texel_mm, 4 * step / texel_mm], dtype=product.dtype)) / 2
    about = [weight.clamp(max=4) / 4, paired, power.clamp(max=4) / 4, d]
    about += [number.to(product.device).expand_as(product) for number in level]
    off = opinion.distance(steps)
    classical = [opinion.scores.movedim(0, -1), torch.exp(closeness(off)), (off / 4).clamp(-1, 1)]
    classical.append(opinion.weight[..., None].expand_as(product))
    return torch.cat([coherence[:-1], energy[:-1], torch.stack(correlation + about + classical)])


class ImplicitFunction(nn.Module):
    """F(V(p), d(p)): the matching cost of a point, by a perceptron on what :func:`describe_points` returns.

    Args:
        groups: of the descriptor.
        hidden: width of the hidden layer.
        channels: of what it passes on to the regulariser.
    """

    def __init__(self, groups: int = 4, hidden: int = 32, channels: int = 16):
        super().__init__()
        self.hidden = Pointwise(2 * groups + len(WINDOWS) + 10, hidden)
        self.out = Pointwise(hidden, channels)
        self.cost = Pointwise(channels, 1)
        self.classical = nn.Parameter(torch.zeros(2))

    def forward(self, points: Tensor, opinion: Opinion, steps: Tensor) -> tuple[Tensor, Tensor]:
        """The matching cost as a score: higher is better.

        Args:
            points: (F, H, W, D) from :func:`describe_points`.
            opinion: of the classical matcher; what is learned here is added to it.
            steps: (D,) mm.

        Returns:
            score (H, W, D), and the (channels, H, W, D) that the learned part of it is a linear function
            of, the channels last in memory.
        """
        x = torch.cat([self._describe(rows).movedim(0, -1) for rows in points.split(_ROWS, 1)])
        x = x.movedim(-1, 0)
        correlation, near = self.classical
        known = correlation * opinion.scores.movedim(0, -1) + near * closeness(opinion.distance(steps))
        return self.cost(x)[0] + known, x

    def _describe(self, points: Tensor) -> Tensor:
        return torch.relu_(self.out(torch.relu_(self.hidden(points))))


def halvings(texel_mm: float) -> int:
    """How often the volume of a level is halved; at least once."""
    return int(min(max(math.ceil(math.log2(COARSEST_MM / texel_mm)), 1), _DEEPEST))


class Regularizer(nn.Module):
    """From the implicit function's volume to the logarithm of a distribution over D.

    A U-Net over (D, u, v) that is halved along the surface only, down to texels of about ``COARSEST_MM``,
    with the same weights at every halving: a finer level goes deeper, so that it sees the same number of
    millimetres of its surroundings. Width 16, because narrower convolutions are no faster on a CPU.

    Args:
        channels: of the volume.
    """

    def __init__(self, channels: int = 16):
        super().__init__()
        self.enter, self.down, self.across, self.leave = (_Convolution(channels) for _ in range(4))
        self.logit = Pointwise(channels, 1)

    def forward(self, volume: Tensor, score: Tensor, texel_mm: float) -> tuple[Tensor, Tensor]:
        """Regularise a whole volume.

        Args:
            volume: (channels, H, W, D) from the implicit function.
            score: (H, W, D) its matching score; what is learned here is added to it.
            texel_mm: distance between texels.

        Returns:
            logits (H, W, D) and features (channels + 2, H, W) of the surface, see :meth:`settle`.
        """
        depth = halvings(texel_mm)
        rows, columns = (-size % 2**depth for size in volume.shape[1:3])
        x = self.begin(padded(volume, rows, columns))
        return self.settle(x, doubled(self.surroundings(halved(x), depth)), score)

    def begin(self, volume: Tensor) -> Tensor:
        """(channels, H, W, D) → (1, channels, H, W, D) after the first convolution."""
        x = volume.movedim(0, -1).contiguous()[None].movedim(-1, 1)  # channels last in memory
        return x + F.relu_(self.enter(x))

    def surroundings(self, x: Tensor, depth: int) -> Tensor:
        """What the neighbourhood adds at half the resolution of the maps and below.

        Args:
            x: (1, channels, h, w, D), a halved volume; h and w divisible by 2 ** (depth - 1).
            depth: how often the maps are halved, this time included.

        Returns:
            like ``x``.
        """
        levels = []
        for level in range(depth):
            x = x if level == 0 else halved(x)
            x = x + F.relu_(self.down(x))
            levels.append(x)
        x = F.relu_(self.across(levels.pop()))
        while levels:
            x = F.relu_(self.across(levels.pop() + doubled(x)))
        return x

    def settle(self, x: Tensor, coarse: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and the features of the surface itself.

        Args:
            x: (1, channels, H', W', D) from :meth:`begin`, H' ≥ H and W' ≥ W.
            coarse: like ``x``: what :meth:`surroundings` adds, enlarged.
            score: (H, W, D) the matching score that the logits start from.

        Returns:
            logits (H, W, D), and (channels + 2, H, W): the features at the surface, of which the last two are
            the highest probability and the negative entropy.
        """
        height, width = score.shape[:2]
        x = x + coarse
        x = x + F.relu_(self.leave(x))
        x = x[0, :, :height, :width]
        logits = score + self.logit(x)[0]
        log_p = F.log_softmax(logits, -1)
        p = log_p.exp()
        expected = (p * x).sum(-1)  # (channels, H, W): the features of the surface itself
        shape = torch.stack([p.amax(-1), (p * log_p).sum(-1)])
        return logits, torch.cat([expected, shape])


def halved(x: Tensor) -> Tensor:
    """(1, C, H, W, D) → (1, C, H / 2, W / 2, D), means of four texels."""
    x = (x[:, :, ::2] + x[:, :, 1::2]) / 2
    return (x[:, :, :, ::2] + x[:, :, :, 1::2]) / 2


def doubled(x: Tensor) -> Tensor:
    """(1, C, H, W, D) → (1, C, 2H, 2W, D), linearly."""
    return F.interpolate(x, scale_factor=(2.0, 2.0, 1.0), mode="trilinear", align_corners=False)


def padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """(C, H, W, D) → (C, H + rows, W + columns, D), continued at its far edges."""
    return F.pad(x[None], (0, 0, 0, columns, 0, rows), mode="replicate")[0] if rows or columns else x


class _Convolution(nn.Conv3d):
    """3 × 3 × 3 over (u, v, d)."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cpu and x.shape[:4].numel() <= _SMALL:
            return super().forward(x.expand(2, *x.shape[1:]))[:1]
        return super().forward(x)


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


class Refinement(nn.Module):
    """How far to follow the correlation, what to add, and how sure the result is.

    Three 3 × 3 convolutions over (u, v), the second one dilated. A distribution over steps is coarse beside
    what is to be measured, and where photos are sharp a parabola through a correlation is hard to beat; here
    neighbouring texels are combined and both results are weighed. After the refinement of StereoNet (Khamis
    et al. 2018), with the volume's features at the surface in place of the photo.

    Args:
        surface: channels that the regulariser passes on.
        hidden: channels between the convolutions.
    """

    def __init__(self, surface: int = 18, hidden: int = 24):
        super().__init__()
        self.first = nn.Conv2d(surface + 5, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, padding=2, dilation=2)
        self.third = nn.Conv2d(hidden, 3, 3, padding=1)

    def forward(
        self, surface: Tensor, displacement: Tensor, opinion: Opinion, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine.

        Args:
            surface: (C, H, W) from the regulariser.
            displacement: (H, W) mm, read off its distribution.
            opinion: of the classical matcher.
            step: mm, a scalar.

        Returns:
            displacement (H, W) mm, and the logit (H, W) of the probability that it is less than a step off.
        """
        known = opinion.displacement, opinion.peak
        classical, peak = (((other - displacement) / step).clamp(-_FAR, _FAR) for other in known)
        about = torch.stack([displacement / step, classical, opinion.weight, peak, opinion.trust])
        surface = surface * torch.rsqrt(surface.square().mean(0) + 1)  # its strength carries no information
        x = torch.cat([surface, about])[None].contiguous(memory_format=torch.channels_last)
        x = F.relu_(self.first(x))
        x = x + F.relu_(self.second(x))
        share, correction, confidence = self.third(x)[0]
        return displacement + step * (torch.sigmoid(share) * classical + correction), confidence


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result for H × W texels.

    Args:
        logits: (D, H, W); their softmax over D is where it sees the surface.
        displacement: (H, W) mm.
        confidence: (H, W) logit of the probability that ``displacement`` is less than a step off.
        cost: (D, H, W) the implicit function's own score, before regularisation; higher is better.
    """

    logits: Tensor
    displacement: Tensor
    confidence: Tensor
    cost: Tensor


class SurfaceMatcher(nn.Module):
    """Features → agreement → implicit function → regulariser → soft-argmin → refinement."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.implicit_function = ImplicitFunction(self.features.groups)
        self.regularizer = Regularizer()
        self.refinement = Refinement()

    @torch.no_grad()
    def start_from_classical(self) -> None:
        """First weights for training: the answer is about the classical matcher's."""
        function = self.implicit_function
        function.classical.copy_(torch.tensor(_CLASSICAL))
        for last in (function.cost, self.regularizer.logit, self.refinement.third):
            for parameter in last.parameters():
                parameter.mul_(_QUIET)
        share = self.refinement.third.bias
        assert share is not None
        share[0] = _SHARE

    def forward(
        self,
        images: Sequence[Tensor],
        projections: Tensor,
        position: Tensor,
        normal: Tensor,
        visibility: Tensor,
        opinion: Opinion,
        steps: Tensor,
        texel_mm: float,
    ) -> Prediction:
        """Match.

        Args:
            images: V × (3, h, w) sRGB in [0, 1], about 1.5 pixels on a texel.
            projections: (V, 3, 4) world, mm → pixels of ``images``, pixel centres at integers.
            position: (H, W, 3) mm, the base surface.
            normal: (H, W, 3) unit, the direction of D.
            visibility: (V, H, W) in [0, 1].
            opinion: of the classical matcher: scores (D, H, W), the others (H, W).
            steps: (D,) equally spaced displacements to try, mm.
            texel_mm: distance between texels.

        Returns:
            logits and cost (D, H, W), displacement (H, W) mm, and confidence (H, W), a logit.
        """
        features = [self.features(image) for image in images]
        place = projections, position, normal, visibility, steps
        agreed = agreement_in_photos(features, *place, self.features.groups, threads=torch.get_num_threads())
        points = describe_points(agreed, opinion, steps, texel_mm)
        score, volume = self.implicit_function(points, opinion, steps)
        logits, surface = self.regularizer(volume, score, texel_mm)
        return self.read_off(logits, surface, score, opinion, steps)

    def read_off(
        self, logits: Tensor, surface: Tensor, score: Tensor, opinion: Opinion, steps: Tensor
    ) -> Prediction:
        """The result for H × W texels.

        Args:
            logits: (H, W, D) from the regulariser.
            surface: (C, H, W) from the regulariser.
            score: (H, W, D) from the implicit function.
            opinion: of the classical matcher.
            steps: (D,) mm.
        """
        logits = logits.movedim(-1, 0)
        coarse = soft_argmin(logits, steps)
        displacement, confidence = self.refinement(surface, coarse, opinion, steps[1] - steps[0])
        displacement = displacement.clamp(steps[0], steps[-1])
        return Prediction(logits, displacement, confidence, score.movedim(-1, 0))


SURFACE_MATCHER = Network("surface_matcher", "the learned matcher", lambda _: SurfaceMatcher())
