"""Settings of a prepared folder and of generated captures; the commands take them as options."""

from __future__ import annotations

from typing import Any

from mesoface.config import option
from mesoface.lab.facescape.layout import EXPRESSIONS
from mesoface.lab.synthesis.settings import (
    CheckedSettings,
    SynthesisSettings,
    detail_option,
    side_option,
    views_option,
)

LONGEST_SIDE = 1296
"""Of a prepared photo, pixels, as published."""
_PHOTOS, _PEOPLE, _MODEL = "Photos", "People", "Face model"


def _seed() -> Any:
    return option(0, "Each seed gives other people.", panel=_PEOPLE, metavar="N", ge=0)


def _face_model(help: str) -> Any:
    return option("generic", help, panel=_MODEL, metavar="generic|ict|PATH")


def _share(default: float, help: str) -> Any:
    return option(default, help, panel=_PEOPLE, metavar="SHARE", ge=0, le=0.5)


class PrepareSettings(CheckedSettings):
    """What is the same for all captures of a prepared folder."""

    views: int = option(10, "Photos of each capture, at most.", panel=_PHOTOS, metavar="N", ge=2, le=60)
    longest_side: int = option(
        LONGEST_SIDE, "Longest side of the prepared photos.", panel=_PHOTOS, metavar="PIXELS", ge=64, le=8192
    )
    face_model: str = _face_model("Face model of the base meshes and of the maps' layout.")
    validation_share: float = _share(0.05, "Share of the people for validation.")
    eval_share: float = _share(0.1, "Share of the people that are never trained on.")
    seed: int = _seed()


class GeneratorSettings(CheckedSettings):
    """What is generated in FaceScape's published layout."""

    people: int = option(3, "Number of people.", panel=_PEOPLE, metavar="N", ge=1, le=9999)
    expressions: int = option(
        2, "Captures of each person.", panel=_PEOPLE, metavar="N", ge=1, le=len(EXPRESSIONS)
    )
    views: int = views_option(12)
    width: int = side_option(864, "Width of the photos in portrait.")
    height: int = side_option(1296, "Height of the photos in portrait.")
    detail_mm: float = detail_option()
    face_model: str = _face_model("Face model that heads are drawn from.")
    seed: int = _seed()

    def synthesis(self, expression: int) -> SynthesisSettings:
        """Settings of one capture: neutral first, then other strengths of the person's expression."""
        return SynthesisSettings(
            views=self.views,
            width=self.width,
            height=self.height,
            spread_deg=140.0,
            detail_mm=self.detail_mm,
            expression=0.0 if expression == 1 else 0.4 + 0.2 * (expression % 4),
        )
