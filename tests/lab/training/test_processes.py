"""Where a training runs, what is missing for it, and signals to stop it.

Several processes train as one: same gradients, one voice, no one left behind.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mesoface.errors import MesofaceError
from mesoface.files.weights import TrainingCard
from mesoface.lab.training.checkpoint import checkpoints, load_checkpoint, locked
from mesoface.lab.training.config import Machine, MatchingConfig, check_config
from mesoface.lab.training.processes import StopRequest
from mesoface.lab.training.run import make_fabric, train

TALK = """
import sys
from lightning_fabric import Fabric
from mesoface.errors import CaptureError
from mesoface.lab.training.processes import Processes, end_helpers, lost_helper

fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
processes = Processes(fabric)
rank = processes.rank
said = []

def work(failing):
    if rank in failing:
        raise CaptureError(f"no face for {rank}", remedy="ü" * 1500)
    return rank

for failing in ((), (0,), (1,), (0, 1)):
    try:
        said.append(processes.together(lambda: work(failing)))
    except Exception as error:
        said.append(f"{type(error).__name__} {error}"[:60])
said.append(processes.any(rank == 1))
said.append(processes.any(False))
said.append(processes.mean({"a": rank + 1.0, "b": 4.0}))
said.append(lost_helper(fabric))
print(rank, said, file=open(f"{sys.argv[1]}/{rank}", "w"))
fabric.barrier()
end_helpers(fabric)
"""


def test_an_error_in_one_process_is_the_error_of_all(tmp_path):
    (tmp_path / "talk.py").write_text(TALK)
    subprocess.run([sys.executable, "talk.py", str(tmp_path)], cwd=tmp_path, check=True, env=environment())
    elsewhere = "TrainingError process {} of 2: no face for {} — ü"
    own = "CaptureError no face for {} — ü"
    expected = {
        0: [0, own.format(0), elsewhere.format(1, 1), own.format(0)],
        1: [1, elsewhere.format(0, 0), own.format(1), own.format(1)],
    }
    for rank, outcomes in expected.items():
        told = (tmp_path / str(rank)).read_text()
        for outcome in outcomes:
            assert str(outcome) in told
        assert told.endswith("True, False, {'a': 1.5, 'b': 4.0}, None]\n")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def losses(out: Path) -> list[float]:
    with (out / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def on(devices: int) -> dict[str, Any]:
    return {"machine": {"device": "cpu", "devices": devices}}


@pytest.fixture
def streamed(toy, values, pack_by_five, tmp_path) -> Callable[..., dict[str, Any]]:
    """``streamed(steps=…)`` → a configuration of batches of 4 whose tiles are streamed and from a folder."""
    packed = pack_by_five([toy.make_toy_tile(20 + n) for n in range(15)])
    sources = [
        {"kind": "stream", "folder": str(packed), "buffer": 8, "weight": 2.0},
        {"kind": "tiles", "folder": str(tmp_path / "tiles")},
    ]
    return lambda **changed: values(**{"data": sources, "batch": 4, "log_every": 1} | changed)


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(start, streamed, tmp_path):
    """After the first step Adam's first moment is a tenth of the gradient, parameter by parameter."""
    level = {"optimizer": {"rate": 0.01, "warmup": 0, "clip": 1e6}, "checkpoint_every": 1}
    runs = [start(streamed(out=str(tmp_path / str(n)), steps=1, **level, **on(n))) for n in (1, 2)]
    assert [run.wait(240) for run in runs] == [0, 0]
    one, two = (load_checkpoint(checkpoints(tmp_path / n / "checkpoints")[-1]).tensors for n in "12")
    gradients = [name for name in one if name.endswith("exp_avg")]
    assert len(gradients) == 6
    for name in gradients:
        assert one[name].abs().max() > 0 or name == "optimizer/0.bias/exp_avg"  # normalised away after it
        assert torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-7), name


@pytest.mark.slow
def test_the_real_network_has_the_gradients_of_one_process(tmp_path):
    """The same by the command, with the network that is trained in earnest."""
    config = {
        "network": "ours",
        "seed": 1,
        "steps": 1,
        "batch": 4,
        "checkpoint_every": 1,
        "data": [{"kind": "patches", "pool": 8}],
        "validation": {"every": 100, "tiles": 2, "sources": [{"kind": "patches", "pool": 2, "seed": 1000}]},
        "optimizer": {"rate": 2e-3, "warmup": 0, "clip": 1e6},
    }
    moments = []
    for devices in (1, 2):
        file = tmp_path / f"{devices}.json"
        file.write_text(json.dumps({**config, "out": f"run{devices}", **on(devices)}))
        command = Path(sys.executable).parent / "mesoface"  # a file: the second process is started by it, too
        arguments = [command, "train", "matching", "--config", file]
        subprocess.run(arguments, cwd=tmp_path, check=True, env=environment())
        kept = checkpoints(tmp_path / f"run{devices}" / "checkpoints")[-1]
        tensors = load_checkpoint(kept).tensors
        moments.append({name: tensors[name] for name in tensors if name.endswith("exp_avg")})
    one, two = moments
    assert len(one) > 10
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        assert torch.allclose(gradient, two[name], rtol=1e-4, atol=1e-6 * float(gradient.abs().max())), name


@pytest.mark.slow
@pytest.mark.parametrize("later", [1, 2])
def test_two_processes_train_as_one_also_when_stopped_between(toy, start, streamed, tmp_path, later):
    """Ctrl-C of the whole group after a few steps; then on, with as many processes or with one."""
    whole = start(streamed(out=str(tmp_path / "whole"), steps=40, **on(1)))
    broken = tmp_path / "broken"
    run = start(streamed(out=str(broken), steps=40, **on(2)), pause=0.1)
    toy.wait_for(lambda: (broken / "log.csv").exists() and len(losses(broken)) > 2)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(120) == 130, (tmp_path / "stderr1").read_text()
    assert 3 <= load_checkpoint(checkpoints(broken / "checkpoints")[-1]).header.step < 40
    assert start(streamed(out=str(broken), steps=40, **on(later))).wait(240) == 0
    assert whole.wait(240) == 0
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "broken"))
    for name in ("0.weight", "1.weight", "1.bias", "2.weight", "2.bias"):
        assert torch.allclose(one[name], two[name], atol=1e-4), name
    assert losses(tmp_path / "whole") == pytest.approx(losses(broken), rel=1e-3)
    written = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("whole", "broken")]
    assert written[0] == written[1], "the second process writes nothing"


@pytest.mark.slow
def test_sigterm_to_the_first_process_stops_all(toy, start, streamed, tmp_path):
    run = start(streamed(steps=5000, checkpoint_every=5000, **on(2)), pause=0.02)
    toy.wait_for(lambda: (tmp_path / "run" / "log.csv").exists() and len(losses(tmp_path / "run")) > 1)
    helpers = toy.children(run.pid)
    run.send_signal(signal.SIGTERM)
    assert run.wait(120) == 130
    toy.wait_for(lambda: not any(map(is_running, helpers)))
    (kept,) = checkpoints(tmp_path / "run" / "checkpoints")
    assert load_checkpoint(kept).header.step >= 2


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["the first", "a helper"])
def test_a_process_that_dies_takes_the_others_along(toy, start, streamed, tmp_path, killed):
    run = start(streamed(steps=5000, checkpoint_every=2, **on(2)), pause=0.02)
    toy.wait_for(lambda: len(checkpoints(tmp_path / "run" / "checkpoints")) > 1)
    (helper,) = toy.children(run.pid)
    os.kill(run.pid if killed == "the first" else helper, signal.SIGKILL)
    toy.wait_for(lambda: not is_running(run.pid) and not is_running(helper), 60)
    load_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    if killed == "a helper":
        # either ours is first to notice, or Fabric, which ends the first process
        said = (tmp_path / "stderr0").read_text()
        assert "process 1 of 2 ended with SIGKILL; the last checkpoint is kept" in said or run.wait() == -9
    with locked(tmp_path / "run"):
        pass  # the folder is free again


@pytest.mark.slow
def test_an_error_in_one_process_is_said_once(start, streamed, tmp_path):
    """The lanes of the second process lie in the last shards: it is the one that meets the damage."""
    shards = sorted((tmp_path / "packed").glob("*.safetensors"))
    for shard in shards:
        content = bytearray(shard.read_bytes())
        content[-10] ^= 1  # the last tile of each
        shard.write_bytes(content)
    run = start(streamed(steps=50, **on(2)))
    assert run.wait(240) == 2
    said = (tmp_path / "stderr0").read_text()
    assert said.count("error: ") == 1, said
    assert "the bytes of tile 4 have another checksum" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_folder_in_use_is_refused_by_all(toy, start, streamed, tmp_path):
    first = start(streamed(steps=5000, **on(1)), pause=0.02)
    toy.wait_for((tmp_path / "run" / "log.csv").exists)
    second = start(streamed(steps=5000, **on(2)))
    assert second.wait(240) == 2
    assert (tmp_path / "stderr1").read_text().count("another process is training in it") == 1
    assert first.poll() is None


@pytest.mark.slow
def test_two_machines_train_as_one(start, streamed, tmp_path):
    """Two commands that meet at an address, as on two machines; both are this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    machine = {"machine": {"device": "cpu", "nodes": 2}}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    two = streamed(steps=6, out=str(tmp_path / "two"), **machine)
    runs = [start(two, NODE_RANK=rank, **place) for rank in "01"]
    one = start(streamed(steps=6, out=str(tmp_path / "one"), **on(1)))
    assert [run.wait(240) for run in (*runs, one)] == [0, 0, 0]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)


def test_without_fabric_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MesofaceError, match=r"pip install 'mesoface\[train\]'"):
        make_fabric(Machine())


def test_gpus_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(MesofaceError, match=r"machine\.devices = 2, but the number of GPUs is 1"):
        make_fabric(Machine(device="cuda", devices=2))


@pytest.mark.usefixtures("toy_training")
def test_the_card_says_how_the_weights_came_to_be(values, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/mesoface", "train", "matching", "--config", "a b.toml"])
    train(check_config(values(), MatchingConfig))
    card = TrainingCard.model_validate_json((tmp_path / "run" / "card.json").read_bytes())
    assert card.command == "mesoface train matching --config 'a b.toml'"
    assert card.data == ("tiles of captures in tiles",)
    assert (card.seed, card.steps, card.stage, card.parameters) == (3, 6, "matching", 249)
    assert card.config["optimizer"]["rate"] == 0.01
    assert card.figures["mean_mm"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_remembered(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigterm_changes_nothing():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
