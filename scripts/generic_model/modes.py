"""The model's modes: measured covariance between the anchors, plus what the measurements cannot know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from generic_model.fields import kernel_modes
from generic_model.template import Template
from mesoface.geometry.mesh import Mesh

IDENTITY_MODES, EXPRESSION_MODES = 110, 34
# Length scale → standard deviation of real faces about the measured ones, mm: few synthetic identities span
# few ways to differ.
SCALES = {60.0: 1.5, 30.0: 1.0, 15.0: 0.5}
EIGENFUNCTIONS = 120
FOLDED = 0.2  # cosine between a face's normal and its vertices' below which it is folded
RIM_WEIGHT = 0.3  # how much variance outside the facial mask counts when modes are chosen


def build_modes(template: Template, statistics: dict[str, NDArray]) -> tuple[NDArray, NDArray]:
    """(I, N, 3) identity and (E, N, 3) expression modes, mm per standard deviation, the largest first."""
    weights = _vertex_weights(template)
    measured = _carry(template, statistics["identity"])
    expression = _carry(template, statistics["expression"])
    fields = kernel_modes(template.mean, template.faces[template.skin], SCALES, EIGENFUNCTIONS)
    fields = template.interpolate.fill(fields.T).T
    free = np.einsum("mn,ck->mcnk", fields, np.eye(3)).reshape(-1, *template.mean.shape)
    free = _without_rigid(free, template.mean, weights)
    identity = _principal(np.concatenate([measured, free]), weights)[:IDENTITY_MODES]
    return identity, _principal(expression, weights)[:EXPRESSION_MODES]


def pinched_faces(template: Template, identity: NDArray[np.float64], samples: int = 40) -> NDArray[np.bool_]:
    """(F,) skin that is folded away where the lips meet: it cannot be seen, so it is not to be measured.

    A face counts when it is turned against the surface around it, or turns over in a tenth of identities.
    """
    faces = template.faces
    mesh = Mesh(template.mean, faces)
    normal, around = mesh.face_normals(), mesh.vertex_normals()
    turned = np.einsum("fc,fkc->fk", normal, around[faces]).min(1) < FOLDED
    rng, over = np.random.default_rng(0), np.zeros(len(faces), int)
    for _ in range(samples):
        shape = template.mean + np.tensordot(rng.normal(size=len(identity)), identity, 1)
        over += np.einsum("fc,fc->f", mesh.with_vertices(shape).face_normals(), normal) < 0
    return template.skin & (turned | (over >= samples / 10))


def _carry(template: Template, modes: NDArray[np.float32]) -> NDArray[np.float64]:
    """(M, A, 3) at the anchors → (M, N, 3)."""
    count = len(modes)
    at_anchors = modes.astype(np.float64).transpose(1, 0, 2).reshape(template.anchors, -1)
    return template.interpolate(at_anchors).reshape(-1, count, 3).transpose(1, 0, 2)


def _vertex_weights(template: Template) -> NDArray[np.float64]:
    """(N,) area of the skin around each vertex, less outside the facial mask; sums to one."""
    area = Mesh(template.mean, template.faces).face_areas() * template.skin
    area *= np.where(template.facial, 1.0, RIM_WEIGHT)
    weights = np.bincount(template.faces.ravel(), np.repeat(area, 3), minlength=len(template.mean))
    return weights / weights.sum()


def _principal(modes: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same covariance by modes that are orthogonal under ``weights``, the largest first."""
    flat = (modes * np.sqrt(weights)[:, None]).reshape(len(modes), -1)
    value, rotation = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(value)[::-1]
    rotated = np.tensordot(rotation[:, order].T, modes, 1)
    # an eigenvector's sign is arbitrary: let the largest move go the positive way
    flat = rotated.reshape(len(rotated), -1)
    return rotated * np.sign(flat[np.arange(len(flat)), np.abs(flat).argmax(1)])[:, None, None]


def _without_rigid(
    modes: NDArray[np.float64], mean: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Modes without small translations and rotations of the whole: a fit has its own pose."""
    root = np.sqrt(weights)[:, None]
    moves = [np.tile(axis, (len(mean), 1)) for axis in np.eye(3)]
    turns = [np.cross(axis, mean - weights @ mean) for axis in np.eye(3)]
    rigid = np.stack([m.ravel() for m in moves + turns], 1)
    weighted, triangular = np.linalg.qr((np.stack(moves + turns) * root).reshape(6, -1).T)
    amount = (modes * root).reshape(len(modes), -1) @ weighted
    return modes - (amount @ np.linalg.solve(triangular, rigid.T)).reshape(modes.shape)
