"""How well ``generic`` can take the shape of heads that it was not made from exactly: figures for its card.

Random ICT heads; the model is fitted to their true landmark positions (regularised least squares with pose), then
its facial surface is measured against theirs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from generic_model.embedding import open_skin
from generic_model.heads import load_heads
from generic_model.surface import nearest_on_surface
from measure_landmarks import ASSETS, EMBEDDING, ROOT, read_embedding
from numpy.typing import NDArray

from mesoface.face_models.generic import load_generic
from mesoface.face_models.model import LinearFaceModel
from mesoface.mesh import Mesh
from mesoface.progress import progress_bars


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
    rows: dict[str, list[NDArray[np.float64]]] = {"neutral": [], "expression": []}
    with progress_bars() as progress:
        for k in range(2 * args.heads):
            kind = ("neutral", "expression")[k % 2]
            weights = heads.random_expression(rng) * (kind == "expression")
            vertices = heads.shape(rng.normal(size=len(heads.identity)), weights)
            marks = np.einsum("lk,lkc->lc", bary, vertices[corners])
            shape = fit_points(model, marks, args.noise)
            rows[kind].append(facial_distances(model, shape, vertices, skin))
            progress("heads", k + 1, 2 * args.heads)
    print(f"{'':12}{'mean':>8}{'median':>8}{'90 %':>8}  mm, {args.heads} heads each")
    for kind, values in rows.items():
        all_values = np.concatenate(values)
        print(
            f"{kind:12}{all_values.mean():8.2f}{np.median(all_values):8.2f}{np.percentile(all_values, 90):8.2f}"
        )


def fit_points(
    model: LinearFaceModel, marks: NDArray[np.float64], noise: float, rounds: int = 8
) -> NDArray[np.float64]:
    """Fit to known landmark positions (468, 3): (N, 3) vertices in their frame."""
    scheme = "mediapipe478"
    where = model.topology.faces[model.topology.landmark_faces[scheme]]
    identity, expression = np.zeros(model.n_identity), np.zeros(model.n_expression)
    points, jacobian = model.points(identity, expression, where, model.topology.landmark_bary[scheme])
    mean, jacobian = points.reshape(-1), jacobian.reshape(len(points) * 3, -1)
    normal = jacobian.T @ jacobian + noise**2 * np.eye(jacobian.shape[1])
    z = np.zeros(jacobian.shape[1])
    for _ in range(rounds):
        rotation, shift = rigid_motion((mean + jacobian @ z).reshape(-1, 3), marks)
        z = np.linalg.solve(normal, jacobian.T @ (((marks - shift) @ rotation).reshape(-1) - mean))
    return model.shape(z[: model.n_identity], z[model.n_identity :]) @ rotation.T + shift


def rigid_motion(source: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Rotation (3, 3) and translation (3,) that carry ``source`` (L, 3) onto ``target`` best (Umeyama 1991)."""
    a, b = source.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((target - b).T @ (source - a))
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return rotation, b - rotation @ a


def facial_distances(
    model: LinearFaceModel, shape: NDArray[np.float64], vertices: NDArray[np.float64], skin: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Distances (S,) of area-uniform samples of the facial mask from a head's visible skin, mm."""
    faces = model.topology.faces[model.topology.facial]
    mesh, rng = Mesh(shape, faces), np.random.default_rng(0)
    area = mesh.face_areas()
    chosen = rng.choice(len(faces), 3000, p=area / area.sum())
    points = np.einsum("sk,skc->sc", rng.dirichlet(np.ones(3), 3000), mesh.face_corners()[chosen])
    return nearest_on_surface(vertices, skin, points)[2]


if __name__ == "__main__":
    main()
