"""Who is in a sequence, by which cameras and at which scale: found once, in some of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from mesoface.captures.capture import Capture, CaptureSource
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import CaptureError, MesofaceError, ReconstructionError
from mesoface.face_models.model import FaceModel
from mesoface.face_models.scale import ScaleEstimate
from mesoface.files.atomic import atomic_file
from mesoface.geometry.camera import Camera
from mesoface.pipeline import FoundFace, find_face
from mesoface.running.progress import ProgressCallback, silent
from mesoface.sequence.identity import KnownIdentity, joint_identity

NAME = "person.json"
FRAMES = 4
"""How many frames the identity is solved in, spread over the sequence."""


@dataclass(frozen=True, eq=False)
class Person:
    """What all frames have in common.

    Args:
        identity: (n_identity,) coefficients of the face model.
        views: names of the views that all frames use.
        scale: from the capture's unit to millimetres.
        scheme: of the landmarks.
        frames: names of the frames that this was found in.
    """

    identity: NDArray[np.float64]
    views: tuple[str, ...]
    scale: ScaleEstimate
    scheme: str
    frames: tuple[str, ...]

    def model(self, model: FaceModel) -> KnownIdentity:
        """``model`` as this person."""
        return KnownIdentity(model, self.identity)

    def settings(self, settings: Settings) -> Settings:
        """``settings`` with this person's views and scale."""
        return settings.model_copy(update={"view_ids": self.views, "scale": self.scale.mm_per_unit})


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    identity: list[FiniteFloat]
    views: list[str]
    mm_per_unit: FiniteFloat
    scale_source: str
    scale_uncertainty: FiniteFloat
    scheme: str
    frames: list[str]


def find_person(
    captures: Sequence[tuple[str, Path]],
    settings: Settings,
    model: FaceModel,
    *,
    format: str | None = None,
    progress: ProgressCallback = silent,
) -> Person:
    """Find the person in some frames, spread over the sequence; frames that show nobody are passed over.

    Args:
        captures: (name, folder) of all frames in their order.
        settings: of the reconstruction.
        model: the face model.
        format: of the captures, or None to look at the folders.
        progress: told about every frame.

    Raises:
        MesofaceError: none of the frames that were tried shows a face; says what is wrong with the first.
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
    views, scheme = tuple(faces[0].capture.names), faces[0].landmarks3d.scheme
    return Person(identity, views, scale, scheme, tuple(name for name, _ in found))


def write_person(folder: Path, person: Person) -> None:
    """Write ``person.json``.

    Raises:
        MesofaceError: it cannot be written.
    """
    file = _File(
        identity=person.identity.tolist(),
        views=list(person.views),
        mm_per_unit=person.scale.mm_per_unit,
        scale_source=person.scale.source,
        scale_uncertainty=person.scale.relative_uncertainty,
        scheme=person.scheme,
        frames=list(person.frames),
    )
    with atomic_file(folder / NAME) as temporary:
        temporary.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_person(folder: Path, model: FaceModel) -> Person:
    """Read what :func:`write_person` wrote.

    Raises:
        MesofaceError: it is damaged, or of another face model.
    """
    path, remedy = folder / NAME, "remove the folder and start the sequence again"
    try:
        file = _File.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MesofaceError("cannot be read as a person's identity", path=path, remedy=remedy) from error
    if len(file.identity) != model.n_identity:
        raise MesofaceError(
            f"has {len(file.identity)} coefficients, the face model {model.n_identity}",
            path=path,
            remedy=remedy,
        )
    scale = ScaleEstimate(file.mm_per_unit, file.scale_source, file.scale_uncertainty)
    return Person(np.array(file.identity), tuple(file.views), scale, file.scheme, tuple(file.frames))


def _only(capture: Capture, names: Sequence[str]) -> Capture:
    """The capture with the views of the first frame.

    Raises:
        ReconstructionError: it has not got them.
    """
    if missing := [name for name in names if name not in capture.names]:
        raise ReconstructionError(f"view {missing[0]} is missing", path=capture.path)
    return capture.select_names(names)


def _rescaled(face: FoundFace, factor: float) -> FoundFace:
    """The landmarks and the pose of a face in a world that is ``factor`` times as large.

    The shape stays: it was fitted in millimetres that were a few per cent off, and is fitted again.
    """
    points = face.landmarks3d.points * factor
    fit = replace(face.fit, translation=face.fit.translation * factor)
    return replace(face, landmarks3d=replace(face.landmarks3d, points=points), fit=fit)


_RELATIVE = 1e-6  # numbers that were written with six digits are the same


def check_cameras(source: CaptureSource, reference: CaptureSource, views: Sequence[str]) -> None:
    """See that a frame has the same cameras as another of its sequence.

    Args:
        source: the frame.
        reference: the other.
        views: names of the views that matter.

    Raises:
        CaptureError: a view is missing, or its camera has moved or is another one.
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
