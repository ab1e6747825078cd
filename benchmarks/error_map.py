"""Where a result is wrong: signed distances to the true surface, laid out in UV, as a picture.

    python benchmarks/error_map.py face_learned face_ncc --truth ../shared/captures/lps/gt.ply --out error.png

Results stand side by side; red is outside of the truth, blue inside, grey was not measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.evaluation import GroundTruth
from mesoface.files.maps import write_png
from mesoface.files.meshes import read_mesh
from mesoface.rendering.false_color import colorize
from mesoface.results.face import load_face


def main() -> None:
    """Write the picture and say how much of the error lies in few places."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="folders that `mesoface reconstruct` wrote")
    parser.add_argument("--truth", type=Path, required=True, help="the true surface, mm")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--limit", type=float, default=0.4, help="distance of the strongest colour, mm")
    parser.add_argument("--size", type=int, default=512, help="side of a map, pixels")
    arguments = parser.parse_args()
    truth = GroundTruth(read_mesh(arguments.truth))
    pictures = []
    for result in arguments.results:
        errors = error_map(result, truth, arguments.size)
        pictures.append(colorize(errors, (-arguments.limit, arguments.limit), "balance"))
        known = np.abs(errors[np.isfinite(errors)])
        for far in (0.2, 0.5):
            beyond = known > far
            area, share = 100 * beyond.mean(), 100 * known[beyond].sum() / known.sum()
            print(f"{result}: {area:.1f} % of the UV map beyond {far} mm, {share:.0f} % of the error")
    write_png(arguments.out, np.concatenate(pictures, 1))


def error_map(result: Path, truth: GroundTruth, size: int) -> NDArray[np.float64]:
    """(size, size) signed distances of a fine mesh to ``truth``, mm, positive outside; NaN elsewhere."""
    face = load_face(result)
    mesh = face.surface
    if mesh.uv is None:
        raise MesofaceError("the mesh has no UVs", path=result)
    column, row = np.clip((mesh.uv * (1, -1) + (0, 1)) * size, 0, size - 1).astype(int).T
    texel, vertex = np.unique(row * size + column, return_index=True)  # one vertex a texel is enough
    deviation = truth.with_region(face.region).deviation(mesh.vertices[vertex])
    errors = np.full(size * size, np.nan)
    errors[texel] = np.where(deviation.counted, deviation.signed, np.nan)
    return errors.reshape(size, size)


if __name__ == "__main__":
    try:
        main()
    except MesofaceError as error:
        raise SystemExit(str(error)) from None
