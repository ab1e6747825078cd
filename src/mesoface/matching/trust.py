"""Which views the matching trusts, and how their cameras are corrected on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.capture import View
from mesoface.matching.rig import estimate_rig_correction, turn_camera
from mesoface.uvd.space import UVDSpace

# A view that correlates with the others less than this share of the median view contradicts them.
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
    """

    views: tuple[View, ...]
    used: tuple[int, ...]
    given: tuple[View, ...]

    @classmethod
    def of(cls, views: tuple[View, ...]) -> Rig:
        """All ``views``, as they are."""
        return cls(views, tuple(range(len(views))), views)

    def checked(self, space: UVDSpace, visibility: NDArray[np.float32]) -> Rig:
        """Turn each camera to where the others say it looks; leave out views that contradict the others.

        Two views always stay.

        Args:
            space: the surface, its zero as measured so far.
            visibility: (V, H, H) of the present views; 0 where the surface is not to be trusted.
        """
        correction = estimate_rig_correction(space, self.views, visibility)
        turned = [
            replace(view, camera=turn_camera(view.camera, rotation))
            for view, rotation in zip(self.views, correction.rotations, strict=True)
        ]
        agreement = correction.agreement
        comparable = ~np.isnan(agreement)
        keep = np.ones(len(agreement), bool)
        if comparable.any():
            keep[comparable] = agreement[comparable] >= _CONTRADICTS * np.median(agreement[comparable])
        if keep.sum() < 2:
            keep[:] = True
        kept = np.flatnonzero(keep)
        return Rig(tuple(turned[k] for k in kept), tuple(self.used[k] for k in kept), self.given)

    def notes(self, center: NDArray[np.float64]) -> tuple[str, ...]:
        """One sentence for every view that was left out or whose camera was corrected noticeably.

        Args:
            center: (3,) middle of the face; corrections are stated there.
        """
        notes = [
            f"view {view.name} shows another surface than the other views and is left out"
            for index, view in enumerate(self.given)
            if index not in self.used
        ]
        for index, view in zip(self.used, self.views, strict=True):
            before = self.given[index].camera.project(center)[0]
            shift = float(np.linalg.norm(view.camera.project(center)[0] - before))
            if shift > _WORTH_TELLING:
                notes.append(f"view {view.name}: its camera looks {shift:.1f} px off; corrected")
        return tuple(notes)
