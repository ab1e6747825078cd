"""The person in a sequence, its cameras and its scale: found once, in some of the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mesoface.captures.capture import Capture, CaptureSource
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import CaptureError, MesofaceError, ReconstructionError
from mesoface.face_models.model import FaceModel
from mesoface.face_models.scale import ScaleEstimate
from mesoface.geometry.camera import Camera
from mesoface.pipeline import FoundFace, find_face
from mesoface.running.progress import ProgressCallback, silent
from mesoface.sequence.identity import KnownIdentity, joint_identity
from mesoface.sequence.state import read_model

NAME = "person.json"
FRAMES = 4
"""How many frames the identity is solved in, spread over the sequence."""


class Person(BaseModel):
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

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    found: list[tuple[str, FoundFace]] = []
    errors = []
    for number, index in enumerate(tried):
        progress("Identity", number, len(tried))
        name, folder = captures[index]
        try:
            capture = load_capture(folder, format=format, names=settings.view_ids)
            chosen = settings
            if found:
                names = tuple(found[0][1].capture.names)
                capture, chosen = _only(capture, names), settings.model_copy(update={"view_ids": names})
            found.append((name, find_face(capture, chosen, face_model=model)))
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


def _only(capture: Capture, names: Sequence[str]) -> Capture:
    """The capture with the views of the first frame.

    Raises:
        ReconstructionError: a view is missing.
    """
    if missing := [name for name in names if name not in capture.names]:
        raise ReconstructionError(f"view {missing[0]} is missing", path=capture.path)
    return capture.select_names(names)


def _rescaled(face: FoundFace, factor: float) -> FoundFace:
    """The landmarks and the pose of a face in a world that is ``factor`` times as large.

    The shape is kept: it was fitted in millimetres that were a few per cent off, and is fitted again.
    """
    points = face.landmarks3d.points * factor
    fit = replace(face.fit, translation=face.fit.translation * factor)
    return replace(face, landmarks3d=replace(face.landmarks3d, points=points), fit=fit)


_RELATIVE = 1e-6  # numbers that were written with six digits are the same


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
