"""The person in a sequence, its cameras and its scale: found once, in some of the frames.

The identity is solved jointly in these frames; the face model has it fixed from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from pydantic import BaseModel, FiniteFloat

from mesoface.captures.capture import CaptureSource
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import CaptureError, MesofaceError
from mesoface.face_models.fitting import SpatialLandmarks, embedding
from mesoface.face_models.model import FaceFit, FaceModel
from mesoface.face_models.scale import ScaleEstimate
from mesoface.geometry.camera import Camera
from mesoface.landmarks.types import Landmarks3D
from mesoface.pipeline import find_face
from mesoface.results.face import Face
from mesoface.running.progress import ProgressCallback, silent
from mesoface.sequence.state import read_model

Array = NDArray[np.float64]

NAME = "person.json"
FRAMES = 4
"""How many frames the identity is solved in, spread over the sequence."""
_RELATIVE = 1e-6  # numbers that were written with six digits are the same
_NOISE_MM = 1.0  # of a landmark in space against the place that the model has for it
_ROUNDS = 8


class Person(BaseModel, extra="forbid", frozen=True):
    """What all frames have in common: ``person.json``.

    Args:
        identity: (n_identity,) coefficients of the face model.
        views: names of the views that all frames use.
        mm_per_unit: from the capture's unit to millimetres.
        scale_source: what that comes from.
        scale_uncertainty: of it, relative.
        scheme: of the landmarks.
        frames: names of the frames in which this was found.
    """

    identity: tuple[FiniteFloat, ...]
    views: tuple[str, ...]
    mm_per_unit: FiniteFloat
    scale_source: str
    scale_uncertainty: FiniteFloat
    scheme: str
    frames: tuple[str, ...]

    @property
    def scale(self) -> ScaleEstimate:
        """From the capture's unit to millimetres."""
        return ScaleEstimate(self.mm_per_unit, self.scale_source, self.scale_uncertainty)

    def model(self, model: FaceModel) -> KnownIdentity:
        """``model`` with this person's identity."""
        return KnownIdentity(model, np.array(self.identity))

    def settings(self, settings: Settings) -> Settings:
        """``settings`` with this person's views and scale."""
        return settings.model_copy(update={"view_ids": self.views, "scale": self.mm_per_unit})


def find_person(
    captures: Sequence[tuple[str, Path]],
    settings: Settings,
    model: FaceModel,
    *,
    format: str | None = None,
    progress: ProgressCallback = silent,
) -> Person:
    """Find the person in some frames, spread over the sequence; frames without a face are skipped.

    Args:
        captures: (name, folder) of all frames in their order.
        settings: of the reconstruction.
        model: the face model.
        format: of the captures, or None to look at the folders.
        progress: called for every frame.

    Raises:
        MesofaceError: no face was found in any of these frames; the error is that of the first one.
    """
    tried = sorted(set(np.linspace(0, len(captures) - 1, FRAMES).round().astype(int).tolist()))
    found: list[tuple[str, Face]] = []
    errors = []
    for number, index in enumerate(tried):
        progress("Identity", number, len(tried))
        name, folder = captures[index]
        if found:  # all frames use the views of the first one
            settings = settings.model_copy(update={"view_ids": found[0][1].capture.names})
        try:
            capture = load_capture(folder, format=format, names=settings.view_ids)
            found.append((name, find_face(capture, settings, face_model=model)))
        except MesofaceError as error:
            errors.append(error)
    progress("Identity", len(tried), len(tried))
    if not found:
        raise errors[0]
    faces = [face for _, face in found]
    scale = faces[0].scale
    if scale.relative_uncertainty:
        scale = replace(scale, mm_per_unit=float(np.median([face.scale.mm_per_unit for face in faces])))
        faces = [_rescaled(face, scale.mm_per_unit / face.scale.mm_per_unit) for face in faces]
    identity = joint_identity(model, [face.fit for face in faces], [face.landmarks3d for face in faces])
    return Person(
        identity=tuple(identity.tolist()),
        views=tuple(faces[0].capture.names),
        mm_per_unit=scale.mm_per_unit,
        scale_source=scale.source,
        scale_uncertainty=scale.relative_uncertainty,
        scheme=faces[0].landmarks3d.scheme,
        frames=tuple(name for name, _ in found),
    )


def read_person(folder: Path, model: FaceModel) -> Person:
    """Read ``person.json``.

    Raises:
        MesofaceError: it is damaged, or of another face model.
    """
    path, remedy = folder / NAME, "remove the folder and start the sequence again"
    person = read_model(path, Person, "a person's identity", remedy=remedy)
    if len(person.identity) != model.n_identity:
        raise MesofaceError(
            f"has {len(person.identity)} coefficients, the face model {model.n_identity}",
            path=path,
            remedy=remedy,
        )
    return person


def _rescaled(face: Face, factor: float) -> Face:
    """The landmarks and the pose of a face in a world that is ``factor`` times as large.

    The shape is kept: it was fitted in millimetres that were a few per cent off, and is fitted again.
    """
    points = face.landmarks3d.points * factor
    fit = replace(face.fit, translation=face.fit.translation * factor)
    return replace(face, landmarks3d=replace(face.landmarks3d, points=points), fit=fit)


def check_cameras(source: CaptureSource, reference: CaptureSource, views: Sequence[str]) -> None:
    """Check that a frame has the same cameras as another frame of its sequence.

    Args:
        source: the frame.
        reference: the other.
        views: names of the views that matter.

    Raises:
        CaptureError: a view is missing, or its camera has moved or was replaced.
    """
    ours, theirs = ({view.name: view.camera for view in each.views} for each in (source, reference))
    for name in views:
        if name not in ours:
            raise CaptureError(
                f"view {name} is missing; all frames of a sequence have the same views",
                path=source.path,
                remedy="add it, or leave the view out of all frames with --view-ids",
            )
        if not _same(ours[name], theirs[name]):
            raise CaptureError(
                f"view {name} has another camera than in {reference.path}",
                path=source.path,
                remedy="use `mesoface batch` without --sequence where cameras move between frames",
            )


def _same(a: Camera, b: Camera) -> bool:
    size = np.abs(b.t).max() + 1e-12
    return (
        (a.width, a.height, repr(a.lens)) == (b.width, b.height, repr(b.lens))
        and np.allclose(a.K, b.K, rtol=_RELATIVE)
        and np.allclose(a.R, b.R, atol=_RELATIVE)
        and np.allclose(a.t, b.t, atol=_RELATIVE * size)
    )


def joint_identity(model: FaceModel, fits: Sequence[FaceFit], landmarks: Sequence[Landmarks3D]) -> Array:
    """The identity that explains all frames best, each with an expression and a pose of its own.

    Gauss–Newton on the maximum a posteriori estimate: the landmarks' robust (Cauchy) distances in space and
    the model's Gaussian prior, once for the identity and once for every expression. A single frame cannot
    tell a wide mouth from a smile; several can.

    Args:
        model: the face model.
        fits: K ≥ 1 fits of single frames, in millimetres (scale 1): where the solution begins.
        landmarks: of the same frames, mm.

    Returns:
        (n_identity,) coefficients.
    """
    identity = np.mean([fit.identity for fit in fits], 0)
    frames = [_Frame(model, fit, points) for fit, points in zip(fits, landmarks, strict=True)]
    for _ in range(_ROUNDS):
        identity = _step(model, identity, frames)
    return identity


class _Frame:
    """One frame's landmarks in the model's axes, and its expression; both change as the solution does."""

    def __init__(self, model: FaceModel, fit: FaceFit, landmarks: Landmarks3D):
        ids, self.corners, self.bary = embedding(model, landmarks.scheme, len(landmarks.points))
        points = landmarks.points[ids]
        self.weights = np.isfinite(points).all(1).astype(np.float64)
        self.points = (np.nan_to_num(points) - fit.translation) @ fit.rotation / fit.scale
        self.expression = fit.expression

    def linearised(self, model: FaceModel, identity: Array) -> tuple[Array, Array]:
        """Hessian and gradient of the landmarks' cost by identity, expression and pose (6)."""
        points, by_shape = model.points(identity, self.expression, self.corners, self.bary)
        by_turn = np.cross(np.eye(3), points[:, None]).swapaxes(1, 2)
        by_shift = np.broadcast_to(np.eye(3), (len(points), 3, 3))
        J = np.concatenate([by_shape, by_turn, by_shift], 2)
        sigma = np.full(len(points), _NOISE_MM)
        cost = SpatialLandmarks(self.points, self.weights, sigma).at(points)
        hessian = np.einsum("lim,lij,ljn->mn", J, cost.hessian, J, optimize=True)
        return hessian, np.einsum("lim,li->m", J, cost.gradient)

    def move(self, model: FaceModel, step: Array) -> None:
        """Change the expression by ``step[:-6]``; turn and shift the landmarks back by the pose's step."""
        n = model.n_identity
        self.expression = _bounded(self.expression + step[:-6], model, slice(n, None))
        self.points = (self.points - step[-3:]) - np.cross(step[-6:-3], self.points)


def _step(model: FaceModel, identity: Array, frames: Sequence[_Frame]) -> Array:
    """One step of all frames; returns the identity."""
    n, m = model.n_identity, model.n_expression + 6
    H, g = np.zeros((n + m * len(frames), n + m * len(frames))), np.zeros(n + m * len(frames))
    H[np.arange(n), np.arange(n)] = 1.0
    g[:n] = identity
    for k, frame in enumerate(frames):
        own = slice(n + k * m, n + (k + 1) * m)
        hessian, gradient = frame.linearised(model, identity)
        H[:n, :n] += hessian[:n, :n]
        H[:n, own], H[own, :n], H[own, own] = hessian[:n, n:], hessian[n:, :n], hessian[n:, n:]
        g[:n] += gradient[:n]
        g[own] = gradient[n:]
        prior = np.arange(own.start, own.stop - 6)
        H[prior, prior] += 1.0
        g[prior] += frame.expression
    H[np.diag_indices_from(H)] *= 1 + 1e-6
    step = -scipy.linalg.solve(H, g, assume_a="pos")
    for k, frame in enumerate(frames):
        frame.move(model, step[n + k * m : n + (k + 1) * m])
    return _bounded(identity + step[:n], model, slice(n))


def _bounded(values: Array, model: FaceModel, part: slice) -> Array:
    if model.bounds is None:
        return values
    return np.clip(values, model.bounds[0][part], model.bounds[1][part])


class KnownIdentity:
    """``model`` with its identity fixed; itself a :class:`~mesoface.face_models.model.FaceModel`.

    Args:
        model: the face model.
        identity: (n_identity,) its coefficients.
    """

    n_identity = 0

    def __init__(self, model: FaceModel, identity: Array):
        self.model, self.identity = model, identity
        self.name, self.topology, self.n_expression = model.name, model.topology, model.n_expression
        self.bounds: tuple[Array, Array] | None = None  # of the expression's coefficients alone
        if model.bounds is not None:
            low, high = model.bounds
            self.bounds = low[len(identity) :], high[len(identity) :]

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
