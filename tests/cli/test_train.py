"""``mesoface train``: our matcher on a few tiles, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mesoface.lab.training.patches import patch_tile
from mesoface.lab.training.tile import write_tiles


@pytest.fixture
def config(tmp_path) -> Path:
    """A configuration that trains two steps on two patches."""
    for name, seed in (("tiles", 0), ("unseen", 1)):
        rng = np.random.default_rng(seed)
        write_tiles(tmp_path / name / "0.npz", [patch_tile(rng, 24), patch_tile(rng, 24)])
    file = tmp_path / "config.json"
    values = {
        "out": str(tmp_path / "run"),
        "steps": 2,
        "batch": 2,
        "data": [{"kind": "tiles", "folder": str(tmp_path / "tiles")}],
        "validation": {"sources": [{"kind": "tiles", "folder": str(tmp_path / "unseen")}]},
    }
    file.write_text(json.dumps(values))
    return file


def test_both_stages(command, config, tmp_path):
    first = command("train", "matching", "--config", config)
    assert first.code == 0, first.err
    assert first.out == f"weights: {tmp_path}/run/weights.safetensors\n"
    values = json.loads(config.read_text())
    values |= {"out": str(tmp_path / "second"), "matching": str(tmp_path / "run" / "weights.safetensors")}
    config.write_text(json.dumps(values))
    second = command("train", "regularizer", "--config", config)
    assert second.code == 0, second.err
    assert json.loads((tmp_path / "second" / "card.json").read_text())["stage"] == "regularizer"


def test_bad_configurations_are_one_line(config, refused, tmp_path):
    config.write_text(config.read_text().replace('"steps"', '"stepz"'))
    assert "steps: field required" in refused(config, "train", "matching", "--config", config)
    refused("none.toml", "train", "regularizer", "--config", tmp_path / "none.toml")


def test_packed_tiles_are_trained_on(command, config, tmp_path, refused):
    packed = command("train", "pack", "--tiles", tmp_path / "tiles", "--out", tmp_path / "packed")
    assert packed.code == 0, packed.err
    assert packed.out == f"2 tiles: {tmp_path}/packed\n"
    values = json.loads(config.read_text())
    values["data"] = [{"kind": "stream", "folder": str(tmp_path / "packed")}]
    config.write_text(json.dumps(values))
    assert "2 tiles are not shared evenly by 3" in refused(
        "batch", "train", "matching", "--config", config, "--devices", "3"
    )
    done = command("train", "matching", "--config", config)
    assert done.code == 0, done.err
    assert "MASTER_ADDR" in refused("machine.nodes", "train", "matching", "--config", config, "--nodes", "2")
