"""A folder that is filled over many runs: by one recipe, one process at a time, no half-written files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.running.resumable import resumable_folder, run_all

RECIPE = {"seed": 3, "ranges": {"views": (2, 4), "noise": [0.0, 1.0]}}


def test_the_same_recipe_goes_on_where_it_was(tmp_path: Path) -> None:
    for _ in range(2):
        with resumable_folder(tmp_path / "new" / "set", "recipe.json", RECIPE) as folder:
            assert json.loads((folder / "recipe.json").read_text())["seed"] == 3
    assert [path.name for path in folder.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ({**RECIPE, "seed": 4}, "seed was 3, now 4"),
        (
            {"seed": 3, "ranges": {"views": [2, 4], "noise": [0, 2]}},
            r"ranges noise was \[0.0, 1.0\], now \[0, 2\]",
        ),
        ({**RECIPE, "more": 1}, "more was null, now 1"),
        ({"seed": 3}, "ranges"),
    ],
)
def test_another_recipe_is_refused_by_what_differs(tmp_path: Path, recipe: dict, names: str) -> None:
    with resumable_folder(tmp_path / "set", "recipe.json", RECIPE):
        pass
    with pytest.raises(MesofaceError, match=names), resumable_folder(tmp_path / "set", "recipe.json", recipe):
        pytest.fail("entered")


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / ".cache-0123456789ab").write_text("also")
    with pytest.raises(MesofaceError, match="holds other things"), resumable_folder(tmp_path, "r.json", {}):
        pytest.fail("entered")
    assert len(list(tmp_path.iterdir())) == 2
    with (
        pytest.raises(MesofaceError, match="thesis"),
        resumable_folder(tmp_path / "thesis.txt", "r.json", {}),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize("content", ["", "[1]", "{", "\ud800"])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(MesofaceError, match=r"r\.json"), resumable_folder(tmp_path, "r.json", {}):
        pytest.fail("entered")


def test_only_one_process_fills_a_folder(tmp_path: Path) -> None:
    with (
        resumable_folder(tmp_path, "r.json", {}),
        pytest.raises(MesofaceError, match="another process"),
        resumable_folder(tmp_path, "r.json", {}),
    ):
        pytest.fail("entered")
    with resumable_folder(tmp_path, "r.json", {}):
        pass


def test_what_killed_writers_left_goes_and_nothing_else(tmp_path: Path) -> None:
    with resumable_folder(tmp_path, "r.json", {}):
        (tmp_path / "000001").mkdir()
    half = tmp_path / ".000002-0123456789ab"
    half.mkdir()
    (half / "0.jpg").write_text("half")
    (tmp_path / ".shard-0123456789ab.npz").write_text("half")
    (tmp_path / ".hidden").write_text("not ours")
    with resumable_folder(tmp_path, "r.json", {}):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "000001", "r.json"]


def test_failed_jobs_are_named_at_the_end_and_the_others_done(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def run(jobs: list[float]) -> list[float]:
        return run_all(
            math.sqrt,
            jobs,
            path=tmp_path,
            name_of=lambda job: f"number {job:g}",
            kind="roots",
            workers=2,
            done_before=5,
            progress=lambda label, done, total: told.append((done, total)),
        )

    assert sorted(run([4.0, 9.0])) == [2.0, 3.0]
    assert told == [(5, 7), (6, 7), (7, 7)]
    with pytest.raises(
        IncompleteError, match=r"2 of 9 roots failed: number -1 \(.*domain.*; number -7"
    ) as error:
        run([-1.0, 4.0, -7.0, 9.0])
    assert error.value.exit_code == 3
    assert told[-1] == (9, 9)
    with pytest.raises(IncompleteError, match="and 2 more"):
        run([-1.0] * 7)
