"""The files of a sequence: ``track.npz``, which the next frame starts from, and JSON of pydantic models."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FiniteFloat, ValidationError

from mesoface.captures.capture import Capture
from mesoface.errors import FaceModelError, MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.files.npz import read_npz, require
from mesoface.results.face import Face
from mesoface.sequence.tracking import SIZE, unroll
from mesoface.uvd.maps import blur_masked
from mesoface.uvd.space import UVDSpace

FRAME, TRACK = "frame.json", "track.npz"
REMEDY = "remove the frame's folder and run the same command again"
Model = TypeVar("Model", bound=BaseModel)
_SMOOTH_MM = 0.8  # standard deviation of the surface that the next frame starts from


@dataclass(frozen=True, eq=False)
class Track:
    """A measured frame, as the next one starts from it.

    Numbers have the types they are saved with, so that a resumed sequence continues with the same ones.

    Args:
        views: (V,) names of the views that were used.
        rotations: (V, 3, 3) of their cameras, as corrected.
        translations: (V, 3) likewise, mm.
        anchor: (V, SIZE, SIZE) uint8 pictures of the anchor frame, from :func:`.tracking.unroll`.
        frames: how many frames were followed from the anchor, itself included.
        position: (SIZE, SIZE, 3) float32 mm, the base surface of this frame.
        normal: (SIZE, SIZE, 3) float32.
        visibility: (V, SIZE, SIZE) float16.
        landmarks: (L, 3) mm; NaN where unknown.
        landmark_weights: (V, L).
        expression: (E,) coefficients.
        detail: (H, H) float16 mm, the measured surface over its base.
        kept: (H, H) where it was measured.
        quality: share of the face that was measured in the anchor frame, and its mean confidence there.
    """

    views: NDArray[np.str_]
    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    anchor: NDArray[np.uint8]
    frames: int
    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    visibility: NDArray[np.float16]
    landmarks: NDArray[np.float64]
    landmark_weights: NDArray[np.float64]
    expression: NDArray[np.float64]
    detail: NDArray[np.float16]
    kept: NDArray[np.bool_]
    quality: NDArray[np.float64]

    def seen_by(self, capture: Capture) -> Capture:
        """The next frame's photos, by this frame's cameras.

        Raises:
            CaptureError: a view is missing.
        """
        capture = capture.select_names(self.views.tolist())
        views = [
            replace(view, camera=replace(view.camera, R=R, t=t))
            for view, R, t in zip(capture.views, self.rotations, self.translations, strict=True)
        ]
        return replace(capture, views=tuple(views), mm_per_unit=1.0)


def track_of(face: Face, measured: UVDSpace, before: Track | None) -> Track:
    """What the next frame starts from.

    Args:
        face: this frame's.
        measured: its surface from matching. The base mesh is that surface under a Gaussian, which pulls the
            rims of eyes, mouth and mask inwards: a next frame that started there would be pulled in twice.
        before: what this frame started from; None makes it an anchor.
    """
    fine, views = face.fine, face.capture.views
    assert fine is not None
    kept, *seen = (
        cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for each in (fine.measured.astype(np.float32), *fine.visibility)
    )
    space = _smoothed(measured.resized(SIZE), kept)
    visibility = np.stack(seen).astype(np.float16)
    if before is None:
        anchor = unroll(views, space, visibility.astype(np.float32))
        quality = np.array([1 - fine.left_out, float(fine.confidence[fine.measured].mean())])
    else:
        anchor, quality = before.anchor, before.quality
    return Track(
        views=np.array(face.capture.names),
        rotations=np.stack([view.camera.R for view in views]),
        translations=np.stack([view.camera.t for view in views]),
        anchor=anchor,
        frames=1 if before is None else before.frames + 1,
        position=space.position,
        normal=space.normal,
        visibility=visibility,
        landmarks=face.landmarks3d.points,
        landmark_weights=face.landmarks3d.weights,
        expression=np.asarray(face.fit.expression, np.float64),
        detail=fine.displacement.astype(np.float16),
        kept=fine.measured,
        quality=quality,
    )


def write_track(folder: Path, track: Track) -> None:
    """Write ``track.npz`` into a frame's result.

    Raises:
        MesofaceError: it cannot be written.
    """
    with atomic_file(folder / TRACK) as temporary:
        np.savez_compressed(temporary, **vars(track))


def read_track(folder: Path) -> Track:
    """Read what :func:`write_track` wrote.

    Raises:
        MesofaceError: it is missing, damaged, or of another layout.
    """
    path = folder / TRACK
    try:
        arrays = read_npz(path, [field.name for field in fields(Track)])
        views = len(arrays["views"]) if "views" in arrays else None
        require(
            path,
            {name: values for name, values in arrays.items() if name not in ("views", "landmarks")},
            rotations=(views, 3, 3),
            translations=(views, 3),
            anchor=(views, SIZE, SIZE),
            frames=(),
            position=(SIZE, SIZE, 3),
            normal=(SIZE, SIZE, 3),
            visibility=(views, SIZE, SIZE),
            landmark_weights=(views, None),
            expression=(None,),
            detail=(None, None),
            kept=(None, None),
            quality=(2,),
        )
        if "views" not in arrays or arrays["views"].dtype.kind != "U" or arrays["views"].ndim != 1:
            raise FaceModelError("has no names of views", path=path)
        if arrays.get("landmarks", np.zeros(0)).shape != (arrays["landmark_weights"].shape[1], 3):
            raise FaceModelError("'landmarks' are not as many as their weights", path=path)
    except FaceModelError as error:
        raise MesofaceError(error.message, path=path, remedy=REMEDY) from error
    values: dict[str, Any] = {**arrays, "frames": int(arrays["frames"])}
    return Track(**values)


def _smoothed(space: UVDSpace, kept: NDArray[np.float32]) -> UVDSpace:
    """The surface without its finest detail; every texel moves along its normal, so it keeps its skin.

    Texels that were not ``kept`` (SIZE, SIZE) move to the height of their surroundings.
    """
    blurred = blur_masked(space.position, kept, _SMOOTH_MM / space.texel_mm)
    reached = np.abs(blurred).sum(-1) > 0
    step = np.einsum("hwk,hwk->hw", blurred - space.position, space.normal) * reached
    return replace(space, position=space.displaced(step))


class FrameRecord(BaseModel, extra="forbid", frozen=True):
    """How a frame was measured: ``frame.json``.

    Args:
        frame: its name.
        follows: the frame that it was followed from, or None where it was measured afresh.
        reason: why it was measured afresh, or None.
        agreement: correlation of its skin with the anchor frame's, or None where it was measured afresh.
    """

    frame: str
    follows: str | None
    reason: str | None
    agreement: FiniteFloat | None


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as JSON.

    Raises:
        MesofaceError: the file cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_model(path: Path, model: type[Model], what: str, *, remedy: str) -> Model:
    """Read what :func:`write_model` wrote.

    Args:
        path: the file.
        model: its kind.
        what: what it holds, with an article, for people.
        remedy: what to do about a file that is missing or damaged.

    Raises:
        MesofaceError: it is missing or damaged.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MesofaceError(f"cannot be read as {what}", path=path, remedy=remedy) from error
