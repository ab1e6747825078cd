"""Random identities and expressions of the ICT-FaceKit model, read from its compact file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SKIN_MATERIALS = (0, 1)  # face, back of the head
EYE_MATERIALS = (4, 5, 6, 7)  # sclera and iris, left and right
MOUTH_MATERIALS = (2, 3)  # gums and tongue, teeth
VISIBLE_MATERIALS = SKIN_MATERIALS + EYE_MATERIALS + MOUTH_MATERIALS
FACE_VERTICES = 9409

# Expressions that go together: name → (blendshapes, largest weight). A random expression is a few of them.
GROUPS: dict[str, tuple[tuple[str, ...], float]] = {
    "brows down": (("browDown_L", "browDown_R"), 0.9),
    "brows up": (("browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R"), 0.9),
    "inner brows up": (("browInnerUp_L", "browInnerUp_R"), 0.9),
    "cheeks puffed": (("cheekPuff_L", "cheekPuff_R"), 0.7),
    "cheeks raised": (("cheekSquint_L", "cheekSquint_R", "eyeSquint_L", "eyeSquint_R"), 0.9),
    "eyes closed": (("eyeBlink_L", "eyeBlink_R"), 1.0),
    "eyes wide": (("eyeWide_L", "eyeWide_R"), 0.9),
    "jaw forward": (("jawForward",), 0.6),
    "jaw left": (("jawLeft", "mouthLeft"), 0.5),
    "jaw right": (("jawRight", "mouthRight"), 0.5),
    "jaw open": (("jawOpen",), 0.7),
    "smile": (("mouthSmile_L", "mouthSmile_R", "mouthDimple_L", "mouthDimple_R"), 0.9),
    "frown": (("mouthFrown_L", "mouthFrown_R"), 0.8),
    "funnel": (("mouthFunnel",), 0.7),
    "pucker": (("mouthPucker",), 0.8),
    "lower lip down": (("mouthLowerDown_L", "mouthLowerDown_R"), 0.7),
    "upper lip up": (("mouthUpperUp_L", "mouthUpperUp_R"), 0.7),
    "lips pressed": (("mouthPress_L", "mouthPress_R"), 0.8),
    "lips rolled in": (("mouthRollLower", "mouthRollUpper"), 0.5),
    "lips shrugged": (("mouthShrugLower", "mouthShrugUpper"), 0.6),
    "mouth stretched": (("mouthStretch_L", "mouthStretch_R"), 0.7),
    "nose sneer": (("noseSneer_L", "noseSneer_R"), 0.8),
}


@dataclass(frozen=True, eq=False)
class Heads:
    """The model: ``neutral + Σ wᵢ identityᵢ + Σ wⱼ expressionⱼ``, identity weights distributed N(0, 1).

    Args:
        neutral: (N, 3) mm; x to the subject's left, y up, z forward.
        triangles: (F, 3).
        material: (F,) index of each triangle's material.
        identity: (100, N, 3) float32 mm.
        expression: (53, N, 3) float32 mm.
        names: names of the 53 expressions.
        landmarks68: (68,) vertices of the iBUG landmarks.
    """

    neutral: NDArray[np.float64]
    triangles: NDArray[np.int64]
    material: NDArray[np.int64]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    names: tuple[str, ...]
    landmarks68: NDArray[np.int64]

    def triangles_of(self, materials: tuple[int, ...]) -> NDArray[np.int64]:
        """(F', 3) the triangles of some materials only."""
        return self.triangles[np.isin(self.material, materials)]

    def shape(self, identity: NDArray[np.float64], expression: NDArray[np.float64]) -> NDArray[np.float64]:
        """(100,) and (53,) weights → (N, 3) vertices, mm."""
        return (
            self.neutral
            + np.tensordot(identity.astype(np.float32), self.identity, 1)
            + np.tensordot(expression.astype(np.float32), self.expression, 1)
        )

    def random_expression(
        self, rng: np.random.Generator, groups: int = 4, strength: float = 1.0, blink: float = 0.0
    ) -> NDArray[np.float64]:
        """(53,) weights of one to ``groups`` expression groups, left and right nearly alike.

        Args:
            rng: source of chance.
            groups: at most how many of ``GROUPS``.
            strength: factor of their weights.
            blink: share of faces whose eyes are shut besides.
        """
        weights = np.zeros(len(self.names))
        for name in rng.choice(list(GROUPS), size=rng.integers(1, groups + 1), replace=False):
            shapes, largest = GROUPS[name]
            amount = strength * largest * rng.beta(1.5, 1.5)
            for shape in shapes:
                weights[self.names.index(shape)] += amount * rng.normal(1.0, 0.15)
        if blink > 0 and rng.random() < blink:
            for shape in GROUPS["eyes closed"][0]:
                weights[self.names.index(shape)] = rng.uniform(0.8, 1.0)
        return np.clip(weights, 0.0, 1.0)


def load_heads(path: Path) -> Heads:
    """Read ``ict_facekit_mm.npz``.

    Raises:
        SystemExit: there is no such file.
    """
    if not path.is_file():
        raise SystemExit(f"{path}: not found; name the compact ICT-FaceKit file with --ict")
    with np.load(path, allow_pickle=False) as data:
        quads = data["quads"].astype(np.int64)
        is_quad = quads[:, 3] >= 0
        triangles = np.concatenate([quads[:, :3], quads[is_quad][:, [0, 2, 3]]])
        material = np.concatenate([data["face_material"], data["face_material"][is_quad]])
        return Heads(
            neutral=data["neutral_mm"].astype(np.float64),
            triangles=triangles,
            material=material.astype(np.int64),
            identity=data["identity_delta_q"] * data["identity_scale_mm"][:, None, None],
            expression=data["expression_delta_q"] * data["expression_scale_mm"][:, None, None],
            names=tuple(str(name) for name in data["expression_names"]),
            landmarks68=data["landmark68_vertices"].astype(np.int64),
        )
