"""What a run leaves: checkpoints, whole or not at all, and tables that survive interruptions."""

from __future__ import annotations

import io
import sys

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

from mesoface.files.weights import WeightsError
from mesoface.lab.training.checkpoint import (
    Header,
    checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_tensors,
)
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.log import Log, Table


def make(width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network with a frozen layer and buffers, two optimiser steps old."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 1))
    network[2].requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad])
    for _ in range(2):
        network(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
    return network, optimizer


def header(step: int) -> Header:
    return Header(stage="matching", step=step, seconds=1.5, config={"seed": 1})


def test_everything_comes_back(tmp_path):
    network, optimizer = make()
    path = save_checkpoint(tmp_path, header(7), network, optimizer, {"0.weight": torch.ones(4, 3)})
    assert path.stat().st_mode & 0o777 == 0o644
    other, other_optimizer = make()
    for parameter in other.parameters():
        parameter.data.zero_()
    checkpoint = load_checkpoint(path)
    assert checkpoint.header == header(7)
    assert checkpoint.average.keys() == {"0.weight"}
    checkpoint.restore(other, other_optimizer)
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    before, after = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert before.keys() == after.keys() == {0, 1, 2, 3}
    assert all(torch.equal(before[n][key], after[n][key]) for n in before for key in before[n])


def test_the_last_two_are_kept_and_other_files_left_alone(tmp_path):
    network, optimizer = make()
    (tmp_path / "step-mine.safetensors").write_text("not ours")
    for step in (8, 9, 10, 100):
        save_checkpoint(tmp_path, header(step), network, optimizer, {"0.weight": torch.ones(4, 3)})
    assert [path.stem for path in checkpoints(tmp_path)] == ["step-00000010", "step-00000100"]
    assert (tmp_path / "step-mine.safetensors").exists()


def test_another_network_is_refused_with_what_differs(tmp_path):
    path = save_checkpoint(tmp_path, header(1), *make(), {})
    with pytest.raises(TrainingError, match=r"0\.bias is \(4,\) where \(5,\) was expected"):
        load_checkpoint(path).restore(*make(5))
    network, _ = make()
    network[0].requires_grad_(False)
    with pytest.raises(TrainingError, match="of a training of other parameters"):
        load_checkpoint(path).restore(network, torch.optim.AdamW(network[1].parameters()))


def test_parameters_that_no_loss_has_reached_have_no_moments(tmp_path):
    network = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    optimizer = torch.optim.AdamW(network.parameters())
    network[1](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    path = save_checkpoint(tmp_path, header(1), network, optimizer, {})
    again = torch.optim.AdamW(network.parameters())
    load_checkpoint(path).restore(network, again)
    assert again.state_dict()["state"].keys() == {2, 3}


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = save_checkpoint(tmp_path, header(1), *make(), {})
    whole = path.read_bytes()
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    for content in (b"", whole[:40], whole[:-1], b"\x80\x02}q\x00.", foreign.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="is not a complete checkpoint of a training"):
            load_checkpoint(path)


def test_weights_to_start_from_must_be_the_networks_own(tmp_path):
    network, _ = make()
    path = tmp_path / "weights.safetensors"
    save_tensors(path, network.state_dict())
    other, _ = make()
    other[0].weight.data.zero_()
    load_weights(other, path)
    assert torch.equal(other[0].weight, network[0].weight)
    state = load_file(path)
    del state["2.bias"]
    save_file(state | {"3.bias": torch.zeros(1)}, path)
    with pytest.raises(TrainingError, match=r"2\.bias is missing; 3\.bias is not of it"):
        load_weights(other, path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="is not a whole safetensors file"):
        load_weights(other, path)
    with pytest.raises(WeightsError, match="no such file"):
        load_weights(other, tmp_path / "none.safetensors")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    network, _ = make()
    network[0].weight.data[0, 0] = torch.nan
    save_tensors(tmp_path / "weights.safetensors", network.state_dict())
    with pytest.raises(TrainingError, match=r"0\.weight has values that are not finite"):
        load_weights(make()[0], tmp_path / "weights.safetensors")


def test_rows_after_the_checkpoint_are_written_again(tmp_path):
    file = tmp_path / "log.csv"
    table = Table(file, 0)
    assert table.last is None
    for step in (10, 20, 30):
        table.add(step, {"loss": step / 7, "rate": 1e-3})
    with file.open("a") as open_file:
        open_file.write("40,0.")  # killed while it wrote
    resumed = Table(file, 20)
    assert resumed.last == 20
    resumed.add(30, {"loss": 0.5, "rate": 1e-3})
    assert file.read_text().splitlines() == [
        "step,loss,rate", "10,1.42857,0.001", "20,2.85714,0.001", "30,0.5,0.001"
    ]  # fmt: skip


def test_an_empty_table_starts_anew(tmp_path):
    (tmp_path / "log.csv").write_text("")
    Table(tmp_path / "log.csv", 5).add(6, {"loss": 1.0})
    assert (tmp_path / "log.csv").read_text() == "step,loss\n6,1\n"


def test_columns_of_another_version_are_refused(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n6,1\n")
    with pytest.raises(TrainingError, match=r"log\.csv: has the columns step, loss; step, cost were to be"):
        Table(tmp_path / "log.csv", 6).add(7, {"cost": 1.0})


def test_a_row_of_the_log_has_the_means_of_its_steps(tmp_path):
    log = Log(tmp_path, 0, 100, tensorboard=False, console=Console(file=io.StringIO()))
    log.training(2, [{"loss": 1.0}, {"loss": 2.0}], 7.0)
    log.training(3, [{"loss": 5.0}], 9.0)
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,loss,seconds", "2,1.5,7", "3,5,9"]


def test_a_validation_is_a_line_and_a_row(tmp_path):
    screen = io.StringIO()
    log = Log(tmp_path, 0, 100, tensorboard=False, console=Console(file=screen, width=60))
    with log.shown():
        log.step(50, 0.25)
        log.validation(50, {"mean_mm": 0.0625, "fine_mm": 0.5}, "mean 0.0625 mm", "error 0.0625 mm")
    assert "step 50: mean 0.0625 mm\n" in screen.getvalue()
    assert "loss 0.25, error 0.0625 mm" in screen.getvalue()
    assert (tmp_path / "validation.csv").read_text().splitlines() == [
        "step,mean_mm,fine_mm", "50,0.0625,0.5"
    ]  # fmt: skip
    assert log.last_validation == 50


def test_tensorboard_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="tensorboard is not installed — pip install tensorboard"):
        Log(tmp_path, 0, 1, tensorboard=True)
