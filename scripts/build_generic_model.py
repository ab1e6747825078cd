"""Build the embedded face model ``generic`` from the committed statistics; nothing else is read."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from generic_model.modes import build_modes, pinched_faces
from generic_model.template import build_template
from numpy.typing import NDArray

from mesoface.face_models.loading import pack_modes
from mesoface.files.atomic import atomic_file
from mesoface.running.progress import ProgressCallback, progress_bars

ASSETS = Path(__file__).parents[1] / "src/mesoface/assets"


def main() -> None:
    """Parse the command line, build, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--statistics", type=Path, default=ASSETS / "landmark_statistics.npz", help="what was measured"
    )
    parser.add_argument("--out", type=Path, default=ASSETS / "generic_model.npz", help="the file written")
    args = parser.parse_args()
    if not args.statistics.is_file():
        parser.error(f"{args.statistics}: not found; scripts/measure_landmarks.py makes it")
    with progress_bars() as progress:
        arrays = build(args.statistics, progress)
    with atomic_file(args.out) as path:
        np.savez_compressed(path, **arrays)
    size = {name: len(array) for name, array in arrays.items()}
    print(f"{size['mean']} vertices, {size['faces']} triangles ({arrays['facial'].sum()} facial)")
    print(f"{size['identity']} + {size['expression']} modes, {args.out.stat().st_size / 2**20:.1f} MiB")


def build(source: Path, progress: ProgressCallback) -> dict[str, NDArray]:
    """The arrays of the model's file, as :func:`mesoface.face_models.loading.load_generic` reads them."""
    with np.load(source, allow_pickle=False) as data:
        statistics = {name: data[name] for name in data.files}
    progress("building", 0, 2)
    template = build_template(statistics)
    progress("building", 1, 2)
    identity, expression = build_modes(template, statistics)
    progress("building", 2, 2)
    return {
        "mean": template.mean.astype(np.float32),
        "identity": pack_modes(identity),
        "expression": pack_modes(expression),
        "faces": template.faces.astype(np.int32),
        "uv": template.uv.astype(np.float32),
        "facial": template.facial & ~pinched_faces(template, identity),
        "landmarks": np.arange(468, dtype=np.int32),  # the template's first vertices are mediapipe's points
    }


if __name__ == "__main__":
    main()
