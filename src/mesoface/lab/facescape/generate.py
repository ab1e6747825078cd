"""Synthetic captures in FaceScape's published layout: to try every step without the data, and for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

import mesoface
from mesoface.captures.formats import facescape
from mesoface.files.atomic import atomic_folder
from mesoface.files.meshes import write_ply
from mesoface.geometry.camera import Camera, OpenCVLens
from mesoface.lab.facescape.layout import SCALES, Alignment, CaptureId, write_scales
from mesoface.lab.facescape.settings import GeneratorSettings
from mesoface.lab.synthesis.capture import photograph
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import resumable_folder, run_all

MANIFEST = "generated.json"
_RECIPE = 1  # to be raised when the same seed makes other captures
_EVERY_SIDEWAYS = 3  # one in so many cameras stands on its side
_EVERY_WITHOUT_SCAN = 6  # one in so many captures has no scan
_QUALITY = 93
_TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter clockwise, as the photo is turned


@dataclass(frozen=True)
class GenerateJob:
    """One capture.

    Args:
        id: person and expression.
        root: folder of the data set.
        settings: of the data set.
        scan: whether it has a scan.
    """

    id: CaptureId
    root: Path
    settings: GeneratorSettings
    scan: bool

    @property
    def folder(self) -> Path:
        """Folder of its photos."""
        return self.root / str(self.id.person) / self.id.expression_name


def generate(
    root: str | Path,
    settings: GeneratorSettings | None = None,
    *,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> Path:
    """Write synthetic captures in FaceScape's layout of multi-view data, or go on writing.

    As in FaceScape, every capture has its own world with an arbitrary unit, cameras with lenses in portrait
    and on their side, and one view whose calibration failed; some captures have no scan.
    ``Rt_scale_dict.json`` maps to millimetres.

    Args:
        root: folder to fill.
        settings: see :class:`GeneratorSettings`.
        workers: processes at a time.
        progress: called after every capture.

    Returns:
        ``root``.

    Raises:
        MesofaceError: ``root`` holds other files, or cannot be written.
        IncompleteError: some captures failed; the others are complete.
    """
    settings, root = settings or GeneratorSettings(), Path(root)
    recipe = {
        "format": "mesoface generated FaceScape",
        "recipe": _RECIPE,
        "mesoface": mesoface.__version__,
        **settings.model_dump(),
    }
    with resumable_folder(root, MANIFEST, recipe):
        ids = product(range(1, settings.people + 1), range(1, settings.expressions + 1))
        jobs = [
            GenerateJob(CaptureId(*id), root, settings, scan=number % _EVERY_WITHOUT_SCAN != 0)
            for number, id in enumerate(ids, 1)
        ]
        write_scales(root / SCALES, {job.id: _world(job) for job in jobs})
        missing = [job for job in jobs if not job.folder.is_dir()]
        run_all(
            generate_capture,
            missing,
            path=root,
            name_of=lambda job: str(job.id),
            kind="captures",
            workers=workers,
            done_before=len(jobs) - len(missing),
            preload=["mesoface.lab.synthesis.capture"],
            progress=progress,
        )
    return root


def generate_capture(job: GenerateJob) -> None:
    """Make one capture; its folder appears when it is complete."""
    settings, world = job.settings, _world(job)
    made = photograph(
        seed=int(np.random.default_rng([settings.seed, job.id.person]).integers(2**31)),
        model=settings.face_model,
        settings=settings.synthesis(job.id.expression),
        threads=1,
    )
    if job.scan:
        scan = made.truth.with_vertices((made.truth.vertices - world.t) @ world.R / world.mm_per_unit)
        write_ply(job.folder.with_suffix(".ply"), scan)
    cameras = [
        camera.moved(world.R.T, -world.R.T @ world.t).scaled_world(1 / world.mm_per_unit)
        for camera in made.calibration
    ]
    with atomic_folder(job.folder) as folder:
        write_published(folder, made.photos, cameras)


def write_published(folder: Path, photos: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera]) -> None:
    """Write photos and ``params.json`` as FaceScape publishes them.

    Every third camera is turned onto its side. One more view has a photo but no valid calibration, like a
    photo that structure from motion could not place.

    Args:
        folder: an existing one.
        photos: V × (H, W, 3).
        cameras: V, each with no lens or one of five coefficients.
    """
    views = [*zip(photos, cameras, strict=True), (photos[0], cameras[0])]
    lost = len(photos)
    for view in range(_EVERY_SIDEWAYS - 1, lost, _EVERY_SIDEWAYS):
        views[view] = on_its_side(*views[view])
    facescape.write_photos(folder, *zip(*views, strict=True), quality=_QUALITY)
    file = folder / "params.json"
    params = json.loads(file.read_text(encoding="utf-8"))
    for view in range(len(views)):
        params[f"{view}_matches"] = 1000 + view
        params[f"{view}_sn"], params[f"{view}_ori"] = f"{700000 + view}", f"IMG_{view:04d}.JPG"
    params |= {f"{lost}_Rt": np.zeros((3, 4)).tolist(), f"{lost}_matches": 0, f"{lost}_valid": False}
    file.write_text(json.dumps(params), encoding="utf-8")


def on_its_side(photo: NDArray[np.uint8], camera: Camera) -> tuple[NDArray[np.uint8], Camera]:
    """The photo ``np.rot90(photo, -1)`` that the same lens takes with the camera turned by 90°.

    Args:
        photo: (H, W, 3).
        camera: of it, with no lens or one of five coefficients.

    Returns:
        (W, H, 3), and its camera.
    """
    (fx, _, cx), (_, fy, cy), _ = camera.K
    lens = camera.lens
    if isinstance(lens, OpenCVLens):
        k1, k2, p1, p2, k3 = lens.coefficients
        lens = OpenCVLens((k1, k2, p2, -p1, k3))
    turned = replace(
        camera,
        K=np.array([[fy, 0, camera.height - 1 - cy], [0, fx, cx], [0, 0, 1]]),
        R=_TURN @ camera.R,
        t=_TURN @ camera.t,
        width=camera.height,
        height=camera.width,
        lens=lens,
    )
    return np.ascontiguousarray(np.rot90(photo, -1)), turned


def _world(job: GenerateJob) -> Alignment:
    """From the capture's own world, like one from structure from motion, to millimetres."""
    rng = np.random.default_rng([job.settings.seed, job.id.person, job.id.expression, crc32(b"world")])
    R = Rotation.random(random_state=rng).as_matrix()
    return Alignment(float(rng.uniform(25, 60)), R, rng.normal(0, 100, 3))
