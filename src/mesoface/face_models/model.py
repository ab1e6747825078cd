"""What a face model is to the rest of mesoface: the protocol, its topology, and a fitted model.

A face model of one's own is any class with the members of :class:`FaceModel`; nothing has to be inherited or
registered. :class:`LinearFaceModel` covers a mean shape plus a basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.uvd.maps import rasterize_uv

EXPRESSION_SIGMA = 0.4
"""Spread of the blendshape weights' half-normal prior: most of them are at rest in any one expression, and
one shape in eighty would go past its end by itself."""


@dataclass(frozen=True, eq=False)
class Topology:
    """What does not change with a face's shape.

    Args:
        faces: (F, 3) int64 triangles, counter-clockwise from outside.
        uv: (T, 2) float64 in [0, 1], u right, v up.
        uv_faces: (F, 3) int64 into ``uv``.
        facial: (F,) bool, the faces of the facial mask: the skin that is measured in UVD space. Eyeballs,
            mouth interior, inside of the nostrils, scalp, ears and neck are outside of it.
        closing: (F,) bool, faces across the eyes and between the lips, where the model has such: closed lids,
            eyeballs or closed lips may be measured around them. None: it has not.
        landmark_ids: {scheme: (L,) int64} the landmarks of a detector's scheme that have a place here.
        landmark_faces: {scheme: (L,) int64} the triangle each of them lies in.
        landmark_bary: {scheme: (L, 3) float64} and where in it.
    """

    faces: NDArray[np.int64]
    uv: NDArray[np.float64]
    uv_faces: NDArray[np.int64]
    facial: NDArray[np.bool_]
    landmark_ids: dict[str, NDArray[np.int64]]
    landmark_faces: dict[str, NDArray[np.int64]]
    landmark_bary: dict[str, NDArray[np.float64]]
    closing: NDArray[np.bool_] | None = None

    @property
    def closed(self) -> NDArray[np.bool_]:
        """(F,) the facial mask, and the faces across its eyes and between its lips."""
        return self.facial if self.closing is None else self.facial | self.closing

    def facial_mask(self, size: int) -> NDArray[np.bool_]:
        """(size, size) the facial mask as a UV map."""
        return rasterize_uv(self.uv, self.uv_faces[self.facial], size).valid

    def landmarks(self, scheme: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """(L,) ids, (L,) triangles and (L, 3) barycentric coordinates of the landmarks of ``scheme``."""
        return self.landmark_ids[scheme], self.landmark_faces[scheme], self.landmark_bary[scheme]

    def landmark_points(self, scheme: str, vertices: NDArray[np.float64]) -> NDArray[np.float64]:
        """(L, 3) places of the landmarks of ``scheme`` on a face with ``vertices`` (N, 3)."""
        _, triangles, bary = self.landmarks(scheme)
        return np.einsum("lk,lkc->lc", bary, vertices[self.faces[triangles]])


class FaceModel(Protocol):
    """A statistical face model: shapes from coefficients with a Gaussian prior.

    Coefficients are in units of standard deviations, so the prior's energy is ``|z|²`` for all of them. A
    linear model has a constant Jacobian; a bilinear one (FaceScape) does not.
    """

    @property
    def name(self) -> str:
        """As ``--face-model`` calls it."""

    @property
    def topology(self) -> Topology:
        """Faces, UV, landmarks, facial mask."""

    @property
    def n_identity(self) -> int:
        """How many coefficients are identity's."""

    @property
    def n_expression(self) -> int:
        """How many are expression's."""

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Lowest and highest value of each coefficient, (M,) both, identity first; None: unbounded."""

    def shape(self, identity: NDArray, expression: NDArray) -> NDArray[np.float64]:
        """(n_identity,), (n_expression,) → (N, 3) vertices, millimetres, in the model's own frame:
        x to the subject's left, y up, z forward (out of the face).
        """

    def points(
        self, identity: NDArray, expression: NDArray, corners: NDArray[np.int64], bary: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Surface points and their derivative.

        Args:
            identity: (n_identity,) coefficients.
            expression: (n_expression,) coefficients.
            corners: (L, 3) vertex indices of the triangle each point lies in.
            bary: (L, 3) barycentric coordinates.

        Returns:
            (L, 3) points and (L, 3, n_identity + n_expression) derivative.
        """


@dataclass(frozen=True, eq=False)
class LinearFaceModel:
    """``vertices = mean + Σ zᵢ · sigmaᵢ · basisᵢ``: identity modes first, expression modes after them.

    Args:
        name: as ``--face-model`` calls it.
        mean: (N, 3) float64, mm.
        basis: (M, N, 3) float32, mm per unit of standard deviation (sigma multiplied in).
        n_identity: how many of the M modes are identity.
        topology: faces, UV, landmarks, facial mask.
        bounds: lowest and highest value of each coefficient, (M,) both (blendshapes); None: unbounded.
    """

    name: str
    mean: NDArray[np.float64]
    basis: NDArray[np.float32]
    n_identity: int
    topology: Topology
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @property
    def n_expression(self) -> int:
        """How many of the modes are expression."""
        return len(self.basis) - self.n_identity

    def shape(self, identity: NDArray, expression: NDArray) -> NDArray[np.float64]:
        """See :meth:`FaceModel.shape`."""
        z = np.concatenate([identity, expression]).astype(np.float32)
        return self.mean + np.tensordot(z, self.basis, 1)

    def points(
        self, identity: NDArray, expression: NDArray, corners: NDArray[np.int64], bary: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :meth:`FaceModel.points`."""
        jacobian = np.einsum("lk,mlkc->lcm", bary, self.basis[:, corners].astype(np.float64))
        mean = np.einsum("lk,lkc->lc", bary, self.mean[corners])
        return mean + jacobian @ np.concatenate([identity, expression]), jacobian


def blendshape_bounds(n_identity: int, n_expression: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest coefficients where identity is free and blendshape weights stay in [0, 1]."""
    free, rest = np.full(n_identity, np.inf), np.zeros(n_expression)
    return np.concatenate([-free, rest]), np.concatenate([free, rest + 1 / EXPRESSION_SIGMA])


def base_mesh(model: FaceModel, vertices: NDArray[np.float64]) -> Mesh:
    """The model's mesh, in its own topology with its UVs, at ``vertices`` (N, 3)."""
    topology = model.topology
    return Mesh(vertices, topology.faces, topology.uv, topology.uv_faces)


@dataclass(frozen=True, eq=False)
class FaceFit:
    """A face model fitted to a capture.

    Args:
        model: the fitted model.
        identity: (n_identity,) coefficients, standard deviations.
        expression: (n_expression,) coefficients.
        rotation: (3, 3) model → world.
        translation: (3,) world units.
        scale: world units per millimetre of the model.
        vertices: (N, 3) ``scale · R · shape + t``, world units.
        residuals: (V, L) reprojection error per view and landmark of the model, pixels; NaN where unseen.
        iterations: how many Gauss–Newton steps it took.
    """

    model: FaceModel
    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    scale: float
    vertices: NDArray[np.float64]
    residuals: NDArray[np.float64]
    iterations: int

    @property
    def mesh(self) -> Mesh:
        """The base mesh in the model's own topology, world units."""
        return base_mesh(self.model, self.vertices)
