"""The whole way from a seed to photos and the surface that they show."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import Capture, View
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.face_models.model import FaceModel
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis.cameras import render
from mesoface.lab.synthesis.complexion import Complexion
from mesoface.lab.synthesis.head import Head
from mesoface.lab.synthesis.lights import draw_lighting
from mesoface.lab.synthesis.motion import REST, Pose
from mesoface.lab.synthesis.rig import make_rig, miscalibrate
from mesoface.lab.synthesis.scene import LitScene, light_scene
from mesoface.lab.synthesis.sensor import defocus, expose, meter
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.lab.synthesis.subject import Subject, chance, placed
from mesoface.lab.synthesis.truth import coarse_truth
from mesoface.running.progress import ProgressCallback, silent


@dataclass(frozen=True, eq=False)
class SyntheticCapture:
    """Photos as a camera would write them, and what is true about them.

    Args:
        photos: V × (H, W, 3) uint8 sRGB, distorted by the lens.
        cameras: V, lens included, mm: those that took the photos.
        calibration: V, likewise, as they are written down: off by ``settings.calibration_px``.
        truth: the facial surface with its relief, in the cameras' world, mm.
        truth_error: (K,) distances of the truth from the photographed surface, mm; 0 when it is that surface.
        scene: everything that was photographed.
        head: before relief, in the face model's frame.
        complexion: of the skin.
        seed: it all came from.
        settings: likewise.
        gain: exposure common to all photos.
    """

    photos: tuple[NDArray[np.uint8], ...]
    cameras: tuple[Camera, ...]
    calibration: tuple[Camera, ...]
    truth: Mesh
    truth_error: NDArray[np.float64]
    scene: LitScene
    head: Head
    complexion: Complexion
    seed: int
    settings: SynthesisSettings
    gain: float


def make_capture(
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    progress: ProgressCallback = silent,
) -> tuple[Capture, Mesh]:
    """A synthetic capture in memory: undistorted views (without JPEG) and the true facial surface.

    Args:
        seed: decides everything that ``settings`` does not.
        model: a face model, or what :func:`mesoface.face_models.load_face_model` takes.
        settings: sizes, number of views, strengths.
        progress: told about every view.

    Returns:
        The capture, in millimetres, and the truth in its world.

    Raises:
        FaceModelError: the model cannot be loaded, or has no landmarks.
        MesofaceError: ``seed`` is negative.
    """
    made = photograph(seed=seed, model=model, settings=settings, progress=progress)
    views = []
    for i, (photo, camera) in enumerate(zip(made.photos, made.calibration, strict=True)):
        ideal, source = camera.undistorted()
        image = photo.astype(np.float32) / 255
        if camera.lens is not None:
            image = np.clip(cv2.remap(image, source, None, cv2.INTER_CUBIC), 0, 1)
        views.append(View(str(i), image, ideal))
    return Capture(tuple(views), format="synthetic", mm_per_unit=1.0), made.truth


def photograph(
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> SyntheticCapture:
    """Make a head, light it and photograph it.

    Args and errors as for :func:`make_capture`; ``threads`` is how many photos are rendered at once, by
    default as many as there are cores.
    """
    studio = Studio.set_up(seed=seed, model=model, settings=settings or SynthesisSettings())
    return studio.take(REST, threads=threads, progress=progress)


@dataclass(frozen=True, eq=False)
class Studio:
    """What stays while a head moves: whose it is, the cameras, the lights, the exposure.

    Args:
        subject: the person.
        cameras: V, lens included, mm.
        calibration: V, as they are written down.
        turn: (3, 3) rotation from the face model's frame to the world.
        shift: (3,) likewise, mm.
    """

    subject: Subject
    cameras: tuple[Camera, ...]
    calibration: tuple[Camera, ...]
    turn: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def set_up(
        cls, *, seed: int, model: str | FaceModel, settings: SynthesisSettings, expressions: int = 0
    ) -> Studio:
        """Draw the person and put cameras around the face as it is at rest.

        Args:
            seed: decides everything that ``settings`` does not.
            model: a face model, or what :func:`mesoface.face_models.load_face_model` takes.
            settings: sizes, number of views, strengths.
            expressions: how many expressions the person can make beside the first.

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
            pose: what it does.
            frame: number of the photo in a video; each has noise of its own.
            gain: exposure; None to meter it.
            threads: how many photos are rendered at once; None: as many as there are cores.
            progress: told about every view.
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
        radiances = _render_all(scene, self.cameras, settings, threads or os.cpu_count() or 1, progress)
        if gain is None:
            middle = len(self.cameras) // 2
            gain = meter(radiances[middle], _seen_pixels(truth, self.cameras[middle]))
        photos = []
        for i, radiance in enumerate(radiances):
            seen = defocus(radiance, settings.blur_px, chance(seed, f"focus {i}"))
            grain = chance(seed, f"grain {i} of frame {frame}") if frame else None
            photos.append(expose(seen, gain, settings, chance(seed, f"sensor {i}"), grain))
        return SyntheticCapture(
            photos=tuple(photos),
            cameras=self.cameras,
            calibration=self.calibration,
            truth=truth,
            truth_error=truth_error,
            scene=scene,
            head=head,
            complexion=subject.complexion,
            seed=seed,
            settings=settings,
            gain=gain,
        )


def _render_all(
    scene: LitScene,
    cameras: tuple[Camera, ...],
    settings: SynthesisSettings,
    threads: int,
    progress: ProgressCallback,
) -> list[NDArray[np.float32]]:
    with ThreadPoolExecutor(min(len(cameras), threads)) as pool:
        radiances = []
        for radiance in pool.map(lambda camera: render(scene, camera, settings.supersample), cameras):
            radiances.append(radiance)
            progress("synthesis", 2 + len(radiances), settings.views + 2)
    return radiances


def _seen_pixels(truth: Mesh, camera: Camera) -> NDArray[np.bool_]:
    """(H, W) pixels on which vertices of the face fall, roughly: for metering."""
    pixels, _ = camera.project(truth.vertices[::5])
    column, row = np.round(pixels).astype(int).T
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    mask = np.zeros((camera.height, camera.width), bool)
    mask[row[inside], column[inside]] = True
    return mask
