"""Fits the stated uncertainty to synthetic captures whose true surface is known.

    python benchmarks/uncertainty.py measure --out build/uncertainty
    python benchmarks/uncertainty.py fit --out build/uncertainty [--write]

``measure`` makes the heads of :data:`HEADS` (``mesoface synth``), spoils their photos and cameras as
:data:`TUNING` says, measures each, and stores features and true errors of texels. It goes on where it was
stopped. ``fit`` fits the coefficients, prints the calibration of each capture, and with ``--write`` writes
``src/mesoface/assets/uncertainty.json``. A capture's calibration is that of a fit without its head.
Other captures are reported by ``mesoface evaluate`` of their results.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import rows  # noqa: F401  (sets where the ICT model is)
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import Capture, View
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.evaluation import GroundTruth, calibrate_uncertainty
from mesoface.evaluation.uncertainty import NORMAL_SHARES
from mesoface.face_models.model import Topology
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis.capture import synthesize
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.matching.cascade import choose_matcher, match
from mesoface.matching.openings import match_openings
from mesoface.matching.refinement import refine_with_evidence, refined_size
from mesoface.matching.uncertainty import COEFFICIENTS, describe_openings, describe_texels
from mesoface.pipeline import find_face
from mesoface.uvd.maps import bounding_box, erode
from mesoface.uvd.photos import typical_footprint
from mesoface.uvd.space import build_uvd_space

Array = NDArray[np.float32]

_COMMON = {"detail_mm": 0.8, "truth_mm": 0.8, "jpeg_quality": 97}
# Name: seed, face model, settings.
HEADS = {
    "a0": (701, "generic", {"views": 12, "width": 480, "height": 720}),
    "a1": (702, "ict", {"views": 10, "width": 480, "height": 720, "expression": 1.0}),
    "a2": (703, "ict", {"views": 16, "width": 480, "height": 720}),
}
# Texels of a capture that are fitted to.
_SAMPLES = 6000
# The surface's rim is left to the filling; what is nearer than so many mm is not fitted to.
_RIM_MM = 2.0


@dataclass(frozen=True)
class Case:
    """A head, and what its photos and cameras suffer.

    Args:
        head: of :data:`HEADS`.
        views: every how many-th view is kept.
        blur: of the photos, pixels.
        contrast: of what is finer than 4 pixels and coarser.
        noise: levels of 255.
        jpeg: quality.
        cameras: error, pixels.
        matcher: that measures.
    """

    head: str
    views: int = 1
    blur: float = 0.0
    contrast: float = 1.0
    noise: float = 0.0
    jpeg: int = 95
    cameras: float = 0.0
    matcher: str = "ncc"

    @property
    def name(self) -> str:
        """A file's name."""
        parts = (self.head, self.views, self.blur, self.contrast, self.noise, self.jpeg, self.cameras)
        return "_".join(map(str, (*parts, self.matcher)))


TUNING = (
    Case("a0", 1, 0.7, 0.5, 3, 60, 0.4),
    Case("a0"),
    Case("a0", 3, 0.0, 0.7, 1, 90, 0.1),
    Case("a0", 2, 0.6, 0.6, 2, 75, 0.3, "learned"),
    Case("a1", 1, 0.3, 1.0, 0, 95, 0.0, "learned"),
    Case("a1", 1, 0.5, 0.6, 2, 75, 0.2),
    Case("a1", 2, 0.3, 0.9, 1, 90, 0.0),
    Case("a2", 1, 0.7, 0.4, 4, 50, 0.8),
    Case("a2", 3, 0.3, 1.0, 0, 92, 0.2),
    Case("a2", 1, 0.5, 0.5, 2, 80, 0.0),
    Case("a2", 1, 0.0, 1.0, 1, 93, 1.0),
)


def make_head(name: str, out: Path) -> Path:
    """The folder of one of :data:`HEADS`, made if it is not there."""
    folder = out / "captures" / name
    if not folder.exists():
        seed, model, settings = HEADS[name]
        folder.parent.mkdir(parents=True, exist_ok=True)
        synthesize(folder, seed=seed, model=model, settings=SynthesisSettings(**(_COMMON | settings)))
    return folder


def spoil(view: View, case: Case, rng: np.random.Generator) -> View:
    """A view with the flaws of ``case``."""
    image = view.image
    if case.blur:
        image = cv2.GaussianBlur(image, (0, 0), case.blur)
    coarse = cv2.GaussianBlur(image, (0, 0), 0.02 * max(image.shape))
    image = coarse + case.contrast * (image - coarse)
    image = image + rng.normal(0, case.noise / 255, image.shape)
    levels = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, case.jpeg])
    image = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    camera = view.camera
    if case.cameras:
        arms = np.array([camera.K[0, 0], camera.K[0, 0], camera.height / 3])
        turn = Rotation.from_rotvec(case.cameras * rng.standard_normal(3) / arms).as_matrix()
        camera = replace(camera, R=turn @ camera.R, t=turn @ camera.t)
    return replace(view, image=np.ascontiguousarray(image), camera=camera)


def measure_case(
    case: Case, capture: Capture, base: Mesh, topology: Topology, truth: Mesh
) -> dict[str, Array]:
    """Features and errors of sampled texels: ``error``, ``f_<name>``, and ``opening_…`` of the openings."""
    rng = np.random.default_rng(5)
    views = [spoil(view, case, rng) for view in capture.views[:: case.views]]
    facial, closing = topology.facial, topology.closing
    matcher = choose_matcher(case.matcher)
    found = match(
        lambda size: build_uvd_space(base, facial, size), views, matcher, occluder=base.select_faces(~facial)
    )
    found = found.resized(topology.facial_mask(refined_size(found, "default")))
    return sample_match(found, base, facial, closing, matcher, truth)


def sample_match(found, base, facial, closing, matcher, truth: Mesh) -> dict[str, Array]:
    """See :func:`measure_case`; ``found`` is from the cascade, on the maps to be refined."""
    refined, evidence = refine_with_evidence(found)
    whole = match_openings(refined, base, facial, closing, matcher) if closing is not None else refined
    part, texel = bounding_box(found.space.valid), found.space.texel_mm
    inside = erode(found.measured, round(_RIM_MM / texel))
    surface = GroundTruth(truth)
    features = describe_texels(evidence)
    where = _sampled(inside[part])
    error = _errors(surface, refined.space.position[part][where])
    out = {"error": error} | {f"f_{name}": value[where] for name, value in features.items()}
    opening = whole.measured & ~found.space.valid
    if opening.any():
        where = _sampled(opening)
        cameras = [view.camera for view in found.views]
        footprint = typical_footprint(cameras, found.space.position[inside].mean(0))
        out["opening_error"] = _errors(surface, whole.space.position[where])
        # The skin's uncertainty is known only once the fit is: see fit().
        described = describe_openings(whole.confidence, max(footprint, texel), 1.0)
        out |= {f"opening_f_{name}": value[where] for name, value in described.items()}
    return {name: np.asarray(value, np.float32) for name, value in out.items()}


def _sampled(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    row, column = np.nonzero(mask)
    take = np.random.default_rng(0).permutation(len(row))[:_SAMPLES]
    return row[take], column[take]


def _errors(truth: GroundTruth, points: Array) -> NDArray[np.float64]:
    """(N,) mm, signed; NaN beyond the rim of the truth."""
    deviation = truth.deviation(points.astype(np.float64))
    return np.where(deviation.counted, deviation.signed, np.nan)


def measure(out: Path, cases: tuple[Case, ...]) -> None:
    """Store what :func:`measure_case` finds."""
    for head in dict.fromkeys(case.head for case in cases):
        todo = [case for case in cases if case.head == head and not (out / f"{case.name}.npz").exists()]
        if not todo:
            continue
        folder = make_head(head, out)
        face = find_face(load_capture(folder), Settings(scale=1.0, views=len(load_capture(folder))))
        for case in todo:
            found = measure_case(
                case, face.capture, face.fit.mesh, face.fit.model.topology, read_mesh(folder / "gt.ply")
            )
            np.savez_compressed(out / f"{case.name}.npz", **found)
            print(case.name, f"median error {np.nanmedian(np.abs(found['error'])):.3f} mm", flush=True)


# Features that are logarithms of lengths.
LENGTHS = ("plate", "noise", "moved", "step", "relief", "skin")
# Degrees of freedom of the errors' distribution over their scale while it is fitted (Student's t).
_FREEDOM = 5.0
# Of the squares of standardised coefficients.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Samples:
    """Texels of one capture: features by name (N,), and the errors (N,), mm."""

    features: dict[str, Array]
    error: Array


def read_samples(path: Path, prefix: str = "") -> Samples | None:
    """What :func:`measure` stored; ``prefix`` is ``opening_`` for the openings. None: too few texels."""
    if not path.exists():
        return None
    with np.load(path) as stored:
        if f"{prefix}error" not in stored:
            return None
        error = stored[f"{prefix}error"]
        known = np.isfinite(error)
        features = {
            n.removeprefix(f"{prefix}f_"): stored[n][known] for n in stored if n.startswith(f"{prefix}f_")
        }
    return Samples(features, error[known]) if known.sum() > 200 else None


def fit_scale(captures: list[Samples]) -> dict[str, float]:
    """Coefficients of the logarithm of the errors' standard deviation; every capture counts alike.

    Maximum likelihood of Student's t, then one factor for all: the median over the captures of what each
    needs so that 68.3 % of its errors are within 1 σ. So a capture that failed does not inflate the others.
    """
    names = [name for name in captures[0].features if name != "footprint"]
    lengths = np.isin(names, LENGTHS)
    # Relative to the footprint, so that the fit holds at other scales.
    x = np.concatenate([np.stack([c.features[n] for n in names], 1) for c in captures]).astype(np.float64)
    footprint = np.concatenate([c.features["footprint"] for c in captures]).astype(np.float64)
    x -= np.where(lengths, footprint[:, None], 0)
    error = np.concatenate([c.error for c in captures]).astype(np.float64) / np.exp(footprint)
    weight = np.concatenate([np.full(len(c.error), 1 / len(c.error) / len(captures)) for c in captures])
    mean, spread = weight @ x, np.sqrt(weight @ (x - weight @ x) ** 2) + 1e-3
    design = np.column_stack([np.ones(len(x)), (x - mean) / spread])

    def loss(theta: NDArray) -> tuple[float, NDArray]:
        logarithm = design @ theta
        square = (error * np.exp(-logarithm)) ** 2
        value = weight @ (logarithm + (_FREEDOM + 1) / 2 * np.log1p(square / _FREEDOM))
        slope = weight * (1 - (_FREEDOM + 1) * square / (_FREEDOM + square))
        ridge = np.r_[0, theta[1:]]
        return value + _RIDGE * ridge @ ridge, design.T @ slope + 2 * _RIDGE * ridge

    start = np.r_[np.log(np.median(np.abs(error)) + 1e-3), np.zeros(len(names))]
    theta = minimize(loss, start, jac=True, method="L-BFGS-B").x
    ratio = np.abs(error) * np.exp(-design @ theta)
    ends = np.cumsum([len(c.error) for c in captures])[:-1]
    needed = [np.quantile(own, NORMAL_SHARES[0]) for own in np.split(ratio, ends)]
    theta[0] += np.log(np.median(needed))
    slopes = theta[1:] / spread
    found = {"constant": float(theta[0] - slopes @ mean)} | dict(zip(names, map(float, slopes), strict=True))
    found["footprint"] = 1 - float(slopes[lengths].sum())
    return {name: round(value, 4) for name, value in found.items()}


def state(coefficients: dict[str, float], samples: Samples) -> NDArray[np.float64]:
    """(N,) standard deviations, mm."""
    logarithm = sum(coefficients[name] * value for name, value in samples.features.items())
    return np.exp(coefficients["constant"] + logarithm)


def fit(out: Path, *, write: bool) -> None:
    """Fit, print the calibration of every capture, and write the coefficients if asked to."""
    surface = {case: read_samples(out / f"{case.name}.npz") for case in TUNING}
    fitted = {"surface": _fit_part("surface", surface)}
    openings = {case: read_samples(out / f"{case.name}.npz", "opening_") for case in surface}
    for case, samples in openings.items():
        skin = surface[case]
        if samples is not None and skin is not None:
            sigma = np.log(np.median(state(fitted["surface"], skin)))
            samples.features["skin"] = np.full_like(samples.error, sigma)
    fitted["openings"] = _fit_part("openings", openings)
    if write:
        COEFFICIENTS.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")


def _fit_part(part: str, measured: dict[Case, Samples | None]) -> dict[str, float]:
    """The coefficients of one part. The calibration of a tuning capture is of a fit without its head."""
    known = {case: samples for case, samples in measured.items() if samples is not None}
    fitted = fit_scale(list(known.values()))
    print(part, json.dumps(fitted))
    for case, samples in known.items():
        others = [s for other, s in known.items() if other.head != case.head]
        if others:
            print("  fitted without its head:", _calibration(case.name, fit_scale(others), samples))
    return fitted


def _calibration(name: str, coefficients: dict[str, float], samples: Samples) -> str:
    found = calibrate_uncertainty(state(coefficients, samples), samples.error)
    return (
        f"{name:36} within 1 σ {100 * found.within_1:3.0f} %, 2 σ {100 * found.within_2:3.0f} %, "
        f"ratio {found.ratio:.2f}, correlation {found.correlation:.2f} (rank {found.rank_correlation:.2f}), "
        f"σ {found.sigma:.3f}, error {found.error:.3f} mm"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("measure", "fit"))
    parser.add_argument("--out", type=Path, required=True, help="folder for captures and measurements")
    parser.add_argument("--heads", nargs="*", help="measure these heads only")
    parser.add_argument("--write", action="store_true", help="write the coefficients into the package")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.action == "measure":
        measure(given.out, tuple(case for case in TUNING if not given.heads or case.head in given.heads))
    else:
        fit(given.out, write=given.write)


if __name__ == "__main__":
    main()
