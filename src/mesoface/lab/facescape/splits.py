"""Which people a network is trained on, and which it is measured on: never the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256

TRAIN, VALIDATION, EVAL = "train", "validation", "eval"


def split_people(
    people: Collection[int],
    *,
    validation_share: float,
    eval_share: float,
    seed: int,
    known: Mapping[int, str] | None = None,
) -> dict[int, str]:
    """Give every person a split; all expressions of a person are in one.

    People are drawn in an order that depends on the seed and their number alone, and fill up ``eval``, then
    ``validation``; the others are trained on. Those that have a split already keep it, so that a data set may
    grow. Of three people or more, each split with a share gets at least one.

    Args:
        people: their numbers.
        validation_share: of the people, for choosing a network while it trains.
        eval_share: of the people, never seen by training.
        seed: another one, another order.
        known: splits of earlier runs.

    Returns:
        {person: split}.
    """
    splits = {person: split for person, split in (known or {}).items() if person in people}
    least = 1 if len(people) >= 3 else 0
    for split, share in ((EVAL, eval_share), (VALIDATION, validation_share)):
        wanted = max(least, round(share * len(people))) if share else 0
        there = sum(given == split for given in splits.values())
        free = sorted((person for person in people if person not in splits), key=lambda p: _draw(p, seed))
        splits |= dict.fromkeys(free[: max(0, wanted - there)], split)
    return {person: splits.get(person, TRAIN) for person in sorted(people)}


def _draw(person: int, seed: int) -> str:
    return sha256(f"{seed} {person}".encode()).hexdigest()
