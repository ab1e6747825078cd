"""A face found in a frame by what the frame before knows, and without looking for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture
from mesoface.config import Settings
from mesoface.face_models.fitting import embedding, fit_landmarks3d
from mesoface.face_models.model import FaceFit
from mesoface.geometry.alignment import align_points_robustly
from mesoface.landmarks.triangulation import project_all
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.pipeline import FoundFace
from mesoface.sequence.identity import KnownIdentity
from mesoface.sequence.person import Person
from mesoface.sequence.state import Track
from mesoface.sequence.tracking import Tracked
from mesoface.uvd.maps import sample_map

Array = NDArray[np.float64]


def follow_face(
    capture: Capture,
    before: Track,
    tracked: Tracked,
    person: KnownIdentity,
    of: Person,
    settings: Settings,
) -> FoundFace:
    """Landmarks move with the skin that carries them; expression and pose are fitted to those.

    Args:
        capture: this frame's photos with the frame before's cameras, mm.
        before: the frame before.
        tracked: where the skin is now.
        person: the face model with this person's identity.
        of: the sequence's scale and its landmarks' scheme.
        settings: of the reconstruction.
    """
    scheme = of.scheme
    points = _moved_landmarks(before, tracked, person, scheme)
    known = np.isfinite(points).all(1)
    weights = np.where(known, before.landmark_weights, 0.0)
    pixels, _ = project_all(capture.cameras, points)
    pixels = np.where(weights[..., None] > 0, pixels, np.nan)
    landmarks2d = Landmarks2D(pixels, weights, scheme)
    residuals = np.where(weights > 0, 0.0, np.nan)
    distrusted = np.zeros(len(capture), bool)
    landmarks3d = Landmarks3D(points, weights, residuals, distrusted, scheme)
    fit = person.full(fit_landmarks3d(person, points, scheme=scheme, fix_scale=1.0))
    fit = replace(fit, residuals=_residuals_px(capture, fit, landmarks2d))
    return FoundFace(capture, landmarks2d, landmarks3d, of.scale, fit, settings, (), tuple(capture.notes))


def _moved_landmarks(before: Track, tracked: Tracked, person: KnownIdentity, scheme: str) -> Array:
    """(L, 3) landmarks moved as the skin under them; those that the model does not have, as the head."""
    ids, _, bary = embedding(person, scheme, len(before.landmarks))
    topology = person.topology
    triangles = topology.landmark_faces[scheme][topology.landmark_ids[scheme] < len(before.landmarks)]
    uv = np.einsum("lk,lkc->lc", bary, topology.uv[topology.uv_faces[triangles]])
    moved = before.landmarks.copy()
    moved[ids] += sample_map(tracked.position - before.position, uv)
    known = np.isfinite(before.landmarks[ids]).all(1)
    head = align_points_robustly(before.landmarks[ids][known], moved[ids][known], scale=1.0)
    others = np.setdiff1d(np.arange(len(moved)), ids)
    moved[others] = head.apply(before.landmarks[others])
    return moved


def _residuals_px(capture: Capture, fit: FaceFit, landmarks2d: Landmarks2D) -> Array:
    """(V, L') distances between the fitted model's landmarks and those in the photos, pixels."""
    ids, corners, bary = embedding(fit.model, landmarks2d.scheme, landmarks2d.points.shape[1])
    points = np.einsum("lk,lkc->lc", bary, fit.vertices[corners])
    pixels, _ = project_all(capture.cameras, points)
    return np.linalg.norm(pixels - landmarks2d.points[:, ids], axis=-1)
