"""The order of the stages, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.config import Settings
from mesoface.errors import ReconstructionError
from mesoface.face_models import load_face_model
from mesoface.face_models.fitting import fit_face
from mesoface.face_models.model import FaceModel, Topology
from mesoface.face_models.regions import region_centers
from mesoface.face_models.scale import estimate_scale
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks import (
    LandmarkDetector,
    Landmarks2D,
    Landmarks3D,
    MediapipeDetector,
    align_landmarks,
    triangulate,
)
from mesoface.landmarks.next_best_view import choose_views
from mesoface.landmarks.selection import select_views
from mesoface.matching.cascade import choose_matcher, match
from mesoface.matching.finest import measure_finest
from mesoface.matching.matcher import Matcher
from mesoface.matching.movement import weigh_down_movement
from mesoface.matching.openings import match_openings
from mesoface.matching.refinement import refine, refined_size
from mesoface.relief.predict import Predictor, choose_predictor, predict_relief, why_no_relief
from mesoface.results.face import Face
from mesoface.running.process import StageClock
from mesoface.running.progress import ProgressCallback, silent
from mesoface.surface.fine import conform_base
from mesoface.surface.whole import open_surface, whole_surface
from mesoface.texture.bake import bake_texture, check_memory
from mesoface.uvd.space import Match, build_uvd_space

# Share of the facial region that was not measured that is worth a warning.
_MUCH = 0.1
# Share from which on there is no face: what remains are chance agreements.
_NEARLY_ALL = 0.9


Measure = Callable[[Sequence[View], Mesh, Topology, ProgressCallback], Match]
"""Measures the surface that the views show around a base mesh, in the facial mask of its topology."""


def reconstruct(
    capture: Capture,
    settings: Settings | None = None,
    *,
    landmarks: Landmarks2D | None = None,
    detector: LandmarkDetector | None = None,
    face_model: FaceModel | None = None,
    matcher: Matcher | None = None,
    relief: Predictor | None = None,
    progress: ProgressCallback = silent,
) -> Face:
    """Photos in, measured face out: :func:`find_face`, :func:`measure_face` and :func:`finish_face`.

    Objects that are handed in take the place of what the settings name.

    Args:
        capture: from :func:`mesoface.load_capture`, or made of arrays.
        settings: see :class:`mesoface.config.Settings`; None for the defaults.
        landmarks: landmarks of the capture's views where they are known already; else they are detected.
        detector: finds the landmarks; None for MediaPipe's.
        face_model: is fitted to the landmarks; None for ``settings.face_model``.
        matcher: measures each level of the cascade; None for ``settings.matcher``.
        relief: predicts the relief; None for ``settings.meso``.
        progress: called as the stages advance.

    Raises:
        MesofaceError: the capture does not allow a reconstruction; the message names cause and remedy.
    """
    settings = settings or Settings()
    # First: a wrong name or file, or too little memory, is an error before any work is done.
    check_memory(settings.texture_size)
    model = face_model or load_face_model(settings.face_model)
    measure, predictor = choose_measure(settings, matcher), relief or choose_predictor(settings)
    found = find_face(
        capture, settings, face_model=model, detector=detector, landmarks=landmarks, progress=progress
    )
    return finish_face(measure_face(found, measure, progress=progress), predictor, progress=progress)


def find_face(
    capture: Capture,
    settings: Settings | None = None,
    *,
    face_model: FaceModel | None = None,
    detector: LandmarkDetector | None = None,
    landmarks: Landmarks2D | None = None,
    progress: ProgressCallback = silent,
) -> Face:
    """Landmarks, views, scale, and the face model fitted to them: the first part of :func:`reconstruct`.

    Args and errors are those of :func:`reconstruct`.

    Returns:
        the face whose base is the fitted model; its surface is not measured yet.
    """
    settings, clock = settings or Settings(), StageClock()
    model = face_model or load_face_model(settings.face_model)
    warnings = list(capture.notes)
    with clock.stage("landmarks"):
        if settings.view_ids is not None:
            keep = [capture.names.index(name) for name in capture.select_names(settings.view_ids).names]
            capture, landmarks = capture.select(keep), landmarks and landmarks.select(keep)
        landmarks2d = landmarks or (detector or MediapipeDetector(progress)).detect(capture)
        landmarks3d = triangulate(capture.cameras, landmarks2d)
        warnings += [*landmarks2d.notes, *_distrust(capture, landmarks3d)]

    with clock.stage("views and scale"):
        scale = estimate_scale(capture, landmarks2d, landmarks3d, override=settings.scale)
        chosen, notes_on_views = _usable_views(capture, landmarks2d, landmarks3d, settings)
        warnings += notes_on_views
        capture = capture.select(chosen).in_millimetres(scale.mm_per_unit)
        landmarks2d = landmarks2d.select(chosen)
        landmarks3d = triangulate(capture.cameras, landmarks2d)
        if landmarks is None:
            # A detector knows faces, not this skin; landmarks that somebody set by hand stay where they are.
            landmarks2d, landmarks3d = align_landmarks(capture, landmarks2d, landmarks3d)

    with clock.stage("base mesh"):
        progress("Base mesh", 0, 1)
        fit = fit_face(model, capture.cameras, landmarks2d, landmarks3d, fix_scale=1.0)
        progress("Base mesh", 1, 1)
    stages, notes = tuple(clock.stages), tuple(warnings)
    return Face(
        fit.mesh, None, None, None, fit, capture, landmarks2d, landmarks3d, scale, settings, stages, notes
    )


def measure_face(found: Face, measure: Measure | None = None, *, progress: ProgressCallback = silent) -> Face:
    """The surface around the fitted model, if the settings ask for it: part two of :func:`reconstruct`.

    Args:
        found: from :func:`find_face`.
        measure: from :func:`choose_measure`, or any function like it; None for what the settings name.
        progress: called as the stages advance.

    Raises:
        ReconstructionError: the photos agree on next to nothing of a face.
    """
    if found.settings.until != "fine":
        return found
    fit, landmarks3d = found.fit, found.landmarks3d
    topology, warnings, clock = fit.model.topology, list(found.warnings), StageClock(list(found.stages))
    measure = measure or choose_measure(found.settings)
    with clock.stage("matching"):
        matched = measure(found.capture.views, fit.mesh, topology, progress)
        warnings += matched.notes
        used = list(matched.used)
        landmarks3d = replace(
            landmarks3d,
            weights=landmarks3d.weights[used],
            residuals=landmarks3d.residuals[used],
            distrusted=landmarks3d.distrusted[used],
        )
    with clock.stage("surface"):
        progress("Surface", 0, 1)
        if found.settings.holes == "fill":
            fine = whole_surface(matched, fit.mesh, topology.facial)
            base = conform_base(fit.mesh, topology.closed, fine.space, fine.kept)
        else:
            fine = open_surface(matched)
            base = conform_base(fit.mesh, topology.facial, fine.space, fine.kept)
        progress("Surface", 1, 1)
    if fine.left_out > _NEARLY_ALL:
        raise ReconstructionError(
            f"the photos agree on only {100 * (1 - fine.left_out):.0f} % of a face around the landmarks",
            path=found.capture.path,
            remedy="check calibration and landmarks with `mesoface inspect`",
        )
    if fine.left_out > _MUCH:
        share = f"{100 * fine.left_out:.0f} %"
        warnings.append(f"{share} of the facial region was not measured: fewer than two photos see it well")
    return replace(
        found,
        base=base,
        fine=fine,
        capture=replace(found.capture, views=matched.views),
        landmarks2d=found.landmarks2d.select(used),
        landmarks3d=landmarks3d,
        stages=tuple(clock.stages),
        warnings=tuple(warnings),
        checks=matched.checks,
    )


def finish_face(face: Face, relief: Predictor | None = None, *, progress: ProgressCallback = silent) -> Face:
    """Texture and mesoscopic detail, as the face's settings ask for: the last part of :func:`reconstruct`.

    Args:
        face: from :func:`measure_face`; where no surface was measured, it stays as it is.
        relief: predicts the relief; None for what the settings name.
        progress: called as the stages advance.

    Raises:
        CaptureError: a photo's file is not what it was when it was loaded.
    """
    fine, settings = face.fine, face.settings
    if fine is None:
        return face
    clock = StageClock(list(face.stages))
    predictor = relief or choose_predictor(settings)
    texture, predicted, warnings = None, None, face.warnings
    if settings.texture_size:
        with clock.stage("texture"):
            texture = bake_texture(
                fine,
                face.base,
                face.capture.views,
                settings.texture_size,
                occluder=face.fit.mesh.select_faces(~face.fit.model.topology.closed),
                threads=settings.threads,
                progress=progress,
            )
    if predictor is None and (reason := why_no_relief(settings)):
        warnings = (*warnings, f"no relief was predicted: {reason}")
    if predictor is not None and texture is not None:
        with clock.stage("mesoscopic detail"):
            predicted = predict_relief(
                fine, texture, face.capture.views, predictor, where=_pored_skin(face), progress=progress
            )
    return replace(face, texture=texture, relief=predicted, stages=tuple(clock.stages), warnings=warnings)


def choose_measure(settings: Settings, matcher: Matcher | None = None) -> Measure:
    """How the surface is measured around a base mesh; weights are read at once.

    Args:
        settings: name the matcher and its preset.
        matcher: measures each level in place of the one that the settings name.

    Raises:
        MesofaceError: weights are missing, damaged or of another network, or there is no such device.
    """
    device = settings.torch_device()
    if settings.preset == "paper" and matcher is None:
        # Here, because torch takes seconds to import.
        from mesoface.matching.paper.matcher import load_paper_networks, match_paper, paper_space

        networks = load_paper_networks(settings.weights)
        return lambda views, base, topology, progress: match_paper(
            paper_space(base, topology.facial),
            views,
            networks,
            occluder=base.select_faces(~topology.facial),
            memory_mb=settings.memory_mb,
            threads=settings.threads,
            device=device,
            progress=progress,
        )
    levels = matcher or choose_matcher(
        settings.matcher,
        settings.weights,
        device=device,
        threads=settings.threads,
        memory_mb=settings.memory_mb,
    )

    def measure(views: Sequence[View], base: Mesh, topology: Topology, progress: ProgressCallback) -> Match:
        facial, closing, preset = topology.facial, topology.closing, settings.preset
        found = match(
            lambda size: build_uvd_space(base, facial, size),
            views,
            levels,
            preset=preset,
            occluder=base.select_faces(~facial),
            progress=progress,
        )
        regions, skin = region_centers(topology, base.vertices), topology.facial_mask
        found = weigh_down_movement(found, regions)
        found = found.resized(skin(refined_size(found, preset)))
        found = refine(found, memory_mb=settings.memory_mb, threads=settings.threads, progress=progress)
        if settings.holes == "fill" and closing is not None:
            found = match_openings(found, base, facial, closing, levels, preset=preset, progress=progress)
            found = weigh_down_movement(found, regions, within=found.space.valid & ~skin(found.space.size))
        return measure_finest(
            found,
            skin,
            preset=preset,
            memory_mb=settings.memory_mb,
            threads=settings.threads,
            progress=progress,
        )

    return measure


def _pored_skin(face: Face) -> NDArray[np.bool_] | None:
    """(H, H) where relief may be predicted, or None for all of the surface.

    Eyes and lips have no pores, and colour is off where the surface was filled in.
    """
    if face.fine is None or face.settings.holes == "keep":
        return None
    return face.fit.model.topology.facial_mask(face.fine.space.size) & face.fine.measured


def _usable_views(
    capture: Capture, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D, settings: Settings
) -> tuple[list[int], list[str]]:
    """The views to go on with, no distrusted ones, and what there is to say about the choice.

    They are the asked-for ones, or the best ``settings.views``, or those that are worth their time.
    """
    chosen: Sequence[int] = range(len(capture))
    notes: list[str] = []
    if settings.view_ids is None:
        if settings.views == "auto":
            choice = choose_views(capture, landmarks2d, landmarks3d)
            chosen, notes = choice.views, [choice.note] if choice.note else []
        else:
            chosen = select_views(capture, landmarks2d, landmarks3d, settings.views)
    chosen = [v for v in chosen if not landmarks3d.distrusted[v] and landmarks2d.found[v]]
    if len(chosen) < 2:
        raise ReconstructionError(
            "fewer than two usable views are left",
            path=capture.path,
            remedy="run `mesoface inspect` to see which views fail and why",
        )
    return chosen, notes


def _distrust(capture: Capture, landmarks3d: Landmarks3D) -> list[str]:
    """A warning for every view whose landmarks contradict the others."""
    return [
        f"view {name} contradicts the other views and is left out: is its camera another view's?"
        for name, bad in zip(capture.names, landmarks3d.distrusted, strict=True)
        if bad
    ]
