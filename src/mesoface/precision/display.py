"""Two halves as a table and as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from mesoface.evaluation import heatmap_picture, print_bands, print_evaluation
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.precision.halves import Halves, measured_share
from mesoface.rendering.clay import face_directions, shade, turntable_cameras
from mesoface.results.comparison import measured_mesh

_SIZE = (520, 680)  # of one picture, pixels
_ANGLES = (-40, 0, 40)


def print_halves(halves: Halves, console: Console) -> None:
    """Print the views of both halves, their difference, and what it says about one of them."""
    for name, face in (("first", halves.first), ("second", halves.second)):
        views = ", ".join(face.capture.names)
        console.print(
            f"{name} half, {len(face.capture)} views: {views}; {100 * measured_share(face):.0f} % measured",
            highlight=False,
            markup=False,
        )
    console.print(f"scale: {halves.scale}", highlight=False, markup=False)
    console.print()
    print_evaluation(halves.evaluation, console, names=("first", "second"))
    if any(band.difference is not None for band in halves.bands):
        console.print()
        print_bands(halves.bands, console, names=("first", "second"))
    console.print()
    noise = halves.noise
    console.print(
        f"Noise of one half, 0.71 of the difference: mean {noise['mean']:.3f} mm, median "
        f"{noise['median']:.3f} mm, normals {noise['normal_angle']:.1f}°. "
        "A result from all photos has twice as many views.",
        highlight=False,
    )
    if halves.uncertainty is not None:
        console.print(f"Stated uncertainty: {halves.uncertainty}.", highlight=False)
    console.print(
        "Not in these figures: errors that both halves share (lens, scale, light, smoothing).",
        highlight=False,
    )


def halves_picture(halves: Halves) -> NDArray[np.float32]:
    """Both surfaces as clay, one row each, and their difference in false colour: from three sides.

    Returns:
        (H, W, 3) RGB float32 in [0, 1].
    """
    first = measured_mesh(halves.first)
    forward, up = face_directions(first)
    cameras = turntable_cameras(first, forward=forward, up=up, angles=_ANGLES, size=_SIZE)
    alignment = halves.evaluation.alignment.inverse()
    rows = []
    for mesh in (first, alignment.apply_to_mesh(measured_mesh(halves.second))):
        caster = RayCaster(Mesh(mesh.vertices, mesh.faces, normals=mesh.vertex_normals()))
        rows.append(np.concatenate([shade(caster, camera) for camera in cameras], 1))
    difference = heatmap_picture(
        first, halves.evaluation, label="difference of the halves", forward=forward, up=up, size=_SIZE
    )
    return np.concatenate([*rows, difference.astype(np.float32)], 0)
