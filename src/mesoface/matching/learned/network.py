"""The learned matcher as a whole: photos and a UVD space in, displacement and confidence out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mesoface.files.weights import Network
from mesoface.matching.learned import fast, lookup
from mesoface.matching.learned.features import Features
from mesoface.matching.learned.implicit_function import ImplicitFunction, describe_points
from mesoface.matching.learned.opinion import Opinion
from mesoface.matching.learned.readout import soft_argmin
from mesoface.matching.learned.refinement import Refinement
from mesoface.matching.learned.regularizer import Regularizer

# At the start of training, how much the score follows correlation and the surface made of it, and by how much
# the layers are quieter that are added to them.
_CLASSICAL = (1.0, 0.4)
_QUIET = 0.1
# And the logit of the share that its surface has in the answer.
_SHARE = 1.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says about H × W texels.

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
    """Features → visibility-weighted agreement → implicit function → regulariser → soft-argmin → refinement.

    The classical matcher's answer to the same question goes in, and what is learned is what to add to it.
    """

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
            opinion: of the classical matcher.
            steps: (D,) equally spaced displacements to try, mm.
            texel_mm: distance between texels.
        """
        features = [self.features(image) for image in images]
        return self.match(features, projections, position, normal, visibility, opinion, steps, texel_mm)

    def match(
        self,
        features: Sequence[Tensor],
        projections: Tensor,
        position: Tensor,
        normal: Tensor,
        visibility: Tensor,
        opinion: Opinion,
        steps: Tensor,
        texel_mm: float,
    ) -> Prediction:
        """As :meth:`forward`, from V × (C, h, w) features that are there already."""
        place = (features, projections, position, normal, visibility, steps, self.features.groups)
        # Loops that are compiled for the CPU; elsewhere torch's own operations.
        if position.is_cpu:
            agreed = fast.agreement_in_photos(*place, threads=torch.get_num_threads())
        else:
            agreed = lookup.agreement_in_photos(*place)
        points = describe_points(agreed, opinion, steps, texel_mm)
        score, volume = self.implicit_function(points, opinion, steps)
        logits, surface = self.regularizer(volume, score, texel_mm)
        logits = logits.movedim(-1, 0)
        coarse = soft_argmin(logits, steps)
        displacement, confidence = self.refinement(surface, coarse, opinion, steps[1] - steps[0])
        displacement = displacement.clamp(steps[0], steps[-1])
        return Prediction(logits, displacement, confidence, score.movedim(-1, 0))


SURFACE_MATCHER = Network("surface_matcher", "the learned matcher", lambda _: SurfaceMatcher())
