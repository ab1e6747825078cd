"""The README of a training set: what is in it, where it is from, how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesoface.lab.synthesis.ranges import DatasetRanges
from mesoface.running.resumable import read_manifest

_CARD = """# Synthetic face captures with their true surfaces

Made by mesoface {mesoface} (`mesoface synth-dataset`, recipe {recipe}). Nobody is shown: heads are drawn at
random from a face model, their skin (wrinkles, pores, moles, stubble, colour) is procedural.

| | |
|---|---|
| captures | {captures} |
| photos | {photos} |
| face models | {face_models} |
| seed | {seed} |

Each folder is a capture in FaceScape's layout (`params.json`, `0.jpg` …) with `gt.ply`, the true surface of
the face in the cameras' world, in millimetres, and `truth.json`, which says what the capture was drawn as.
The cameras in `params.json` are off by a small random error, as calibrations are. A folder is complete or
does not exist.

## Drawn for each capture

| | from | to | |
|---|---|---|---|
{rows}

Identity, complexion, light, rig jitter and lens are drawn as well, without a choice of range.

## Again

```sh
mesoface synth-dataset --out FOLDER --count {captures} --seed {seed}{options}
```

{ranges_note}Capture k depends on the seed, the face models, the ranges and k alone.

## Licence

The captures drawn from `generic`, the face model that mesoface carries, may be used freely. Those drawn from
another face model are subject to that model's licence.
"""


def data_card(folder: Path, recipe: Mapping[str, Any], ranges: DatasetRanges) -> str:
    """Markdown for the set in ``folder`` as it is now, made by ``recipe`` from ``ranges``."""
    truths = [read_manifest(file) for file in sorted(folder.glob("[0-9]*/truth.json"))]
    per_model = {name: sum(truth["model"] == name for truth in truths) for name in recipe["face_models"]}
    rows = []
    for name, field in DatasetRanges.model_fields.items():
        low, high = getattr(ranges, name)
        rows.append(f"| {name} | {low:g} | {high:g} | {field.description} |")
    options = "".join(
        f" --face-model {shlex.quote(name)}"
        for name in recipe["face_models"]
        if recipe["face_models"] != ["generic"]
    )
    changed = ranges != DatasetRanges()
    return _CARD.format(
        **{name: recipe[name] for name in ("mesoface", "recipe", "seed")},
        captures=len(truths),
        photos=sum(truth["settings"]["views"] for truth in truths),
        face_models=", ".join(f"{name} ({number})" for name, number in per_model.items()),
        rows="\n".join(rows),
        options=options + (" --ranges ranges.json" if changed else ""),
        ranges_note="`ranges.json` is the object `ranges` in `dataset.json`. " if changed else "",
    )
