"""Two results from disjoint halves of a capture's photos, and how far apart they are.

The halves have no photo in common, so their noise is independent, and no true surface is needed: if both have
the same noise, their difference is √2 times that of one (repeatability in the sense of ISO 5725). Errors that
both halves share are not in it: those of the lens and of the calibration as a whole, of light and gloss that
all photos show alike, and of the method (smoothing, windows, the face model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mesoface.captures.capture import Capture
from mesoface.config import Settings
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.evaluation import BandAgreement, Evaluation, UncertaintyCalibration, evaluate
from mesoface.evaluation.metrics import Align
from mesoface.face_models import load_face_model
from mesoface.face_models.model import FaceModel
from mesoface.face_models.scale import ScaleEstimate, estimate_scale
from mesoface.landmarks import LandmarkDetector, Landmarks2D, MediapipeDetector, triangulate
from mesoface.matching.matcher import Matcher
from mesoface.pipeline import reconstruct
from mesoface.results.comparison import cheek_bands, face_uncertainty, measured_mesh
from mesoface.results.face import Face
from mesoface.running.progress import ProgressCallback, silent

Split = Literal["interleaved", "consecutive"]
ONE_OF_TWO = float(np.sqrt(0.5))
"""Noise of one of two equal, independent measurements, as a share of their difference."""
_FEWEST = 4  # views: two in either half
_NAMES = ("first", "second")


@dataclass(frozen=True, eq=False)
class Halves:
    """Two results from disjoint halves of a capture's photos.

    Args:
        first: the result of one half, in the capture's world frame, mm.
        second: the result of the other.
        split: how the views were divided.
        scale: where the millimetres come from; the same for both, measured in all views.
        evaluation: of what ``first`` measured against what ``second`` measured.
        bands: the cheeks of both by wavelength; empty where they are not known.
        uncertainty: calibration of the uncertainties that the results state, or None.
    """

    first: Face
    second: Face
    split: Split
    scale: ScaleEstimate
    evaluation: Evaluation
    bands: tuple[BandAgreement, ...]
    uncertainty: UncertaintyCalibration | None

    @property
    def noise(self) -> dict[str, float]:
        """Noise of one half, 1/√2 of the difference: mean, median and 90th percentile, mm, normals, degrees.

        A result from all photos has twice as many views, and less noise if that is what limits it.
        """
        names = ("mean", "median", "p90", "normal_angle")
        return {name: ONE_OF_TWO * getattr(self.evaluation.accuracy, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        faces = dict(zip(_NAMES, (self.first, self.second), strict=True))
        return {
            "split": self.split,
            "views": {name: list(face.capture.names) for name, face in faces.items()},
            "measured": {name: round(measured_share(face), 5) for name, face in faces.items()},
            "mm_per_unit": self.scale.mm_per_unit,
            "scale_source": self.scale.source,
            "difference": self.evaluation.to_dict(),
            "noise_of_one_half": self.noise,
            "cheeks": [band.to_dict() for band in self.bands],
            "uncertainty": None if self.uncertainty is None else self.uncertainty.to_dict(),
        }


def measure_halves(
    capture: Capture,
    settings: Settings | None = None,
    *,
    split: Split = "interleaved",
    align: Align | None = None,
    samples: int = 100_000,
    face_model: FaceModel | None = None,
    detector: LandmarkDetector | None = None,
    matcher: Matcher | None = None,
    progress: ProgressCallback = silent,
) -> Halves:
    """Reconstruct twice from disjoint halves of the photos, and compare the two surfaces.

    Args:
        capture: at least four usable views.
        settings: of both reconstructions; ``until``, ``texture_size`` and ``meso`` are not used. Each half
            takes the best ``views`` of its own.
        split: ``"interleaved"``: every other view, so that both halves see the face from all sides;
            ``"consecutive"``: the first half of the capture's views against the second, which also shows what
            changed over time and from side to side.
        align: how the first surface is brought onto the second; None: not at all where the unit of the
            calibration is known (a rig), else by a similarity (cameras from structure from motion).
        samples: points drawn on either surface.
        face_model: as for :func:`.pipeline.reconstruct`, as are the next two.
        detector: finds the landmarks.
        matcher: measures each level of the cascade.
        progress: called as the stages advance.

    Raises:
        ReconstructionError: fewer than four usable views.
        MesofaceError: a half cannot be reconstructed; the message names its views.
    """
    settings = settings or Settings()
    settings = settings.model_copy(update={"until": "fine", "texture_size": 0, "meso": "off"})
    if settings.view_ids is not None:
        capture = capture.select_names(settings.view_ids)
    model = face_model or load_face_model(settings.face_model)
    landmarks2d = (detector or MediapipeDetector(progress)).detect(capture)
    landmarks3d = triangulate(capture.cameras, landmarks2d)
    usable = np.flatnonzero(landmarks2d.found & ~landmarks3d.distrusted).tolist()
    if len(usable) < _FEWEST:
        raise ReconstructionError(
            f"{len(usable)} usable views, at least {_FEWEST} are needed: two in either half",
            path=capture.path,
            remedy="run `mesoface inspect` to see which views fail and why",
        )
    scale = estimate_scale(capture, landmarks2d, landmarks3d, override=settings.scale)
    if align is None:
        metric = settings.scale is not None or capture.mm_per_unit is not None
        align = "none" if metric else "similarity"
    settings = settings.model_copy(update={"scale": scale.mm_per_unit, "view_ids": None})
    faces = []
    for name, views in zip(_NAMES, split_views(usable, split), strict=True):
        half = capture.select(views)
        try:
            face = reconstruct(
                half,
                settings,
                face_model=model,
                detector=_Detected(half.names, landmarks2d.select(views), landmarks2d.scheme),
                matcher=matcher,
                progress=_of_half(progress, name),
            )
        except MesofaceError as error:
            what = f"the {name} half ({', '.join(half.names)}): {error.message}"
            raise type(error)(what, path=error.path, remedy=error.remedy) from error
        faces.append(face)
    return compare_halves(faces[0], faces[1], split, scale, align=align, samples=samples, progress=progress)


def split_views(views: Sequence[int], split: Split) -> tuple[list[int], list[int]]:
    """Divide views into two disjoint halves, of which the first has one more where their number is odd.

    Raises:
        ValueError: there is no such split.
    """
    if split == "interleaved":
        return list(views[::2]), list(views[1::2])
    if split == "consecutive":
        middle = (len(views) + 1) // 2
        return list(views[:middle]), list(views[middle:])
    raise ValueError(f"split must be interleaved or consecutive, got {split!r}")


def compare_halves(
    first: Face,
    second: Face,
    split: Split,
    scale: ScaleEstimate,
    *,
    align: Align,
    samples: int = 100_000,
    progress: ProgressCallback = silent,
) -> Halves:
    """Compare what two results measured; filled holes do not count.

    Args:
        first: of one half.
        second: of the other, in the same world frame, mm.
        split: how the views were divided.
        scale: of both.
        align: see :func:`.metrics.evaluate`.
        samples: points drawn on either surface.
        progress: called as the comparison advances.

    Raises:
        MesofaceError: the surfaces do not overlap.
    """
    progress("Comparison", 0, 2)
    evaluation = evaluate(
        measured_mesh(first), measured_mesh(second), align=align, region=first.region, samples=samples
    )
    progress("Comparison", 1, 2)
    bands = cheek_bands(first, evaluation)
    uncertainty = face_uncertainty(first, evaluation, second)
    progress("Comparison", 2, 2)
    return Halves(first, second, split, scale, evaluation, bands, uncertainty)


def measured_share(face: Face) -> float:
    """Share of the facial mask that was measured."""
    fine = face.fine
    return 0.0 if fine is None else 1 - fine.left_out


@dataclass(eq=False)
class _Detected:
    """A detector that found the landmarks before: those of the whole capture serve both halves.

    Landmarks that are handed to :func:`reconstruct` would count as set by hand, and not be refined.
    """

    names: tuple[str, ...]
    landmarks: Landmarks2D
    scheme: str

    def detect(self, capture: Capture) -> Landmarks2D:
        return self.landmarks.select([self.names.index(name) for name in capture.names])


def _of_half(progress: ProgressCallback, name: str) -> ProgressCallback:
    return lambda label, done, total: progress(f"{name} half: {label.lower()}", done, total)
