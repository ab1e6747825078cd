"""``mesoface train meso`` through the command line, squares drawn by worker processes and all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path) -> Path:
    file = tmp_path / "config.json"
    values = {
        "out": str(tmp_path / "run"),
        "cache": str(tmp_path / "cache"),
        "steps": 2,
        "batch": 2,
        "size": 32,
        "data": [{"kind": "skin", "squares": 4}],
        "validation": {"sources": [{"kind": "skin", "squares": 2, "seed": 1}]},
        "machine": {"device": "cpu"},
    }
    file.write_text(json.dumps(values))
    return file


def test_it_trains_and_says_where_the_weights_are(command, config, tmp_path):
    trained = command("train", "meso", "--config", config)
    assert trained.code == 0, trained.err
    assert trained.out == f"weights: {tmp_path}/run/weights.safetensors\n"
    assert "of the missing slope is left" in trained.err
    shown = command("weights", "show", tmp_path / "run" / "weights.safetensors")
    assert shown.code == 0, shown.err
    assert "network: relief_generator" in shown.out
    assert "trained: 2 steps of the stage meso" in shown.out


def test_bad_configurations_are_one_line(config, refused, tmp_path):
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"data": [{"kind": "pairs", "folder": str(tmp_path / "none")}]}))
    assert "no such folder of pairs" in refused(tmp_path / "none", "train", "meso", "--config", config)
    config.write_text(json.dumps(values | {"network": "large"}))
    assert "network: input should be 'light' or 'paper'" in refused(
        config, "train", "meso", "--config", config
    )
