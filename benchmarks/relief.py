"""Predicted relief against the true surface: what measuring misses, and what each prediction adds.

    python benchmarks/relief.py ../shared/captures/lps --scale 1

Normals are compared at a scale: both surfaces are averaged over squares of so many millimetres first, laid on
the measured surface's UV grid. Errors are means over the measured facial region.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.evaluation.metrics import angle_between
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.relief.inputs import high_pass, make_ground, relief_size
from mesoface.relief.predict import Predictor, load_predictor, predict_relief
from mesoface.results.face import Face
from mesoface.uvd.maps import blur_masked, erode
from mesoface.uvd.space import surface_normals

# Rays go out so far from the measured surface; the truth further away than the second is another part of it.
_LIFT_MM, _FAR_MM = 2.0, 1.0
# Texels at the rim that are left out: filters reach beyond it.
_RIM = 6


@dataclass(frozen=True, eq=False)
class Compared:
    """The measured surface, with the truth over it.

    Args:
        position: (M, M, 3) mm.
        normal: (M, M, 3) unit.
        truth: (M, M) mm along the normals, 0 where unknown.
        known: (M, M) where rays met the truth.
        counted: (M, M) what is compared.
        texel_mm: of the maps.
    """

    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    truth: NDArray[np.float32]
    known: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    texel_mm: float

    def normal_error(self, height: NDArray[np.float32], scale_mm: float) -> tuple[float, float]:
        """Mean and median angle to the true normals, degrees, with ``height`` (M, M) on the surface."""
        weight = self.known.astype(np.float32)
        size = max(8, round(len(weight) * self.texel_mm / scale_mm))
        share = _area(weight, size)
        counted = (_area(self.counted.astype(np.float32), size) > 0.9) & (share > 0.999)
        outward = unit(_area(self.normal, size))
        ours, true = (
            surface_normals(_area(self.position + h[..., None] * self.normal, size), outward)
            for h in (height, self.truth)
        )
        angle = angle_between(ours[counted].astype(np.float64), true[counted].astype(np.float64))
        return float(angle.mean()), float(np.median(angle))

    def distance(self, height: NDArray[np.float32]) -> float:
        """Mean distance to the truth along the normals, mm."""
        return float(np.abs(self.truth - height)[self.counted].mean())


def compare(face: Face, truth: RayCaster, size: int) -> Compared:
    """Cast rays from a face's measured surface onto the truth."""
    assert face.fine is not None
    assert face.texture is not None
    ground = make_ground(face.fine, face.texture, size)
    normal = surface_normals(ground.position, ground.normal)
    index = np.flatnonzero(ground.valid)
    points = ground.position.reshape(-1, 3)[index].astype(np.float64)
    directions = normal.reshape(-1, 3)[index].astype(np.float64)
    hits = truth.cast(points + _LIFT_MM * directions, -directions)
    height = _LIFT_MM - hits.distance
    met = hits.hit & (np.abs(height) < _FAR_MM)
    known = np.zeros(ground.valid.shape, bool)
    known.ravel()[index[met]] = True
    over = np.zeros(known.shape, np.float32)
    over.ravel()[index[met]] = height[met]
    return Compared(ground.position, normal, over, known, erode(known, _RIM), ground.texel_mm)


def shares(compared: Compared, predicted: NDArray[np.float32]) -> dict[str, float]:
    """How much relief there is, root mean square µm of what is finer than the high-pass.

    Over a ground as smooth as the high-pass leaves it: the truth's, what of it was measured, and what is
    predicted.
    """
    known, counted = compared.known, compared.counted
    smooth = compared.position - blur_masked(compared.position, known, 6.0)
    measured = np.einsum("hwk,hwk->hw", smooth, compared.normal)
    missed = high_pass(compared.truth, known)
    rms = lambda field: float(1000 * np.sqrt(np.mean(field[counted] ** 2)))  # noqa: E731
    return {
        "true": rms(measured + missed),
        "measured": rms(measured),
        "missed": rms(missed),
        "predicted": rms(predicted),
        "correlation with what was missed": float(np.corrcoef(predicted[counted], missed[counted])[0, 1]),
    }


def measure(face: Face, truth: RayCaster, predictors: dict[str, Predictor], scale_mm: float) -> dict:
    """One row a prediction, and one without any."""
    assert face.fine is not None
    assert face.texture is not None
    views = face.capture.views
    compared = compare(face, truth, relief_size(face.fine, views, face.texture.size))
    reliefs = {
        name: predict_relief(face.fine, face.texture, views, predictor).height
        for name, predictor in predictors.items()
    }
    rows = {}
    for name, height in {"fine mesh": np.zeros_like(compared.truth), **reliefs}.items():
        mean, median = compared.normal_error(height, scale_mm)
        finest, _ = compared.normal_error(height, compared.texel_mm)
        rows[name] = {
            "mean": mean,
            "median": median,
            "at texels": finest,
            "distance": compared.distance(height),
            **shares(compared, height),
        }
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| | normals, mean | median | mean, at the texels | distance, mm | predicted relief, µm | corr. |",
        "|---|---|---|---|---|---|---|",
    ]
    first = rows["fine mesh"]
    for name, row in rows.items():
        gain = f" ({100 * (row['mean'] / first['mean'] - 1):+.1f} %)" if row is not first else ""
        correlation = row["correlation with what was missed"]
        lines.append(
            f"| {name} | {row['mean']:.3f}°{gain} | {row['median']:.3f}° | {row['at texels']:.3f}° | "
            f"{row['distance']:.4f} | {row['predicted']:.1f} | "
            f"{'–' if np.isnan(correlation) else f'{correlation:.2f}'} |"
        )
    about = (
        f"true relief {first['true']:.1f} µm, measured {first['measured']:.1f}, missed {first['missed']:.1f}"
    )
    return "\n".join([*lines, "", about])


def _area(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA)


def main() -> None:
    """Reconstruct, predict by every means, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("capture", type=Path)
    parser.add_argument("--truth", type=Path, help="the true surface; gt.ply of the capture when left out")
    parser.add_argument("--scale", type=float, default=1.0, help="mm per unit of the capture")
    parser.add_argument("--scale-mm", type=float, default=0.3, help="scale at which normals are compared")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--weights", type=Path, help="of the relief network; the shipped ones when left out")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    settings = mesoface.Settings(scale=args.scale, preset=args.preset, meso="off")
    face = mesoface.reconstruct(mesoface.load_capture(args.capture), settings)
    truth = RayCaster(read_mesh(args.truth or args.capture / "gt.ply"))
    predictors = {"learned": load_predictor("learned", args.weights), "shading": load_predictor("shading")}
    rows = measure(face, truth, predictors, args.scale_mm)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
