"""From a seed to photos and the surface that they show, at rest or frame by frame: in memory, and on disk in
FaceScape's layout with the truth beside the photos.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import Capture, View
from mesoface.captures.formats import facescape
from mesoface.captures.lists import write_capture_list
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.face_models.model import FaceModel
from mesoface.files.atomic import atomic_folder
from mesoface.files.meshes import write_ply
from mesoface.geometry.camera import Array, Camera
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis.cameras import defocus, expose, make_rig, meter, miscalibrate, render
from mesoface.lab.synthesis.damage import disturb, process
from mesoface.lab.synthesis.head import coarse_truth
from mesoface.lab.synthesis.scene import LitScene, draw_lighting, light_scene, with_lights_turned
from mesoface.lab.synthesis.settings import PhoneSettings, SynthesisSettings
from mesoface.lab.synthesis.subject import OTHER_EXPRESSIONS, REST, Motion, Pose, Subject, chance, placed
from mesoface.running.progress import ProgressCallback, silent

LIST = "frames.txt"
"""The list of a synthetic sequence's frames, in their order."""


@dataclass(frozen=True, eq=False)
class SyntheticCapture:
    """Photos as a camera would write them, and the truth about them.

    Args:
        photos: V × (H, W, 3) uint8 sRGB, with lens distortion.
        cameras: the V cameras that took the photos, lens included, mm.
        calibration: the V cameras that are written, off by ``settings.calibration_px``.
        truth: the facial surface with its relief, in the cameras' world, mm.
        truth_error: (K,) distances of the truth from the photographed surface, mm; 0 when it is that surface.
        scene: everything that was photographed.
        subject: the person.
        gain: exposure common to all photos.
    """

    photos: tuple[NDArray[np.uint8], ...]
    cameras: tuple[Camera, ...]
    calibration: tuple[Camera, ...]
    truth: Mesh
    truth_error: Array
    scene: LitScene
    subject: Subject
    gain: float

    def undistorted(self) -> Capture:
        """The capture in memory, without JPEG: undistorted photos and their written cameras, mm."""
        views = []
        for i, (photo, camera) in enumerate(zip(self.photos, self.calibration, strict=True)):
            ideal, source = camera.undistorted()
            image = photo.astype(np.float32) / 255
            if camera.lens is not None:
                image = np.clip(cv2.remap(image, source, None, cv2.INTER_CUBIC), 0, 1)
            views.append(View(str(i), image, ideal))
        return Capture(tuple(views), format="synthetic", mm_per_unit=1.0)


def photograph(
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> SyntheticCapture:
    """Make a head, light it and photograph it.

    Args:
        seed: determines everything that ``settings`` does not.
        model: a face model, or an argument of :func:`mesoface.face_models.load_face_model`.
        settings: sizes, number of views, strengths.
        threads: photos rendered at once; None for one per core.
        progress: called after every view.

    Raises:
        FaceModelError: the model cannot be loaded, or has no landmarks.
        MesofaceError: ``seed`` is negative.
    """
    studio = Studio.set_up(seed=seed, model=model, settings=settings or SynthesisSettings())
    return studio.take(REST, threads=threads, progress=progress)


def photograph_sequence(
    frames: Sequence[int],
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    fps: float = 30.0,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> Iterator[SyntheticCapture]:
    """Photograph a head that turns and changes its expression, with fixed cameras and lights.

    Frame 0 is the result of :func:`photograph` for the same seed and settings. A frame does not depend on
    which others are made. The truths of all frames have the same triangles, of the same skin.

    ``frames`` are numbers ≥ 0 in any order, with or without gaps. A higher ``fps``, frames per second, makes
    smaller steps. The other arguments are those of :func:`photograph`.

    Raises:
        FaceModelError: the model cannot be loaded, or has no landmarks.
        MesofaceError: ``seed``, a frame number or ``fps`` is out of range.
    """
    if not fps > 0 or any(frame < 0 for frame in frames):
        raise MesofaceError(f"frames must not be negative, and fps positive; got fps {fps:g}")
    settings = settings or SynthesisSettings()
    studio = Studio.set_up(seed=seed, model=model, settings=settings, expressions=OTHER_EXPRESSIONS)
    motion = Motion.draw(chance(seed, "motion"))
    first = studio.take(REST, threads=threads, progress=progress)
    for frame in frames:
        if frame == 0:
            yield first
            continue
        pose = motion.at(frame / fps)
        yield studio.take(pose, frame=frame, gain=first.gain, threads=threads, progress=progress)


@dataclass(frozen=True, eq=False)
class Studio:
    """What stays fixed while a head moves: the person and the cameras.

    Args:
        subject: the person.
        cameras: the V true cameras, lens included, mm.
        calibration: the V cameras that are written.
        turn: (3, 3) rotation from the face model's frame to the world.
        shift: (3,) likewise, mm.
    """

    subject: Subject
    cameras: tuple[Camera, ...]
    calibration: tuple[Camera, ...]
    turn: Array
    shift: Array

    @classmethod
    def set_up(
        cls, *, seed: int, model: str | FaceModel, settings: SynthesisSettings, expressions: int = 0
    ) -> Studio:
        """Draw the person and put cameras around the face at rest.

        ``expressions`` is the number of expressions that the person can make beside the first; the other
        arguments are those of :func:`photograph`.

        Raises:
            FaceModelError: the model cannot be loaded, or has no landmarks.
            MesofaceError: ``seed`` is negative.
        """
        if seed < 0:
            raise MesofaceError(f"seed must not be negative, got {seed}")
        face_model = load_face_model(model) if isinstance(model, str) else model
        subject = Subject.draw(seed, face_model, settings, expressions)
        pose = chance(seed, "pose")
        turn = Rotation.from_euler("yxz", pose.normal(0, 4.0, 3), degrees=True).as_matrix()
        shift = pose.normal(0, 15.0, 3)
        middle = turn @ subject.middle + shift
        skin = placed(subject.parts(REST)[:1], REST, turn, shift)[0].mesh
        width = np.ptp(skin.vertices[skin.faces[subject.head.facial].ravel(), 0])
        rig = chance(seed, "rig")
        cameras = make_rig(middle, subject.face_height, max(float(width), 168.0), settings, rig)
        calibration = cameras
        if settings.calibration_px > 0:
            off = chance(seed, "calibration")
            calibration = miscalibrate(cameras, middle, settings.calibration_px, off)
        return cls(subject, cameras, calibration, turn, shift)

    def take(
        self,
        pose: Pose,
        *,
        frame: int = 0,
        gain: float | None = None,
        threads: int | None = None,
        progress: ProgressCallback = silent,
    ) -> SyntheticCapture:
        """Light the head in ``pose`` and photograph it.

        Args:
            pose: expression, turn and shift.
            frame: number of the frame in a video; each has its own noise.
            gain: exposure; None to meter it.
            threads: photos rendered at once; None for one per core.
            progress: called after every view.
        """
        subject, head = self.subject, self.subject.head
        seed, settings = subject.seed, subject.settings
        progress("synthesis", 0, settings.views + 2)
        parts = placed(subject.parts(pose), pose, self.turn, self.shift)
        truth, truth_error = parts[0].mesh.select_faces(head.facial), np.zeros(1)
        if head.coarse is not None:
            truth, truth_error = coarse_truth(head.coarse, parts[0].mesh, head.facial)
        progress("synthesis", 1, settings.views + 2)

        scene = light_scene(parts, draw_lighting(chance(seed, "lights")), chance(seed, "light rays"))
        progress("synthesis", 2, settings.views + 2)
        radiances = list[NDArray[np.float32]]()
        with ThreadPoolExecutor(min(len(self.cameras), threads or os.cpu_count() or 1)) as pool:
            for radiance in pool.map(partial(self._radiance, scene), range(len(self.cameras))):
                radiances.append(radiance)
                progress("synthesis", 2 + len(radiances), settings.views + 2)
        if gain is None:
            middle = len(self.cameras) // 2
            gain = meter(radiances[middle], _seen_pixels(truth, self.cameras[middle]))
        photos = []
        for i, radiance in enumerate(radiances):
            seen = disturb(radiance, settings, self._pixel_mm(i), chance(seed, f"hand {i} of frame {frame}"))
            seen = defocus(seen, settings.blur_px, chance(seed, f"focus {i}"))
            grain = chance(seed, f"grain {i} of frame {frame}") if frame else None
            photo = expose(seen, gain, settings, chance(seed, f"sensor {i}"), grain)
            photos.append(process(photo, settings, chance(seed, f"coder {i} of frame {frame}")))
        return SyntheticCapture(
            tuple(photos), self.cameras, self.calibration, truth, truth_error, scene, subject, gain
        )

    def _radiance(self, scene: LitScene, view: int) -> NDArray[np.float32]:
        """(H, W, 3) of a view, with the highlights where the lights are in that photo."""
        settings = self.subject.settings
        if settings.highlights_deg > 0:
            turn = chance(self.subject.seed, f"lights of {view}")
            scene = with_lights_turned(scene, settings.highlights_deg, turn)
        return render(scene, self.cameras[view], settings.supersample)

    def _pixel_mm(self, view: int) -> float:
        """What a pixel of a view spans on the face."""
        camera = self.cameras[view]
        middle = self.turn @ self.subject.middle + self.shift
        return float(camera.to_camera(middle)[2] / camera.K[0, 0])


def _seen_pixels(truth: Mesh, camera: Camera) -> NDArray[np.bool_]:
    """(H, W) pixels on which vertices of the face fall, roughly: for metering."""
    pixels, _ = camera.project(truth.vertices[::5])
    column, row = np.round(pixels).astype(int).T
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    mask = np.zeros((camera.height, camera.width), bool)
    mask[row[inside], column[inside]] = True
    return mask


def synthesize(
    out: str | Path,
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write a synthetic capture: ``<i>.jpg``, ``params.json``, ``gt.ply`` and ``truth.json``.

    The same seed, model and settings give the same bytes. ``overwrite`` tells whether an existing folder
    ``out`` is replaced; the other arguments are those of :func:`photograph`.

    Returns:
        ``out``.

    Raises:
        MesofaceError: the seed is negative, ``out`` exists or cannot be written, or the model cannot be used.
    """
    with atomic_folder(out, overwrite=overwrite) as folder:
        made = photograph(seed=seed, model=model, settings=settings, progress=progress)
        write_capture(folder, made, _name(model))
    return Path(out)


def synthesize_sequence(
    out: str | Path,
    frames: int,
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    fps: float = 30.0,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write a synthetic sequence: a capture's folder for every frame (``000000``, …), and ``frames.txt``.

    Each frame's ``truth.json`` has the frame number and the frames per second as well; ``truth.json`` in
    ``out`` describes the sequence.

    ``frames`` is the number of frames, at least 2, and ``fps`` the frames per second. ``progress`` is called
    after every frame. The other arguments are those of :func:`synthesize`.

    Returns:
        the list of the frames, ``out/frames.txt``.

    Raises:
        MesofaceError: a number is out of range, or as for :func:`synthesize`.
    """
    if frames < 2:
        raise MesofaceError(f"a sequence has at least 2 frames, got {frames}")
    name = _name(model)
    with atomic_folder(out, overwrite=overwrite) as folder:
        progress("Frames", 0, frames)
        made = photograph_sequence(range(frames), seed=seed, model=model, settings=settings, fps=fps)
        for frame, capture in enumerate(made):
            place = folder / f"{frame:06d}"
            place.mkdir()
            write_capture(place, capture, name, {"frame": frame, "fps": fps})
            progress("Frames", frame + 1, frames)
        write_capture_list(
            folder / LIST, sorted(folder.glob("[0-9]*")), comment="frames of a synthetic sequence"
        )
        _write_truth(folder, {"seed": seed, "model": name, "frames": frames, "fps": fps, "mm_per_unit": 1.0})
    return Path(out) / LIST


def write_capture(
    folder: Path, made: SyntheticCapture, model: str, more: Mapping[str, object] | None = None
) -> None:
    """Write a synthetic capture's files.

    Args:
        folder: an existing folder.
        made: the capture.
        model: name of its face model.
        more: entries of ``truth.json`` beside those of :func:`describe`.
    """
    facescape.write_photos(folder, made.photos, made.calibration, quality=made.subject.settings.jpeg_quality)
    write_ply(folder / "gt.ply", made.truth)
    _write_truth(folder, describe(made, model) | dict(more or {}))


def describe(made: SyntheticCapture, model: str) -> dict[str, object]:
    """The content of ``truth.json``; ``error_mm``: distance of ``gt.ply`` from the photographed surface."""
    subject, error = made.subject, made.truth_error
    figures = {"mean": error.mean(), "p95": np.percentile(error, 95), "max": error.max()}
    return {
        "mm_per_unit": 1.0,
        "seed": subject.seed,
        "model": model,
        "settings": describe_settings(subject.settings),
        "identity": [round(float(x), 6) for x in subject.head.identity],
        "expression": [round(float(x), 6) for x in subject.head.expression],
        "complexion": {k: round(v, 4) for k, v in dataclasses.asdict(subject.complexion).items()},
        "truth": {
            "file": "gt.ply",
            "vertices": len(made.truth.vertices),
            "faces": len(made.truth.faces),
            "error_mm": {name: round(float(value), 4) for name, value in figures.items()},
        },
    }


def describe_settings(settings: SynthesisSettings) -> dict[str, object]:
    """Settings as in ``truth.json``: without defocus and calibration errors of 0, and what no phone did."""
    neutral = {name: field.default for name, field in PhoneSettings.model_fields.items()}
    neutral |= {"blur_px": 0.0, "calibration_px": 0.0}
    return {name: value for name, value in settings.model_dump().items() if value != neutral.get(name)}


def _write_truth(folder: Path, content: Mapping[str, object]) -> None:
    (folder / "truth.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _name(model: str | FaceModel) -> str:
    return model if isinstance(model, str) else model.name
