"""What a configuration may say, and what is said when it may not: of matching, and of relief."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mesoface.lab.training import config
from mesoface.lab.training.config import (
    MatchingConfig,
    RegularizerConfig,
    ReliefConfig,
    TrainingError,
    check_config,
    differences,
    read_config,
)

ROOT = Path(__file__).parents[3]
CONFIGS = sorted([*ROOT.glob("configs/*.toml"), ROOT / "configs" / "shipped" / "meso.toml"])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_shipped_configurations_are_sound(file):
    kinds = {"meso": ReliefConfig, "regularizer": RegularizerConfig, "matching": MatchingConfig}
    read = read_config(file, next(model for name, model in kinds.items() if name in file.stem))
    assert read.network == ("paper" if "paper" in file.stem else "light" if "meso" in file.stem else "ours")
    assert read.stage != "meso" or read.steps >= 1000


def test_there_are_shipped_configurations():
    assert {"matching", "regularizer", "meso", "paper-meso"} <= {file.stem for file in CONFIGS}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stpes": 3}, "stpes: extra inputs are not permitted, got 3"),
        ({"steps": 0}, "steps: input should be greater than or equal to 1, got 0"),
        ({"optimizer": {"rate": float("nan")}}, "optimizer.rate: input should be a finite number"),
        ({"data": []}, "data: tuple should have at least 1 item"),
        ({"data": [{"kind": "photos"}]}, "data.0: input tag 'photos'"),
        ({"data": [{"kind": "patches", "pool": "many"}]}, "data.0.pool: input should be a valid integer"),
        ({"matching": "weights.safetensors"}, "matching: extra inputs are not permitted"),
        ({"batch": 3, "machine": {"devices": 2}}, "batch: 3 tiles are not shared evenly by 2"),
        (
            {"machine": {"precision": "16-mixed"}},
            "machine.precision: input should be '32-true' or 'bf16-mixed'",
        ),
    ],
)
def test_what_is_wrong_is_named(values, change, said):
    with pytest.raises(TrainingError) as caught:
        check_config(values(**change), MatchingConfig, "my.toml")
    assert str(caught.value).startswith(f"my.toml: {said}")


def test_a_missing_key_is_named(values):
    without = values()
    del without["out"]
    with pytest.raises(TrainingError, match=r"^out: field required — docs/training.md lists the keys$"):
        check_config(without, MatchingConfig)


def test_what_is_trained_on_is_not_validated_on(values, tmp_path):
    seen = {"sources": [{"kind": "tiles", "folder": f"{tmp_path}/unseen/../tiles"}]}
    with pytest.raises(TrainingError, match=r"tiles is trained on as well — validate on other tiles"):
        check_config(values(validation=seen), MatchingConfig)
    patches = {"kind": "patches", "pool": 8, "seed": 5}
    with pytest.raises(TrainingError, match="patches of seed 5 is trained on as well"):
        check_config(
            values(data=[patches], validation={"sources": [{**patches, "size": 32}]}), MatchingConfig
        )


def test_freezing_random_weights_is_refused(values):
    with pytest.raises(TrainingError, match="freeze_matching: there are no weights to freeze"):
        check_config(values(freeze_matching=True), RegularizerConfig)


def test_json_and_toml_say_the_same(values, tmp_path):
    as_json, as_toml = tmp_path / "c.json", tmp_path / "c.toml"
    as_json.write_text(json.dumps(values()))
    as_toml.write_text(
        f'out = "{tmp_path}/run"\nsteps = 6\nbatch = 2\nseed = 3\ncheckpoint_every = 4\nlog_every = 2\n'
        f'[[data]]\nkind = "tiles"\nfolder = "{tmp_path}/tiles"\n[validation]\nevery = 3\n'
        f'[[validation.sources]]\nkind = "tiles"\nfolder = "{tmp_path}/unseen"\n'
        "[optimizer]\nrate = 0.01\nwarmup = 2\n"
    )
    assert read_config(as_json, MatchingConfig) == read_config(as_toml, MatchingConfig)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.toml", "steps = ", "is not TOML"),
        ("c.json", "{", "is not JSON"),
        ("c.json", "[" * 100_000, "is not JSON"),
        ("c.json", "[]", "the configuration: input should be"),
        ("c.toml", "\udcff", "is not TOML"),
        ("c.toml", "#" * (1 << 20) + "\n", "is too large"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, name, text, said):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TrainingError, match=said) as caught:
        read_config(tmp_path / name, MatchingConfig)
    assert caught.value.path == tmp_path / name


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"none\.toml: cannot be read: No such file"):
        read_config(tmp_path / "none.toml", MatchingConfig)


def test_differences_name_what_a_run_must_not_change(values):
    old = check_config(values(), MatchingConfig)
    free = {"steps": 9, "checkpoint_every": 1, "machine": {"workers": 2}}
    written = old.model_dump(mode="json")
    assert not differences(written, check_config(values(**free), MatchingConfig))
    del written["augment"], written["loss"]["slope"]
    assert not differences(written, old), "written before there were these keys"
    assert differences(written | {"colour": 1}, old) == ["colour: of another version of mesoface"]
    new = check_config(values(augment=False, optimizer={"rate": 0.5, "warmup": 2}), MatchingConfig)
    changed = differences(old.model_dump(mode="json"), new)
    assert changed == ["optimizer.rate: 0.01, now 0.5", "augment: True, now False"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stepz": 3}, "stepz: extra inputs are not permitted"),
        ({"size": 100}, "size: input should be a multiple of 16"),
        ({"data": [{"kind": "photos"}]}, "data.0: input tag 'photos'"),
        ({"data": [{"kind": "skin", "squares": 0}]}, "data.0.squares: input should be greater"),
        ({"data": [{"kind": "pairs"}]}, "data.0.folder: field required"),
        ({"machine": {"devices": 2}}, "batch: 3 squares are not shared evenly by 2 machine.devices"),
        ({"machine": {"workers": 0}}, "machine.workers: input should be greater"),
        ({"loss": {"slope": 0}}, "loss: all of its weights are 0"),
        ({"data": [{"kind": "skin", "seed": 1}]}, "validation.sources: skin of seed 1 is trained on as well"),
    ],
)
def test_what_is_wrong_with_relief_is_named(square_values, changed, said):
    with pytest.raises(TrainingError, match=re.escape(said)):
        check_config(square_values(**changed), ReliefConfig)


def test_the_same_folder_of_pairs_cannot_be_validated_on(square_values, tmp_path):
    pairs = {"kind": "pairs", "folder": str(tmp_path)}
    with pytest.raises(TrainingError, match="is trained on as well"):
        check_config(square_values(data=[pairs], validation={"sources": [pairs | {"seed": 5}]}), ReliefConfig)


MATCHING = "RegularizerConfig TileSource PatchSource TileValidation OptimizerSettings MatchingLoss Machine"
RELIEF = "ReliefConfig SkinSource PairSource SquareValidation ReliefLoss ReliefMachine"


@pytest.mark.parametrize(
    ("start", "end", "models"), [("# Training", None, MATCHING), ("## Relief", "## Configuration", RELIEF)]
)
def test_the_documentation_lists_every_key(start, end, models):
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    own = page[page.index(start) : page.index(end) if end else None]
    elsewhere = {"steps", "optimizer", "tensorboard"} if end else set()
    for key in {key for model in models.split() for key in getattr(config, model).model_fields} - elsewhere:
        assert re.search(rf"`{key}`|\[+{key}\]+", own), key
