"""The way that docs/facescape.md describes, published captures to a table, by its own commands."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mesoface.lab.facescape.layout import CaptureId

PAGE = Path(__file__).parents[3] / "docs" / "facescape.md"


def rehearsal() -> str:
    """The page's last block of commands."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[-1]


@pytest.mark.slow
def test_the_rehearsal_runs_as_the_page_has_it(tmp_path: Path):
    assert rehearsal().count("\nmesoface ") == 6
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", rehearsal()],
        cwd=tmp_path,
        env={**os.environ, "PATH": tools, "OMP_NUM_THREADS": "1"},
        check=True,
    )

    with (tmp_path / "prepared" / "captures.csv").open(encoding="utf-8", newline="") as file:
        captures = list(csv.DictReader(file))
    assert len(captures) == 6
    assert sorted(row["status"] for row in captures) == ["no scan", *["prepared"] * 5]
    assert {row["split"] for row in captures} == {"train", "validation", "eval"}
    assert all("marked invalid" in row["notes"] for row in captures)

    splits = json.loads((tmp_path / "prepared" / "id.json").read_text())
    people = {split: {CaptureId.parse(key).person for key in keys} for split, keys in splits.items()}
    assert not people["train"] & people["eval"]
    trained = {path.stem for path in (tmp_path / "tiles" / "train").glob("*.npz")}
    assert len(trained) == len(splits["train"])

    card = json.loads((tmp_path / "runs" / "facescape" / "card.json").read_text())
    assert card["steps"] == 50

    table = json.loads((tmp_path / "evaluation" / "table.json").read_text())
    measured = {row["capture"] for row in captures if row["split"] == "eval" and row["status"] == "prepared"}
    assert set(table["captures"]) == measured
    assert table["overall"]["chamfer"] < 0.4
    assert table["overall"]["complete"] > 0.85
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 50_000
