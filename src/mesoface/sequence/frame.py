"""One frame: followed from the previous one or, if the track is lost, measured afresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models.fitting import embedding, fit_face, fit_landmarks3d
from mesoface.face_models.model import FaceFit, FaceModel, Topology
from mesoface.geometry.alignment import align_points_robustly
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks.triangulation import project_all
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.matching.cascade import choose_matcher
from mesoface.pipeline import (
    Measure,
    choose_measure,
    choose_predictor,
    find_face,
    finish_face,
    measure_face,
)
from mesoface.results.face import Face
from mesoface.running.process import StageClock
from mesoface.running.progress import ProgressCallback, silent
from mesoface.sequence.person import KnownIdentity, Person
from mesoface.sequence.state import Track, track_of
from mesoface.sequence.tracking import SIZE, Tracked, track
from mesoface.sequence.warm import WarmMeasure, facial_masks
from mesoface.uvd.maps import sample_map
from mesoface.uvd.space import Match, UVDSpace

Array = NDArray[np.float64]

LEAST_AGREEMENT = 0.5
"""Median correlation with the anchor's skin below which the track is lost."""
FARTHEST_MM = 25.0
"""Median motion from one frame to the next above which the frame is taken for a cut."""
# Share of the anchor's measured face, and of its confidence, below which a frame is measured again afresh.
_LEAST_MEASURED, _LEAST_CONFIDENCE = 0.9, 0.7


@dataclass(frozen=True, eq=False)
class Frame:
    """A measured frame.

    Args:
        face: the result, without texture and predicted relief, which the next frame does not need.
        track: what the next frame starts from.
        agreement: of the tracked skin with the anchor's, or None where nothing was tracked.
        reason: why the frame was measured afresh, or None where it was followed from the frame before.
    """

    face: Face
    track: Track
    agreement: float | None
    reason: str | None


class _Lost(Exception):
    """The frame cannot be followed from the previous one; the message is the reason."""


class FrameMeasurer:
    """Measures the frames of one sequence.

    Args:
        person: the person in the sequence.
        model: the face model.
        settings: of the reconstruction; presets ``fast``, ``default`` and ``best``.
        progress: called as the stages of every frame advance.

    Raises:
        MesofaceError: a setting cannot be met.
    """

    def __init__(
        self, person: Person, model: FaceModel, settings: Settings, progress: ProgressCallback = silent
    ):
        self._person, self._settings, self._progress = person, settings, progress
        self._model = model
        self._known = person.model(model)
        self._masks = facial_masks(model.topology)
        self._predictor = choose_predictor(settings)
        self._matcher = choose_matcher(
            settings.matcher,
            settings.weights,
            device=settings.torch_device(),
            threads=settings.threads,
            memory_mb=settings.memory_mb,
        )
        # Eyes and lips do not move with the skin that is tracked: all frames have them filled alike.
        skin_only = settings.model_copy(update={"holes": "keep"})
        self._measure = choose_measure(skin_only, self._matcher)

    def measure(self, capture: Capture, before: Track | None, why_afresh: str = "the first frame") -> Frame:
        """Measure a frame.

        Args:
            capture: its photos, in the capture's own unit.
            before: what it starts from, or None to measure it afresh.
            why_afresh: the reason that is recorded for a frame without a previous one.

        Raises:
            MesofaceError: the capture does not allow it.
        """
        reason, clock = why_afresh, StageClock()
        if before is not None:
            try:
                return self._follow(capture, before, clock)
            except _Lost as lost:
                reason = str(lost)
        face, matched = self._afresh(capture, clock)
        if before is not None:
            face = replace(face, warnings=(*face.warnings, f"measured afresh: {reason}"))
        return Frame(face, track_of(face, matched.space, None), None, reason)

    def finish(self, face: Face) -> Face:
        """Add texture and predicted relief to a measured face; another frame may be measured meanwhile.

        Raises:
            MesofaceError: a photo's file is not what it was when it was loaded.
        """
        return finish_face(face, self._predictor, progress=self._progress)

    def _follow(self, capture: Capture, before: Track, clock: StageClock) -> Frame:
        capture = before.seen_by(capture.in_millimetres(self._person.scale.mm_per_unit))
        with clock.stage("tracking"):
            self._progress("Tracking", 0, 1)
            space = UVDSpace(before.position, before.normal, self._masks(SIZE))
            tracked = track(capture.views, before.anchor, space, before.visibility.astype(np.float32))
            _check_track(tracked, before)
            found = self._find_again(capture, before, tracked)
            self._progress("Tracking", 1, 1)
        found = replace(found, stages=tuple(clock.stages))
        around = WarmMeasure(self._matcher, self._settings.preset, tracked.position, before, self._masks)
        face, matched = self._surface(found, around, before)
        return Frame(face, track_of(face, matched.space, before), tracked.agreement, None)

    def _find_again(self, capture: Capture, before: Track, tracked: Tracked) -> Face:
        """Move the landmarks with the skin under them, and fit expression and pose to them.

        Args:
            capture: this frame's photos with the previous frame's cameras, mm.
            before: the previous frame.
            tracked: where the skin is now.
        """
        person, scheme = self._known, self._person.scheme
        points = _moved_landmarks(before, tracked, person, scheme)
        weights = np.where(np.isfinite(points).all(1), before.landmark_weights, 0.0)
        pixels, _ = project_all(capture.cameras, points)
        landmarks2d = Landmarks2D(np.where(weights[..., None] > 0, pixels, np.nan), weights, scheme)
        residuals, distrusted = np.where(weights > 0, 0.0, np.nan), np.zeros(len(capture), bool)
        landmarks3d = Landmarks3D(points, weights, residuals, distrusted, scheme)
        fit = person.full(fit_landmarks3d(person, points, scheme=scheme, fix_scale=1.0))
        fit = replace(fit, residuals=_residuals_px(capture, fit, landmarks2d))
        scale, settings, notes = self._person.scale, self._settings, tuple(capture.notes)
        return Face(
            fit.mesh, None, None, None, fit, capture, landmarks2d, landmarks3d, scale, settings, (), notes
        )

    def _afresh(self, capture: Capture, clock: StageClock) -> tuple[Face, Match]:
        person = self._person
        found = find_face(
            capture,
            person.settings(self._settings),
            face_model=self._model,
            progress=self._progress,
        )
        fit = fit_face(
            self._known, found.capture.cameras, found.landmarks2d, found.landmarks3d, fix_scale=1.0
        )
        found = replace(
            found,
            fit=self._known.full(fit),
            scale=person.scale,
            settings=self._settings,
            stages=(*clock.stages, *found.stages),
        )
        return self._surface(found, self._measure)

    def _surface(self, found: Face, measure: Measure, before: Track | None = None) -> tuple[Face, Match]:
        """The face and the match that it was made of, which must be as good as in the frame ``before``.

        Raises:
            _Lost: it is not.
        """
        matches: list[Match] = []

        def remembered(
            views: Sequence[View], base: Mesh, topology: Topology, progress: ProgressCallback
        ) -> Match:
            try:
                matches.append(measure(views, base, topology, progress))
            except MesofaceError as error:
                raise error if before is None else _Lost(error.message) from error
            if before is not None:
                _check_match(matches[0], before)
            return matches[0]

        face = measure_face(found, remembered, progress=self._progress)
        return face, matches[0]


def _check_track(tracked: Tracked, before: Track) -> None:
    """Check that the photos show the same skin.

    Raises:
        _Lost: they do not.
    """
    if tracked.agreement < LEAST_AGREEMENT:
        raise _Lost(
            f"the photos do not show the skin of the previous frame (agreement {tracked.agreement:.2f})"
        )
    moved = float(np.median(np.linalg.norm(tracked.position - before.position, axis=-1)))
    if not moved < FARTHEST_MM:
        raise _Lost(f"the face has jumped by {moved:.0f} mm")


def _check_match(matched: Match, before: Track) -> None:
    """Check that the photos agree on a surface as well as they did in the anchor frame.

    Raises:
        _Lost: they do not.
    """
    if len(matched.used) != len(before.views):
        raise _Lost("a view no longer sees the face")
    measured, confidence = before.quality
    share = float(matched.measured.sum() / matched.space.valid.sum())
    if share < _LEAST_MEASURED * measured:
        raise _Lost(f"only {100 * share:.0f} % of the face could be measured around the previous surface")
    sure = float(matched.confidence[matched.measured].mean())
    if sure < _LEAST_CONFIDENCE * confidence:
        raise _Lost(f"the photos agree less than before (confidence {sure:.2f}, was {confidence:.2f})")


def _moved_landmarks(before: Track, tracked: Tracked, person: KnownIdentity, scheme: str) -> Array:
    """(L, 3) landmarks moved with the skin under them; those that the model lacks move with the head."""
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
