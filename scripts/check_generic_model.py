"""How well ``generic`` can take the shape of heads that it was not made from exactly: figures for its card.

Random ICT heads; the model is fitted to their true landmark positions (regularised least squares with
pose), then its facial surface is measured against theirs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from generic_model.embedding import open_skin
from generic_model.heads import load_heads
from measure_landmarks import ASSETS, EMBEDDING, ROOT, read_embedding

from mesoface.evaluation import Evaluation, evaluate
from mesoface.face_models.fitting import fit_landmarks3d
from mesoface.face_models.loading import load_generic
from mesoface.geometry.mesh import Mesh
from mesoface.running.progress import progress_bars


def main() -> None:
    """Parse the command line, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ict = ROOT.parent / "shared/ict/ict_facekit_mm.npz"
    parser.add_argument("--ict", type=Path, default=ict, help="ICT-FaceKit, compact")
    parser.add_argument("--heads", type=int, default=20, help="heads of each kind")
    parser.add_argument(
        "--seed", type=int, default=1001, help="not the seed the statistics were measured with"
    )
    parser.add_argument("--noise", type=float, default=0.5, help="assumed error of the landmarks, mm")
    args = parser.parse_args()
    heads, model, rng = load_heads(args.ict), load_generic(), np.random.default_rng(args.seed)
    skin = heads.triangles[open_skin(heads)]
    corners, bary = read_embedding(ASSETS / EMBEDDING)
    rows: dict[str, list[Evaluation]] = {"neutral": [], "expression": []}
    with progress_bars() as progress:
        for k in range(2 * args.heads):
            kind = ("neutral", "expression")[k % 2]
            weights = heads.random_expression(rng) * (kind == "expression")
            vertices = heads.shape(rng.normal(size=len(heads.identity)), weights)
            marks = np.einsum("lk,lkc->lc", bary, vertices[corners])
            fit = fit_landmarks3d(model, marks, scheme="mediapipe478", fix_scale=1.0, noise_mm=args.noise)
            facial = fit.mesh.select_faces(model.topology.facial)
            rows[kind].append(evaluate(facial, Mesh(vertices, skin), samples=5000))
            progress("heads", k + 1, 2 * args.heads)
    print(f"model to head, mm, {args.heads} heads each\n{'':12}{'mean':>8}{'median':>8}{'90 %':>8}")
    for kind, values in rows.items():
        table = np.array([[e.accuracy.mean, e.accuracy.median, e.accuracy.p90] for e in values]).mean(0)
        print(f"{kind:12}" + "".join(f"{x:8.2f}" for x in table))


if __name__ == "__main__":
    main()
