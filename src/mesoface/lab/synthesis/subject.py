"""A person: a head with its skin, how it moves, and its surfaces in a pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from scipy.spatial.transform import Rotation

from mesoface.face_models.model import FaceModel
from mesoface.geometry.camera import Array
from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis import anatomy
from mesoface.lab.synthesis.head import Head, make_eyes, make_head, make_neck, sample_expression
from mesoface.lab.synthesis.scene import Part
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.lab.synthesis.skin import CLOTH, Complexion, SkinRelief, make_relief, paint

OTHER_EXPRESSIONS = 3
"""Number of further expressions of a moving head; they overlap."""
# Ranges in seconds: of the time that an expression takes, and of the time at which it first begins.
_LASTS, _BEGINS = (0.8, 2.0), (0.0, 0.6)
# Standard deviations of the head's swing, and its period in seconds.
_TURN_DEG, _SHIFT_MM, _PERIOD = np.array([5.0, 3.5, 2.5]), np.array([4.0, 3.0, 3.0]), (1.5, 4.0)
# Centre of the head's rotation, about the top of the spine, in a face model's frame, mm.
PIVOT = np.array([0.0, -60.0, -60.0])


@dataclass(frozen=True, eq=False)
class Pose:
    """Expression and placement of a head at one moment.

    Args:
        weights: (K,) weight of each further expression.
        turn: (3, 3) rotation about :data:`PIVOT`.
        shift: (3,) mm.
    """

    weights: Array
    turn: Array
    shift: Array


REST = Pose(np.zeros(0), np.eye(3), np.zeros(3))
"""The head at rest."""


@dataclass(frozen=True, eq=False)
class Motion:
    """A head's movement; at time 0 it is at rest.

    Each expression's weight follows sin² with its own period; the head swings about three axes.

    Args:
        periods: (K,) seconds.
        begins: (K,) seconds at which each expression first begins.
        strength: (K,) largest weight of each expression.
        swing: (6,) amplitudes of turn (degrees, about y, x and z) and shift (mm, x, y, z).
        swing_periods: (6,) seconds.
    """

    periods: Array
    begins: Array
    strength: Array
    swing: Array
    swing_periods: Array

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Motion:
        """A random movement."""
        return cls(
            rng.uniform(*_LASTS, OTHER_EXPRESSIONS),
            rng.uniform(*_BEGINS, OTHER_EXPRESSIONS),
            rng.uniform(0.6, 1.0, OTHER_EXPRESSIONS),
            rng.normal(0, 1, 6) * np.concatenate([_TURN_DEG, _SHIFT_MM]),
            rng.uniform(*_PERIOD, 6),
        )

    def at(self, seconds: float) -> Pose:
        """The head's pose at a time ≥ 0."""
        since = np.maximum(seconds - self.begins, 0)
        weights = self.strength * np.sin(np.pi * since / self.periods) ** 2
        swing = self.swing * np.sin(2 * np.pi * seconds / self.swing_periods)
        return Pose(weights, Rotation.from_euler("yxz", swing[:3], degrees=True).as_matrix(), swing[3:])


def chance(seed: int, purpose: str) -> np.random.Generator:
    """An independent random stream for each purpose: the number of views must not change the face."""
    return np.random.default_rng([seed, crc32(purpose.encode())])


@dataclass(frozen=True, eq=False)
class Subject:
    """A person, in the face model's frame.

    Args:
        head: before relief.
        complexion: of the skin.
        relief: of the skin.
        albedo: (N, 3) linear RGB of the skin.
        seed: of the person.
        settings: of the capture.
    """

    head: Head
    complexion: Complexion
    relief: SkinRelief
    albedo: Array
    seed: int
    settings: SynthesisSettings

    @classmethod
    def draw(cls, seed: int, model: FaceModel, settings: SynthesisSettings, expressions: int = 0) -> Subject:
        """Draw a person who has so many further ``expressions``.

        Raises:
            FaceModelError: the model lacks landmarks.
        """
        rng, count = chance(seed, "expressions"), model.n_expression
        others = [sample_expression(count, settings.expression, rng) for _ in range(expressions)]
        head = make_head(model, settings, chance(seed, "head"), others)
        skin = Complexion.draw(chance(seed, "complexion"))
        relief = make_relief(head, skin, chance(seed, "relief"))
        albedo = paint(head, relief, skin, chance(seed, "pigment"), settings.skin_contrast)
        return cls(head, skin, relief, albedo, seed, settings)

    def parts(self, pose: Pose) -> list[Part]:
        """Skin, eyeballs and, for models without one, a neck; the skin first, its vertices in one order."""
        head, relief = self.head, self.relief
        mesh = head.mesh.with_vertices(head.mesh.vertices + _mixed(pose.weights, head.motions))
        mesh = mesh.with_vertices(mesh.vertices + relief.height[:, None] * mesh.vertex_normals())
        shine = (0.5 + self.complexion.oil) * (1 + 1.5 * relief.lips) * head.grown
        parts = [Part(mesh, self.albedo, shine, np.full(len(shine), 22.0))]
        landmarks = head.landmarks + _mixed(pose.weights, head.landmark_motions)
        audience = self.middle + np.array([0, 0, self.settings.distance_mm])
        parts += make_eyes(landmarks, audience, chance(self.seed, "eyes"))
        if not head.grown.all():
            neck = make_neck(head.landmarks)
            size = len(neck.vertices)
            parts.append(Part(neck, np.full((size, 3), CLOTH), np.zeros(size), np.ones(size)))
        return parts

    @property
    def middle(self) -> Array:
        """(3,) middle of the face at rest."""
        return self.head.landmarks[list(anatomy.FACE_OVAL)].mean(0) + np.array([0, 0, 10.0])

    @property
    def face_height(self) -> float:
        """From chin to hairline at rest, mm."""
        return float(np.ptp(self.head.landmarks[list(anatomy.FACE_OVAL), 1]))


def placed(parts: Sequence[Part], pose: Pose, turn: Array, shift: Array) -> list[Part]:
    """The parts in ``pose``, in a world turned (3, 3) and shifted (3,), mm, from the face model's frame."""
    together = turn @ pose.turn
    offset = turn @ (PIVOT - pose.turn @ PIVOT + pose.shift) + shift

    def moved(mesh: Mesh) -> Mesh:
        normals = None if mesh.normals is None else mesh.normals @ together.T
        return Mesh(mesh.vertices @ together.T + offset, mesh.faces, normals=normals)

    return [replace(part, mesh=moved(part.mesh)) for part in parts]


def _mixed(weights: Array, motions: Array) -> Array:
    """(N, 3) the ``motions`` (K', N, 3) at ``weights`` (K,), K ≤ K'."""
    return np.tensordot(weights, motions[: len(weights)], 1)
