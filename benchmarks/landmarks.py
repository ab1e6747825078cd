"""How far triangulated landmarks lie from the true surface, and what each step of ours is worth.

    python benchmarks/landmarks.py ../shared/captures/lps ../shared/captures/lps/gt.ply

The capture's world unit must be the millimetre. Distances are point to surface. A landmark does not count
where the point of the surface nearest to it lies on an open edge: there the scan ends before the face does.
How many count is in the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mesoface.captures.capture import Capture
from mesoface.captures.load import load_capture
from mesoface.files.meshes import read_mesh
from mesoface.geometry.camera import Camera
from mesoface.geometry.closest_point import MeshSurface
from mesoface.landmarks import MediapipeDetector, align_landmarks, triangulate
from mesoface.landmarks.mediapipe import Crop, FaceNetworks
from mesoface.landmarks.triangulation import nearest_to_rays, project_all, viewing_rays

Array = NDArray[np.float64]


def single_pass(capture: Capture) -> Array:
    """(V, 478, 2) landmarks as the networks give them in one pass over each photo."""
    networks = FaceNetworks()
    points = np.full((len(capture), 478, 2), np.nan)
    for v, view in enumerate(capture.views):
        image = np.rint(view.image * 255).astype(np.uint8)
        for crop, _ in networks.find(image, Crop.whole(image))[:1]:
            face = networks.place(image, crop)
            if face is not None:
                points[v] = face[:, :2]
    return points


def reweighted_dlt(cameras: Sequence[Camera], keypoints: Array, rounds: int = 20) -> Array:
    """(L, 3) plain triangulation, every view and landmark alike, reweighted by its reprojection error."""
    known = np.isfinite(keypoints).all(-1).astype(np.float64)
    keypoints = np.nan_to_num(keypoints)
    centers = np.stack([camera.center for camera in cameras])
    rays, weights = viewing_rays(cameras, keypoints), known
    for _ in range(rounds):
        points = nearest_to_rays(centers, rays, weights)
        error = np.linalg.norm(project_all(cameras, points)[0] - keypoints, axis=-1)
        weights = known / (1 + (error / np.median(error[known > 0])) ** 2)
    return points


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("capture", type=Path)
    parser.add_argument("truth", type=Path)
    arguments = parser.parse_args()
    capture = load_capture(arguments.capture)
    surface = MeshSurface(read_mesh(arguments.truth))

    table = Table("landmarks", "seconds", "counted", "median mm", "90 % within mm", "mean mm")

    def report(name: str, points: Array, started: float) -> None:
        seconds = time.perf_counter() - started
        closest = surface.closest(points[np.isfinite(points).all(1)])
        distance = closest.distance[~surface.on_boundary(closest)]
        figures = (np.median(distance), np.quantile(distance, 0.9), distance.mean())
        table.add_row(name, f"{seconds:.2f}", str(len(distance)), *(f"{figure:.2f}" for figure in figures))

    started = time.perf_counter()
    report("one pass, reweighted DLT", reweighted_dlt(capture.cameras, single_pass(capture)), started)
    detector = MediapipeDetector()
    started = time.perf_counter()
    detected = detector.detect(capture)
    report("mean over crops, reweighted DLT", reweighted_dlt(capture.cameras, detected.points), started)
    started = time.perf_counter()
    solved = triangulate(capture.cameras, detected)
    report("mean over crops, triangulate", solved.points, started)
    started = time.perf_counter()
    _, aligned = align_landmarks(capture, detected, solved)
    report("and align_landmarks", aligned.points, started)
    Console().print(table)


if __name__ == "__main__":
    main()
