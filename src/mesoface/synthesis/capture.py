"""The whole way from a seed to photos and the surface that they show."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.camera import Camera
from mesoface.capture import Capture, View
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.face_models.model import FaceModel
from mesoface.mesh import Mesh
from mesoface.progress import ProgressCallback, silent
from mesoface.synthesis import anatomy
from mesoface.synthesis.complexion import Complexion
from mesoface.synthesis.cranium import make_neck
from mesoface.synthesis.eyes import make_eyes
from mesoface.synthesis.head import Head, make_head
from mesoface.synthesis.lights import draw_lighting
from mesoface.synthesis.pigment import CLOTH, paint
from mesoface.synthesis.relief import make_relief
from mesoface.synthesis.render import render
from mesoface.synthesis.rig import make_rig, miscalibrate
from mesoface.synthesis.scene import LitScene, Part, light_scene
from mesoface.synthesis.sensor import defocus, expose, meter
from mesoface.synthesis.settings import SynthesisSettings
from mesoface.synthesis.truth import coarse_truth


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
    if seed < 0:
        raise MesofaceError(f"seed must not be negative, got {seed}")
    settings = settings or SynthesisSettings()
    face_model = load_face_model(model) if isinstance(model, str) else model
    total = settings.views + 2
    progress("synthesis", 0, total)

    head = make_head(face_model, settings, _chance(seed, "head"))
    skin = Complexion.draw(_chance(seed, "complexion"))
    relief = make_relief(head, skin, _chance(seed, "relief"))
    albedo = paint(head, relief, skin, _chance(seed, "pigment"))
    normals = head.mesh.vertex_normals()
    mesh = head.mesh.with_vertices(head.mesh.vertices + relief.height[:, None] * normals)
    shine = (0.5 + skin.oil) * (1 + 1.5 * relief.lips) * head.grown
    parts = [Part(mesh, albedo, shine, np.full(len(shine), 22.0))]
    face = head.landmarks[list(anatomy.FACE_OVAL)]
    middle = face.mean(0) + np.array([0, 0, 10.0])
    audience = middle + np.array([0, 0, settings.distance_mm])
    parts += make_eyes(head.landmarks, audience, _chance(seed, "eyes"))
    if not head.grown.all():
        neck = make_neck(head.landmarks)
        size = len(neck.vertices)
        parts.append(Part(neck, np.full((size, 3), CLOTH), np.zeros(size), np.ones(size)))
    parts, middle = _place(parts, middle, _chance(seed, "pose"))
    truth, truth_error = parts[0].mesh.select_faces(head.facial), np.zeros(1)
    if head.coarse is not None:
        truth, truth_error = coarse_truth(head.coarse, parts[0].mesh, head.facial)
    progress("synthesis", 1, total)

    scene = light_scene(parts, draw_lighting(_chance(seed, "lights")), _chance(seed, "light rays"))
    progress("synthesis", 2, total)
    height, width = np.ptp(face[:, 1]), np.ptp(truth.vertices[:, 0])
    cameras = make_rig(middle, height, max(width, 168.0), settings, _chance(seed, "rig"))
    photos = _expose_all(scene, cameras, truth, seed, settings, threads or os.cpu_count() or 1, progress)
    calibration = cameras
    if settings.calibration_px > 0:
        calibration = miscalibrate(cameras, middle, settings.calibration_px, _chance(seed, "calibration"))
    return SyntheticCapture(
        photos, cameras, calibration, truth, truth_error, scene, head, skin, seed, settings
    )


def _chance(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own for every purpose: changing the number of views must not change the face."""
    return np.random.default_rng([seed, crc32(purpose.encode())])


def _place(
    parts: list[Part], middle: NDArray[np.float64], rng: np.random.Generator
) -> tuple[list[Part], NDArray[np.float64]]:
    """The parts turned and moved a little in the world, and where the middle of the face came to be."""
    turn = Rotation.from_euler("yxz", rng.normal(0, 4.0, 3), degrees=True).as_matrix()
    shift = rng.normal(0, 15.0, 3)

    def moved(part: Part) -> Part:
        mesh = part.mesh
        normals = None if mesh.normals is None else mesh.normals @ turn.T
        moved_mesh = Mesh(mesh.vertices @ turn.T + shift, mesh.faces, normals=normals)
        return Part(moved_mesh, part.albedo, part.gloss, part.sharpness)

    return [moved(part) for part in parts], turn @ middle + shift


def _expose_all(
    scene: LitScene,
    cameras: tuple[Camera, ...],
    truth: Mesh,
    seed: int,
    settings: SynthesisSettings,
    threads: int,
    progress: ProgressCallback,
) -> tuple[NDArray[np.uint8], ...]:
    with ThreadPoolExecutor(min(len(cameras), threads)) as pool:
        radiances = []
        for radiance in pool.map(lambda camera: render(scene, camera, settings.supersample), cameras):
            radiances.append(radiance)
            progress("synthesis", 2 + len(radiances), settings.views + 2)
    middle = len(cameras) // 2
    gain = meter(radiances[middle], _seen_pixels(truth, cameras[middle]))
    photos = []
    for i, radiance in enumerate(radiances):
        seen = defocus(radiance, settings.blur_px, _chance(seed, f"focus {i}"))
        photos.append(expose(seen, gain, settings, _chance(seed, f"sensor {i}")))
    return tuple(photos)


def _seen_pixels(truth: Mesh, camera: Camera) -> NDArray[np.bool_]:
    """(H, W) pixels on which vertices of the face fall, roughly: for metering."""
    pixels, _ = camera.project(truth.vertices[::5])
    column, row = np.round(pixels).astype(int).T
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    mask = np.zeros((camera.height, camera.width), bool)
    mask[row[inside], column[inside]] = True
    return mask
