"""How FaceScape names what it holds: 20 expressions, and captures by person and expression."""

from __future__ import annotations

import re
from dataclasses import dataclass

EXPRESSIONS = (
    "neutral", "smile", "mouth_stretch", "anger", "jaw_left",
    "jaw_right", "jaw_forward", "mouth_left", "mouth_right", "dimpler",
    "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll",
    "grin", "cheek_blowing", "eye_closed", "brow_raiser", "brow_lower",
)  # fmt: skip
"""Names of the expressions 1, 2, … 20."""

_KEY = re.compile(r"(\d{3,4})_(\d{2})")


@dataclass(frozen=True, order=True)
class CaptureId:
    """One capture of the data set.

    Args:
        person: 1, 2, …; FaceScape's multi-view part has 359.
        expression: 1 to 20.

    Raises:
        ValueError: there is no such capture.
    """

    person: int
    expression: int

    def __post_init__(self) -> None:
        if not 1 <= self.person <= 9999 or not 1 <= self.expression <= len(EXPRESSIONS):
            raise ValueError(f"no capture {self.person}, {self.expression}: expressions are 1 to 20")

    @property
    def key(self) -> str:
        """As ``id.json`` and the maps have it: ``001_01``."""
        return f"{self.person:03d}_{self.expression:02d}"

    @property
    def expression_name(self) -> str:
        """As the published folders and meshes have it: ``1_neutral``."""
        return f"{self.expression}_{EXPRESSIONS[self.expression - 1]}"

    @staticmethod
    def parse(key: str) -> CaptureId:
        """The capture of a ``key``.

        Raises:
            ValueError: it is none.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"{key!r} names no capture: 001_01 is person 1, expression 1")
        return CaptureId(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return self.key
