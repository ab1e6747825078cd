"""The template's UV layout: anchors spread over a rounded square with as little distortion as can be."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

ROUNDNESS = (
    4.0  # exponent of the superellipse |x|^p + |y|^p = 1 that bounds the layout: 2 is a disc, ∞ the square
)
LEAST_DET = 0.02  # area ratio, relative to the mean, below which the energy's barrier is a parabola
MARGIN = 0.002  # left free around it, in UV


def triangle_frames(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, 3, 3) triangles in space → (T, 2, 2) their edges in their own planes, inverted, and (T,) areas."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(e1, axis=1)
    along = np.einsum("tc,tc->t", e1, e2) / length
    height = np.linalg.norm(np.cross(e1, e2), axis=1) / length
    edges = np.zeros((len(corners), 2, 2))
    edges[:, 0, 0], edges[:, 0, 1], edges[:, 1, 1] = length, along, height
    return np.linalg.inv(edges), length * height / 2


def boundary_curve(angle: NDArray[np.float64] | torch.Tensor) -> torch.Tensor:
    """(B,) angles from the top towards the right → (B, 2) points on the superellipse in [-1, 1]²."""
    angle = torch.as_tensor(angle)
    x, y = torch.sin(angle), torch.cos(angle)
    radius = (x.abs() ** ROUNDNESS + y.abs() ** ROUNDNESS) ** (-1 / ROUNDNESS)
    return torch.stack([x * radius, y * radius], 1)


def tutte(
    count: int, triangles: NDArray[np.int64], rim: NDArray[np.int64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(count, 2) every inner vertex in the middle of its neighbours: no flips, for a convex rim (Tutte)."""
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, 1), axis=0)
    ones = np.ones(len(pairs))
    graph = scipy.sparse.coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (count, count))
    graph = (graph + graph.T).tocsr()
    laplacian = scipy.sparse.diags(np.asarray(graph.sum(1)).ravel()) - graph
    inner = np.setdiff1d(np.arange(count), rim)
    uv = np.zeros((count, 2))
    uv[rim] = at
    right = -(laplacian[inner][:, rim] @ at)
    uv[inner] = scipy.sparse.linalg.spsolve(laplacian[inner][:, inner].tocsc(), right)
    return uv


def relax(
    positions: NDArray[np.float64],
    triangles: NDArray[np.int64],
    rim: NDArray[np.int64],
    weights: NDArray[np.float64],
    iterations: int = 3000,
) -> NDArray[np.float64]:
    """Lay a disc-like mesh out with the least symmetric Dirichlet energy (Smith & Schaefer 2015).

    The rim slides along the boundary curve. The start is Tutte's layout; the energy rises steeply as a
    triangle vanishes.

    Args:
        positions: (A, 3) mm.
        triangles: (T, 3).
        rim: (B,) boundary vertices, from the middle of the forehead towards the subject's left.
        weights: (T,) how much each triangle's distortion counts, besides its area.
        iterations: of L-BFGS.

    Returns:
        (A, 2) UV in [0, 1]².

    Raises:
        ValueError: the winding is wrong, or triangles are turned over at the end.
    """
    inverse, area = triangle_frames(positions[triangles])
    scale = np.sqrt(boundary_area() / area.sum())
    start = np.linspace(0, 2 * np.pi, len(rim), endpoint=False)
    uv = tutte(len(positions), triangles, rim, boundary_curve(start).numpy())
    if (signed_areas(uv, triangles) <= 0).any():
        raise ValueError(
            "triangles must be wound like the rim: clockwise from the forehead, seen from the front"
        )
    inner = np.setdiff1d(np.arange(len(positions)), rim)
    inverse_t = torch.as_tensor(inverse / scale)
    weight = torch.as_tensor(area / area.sum() * weights)
    tri, rim_t, inner_t = (torch.as_tensor(x) for x in (triangles, rim, inner))

    def place(x: torch.Tensor) -> torch.Tensor:
        steps = torch.softmax(x[: len(rim)], 0) * 2 * torch.pi
        angle = torch.cumsum(steps, 0) - steps[0]  # the first stays at the top
        out = torch.zeros(len(positions), 2, dtype=torch.float64)
        out = out.index_put((rim_t,), boundary_curve(angle))
        return out.index_put((inner_t,), x[len(rim) :].reshape(-1, 2))

    def energy(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x = torch.tensor(flat, requires_grad=True)
        a, b, c = place(x)[tri].unbind(1)
        jacobian = torch.stack([b - a, c - a], 2) @ inverse_t
        det = torch.det(jacobian)
        value = (weight * (jacobian**2).sum((1, 2)) * (1 + _barrier(det))).sum()
        (slope,) = torch.autograd.grad(value, x)
        return float(value.detach()), slope.numpy()

    x = np.concatenate([np.zeros(len(rim)), uv[inner].ravel()])
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 40, "ftol": 1e-9}
    x = minimize(energy, x, jac=True, method="L-BFGS-B", options=options).x
    uv = place(torch.as_tensor(x)).numpy()
    if (signed_areas(uv, triangles) <= 0).any():
        raise ValueError("the layout has turned triangles over: give it more iterations")
    return 0.5 + (0.5 - MARGIN) * uv


def _barrier(det: torch.Tensor) -> torch.Tensor:
    """``det⁻²``, continued below ``LEAST_DET`` by its parabola there, so that a line search may pass zero."""
    e = LEAST_DET
    below = e**-2 - 2 * e**-3 * (det - e) + 3 * e**-4 * (det - e) ** 2
    return torch.where(det > e, det.clamp(min=e) ** -2, below)


def onto_boundary(uv: NDArray[np.float64], rim: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 2) with the vertices ``rim`` pushed outwards from the middle onto the boundary curve."""
    out, offset = uv.copy(), (uv[rim] - 0.5) / (0.5 - MARGIN)
    out[rim] = 0.5 + (0.5 - MARGIN) * boundary_curve(np.arctan2(offset[:, 0], offset[:, 1])).numpy()
    return out


def boundary_area() -> float:
    """Area inside the boundary curve, of the 4 of [-1, 1]²."""
    x, y = boundary_curve(np.linspace(0, 2 * np.pi, 2000, endpoint=False)).numpy().T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def signed_areas(uv: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    """(T,) area of each triangle in UV, negative where it is turned over."""
    a, b, c = uv[triangles.T]
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
