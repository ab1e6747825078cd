"""The card beside a network's weights: where they come from, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mesoface.files.checkpoints import WeightsError, first_line

WEIGHTS, CARD = "weights.safetensors", "card.json"
"""The names that training gives its files; others are ``<network>.safetensors`` and ``<network>.json``."""

_CARD_LIMIT = 1 << 16


class WeightsCard(BaseModel):
    """The origin of a file of imported weights; stored beside it as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["mesoface-weights-1"] = "mesoface-weights-1"
    network: str
    ngf: int | None = Field(description="the generator's width; null for the others")
    parameters: int = Field(description="number of trained values")
    source: str = Field(description="name of the checkpoint it was made from")
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")


class TrainingCard(BaseModel):
    """How weights were trained; stored beside them as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["mesoface-trained-1"] = "mesoface-trained-1"
    network: str
    stage: Literal["matching", "regularizer", "meso"]
    parameters: int
    data: tuple[str, ...]
    config: dict[str, Any]
    command: str
    seed: int
    steps: int
    hours: float
    machine: str
    mesoface: str
    torch: str
    figures: dict[str, float]


Card = WeightsCard | TrainingCard
_CARD: TypeAdapter[Card] = TypeAdapter(Annotated[Card, Field(discriminator="format")])


def read_card(path: str | Path) -> Card | None:
    """The card beside a safetensors file; None where there is none.

    Raises:
        WeightsError: the card is not one.
    """
    path = Path(path)
    card = path.with_name(CARD) if path.name == WEIGHTS else path.with_suffix(".json")
    if not card.is_file():
        return None
    try:
        if card.stat().st_size > _CARD_LIMIT:
            raise ValueError("too long")
        return _CARD.validate_json(card.read_bytes())
    except (ValidationError, ValueError) as error:
        raise WeightsError(f"is not a card of weights ({first_line(error)})", path=card) from None
