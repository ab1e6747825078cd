"""Ways of matching that differ from the default in one thing, with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from prepared import Prepared
from torch import Tensor

from mesoface.matching.classical import ClassicalLevel, ClassicalMatcher
from mesoface.matching.learned import Prediction, SurfaceMatcher, matcher
from mesoface.matching.learned.kernels import agreement_in_photos
from mesoface.matching.learned.matcher import PRESETS, LearnedMatcher, NetworkLevel, load_matcher
from mesoface.matching.learned.network import Opinion, Refinement, describe_points, soft_argmin
from mesoface.matching.matcher import LevelInput, Measurement, well_seen
from mesoface.matching.paper.matcher import load_paper_networks, match_paper, paper_space
from mesoface.uvd.space import Match


@dataclass(frozen=True)
class Given:
    """What all variations are run with.

    Args:
        weights: of the learned matcher; None for the shipped ones.
        paper_weights: folder with the paper's networks, trained, or None.
        threads: of the CPU.
    """

    weights: Path | None
    paper_weights: Path | None
    threads: int


@dataclass(frozen=True)
class Variation:
    """One way of matching.

    Args:
        group: what is varied.
        about: for people.
        run: measures a surface.
        views: how many photos.
        paper: whether it needs the paper's networks.
    """

    group: str
    about: str
    run: Callable[[Prepared, Given], Match]
    views: int = 10
    paper: bool = False


def learned(prepared: Prepared, given: Given) -> Match:
    """The learned matcher as it is."""
    return prepared.match(_learned(given))


def classical(prepared: Prepared, given: Given) -> Match:
    """The classical matcher."""
    return prepared.match(ClassicalMatcher(threads=given.threads))


def paper(prepared: Prepared, given: Given) -> Match:
    """The paper's networks in its one volume."""
    base, facial = prepared.face.base, prepared.face.fit.model.topology.facial
    return match_paper(
        paper_space(base, facial),
        prepared.face.capture.views,
        load_paper_networks(given.paper_weights),
        occluder=base.select_faces(~facial),
        threads=given.threads,
    )


def up_to(size: int) -> Callable[[Prepared, Given], Match]:
    """The learned matcher's finest cascade, ended at maps of ``size``²."""
    levels = tuple(level for level in PRESETS["best"] if level.size <= size)
    return _with_levels(levels)


def _with_levels(levels: tuple[ClassicalLevel, ...]) -> Callable[[Prepared, Given], Match]:
    return lambda prepared, given: prepared.match(Varied(_learned(given), levels))


def plain_views(prepared: Prepared, given: Given) -> Match:
    """All views count everywhere, those that do not see a texel too, as in the paper's mean and variance."""

    def measure(learned_matcher: LearnedMatcher, start: LevelInput) -> Measurement:
        found = learned_matcher.measure(replace(start, visibility=np.ones_like(start.visibility)))
        return Measurement(found.displacement, found.weight * (well_seen(start) > 0))

    return prepared.match(Varied(_learned(given), PRESETS["default"], measure))


def without_refinement(prepared: Prepared, given: Given) -> Match:
    """The displacement is the soft-argmin, as the regulariser left it."""

    def unchanged(
        self: Refinement, surface: Tensor, displacement: Tensor, opinion: Opinion, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        return displacement, refine(self, surface, displacement, opinion, step)[1]

    refine = Refinement.forward
    with patch.object(Refinement, "forward", unchanged):
        return prepared.match(_learned(given))


def without_regularizer(prepared: Prepared, given: Given) -> Match:
    """The displacement is read off the implicit function's own cost, texel by texel."""

    def measure(learned_matcher: LearnedMatcher, start: LevelInput) -> Measurement:
        with patch.object(matcher, "match_in_strips", _match_by_cost):
            return learned_matcher.measure(start)

    return prepared.match(Varied(_learned(given), PRESETS["default"], measure))


class Varied:
    """The learned matcher with other levels, or another way to measure one.

    Args:
        matcher: the learned one.
        levels: of the only preset, ``default``.
        measure: in place of ``matcher.measure``.
    """

    def __init__(
        self,
        matcher: LearnedMatcher,
        levels: tuple[ClassicalLevel, ...],
        measure: Callable[[LearnedMatcher, LevelInput], Measurement] = LearnedMatcher.measure,
    ):
        self.presets: Mapping[str, tuple[ClassicalLevel, ...]] = {"default": levels}
        self._matcher, self._measure = matcher, measure

    def measure(self, start: LevelInput) -> Measurement:
        """See :class:`mesoface.matching.matcher.Matcher`."""
        return self._measure(self._matcher, start)


def _learned(given: Given) -> LearnedMatcher:
    return load_matcher(given.weights, threads=given.threads)


def _match_by_cost(
    network: SurfaceMatcher,
    features: Sequence[Tensor],
    projections: Tensor,
    position: Tensor,
    normal: Tensor,
    visibility: Tensor,
    opinion: Opinion,
    steps: Tensor,
    texel_mm: float,
    **_: object,
) -> Prediction:
    """:func:`~mesoface.matching.learned.matcher.match_in_strips` without a regulariser."""
    groups = network.features.groups
    agreed = agreement_in_photos(features, projections, position, normal, visibility, steps, groups)
    points = describe_points(agreed, opinion, steps, texel_mm)
    score, _ = network.implicit_function(points, opinion, steps)
    score = score.movedim(-1, 0)
    confidence = torch.logit(torch.softmax(score, 0).amax(0), eps=1e-4)
    return Prediction(score, soft_argmin(score, steps), confidence, score)


# As the paper searches: 201 steps of 0.2 mm on maps of 256².
_ONE_VOLUME = (NetworkLevel(256, 20.0, 0.2, base_mm=0.0, normal_mm=2.0, window=1.4, stiffness=0.25),)

VARIATIONS = (
    Variation("matcher", "learned", learned),
    Variation("matcher", "classical", classical),
    Variation("parts", "all", learned),
    Variation("parts", "plain mean and variance over the views", plain_views),
    Variation("parts", "no refinement", without_refinement),
    Variation("parts", "no regulariser, no refinement", without_regularizer),
    Variation("search", "cascade up to 256²", up_to(256)),
    Variation("search", "one volume of 201 × 256²", _with_levels(_ONE_VOLUME)),
    *(Variation("size", f"up to {size}²", up_to(size)) for size in (256, 512, 768, 1024)),
    *(Variation("views", f"{views}, learned", learned, views) for views in (10, 5, 3)),
    *(Variation("views", f"{views}, classical", classical, views) for views in (10, 5, 3)),
    Variation("paper", "ours, cascade", learned),
    Variation("paper", "ours, one volume of 201 × 256²", _with_levels(_ONE_VOLUME)),
    Variation("paper", "the paper's networks, same data", paper, paper=True),
)
GROUPS = tuple(dict.fromkeys(variation.group for variation in VARIATIONS))
