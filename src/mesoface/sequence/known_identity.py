"""A face model of one person: only its expression is left open."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.face_models.model import FaceFit, FaceModel, Topology

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownIdentity:
    """``model`` with its identity fixed; itself a :class:`~mesoface.face_models.model.FaceModel`.

    Args:
        model: the face model.
        identity: (n_identity,) its coefficients.
    """

    model: FaceModel
    identity: Array
    n_identity: int = 0

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def topology(self) -> Topology:
        """The model's."""
        return self.model.topology

    @property
    def n_expression(self) -> int:
        """The model's."""
        return self.model.n_expression

    @property
    def bounds(self) -> tuple[Array, Array] | None:
        """Of the expression's coefficients alone."""
        if self.model.bounds is None:
            return None
        low, high = self.model.bounds
        return low[len(self.identity) :], high[len(self.identity) :]

    def shape(self, identity: NDArray, expression: NDArray) -> Array:
        """See :meth:`FaceModel.shape`; ``identity`` is empty."""
        return self.model.shape(self.identity, expression)

    def points(
        self, identity: NDArray, expression: NDArray, corners: NDArray[np.int64], bary: Array
    ) -> tuple[Array, Array]:
        """See :meth:`FaceModel.points`; ``identity`` is empty."""
        points, jacobian = self.model.points(self.identity, expression, corners, bary)
        return points, jacobian[:, :, len(self.identity) :]

    def full(self, fit: FaceFit) -> FaceFit:
        """A fit of this, as one of the whole model."""
        return replace(fit, model=self.model, identity=self.identity)
