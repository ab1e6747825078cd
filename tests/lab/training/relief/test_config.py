"""Configurations of ``mesoface train meso``: checked before any work is done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.relief.config import (
    LossWeights,
    Machine,
    MesoConfig,
    PairSource,
    SkinSource,
    Validation,
    check_meso_config,
    read_meso_config,
)

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", ["meso.toml", "paper-meso.toml", "shipped/meso.toml"])
def test_the_examples_are_valid(name):
    assert read_meso_config(ROOT / "configs" / name).steps >= 1000


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stepz": 3}, "stepz: extra inputs are not permitted"),
        ({"size": 100}, "size: input should be a multiple of 16"),
        ({"data": [{"kind": "photos"}]}, "data.0: input tag 'photos'"),
        ({"data": [{"kind": "skin", "squares": 0}]}, "data.0.squares: input should be greater"),
        ({"data": [{"kind": "pairs"}]}, "data.0.folder: field required"),
        ({"loss": {"slope": 0}}, "loss: all of its weights are 0"),
        ({"data": [{"kind": "skin", "seed": 1}]}, "validation.sources: skin of seed 1 is trained on as well"),
    ],
)
def test_what_is_wrong_is_named(values, changed, said):
    with pytest.raises(TrainingError, match=re.escape(said)):
        check_meso_config(values(**changed))


def test_the_same_folder_of_pairs_cannot_be_validated_on(values, tmp_path):
    pairs = {"kind": "pairs", "folder": str(tmp_path)}
    with pytest.raises(TrainingError, match="is trained on as well"):
        check_meso_config(values(data=[pairs], validation={"sources": [pairs | {"seed": 5}]}))


def test_the_documentation_lists_every_key():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    own = page[page.index("## Relief") : page.index("## Configuration")]
    models = [MesoConfig, SkinSource, PairSource, Validation, LossWeights, Machine]
    for key in {key for model in models for key in model.model_fields} - {
        "steps",
        "optimizer",
        "tensorboard",
    }:
        assert re.search(rf"`{key}`|\[+{key}\]+", own), key
