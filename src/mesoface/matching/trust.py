"""Which views the matching trusts, and how their cameras are corrected on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.matching.rig import estimate_rig_correction, turn_camera
from mesoface.uvd.space import UVDSpace

# A view that, its camera corrected, correlates with the others less than this share of the median view
# shows something else than they do.
_CONTRADICTS = 0.6
# Corrections above this, pixels, are worth telling.
_WORTH_TELLING = 1.0


@dataclass(frozen=True, eq=False)
class Rig:
    """The views as the matching knows them so far.

    Args:
        views: those still trusted, with corrected cameras.
        used: their indices among the views that were given.
        given: the views that were given.
        left_out: one sentence for every view that is not used any more.
    """

    views: tuple[View, ...]
    used: tuple[int, ...]
    given: tuple[View, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, views: Sequence[View], face: NDArray[np.float64]) -> Rig:
        """The ``views`` that have the ``face`` (N, 3) before them; the others are left out."""
        every = cls(tuple(views), tuple(range(len(views))), tuple(views))
        ahead = np.array([(view.camera.to_camera(face)[:, 2] > 0).all() for view in views])
        return every.only(ahead, "looks away from the face")

    def only(self, keep: NDArray[np.bool_], reason: str) -> Rig:
        """The views where ``keep`` (V,) is True; of each other one it is said that it ``reason``."""
        kept = np.flatnonzero(keep)
        gone = [f"view {self.views[k].name} {reason} and is left out" for k in np.flatnonzero(~keep)]
        return replace(
            self,
            views=tuple(self.views[k] for k in kept),
            used=tuple(self.used[k] for k in kept),
            left_out=(*self.left_out, *gone),
        )

    def checked(self, space: UVDSpace, visibility: NDArray[np.float32]) -> Rig:
        """Turn each camera to where the others say it looks; leave out views that contradict them even so.

        Two views always stay.

        Args:
            space: the surface, its zero as measured so far.
            visibility: (V, H, H) of the present views; 0 where the surface is not to be trusted.
        """
        correction = estimate_rig_correction(space, self.views, visibility)
        turned = tuple(
            replace(view, camera=turn_camera(view.camera, rotation))
            for view, rotation in zip(self.views, correction.rotations, strict=True)
        )
        agreement = correction.agreement
        compared = agreement[~np.isnan(agreement)]
        typical = max(float(np.median(compared)), 0.0) if len(compared) else 0.0
        keep = ~(agreement < _CONTRADICTS * typical)
        if keep.sum() < 2:
            keep[:] = True
        return replace(self, views=turned).only(keep, "shows another surface than the other views")

    def notes(self, center: NDArray[np.float64]) -> tuple[str, ...]:
        """One sentence for every view that was left out or whose camera was corrected noticeably.

        Args:
            center: (3,) middle of the face; corrections are stated there.
        """
        shifts = [
            float(
                np.linalg.norm(view.camera.project(center)[0] - self.given[index].camera.project(center)[0])
            )
            for index, view in zip(self.used, self.views, strict=True)
        ]
        if len(self.views) == 2 and sum(shifts) > _WORTH_TELLING:
            names = " and ".join(view.name for view in self.views)
            told = [f"the cameras of views {names} disagree by {sum(shifts):.1f} px; met half-way"]
        else:
            told = [
                f"view {view.name}: its camera looks {shift:.1f} px off; corrected"
                for view, shift in zip(self.views, shifts, strict=True)
                if shift > _WORTH_TELLING
            ]
        return (*self.left_out, *told)
