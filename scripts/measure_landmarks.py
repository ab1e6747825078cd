"""Measure where the landmarks lie on ICT heads, and how they vary over identities and expressions.

Writes two assets of numbers that this script measured, none of them a vertex or a basis vector of the model:
``ict_mediapipe478.npz`` (the place of each landmark on ICT's topology) and ``landmark_statistics.npz``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from generic_model.embedding import measure_embedding, open_skin
from generic_model.heads import load_heads

from mesoface.atomic import atomic_file
from mesoface.progress import progress_bars

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "src/mesoface/assets"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ict", type=Path, default=ROOT.parent / "shared/ict/ict_facekit_mm.npz", help="ICT-FaceKit, compact"
    )
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder of the two files written")
    parser.add_argument("--heads", type=int, default=60, help="heads rendered (10 pictures each)")
    parser.add_argument("--seed", type=int, default=1, help="seed of identities, expressions, lights")
    args = parser.parse_args()

    heads = load_heads(args.ict)
    seen = open_skin(heads)
    with progress_bars() as progress:
        embedding = measure_embedding(heads, seen, args.heads, args.seed, progress)
    with atomic_file(args.out / "ict_mediapipe478.npz") as path:
        np.savez_compressed(
            path,
            ids=embedding.ids.astype(np.int32),
            corners=embedding.corners.astype(np.int32),
            bary=embedding.bary.astype(np.float32),
            spread_mm=embedding.spread.astype(np.float32),
        )
    print(f"sightings a landmark: median {np.median(embedding.count):.0f}, least {embedding.count.min()}")
    print(
        f"spread of sightings, mm: median {np.median(embedding.spread):.2f}, largest {embedding.spread.max():.2f}"
    )


if __name__ == "__main__":
    main()
