"""``mesoface batch`` as people run it, on real captures, killed and resumed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
# Some views of the sample capture that see a face well; each capture of the batch has some of them.
VIEWS = [("1", "3", "4"), ("2", "3", "5"), ("3", "4"), ("1", "2", "4")]
DONE, BROKEN = 19, 5
QUICK = ("--until", "base", "--preset", "fast", "--scale", "1")
LONGEST = 1800.0  # s, before a hanging command is taken for one


def write_views(sample: Path, folder: Path, views: tuple[str, ...]) -> None:
    """Some views of the sample capture at half its size."""
    folder.mkdir(parents=True)
    params, half = json.loads((sample / "params.json").read_text()), {}
    for view in views:
        photo = Image.open(sample / f"{view}.jpg")
        photo = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BOX)
        photo.save(folder / f"{view}.jpg", quality=92)
        K = np.array(params[f"{view}_K"])
        K[:2, 2] += 0.5  # pixel centres are at integers
        K[:2] /= 2
        K[:2, 2] -= 0.5
        half |= {key: value for key, value in params.items() if key.split("_")[0] == view}
        half |= {f"{view}_K": K.tolist(), f"{view}_width": photo.width, f"{view}_height": photo.height}
    (folder / "params.json").write_text(json.dumps(half))


@pytest.fixture(scope="session")
def shoot(sample_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """19 captures that can be reconstructed, and five that cannot, each for another reason."""
    root = tmp_path_factory.mktemp("shoot") / "captures"
    for number in range(DONE):
        write_views(sample_capture, root / f"good_{number:02d}", VIEWS[number % len(VIEWS)])
    for name in ("torn", "moved", "no_face", "lonely", "uncalibrated"):
        write_views(sample_capture, root / name, VIEWS[0])
    torn = root / "torn" / "3.jpg"
    torn.write_bytes(torn.read_bytes()[:900])
    Image.new("RGB", (100, 100)).save(root / "moved" / "3.jpg")
    for photo in (root / "no_face").glob("*.jpg"):
        Image.new("RGB", Image.open(photo).size, (90, 80, 70)).save(photo)
    lonely = json.loads((root / "lonely" / "params.json").read_text())
    lonely |= {"3_valid": False, "4_valid": False}
    (root / "lonely" / "params.json").write_text(json.dumps(lonely))
    (root / "uncalibrated" / "params.json").unlink()
    return root


REASONS = {
    "torn": "truncated or corrupt",
    "moved": "100×100",
    "no_face": "face",
    "lonely": "only 1 usable view",
    "uncalibrated": "no capture in a known format",
}


def batch(inputs: Path, out: Path, *options: object, stand_in: bool = False) -> subprocess.Popen[str]:
    """The command in a process of its own; with ``stand_in`` attempts take no time."""
    lines = ["from mesoface.cli import main"]
    if stand_in:
        lines += [f"import sys; sys.path.insert(0, {str(HERE)!r})", "import stand_in"]
        lines += ["from mesoface.batch import run", "run.attempt_capture, run.PRELOAD = stand_in.attempt, ()"]
    script = "\n".join([*lines, "if __name__ == '__main__': main()"])
    arguments = ["batch", inputs, "--out", out, "--workers", 2, *QUICK, *options]
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LONGEST)
    return process.returncode, out, err


def kill_at_random(inputs: Path, out: Path, times: int, longest: float, *, stand_in: bool) -> int:
    """Kill the command so many times, ``longest`` seconds after it began at most; how many met it."""
    moments, met = random.Random(5), 0
    for _ in range(times):
        options = ["--resume"] if out.exists() else []
        begun, process = _summary_state(out), batch(inputs, out, *options, stand_in=stand_in)
        while _summary_state(out) == begun and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, longest))
        met += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return met


def _summary_state(out: Path) -> object:
    """What changes when a batch begins, which is when it writes its first summary."""
    summary = out / "batch.json"
    return (summary.stat().st_ino, summary.stat().st_mtime_ns) if summary.exists() else None


def content(out: Path) -> dict[str, bytes]:
    """{path: bytes} of all below ``out``, timings taken out."""
    paths = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): _without_times(path) for path in sorted(paths)}


def _without_times(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix not in (".json", ".csv", ".html"):
        return data
    text = data.decode()
    if path.name in ("run.json", "batch.json"):
        return json.dumps(_no_times(json.loads(text))).encode()
    if path.name == "batch.csv":  # the last two columns
        return "\n".join(line.rsplit(",", 2)[0] for line in text.splitlines()).encode()
    # Seconds and megabytes in tables, the bars as long as they, and the facts on top.
    timed = "from photos to the surface|a capture, median|captures an hour, in the last run"
    text = re.sub(rf'<div class="fact"><b>[^<]*</b><span>({timed})</span></div>', "", text)
    text = re.sub(r"width: [\d.]+%", "", text)
    text = re.sub(r"<td>[\d.,]+( s| MB)?</td>", "", text)
    return text.encode()


def _no_times(value: object) -> object:
    if isinstance(value, dict):
        timed = ("seconds", "peak_mb", "timing")
        return {key: _no_times(one) for key, one in value.items() if key not in timed}
    return [_no_times(one) for one in value] if isinstance(value, list) else value


def check_equal(out: Path, undisturbed: Path) -> None:
    mine, theirs = content(out), content(undisturbed)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []


def test_killed_at_random_moments_and_resumed_is_as_undisturbed(tree, tmp_path: Path) -> None:
    """The same as below, with attempts that take no time."""
    plans = {f"good_{number}": "" for number in range(6)}
    root = tree(**plans, bad="refuse", slow_1="slow", slow_2="slow")
    code, _, err = finish(batch(root, tmp_path / "undisturbed" / "faces", stand_in=True))
    assert code == 3, err
    kill_at_random(root, tmp_path / "killed" / "faces", 3, 2.0, stand_in=True)
    code, _, err = finish(batch(root, tmp_path / "killed" / "faces", "--resume", stand_in=True))
    assert code == 3, err
    assert "1 of 9 captures failed: bad" in " ".join(err.split())
    check_equal(tmp_path / "killed" / "faces", tmp_path / "undisturbed" / "faces")


def test_ctrl_c_ends_it_with_what_is_done(tree, tmp_path: Path) -> None:
    process = batch(tree(a="", b="hang"), tmp_path / "out", stand_in=True)
    while not (tmp_path / "out" / "a").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("a", "batch.csv", "batch.html", "batch.json")
    ]


@pytest.mark.slow
def test_24_captures_of_which_five_are_broken(shoot: Path, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed" / "faces", tmp_path / "killed" / "faces"
    code, _, err = finish(batch(shoot, undisturbed))
    assert code == 3, err
    assert f"{BROKEN} of {DONE + BROKEN} captures failed" in " ".join(err.split())
    assert "Traceback" not in err
    rows = json.loads((undisturbed / "batch.json").read_text())["captures"]
    reasons = {row["id"]: row["reason"] for row in rows if row["status"] == "failed"}
    assert reasons.keys() == REASONS.keys()
    for name, words in REASONS.items():
        assert words in reasons[name]
        assert " — " in reasons[name], "a remedy"
        assert name in err
    assert sum(row["status"] == "done" for row in rows) == DONE
    made = {path.name for path in undisturbed.iterdir() if path.is_dir()}
    assert made == {f"good_{number:02d}" for number in range(DONE)}

    met = kill_at_random(shoot, killed, 10, 8.0, stand_in=False)
    assert met >= 5, "ended before it could be killed"
    code, _, err = finish(batch(shoot, killed, "--resume"))
    assert code == 3, err
    check_equal(killed, undisturbed)


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_makes_the_same(shoot: Path, two_nodes: Any, tmp_path: Path) -> None:
    undisturbed, bereft = tmp_path / "undisturbed" / "faces", tmp_path / "bereft" / "faces"
    assert finish(batch(shoot, undisturbed))[0] == 3
    process = batch(shoot, bereft, "--engine", "ray", "--address", two_nodes.address)
    while process.poll() is None and len(list(bereft.glob("good_*"))) < 4:
        time.sleep(0.1)
    assert process.poll() is None, "ended before a node could be killed"
    two_nodes.remove_node(two_nodes.worker_nodes.copy().pop(), allow_graceful=False)
    code, _, err = finish(process)
    assert code == 3, err
    check_equal(bereft, undisturbed)


@pytest.mark.slow
def test_a_result_is_that_of_reconstruct(shoot: Path, tmp_path: Path) -> None:
    one = tmp_path / "in" / "good_02"
    shutil.copytree(shoot / "good_02", one)
    assert finish(batch(tmp_path / "in", tmp_path / "out"))[0] == 0
    script = "from mesoface.cli import main; main()"
    arguments = ["reconstruct", one, "--out", tmp_path / "out" / "alone", "--threads", 1, *QUICK]
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True)
    by_batch, alone = content(tmp_path / "out" / "good_02"), content(tmp_path / "out" / "alone")
    assert by_batch.keys() - alone.keys() == {"made_from.json", "thumbnail.jpg"}
    # Two processes may choose other instructions for the same sums; what was measured is the same.
    exact = [name for name in alone if name.endswith((".json", ".obj"))]
    assert [name for name in exact if alone[name] != by_batch[name]] == []
