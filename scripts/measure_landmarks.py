"""Measure where the landmarks lie on ICT heads, and how they vary over identities and expressions.

Writes two assets of numbers that this script measured, none of them a vertex or a basis vector of the model:
``ict_mediapipe478.npz`` (the place of each landmark on ICT's topology) and ``landmark_statistics.npz``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from generic_model.anchors import anchor_statistics, embed_anchors, nostril_triangles
from generic_model.embedding import Embedding, measure_embedding, open_skin
from generic_model.heads import load_heads
from generic_model.triangulation import anchor_triangles
from numpy.typing import NDArray

from mesoface.files.atomic import atomic_file
from mesoface.running.progress import progress_bars

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "src/mesoface/assets"
EMBEDDING = "ict_mediapipe478.npz"


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
    parser.add_argument(
        "--expressions", type=int, default=4000, help="random expressions whose moment is taken"
    )
    parser.add_argument(
        "--statistics-only", action="store_true", help="keep the landmarks' places that are there"
    )
    args = parser.parse_args()

    if args.statistics_only and not (args.out / EMBEDDING).is_file():
        parser.error(f"--statistics-only needs {args.out / EMBEDDING}; run without it first")
    heads = load_heads(args.ict)
    seen = open_skin(heads)
    if not args.statistics_only:
        with progress_bars() as progress:
            embedding = measure_embedding(heads, seen, args.heads, args.seed, progress)
        write_embedding(args.out / EMBEDDING, embedding)
        print(f"sightings a landmark: median {np.median(embedding.count):.0f}, least {embedding.count.min()}")
        spread = embedding.spread
        print(f"their spread, mm: median {np.median(spread):.2f}, largest {spread.max():.2f}")
    corners, bary = embed_anchors(heads, seen, *read_embedding(args.out / EMBEDDING))
    statistics = anchor_statistics(heads, corners, bary, args.expressions, args.seed)
    opened = statistics["open"].astype(np.float64)
    triangles, _ = anchor_triangles(opened)
    over = nostril_triangles(heads, seen, opened, triangles)
    with atomic_file(args.out / "landmark_statistics.npz") as path:
        np.savez_compressed(path, **statistics, nostrils=triangles[over].astype(np.int32))
    for kind in ("identity", "expression"):
        rms = np.sqrt((statistics[kind] ** 2).sum(2).mean(1))
        print(f"{kind} modes, mm: {', '.join(f'{x:.2f}' for x in rms[:6])} … {rms[-1]:.3f}")


def write_embedding(target: Path, embedding: Embedding) -> None:
    """Write landmark numbers, triangle corners, barycentric coordinates and spread."""
    with atomic_file(target) as path:
        np.savez_compressed(
            path,
            ids=embedding.ids.astype(np.int32),
            corners=embedding.corners.astype(np.int32),
            bary=embedding.bary.astype(np.float32),
            spread_mm=embedding.spread.astype(np.float32),
        )


def read_embedding(source: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(L, 3) corners and (L, 3) barycentric coordinates, as :func:`write_embedding` wrote them."""
    with np.load(source, allow_pickle=False) as data:
        return data["corners"].astype(np.int64), data["bary"].astype(np.float64)


if __name__ == "__main__":
    main()
