"""Settings of a prepared folder and of generated captures; the commands take them as options. Expressions."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

from mesoface.config import option
from mesoface.lab.synthesis.settings import CheckedSettings, SynthesisSettings, number

EXPRESSIONS = (
    "neutral", "smile", "mouth_stretch", "anger", "jaw_left",
    "jaw_right", "jaw_forward", "mouth_left", "mouth_right", "dimpler",
    "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll",
    "grin", "cheek_blowing", "eye_closed", "brow_raiser", "brow_lower",
)  # fmt: skip
"""Names of the expressions 1, 2, … 20."""
LONGEST_SIDE = 1296
"""Of a prepared photo, pixels, as published."""
_photos, _people = (partial(number, panel) for panel in ("Photos", "People"))


def _seed() -> Any:
    return option(0, "Each seed gives other people.", panel="People", metavar="N", ge=0)


def _face_model(help: str) -> Any:
    return option("generic", help, panel="Face model", metavar="generic|ict|PATH")


def _synthetic(name: str, default: float) -> Any:
    """The field of :class:`SynthesisSettings` with another default."""
    field = copy(SynthesisSettings.model_fields[name])
    field.default = default
    return field


class PrepareSettings(CheckedSettings):
    """What is the same for all captures of a prepared folder."""

    views: int = _photos(10, 2, 60, "N", "Photos of each capture, at most.")
    longest_side: int = _photos(LONGEST_SIDE, 64, 8192, "PIXELS", "Longest side of the prepared photos.")
    face_model: str = _face_model("Face model of the base meshes and of the maps' layout.")
    validation_share: float = _people(0.05, 0, 0.5, "SHARE", "Share of the people for validation.")
    eval_share: float = _people(0.1, 0, 0.5, "SHARE", "Share of the people that are never trained on.")
    seed: int = _seed()


class GeneratorSettings(CheckedSettings):
    """What is generated in FaceScape's published layout."""

    people: int = _people(3, 1, 9999, "N", "Number of people.")
    expressions: int = _people(2, 1, len(EXPRESSIONS), "N", "Captures of each person.")
    views: int = _synthetic("views", 12)
    width: int = _synthetic("width", 864)
    height: int = _synthetic("height", 1296)
    detail_mm: float = _synthetic("detail_mm", 0.6)
    face_model: str = _face_model("Face model that heads are drawn from.")
    seed: int = _seed()

    def synthesis(self, expression: int) -> SynthesisSettings:
        """Settings of one capture: neutral first, then other strengths of the person's expression."""
        shared = self.model_dump(include={"views", "width", "height", "detail_mm"})
        strength = 0.0 if expression == 1 else 0.4 + 0.2 * (expression % 4)
        return SynthesisSettings(**shared, spread_deg=140.0, expression=strength)
