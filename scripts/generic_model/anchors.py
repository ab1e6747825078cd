"""The template's anchors: mediapipe's 468 face points and rings of our own around them, and how they vary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from generic_model.embedding import reference_shape
from generic_model.heads import VISIBLE_MATERIALS, Heads
from generic_model.portraits import visible_head
from generic_model.triangulation import RINGS, face_oval
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster

HEAD_CENTER = np.array([0.0, 0.0, 15.0])  # mm, in the model's frame: midway between the ears
# How far the last ring lies beyond the oval, degrees about the head's centre, where the oval is at the
# ear, the forehead and the chin: up to in front of the ear, past the hairline, to the throat.
REACH_EAR, REACH_FOREHEAD, REACH_CHIN = 3.5, 13.0, 18.0
NOSE_TIP, NOSE_RADIUS = 1, 25.0  # landmark number; mm
BLINK = 0.3  # share of faces with shut eyes: in scans they are common
IDENTITY_MODES, EXPRESSION_MODES = 90, 36


def ring_directions(oval: NDArray[np.float64]) -> NDArray[np.float64]:
    """(36, 3) points of the oval → (RINGS, 36, 3) unit directions from the head's centre, turned outwards."""
    direction, forward = unit(oval - HEAD_CENTER), np.array([0.0, 0.0, 1.0])
    around = unit(np.cross(forward, direction))
    height = direction[:, 1] / np.linalg.norm(direction[:, :2], axis=1)  # 1 at the forehead, -1 at the chin
    reach = REACH_EAR + np.where(
        height > 0, (REACH_FOREHEAD - REACH_EAR) * height, (REACH_CHIN - REACH_EAR) * height**2
    )
    angle = np.radians(reach) * (np.arange(1, RINGS + 1) / RINGS)[:, None]  # (RINGS, 36)
    sideways = np.cross(around, direction)
    return np.cos(angle)[..., None] * direction + np.sin(angle)[..., None] * sideways


def embed_anchors(
    heads: Heads, seen: NDArray[np.bool_], corners: NDArray[np.int64], bary: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All anchors on the head's topology: (A, 3) vertices and (A, 3) barycentric coordinates.

    The first 468 are mediapipe's; ring ``r`` follows at ``468 + 36 r``, in the order of the oval. A ring's
    points are where rays from outside towards the head's centre first meet the mean head's skin.
    """
    reference = reference_shape(heads)
    points = np.einsum("lk,lkc->lc", bary, reference[corners])
    directions = ring_directions(points[face_oval()]).reshape(-1, 3)
    triangles = heads.triangles[seen]
    hits = RayCaster(Mesh(reference, triangles)).cast(HEAD_CENTER + 500.0 * directions, -directions)
    if not hits.hit.all():
        raise SystemExit(f"{(~hits.hit).sum()} rays of the rings miss the head")
    return (
        np.concatenate([corners, triangles[hits.face]]),
        np.concatenate([bary, hits.bary]),
    )


def nostril_triangles(
    heads: Heads, seen: NDArray[np.bool_], anchors: NDArray[np.float64], triangles: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(T,) which triangles between the anchors lie mostly over a nostril.

    Rays are cast inwards through the triangles near the tip of the nose; those that meet skin which cannot be
    seen (:func:`open_skin`) pass through a nostril.

    Args:
        heads: the model.
        seen: (F,) which of its triangles are open skin.
        anchors: (A, 3) on its :func:`reference_shape`.
        triangles: (T, 3) between the anchors, counter-clockwise from outside.
    """
    _, _, caster = visible_head(heads, reference_shape(heads))
    hidden = ~seen[np.isin(heads.material, VISIBLE_MATERIALS)]
    near = np.flatnonzero(
        np.linalg.norm(anchors[triangles].mean(1) - anchors[NOSE_TIP], axis=1) < NOSE_RADIUS
    )
    lattice = np.array([(i, j, 12 - i - j) for i in range(1, 11) for j in range(1, 12 - i)]) / 12.0
    points = np.einsum("pk,tkc->tpc", lattice, anchors[triangles[near]]).reshape(-1, 3)
    inwards = np.repeat(-Mesh(anchors, triangles).face_normals()[near], len(lattice), 0)
    hits = caster.cast(points - 3.0 * inwards, inwards)
    through = hits.hit & hidden[hits.face] & (hits.distance < 20.0)
    found = np.zeros(len(triangles), bool)
    found[near] = through.reshape(len(near), -1).mean(1) > 0.4
    return found


def anchor_statistics(
    heads: Heads, corners: NDArray[np.int64], bary: NDArray[np.float64], samples: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Mean and modes of the anchors' positions.

    Identity weights are N(0, 1), so the covariance of identities is exact; rigid motion is projected out of
    it (a fit has its own pose). Expressions are drawn (:meth:`Heads.random_expression`); their second moment
    about the neutral face is taken, so that the mean stays neutral.

    Returns:
        ``mean`` (A, 3), ``open`` (A, 3) the mean with the jaw a little open, ``identity`` (I, A, 3) and
        ``expression`` (E, A, 3): modes in mm per standard deviation, the largest first.
    """

    def at(values: NDArray) -> NDArray[np.float64]:
        return np.einsum("ak,...akc->...ac", bary, values[..., corners, :].astype(np.float64))

    mean = at(heads.neutral)
    count = mean.size
    identity = at(heads.identity).reshape(-1, count)
    rigid = _rigid_motions(mean)
    identity -= (identity @ rigid) @ rigid.T
    rng = np.random.default_rng(seed)
    weights = np.stack([heads.random_expression(rng, blink=BLINK) for _ in range(samples)])
    moment = np.linalg.cholesky(weights.T @ weights / samples + 1e-9 * np.eye(weights.shape[1]))
    expression = moment.T @ at(heads.expression).reshape(-1, count)
    shape = (-1, *mean.shape)
    return {
        "mean": mean.astype(np.float32),
        "open": at(reference_shape(heads)).astype(np.float32),
        "identity": _principal(identity)[:IDENTITY_MODES].reshape(shape).astype(np.float32),
        "expression": _principal(expression)[:EXPRESSION_MODES].reshape(shape).astype(np.float32),
    }


def _principal(modes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same covariance (``modes.T @ modes``) by orthogonal rows, the largest first."""
    _, sigma, axes = np.linalg.svd(modes, full_matrices=False)
    return sigma[:, None] * axes


def _rigid_motions(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3A, 6) orthonormal: the small translations and rotations of ``points`` (A, 3)."""
    centred = points - points.mean(0)
    moves = [np.tile(axis, (len(points), 1)) for axis in np.eye(3)]
    turns = [np.cross(axis, centred) for axis in np.eye(3)]
    return np.linalg.qr(np.stack([m.ravel() for m in moves + turns], 1))[0]
