"""Simple pictures of heads: painted well enough that a face detector finds and places its landmarks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from generic_model.heads import EYE_MATERIALS, FACE_VERTICES, MOUTH_MATERIALS, VISIBLE_MATERIALS, Heads
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import Hits, RayCaster

SKIN, LIPS, HAIR = (0.80, 0.58, 0.47), (0.70, 0.36, 0.33), (0.16, 0.11, 0.08)
SCLERA, IRIS, PUPIL, MOUTH, TEETH = (
    (0.9, 0.88, 0.86),
    (0.33, 0.22, 0.13),
    (0.02,) * 3,
    (0.4, 0.14, 0.13),
    (0.9, 0.87, 0.8),
)
RIGHT_BROW, LEFT_BROW = slice(17, 22), slice(22, 27)
UPPER_LIP, LOWER_LIP = (
    [48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60],
    [48, 59, 58, 57, 56, 55, 54, 64, 65, 66, 67, 60],
)


class Painter:
    """Colours of a head's vertices, decided once on the neutral mean."""

    def __init__(self, heads: Heads):
        self.heads = heads
        position, marks = heads.neutral, heads.neutral[heads.landmarks68]
        color = np.tile(np.array(SKIN), (len(position), 1))
        face = np.arange(len(position)) < FACE_VERTICES
        for ring in (UPPER_LIP, LOWER_LIP):
            inside = np.array([_inside(marks[ring][:, :2], p[:2]) for p in position[:FACE_VERTICES]])
            near = np.abs(position[:FACE_VERTICES, 2] - marks[51, 2]) < 22
            color[:FACE_VERTICES][inside & near] = LIPS
        for brow in (RIGHT_BROW, LEFT_BROW):
            line = _resample(marks[brow], 40)
            distance = np.linalg.norm(position[:, None] - line[None], axis=2).min(1)
            weight = (np.clip((5.5 - distance) / 2.0, 0, 1) * face)[:, None]
            color = (1 - weight) * color + weight * np.array(HAIR)
        # a cap of hair from a little above the forehead backwards
        scalp = (position[:, 1] > 85) | ((position[:, 2] < 0) & (position[:, 1] > 0))
        color[scalp & (np.arange(len(position)) < 14062)] = HAIR
        self.skin = color

    def eye_color(
        self, vertices: NDArray[np.float64], gaze: NDArray[np.float64], center: NDArray[np.float64]
    ) -> NDArray:
        """Colours of eyeball points (N, 3) by their angle from the gaze (3,) about ``center`` (3,)."""
        angle = np.degrees(np.arccos(np.clip(unit(vertices - center) @ gaze, -1, 1)))
        color = np.where(angle[:, None] < 27.5, np.array(IRIS), np.array(SCLERA))
        return np.where(angle[:, None] < 11, np.array(PUPIL), color)

    def paint(
        self,
        mesh: Mesh,
        material: NDArray[np.int64],
        hits: Hits,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> NDArray[np.uint8]:
        """Shade first hits into an (H, W, 3) uint8 picture with a random light, skin tone and background."""
        hit = hits.hit
        normal = unit(hits.interpolate(mesh.vertex_normals(), mesh.faces)[hit])
        point = hits.interpolate(mesh.vertices, mesh.faces)[hit]
        kind = material[hits.face[hit]]
        tone = rng.uniform(0.55, 1.1)
        color = hits.interpolate(self.skin, mesh.faces)[hit] * tone
        color[np.isin(kind, MOUTH_MATERIALS[:1])], color[kind == MOUTH_MATERIALS[1]] = MOUTH, TEETH
        for pair in (EYE_MATERIALS[:2], EYE_MATERIALS[2:]):
            ball = np.unique(mesh.faces[np.isin(material, pair)])
            if not len(ball):
                continue
            center = mesh.vertices[ball].mean(0)
            mine = np.isin(kind, pair)
            gaze = unit(np.array([0.0, 0.0, 1.0]) + rng.normal(0, 0.05, 3))
            color[mine] = self.eye_color(point[mine], gaze, center)
        light = unit(np.array([rng.uniform(-0.7, 0.7), rng.uniform(0.0, 0.8), 1.0]))
        shade = 0.42 + 0.62 * np.clip(normal @ light, 0, None) + 0.12 * normal[:, 1]
        image = np.tile(rng.uniform(0.25, 0.75, 3), (len(hit), 1))
        image[hit] = color * shade[:, None]
        image = image.reshape(*size, 3) + rng.normal(0, 0.01, (*size, 3))
        return (cv2.GaussianBlur(np.clip(image, 0, 1), (0, 0), 0.6) * 255).astype(np.uint8)


def portrait_camera(yaw: float, pitch: float, size: int, distance: float = 620.0) -> Camera:
    """A camera that looks at the face from ``yaw`` (the subject's left) and ``pitch`` (above), degrees."""
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    target = np.array([0.0, 5.0, 55.0])
    direction = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    R, t = look_at(target + distance * direction, target)
    f = size * distance / 330.0
    K = np.array([[f, 0, (size - 1) / 2], [0, f, (size - 1) / 2], [0, 0, 1.0]])
    return Camera(K=K, R=R, t=t, width=size, height=size)


def visible_head(heads: Heads, vertices: NDArray[np.float64]) -> tuple[Mesh, NDArray[np.int64], RayCaster]:
    """What a photo of the head shows (skin, eyeballs, mouth): mesh, the triangles' materials, ray caster."""
    keep = np.isin(heads.material, VISIBLE_MATERIALS)
    mesh = Mesh(vertices, heads.triangles[keep])
    return mesh, heads.material[keep], RayCaster(mesh)


def _resample(line: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    s = np.linspace(0, len(line) - 1, count)
    return np.stack([np.interp(s, np.arange(len(line)), line[:, k]) for k in range(3)], 1)


def _inside(polygon: NDArray[np.float64], point: NDArray[np.float64]) -> bool:
    contour = polygon.astype(np.float32).reshape(-1, 1, 2)
    return cv2.pointPolygonTest(contour, (float(point[0]), float(point[1])), False) >= 0
