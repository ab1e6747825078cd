"""Tables of comma-separated values that survive interruptions."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.log import Averages, Log, Table


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


def test_averages_are_of_the_steps_since_the_last():
    means = Averages()
    means.add({"loss": 1.0})
    means.add({"loss": 2.0})
    assert means.take() == {"loss": 1.5}
    means.add({"loss": 5.0})
    assert means.take() == {"loss": 5.0}


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
