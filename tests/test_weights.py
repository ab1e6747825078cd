"""Checkpoints in, safetensors out; and what is refused, in words."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from typer.testing import CliRunner

import mesoface.files.weights
from mesoface.cli.app import app
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_folder
from mesoface.files.weights import (
    TrainingCard,
    WeightsCard,
    WeightsError,
    load_network,
    read_checkpoint,
    read_weights,
)
from mesoface.lab.training.validation import save_network
from mesoface.matching.learned import SURFACE_MATCHER, SurfaceMatcher
from mesoface.matching.paper import IMPLICIT_FUNCTION, REGULARIZER, ImplicitFunction, Regularizer
from mesoface.relief.network import MesoGenerator
from mesoface.weights import NETWORKS, describe, import_checkpoints


@pytest.fixture
def checkpoint(tmp_path):
    """``checkpoint("c.pkl", network or state)`` → a file as ``torch.save`` writes it."""

    def save(name, content, **kwargs):
        state = content.state_dict() if isinstance(content, torch.nn.Module) else content
        torch.save(state, tmp_path / name, **kwargs)
        return tmp_path / name

    return save


def network_named(name):
    return next(network for network in NETWORKS if network.name == name)


def import_one(path, out):
    (file,) = import_checkpoints([path], out)
    return file


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("implicit_function", ImplicitFunction),
        ("regularizer", Regularizer),
        ("meso_generator", lambda: MesoGenerator(3)),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_round_trip(checkpoint, tmp_path, name, make, wrapped, zipped):
    network = make()
    state = network.state_dict()
    content = {"model_state_dict": state, "epoch": 3} if wrapped else state
    path = checkpoint("anything.bin", content, _use_new_zipfile_serialization=zipped)
    file = import_one(path, tmp_path / "out")
    assert file == tmp_path / "out" / f"{name}.safetensors"
    loaded = load_network(file, network_named(name))
    assert type(loaded) is type(network)
    assert not loaded.training
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(loaded.state_dict()[key], state[key]) for key in state)


def test_card(checkpoint, tmp_path):
    path = checkpoint("dpmap.pth", MesoGenerator(3))
    file = import_one(path, tmp_path / "out")
    assert json.loads(file.with_suffix(".json").read_text()) == {
        "format": "mesoface-weights-1",
        "network": "meso_generator",
        "ngf": 3,
        "parameters": sum(p.numel() for p in MesoGenerator(3).parameters()),
        "source": "dpmap.pth",
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == [
        "meso_generator.json",
        "meso_generator.safetensors",
    ]
    assert file.stat().st_mode & 0o777 == 0o644


def test_half_precision_becomes_float32(checkpoint, tmp_path):
    state = Regularizer().half().state_dict()
    loaded = load_network(import_one(checkpoint("c.pkl", state), tmp_path / "out"), REGULARIZER)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert loaded.conv0.bn.num_batches_tracked.dtype == torch.int64


def test_loaded_network_can_be_trained_on(checkpoint, tmp_path):
    loaded = load_network(import_one(checkpoint("c.pkl", Regularizer()), tmp_path / "out"), REGULARIZER)
    assert all(p.requires_grad and p.device.type == "cpu" for p in loaded.parameters())


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [False, True])
def test_code_is_refused_in_words_and_not_run(tmp_path, zipped):
    made = tmp_path / "made by the pickle"
    path = tmp_path / "evil.pkl"
    content = {**Regularizer().state_dict(), "x": Evil(made)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"evil.pkl: holds code or objects \(posix.mkdir\)") as error:
        import_checkpoints([path], tmp_path / "out")
    assert "torch.save" in str(error.value)
    assert not made.exists()
    assert not (tmp_path / "out").exists()


def test_plain_pickle_is_refused(tmp_path):
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"conv0.weight": [1.0]}))
    with pytest.raises(WeightsError, match="checkpoint"):
        read_checkpoint(tmp_path / "c.pkl")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_truncated(checkpoint, tmp_path, zipped, kept):
    path = checkpoint("c.pkl", MesoGenerator(2), _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"c.pkl: is truncated or damaged"):
        import_checkpoints([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_not_a_checkpoint(tmp_path):
    for content in (b"", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n"):
        (tmp_path / "c.pkl").write_bytes(content)
        with pytest.raises(WeightsError, match="is not a PyTorch checkpoint — download"):
            read_checkpoint(tmp_path / "c.pkl")
    with zipfile.ZipFile(tmp_path / "c.pkl", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="is truncated or damaged"):
        read_checkpoint(tmp_path / "c.pkl")
    with pytest.raises(WeightsError, match="no such file"):
        read_checkpoint(tmp_path / "none.pkl")
    with pytest.raises(WeightsError, match="no such file"):
        read_checkpoint(tmp_path)


def test_no_state_dict(checkpoint):
    for content in ([torch.zeros(3)], {}, {"epoch": 3}, torch.zeros(3), {"model_state_dict": 4}):
        with pytest.raises(WeightsError, match="holds no state dict"):
            read_checkpoint(checkpoint("c.pkl", content))


def test_too_large(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(mesoface.files.weights, "SIZE_LIMIT", 1 << 20)
    path = checkpoint("c.pkl", {"x": torch.zeros(1 << 19)})
    with pytest.raises(WeightsError, match="has 2 MB, at most 1 are read"):
        read_checkpoint(path)
    with zipfile.ZipFile(tmp_path / "bomb.pkl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c/data.pkl", bytes(5 << 20))
    with pytest.raises(WeightsError, match="has 5 MB unpacked, at most 1 are read"):
        read_checkpoint(tmp_path / "bomb.pkl")


def test_unknown_network(checkpoint, tmp_path):
    path = checkpoint("c.pkl", torch.nn.Linear(2, 2))
    with pytest.raises(WeightsError, match=r"unknown network \(weight, bias\); known are surface_matcher"):
        import_checkpoints([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def renamed(state, old, new):
    return {name.replace(old, new): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("network", "change", "words"),
    [
        (
            Regularizer(),
            lambda state: renamed(state, "last_conv.weight", "conv99.weight"),
            r"does not match the regularizer: missing: last_conv.weight; not of it: conv99.weight$",
        ),
        (
            Regularizer(),
            lambda state: renamed(state, "conv", "module.conv") | {"last_conv.bias": torch.zeros(1)},
            r"missing: conv0.conv.weight, .* and 37 more; not of it",
        ),
        (
            Regularizer(),
            {"conv2.conv.weight": torch.zeros(2, 2, 3, 3, 1)},
            r"of another shape: conv2.conv.weight \(2, 2, 3, 3, 1\) where \(2, 2, 3, 3, 3\) was expected",
        ),
        (
            MesoGenerator(2),  # of a width that cannot be true
            {"model.1.weight": torch.zeros(1).expand(10**6, 3, 7, 7)},
            r"model.1.weight \(1000000, 3, 7, 7\) where \(64, 3, 7, 7\)",
        ),
        (
            MesoGenerator(2),  # strides of zero take four bytes in the file and gigabytes when copied
            {"model.13.weight": torch.zeros(1).expand(32, 16, 3, 3)},
            r"not finite numbers: model.13.weight",
        ),
        *(
            (Regularizer(), {"last_conv.bias": value}, r"not finite numbers: last_conv.bias")
            for value in (
                torch.full((1,), torch.nan),
                torch.full((1,), 1e300, dtype=torch.float64),  # infinite as float32
                torch.zeros(1, dtype=torch.int64),
                torch.zeros(1, dtype=torch.complex64),
                torch.zeros(1).to_sparse(),
            )
        ),
    ],
)
def test_what_differs_from_the_network_is_named(checkpoint, tmp_path, network, change, words):
    state = network.state_dict()
    state = change(state) if callable(change) else state | change
    with pytest.raises(WeightsError, match=words):
        import_checkpoints([checkpoint("c.pkl", state)], tmp_path / "out")


def test_two_of_the_same_network(checkpoint, tmp_path):
    paths = [checkpoint(name, Regularizer()) for name in ("a.pkl", "b.pkl")]
    with pytest.raises(WeightsError, match=r"b.pkl: is of the regularizer, as .*a.pkl is"):
        import_checkpoints(paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_last_file_bad_leaves_nothing(checkpoint, tmp_path):
    good = checkpoint("a.pkl", Regularizer())
    with pytest.raises(WeightsError):
        import_checkpoints([good, tmp_path / "none.pkl"], tmp_path / "new" / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pkl"]


def test_full_disk_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    path = checkpoint("a.pkl", Regularizer())
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(
        MesofaceError, match=r"out/regularizer.safetensors: cannot be written .*No space left"
    ):
        import_checkpoints([path], tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pkl"]


def test_target_in_the_way(checkpoint, tmp_path):
    path, out = checkpoint("a.pkl", Regularizer()), tmp_path / "out"
    before = load_network(import_one(path, out), REGULARIZER)
    again = checkpoint("a.pkl", Regularizer())
    with pytest.raises(MesofaceError, match="exists already"):
        import_checkpoints([again], out)
    import_checkpoints([again], out, overwrite=True)
    after = load_network(out / "regularizer.safetensors", REGULARIZER)
    assert not torch.equal(before.last_conv.weight, after.last_conv.weight)
    (out / "thesis.tex").touch()
    with pytest.raises(
        MesofaceError, match=r"replaces imported weights only, and this folder has thesis.tex"
    ):
        import_checkpoints([again], out, overwrite=True)
    with pytest.raises(MesofaceError, match="is a file"):
        import_checkpoints([again], path, overwrite=True)


def test_another_network_than_asked_for(checkpoint, tmp_path):
    file = import_one(checkpoint("a.pkl", Regularizer()), tmp_path / "out")
    with pytest.raises(WeightsError, match="is of the regularizer, the implicit_function was expected"):
        load_network(file, IMPLICIT_FUNCTION)


def test_damaged_safetensors(checkpoint, tmp_path):
    file = import_one(checkpoint("a.pkl", Regularizer()), tmp_path / "out")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"not a whole safetensors file .*mesoface weights import"):
        read_weights(file)


def test_card_of_another_file(checkpoint, tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        save_file(MesoGenerator(2).state_dict(), folder / "a.safetensors")
    assert describe(tmp_path / "out" / "a.safetensors").card is None
    other = import_one(checkpoint("g.pth", MesoGenerator(3)), tmp_path / "other")
    (tmp_path / "out" / "a.json").write_bytes(other.with_suffix(".json").read_bytes())
    with pytest.raises(WeightsError, match=r"meso_generator \(ngf 2\), its card of the .* \(ngf 3\)"):
        describe(tmp_path / "out" / "a.safetensors")
    (tmp_path / "out" / "a.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"a.json: is not a card of weights"):
        describe(tmp_path / "out" / "a.safetensors")


def test_command_line(checkpoint, tmp_path):
    paths = [str(checkpoint("r.pkl", Regularizer())), str(checkpoint("g.pth", MesoGenerator(2)))]
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["weights", "import", *paths, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"weights: {out / 'regularizer.safetensors'}" in result.output
    for file, source in ((out / "meso_generator.safetensors", "g.pth"), (paths[1], None)):
        shown = CliRunner().invoke(app, ["weights", "show", str(file)], env={"COLUMNS": "120"}).output
        assert "network: meso_generator" in shown
        assert "ngf: 2" in shown
        assert "1 × 2 × 7 × 7" in shown
        assert ("not known" if source is None else f"made from: {source}, SHA-256") in shown


@pytest.fixture
def trained(tmp_path):
    """A folder as a training leaves it."""
    card = TrainingCard(
        network="regularizer",
        stage="regularizer",
        parameters=1,
        data=("9 skin patches of 64 x 64 texels, seed 4",),
        config={},
        command="mesoface train regularizer --config reg.toml",
        seed=7,
        steps=500,
        hours=0.25,
        machine="2 CPU cores",
        mesoface="0.1.0",
        torch="2.13.0",
        figures={"mean_mm": 0.125},
    )
    return save_network(tmp_path / "run", Regularizer(), card).parent


def test_trained_weights_become_those_of_the_preset(trained, tmp_path):
    file = import_one(trained / "weights.safetensors", tmp_path / "out")
    assert file.name == "regularizer.safetensors"
    about = describe(file)
    assert isinstance(about.card, WeightsCard)
    assert about.card.source == "weights.safetensors"
    state = read_weights(trained / "weights.safetensors")
    assert all(torch.equal(about.state[name], value) for name, value in state.items())


def test_trained_weights_are_shown_with_their_card(trained):
    shown = CliRunner().invoke(app, ["weights", "show", str(trained / "weights.safetensors")]).output
    for words in (
        "network: regularizer",
        "trained: 500 steps of the stage regularizer, 0.25 h, seed 7",
        "data: 9 skin patches",
        "command: mesoface train regularizer --config reg.toml",
        "figures: mean_mm 0.125",
    ):
        assert words in shown


def test_card_of_another_training(trained):
    save_file(SurfaceMatcher().state_dict(), trained / "weights.safetensors")
    with pytest.raises(WeightsError, match=r"is of the surface_matcher .* its card of the regularizer"):
        describe(trained / "weights.safetensors")


def test_the_learned_matcher_is_known(tmp_path):
    network = SurfaceMatcher()
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors", SURFACE_MATCHER)
    assert isinstance(loaded, SurfaceMatcher)
    assert not loaded.training
    torch.testing.assert_close(loaded.state_dict(), network.state_dict())


def test_command_without_arguments_shows_help():
    result = CliRunner().invoke(app, ["weights"])
    assert result.exit_code == 0
    assert "import" in result.output


def test_published_checkpoints(shared, tmp_path):
    names = ("checkpoint_if.pkl", "checkpoint_reg.pkl", "dpmap_generator_ngf8.pth")
    files = import_checkpoints([shared(f"reference/{name}") for name in names], tmp_path / "out")
    about = [describe(file) for file in files]
    assert [a.network.name for a in about] == ["implicit_function", "regularizer", "meso_generator"]
    assert [a.ngf for a in about] == [None, None, 8]
    assert [a.card.source for a in about] == list(names)
