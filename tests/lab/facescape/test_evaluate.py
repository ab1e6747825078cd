"""Results of a split against their scans: figures, tables, what has none."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import Capture
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.face_models.scale import ScaleEstimate
from mesoface.files.meshes import write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.lab.facescape.evaluate import evaluate_split
from mesoface.lab.facescape.layout import Alignment, CaptureId, PreparedFolder, write_scales, write_splits
from tests.faces import made_face, written
from tests.rendering.test_page import assert_sealed

NEAR, FAR, NO_SCAN, NO_RESULT, OTHER_SCALE = (
    CaptureId(*id) for id in ((1, 1), (2, 1), (2, 2), (3, 1), (3, 2))
)
MM_PER_UNIT = 40.0
OFFSETS = {NEAR: 0.1, FAR: 0.6, NO_SCAN: 0.1, OTHER_SCALE: 0.1}


def sheet(offset: float, n: int = 60) -> Mesh:
    """A wavy square of 120 mm, ``offset`` mm too high."""
    x, y = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-60, 60, n)] * 2))
    z = 4 * np.sin(x / 30) * np.cos(y / 30) + offset
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([corner[:, None] + cell for cell in ([0, 1, n], [1, n + 1, n])])
    return Mesh(np.column_stack([x, y, z]), faces, np.column_stack([x, y]) / 120 + 0.5)


def write_run(run: Path, capture: Capture, offset: float, scale: float) -> None:
    """A result as far as it is looked at."""
    turn = Rotation.from_euler("y", 5, degrees=True).as_matrix()
    face = made_face(sheet(0), capture=capture, axes=(turn, np.zeros(3)))
    written(run, replace(face, scale=ScaleEstimate(scale, "capture", 0)))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"surface": {}}))
    write_ply(run / "fine.ply", sheet(offset))


def make_split(place: Path, make_capture) -> tuple[Path, Path]:
    """A prepared folder, and results of its split."""
    folder = PreparedFolder(place / "prepared")
    ids = [NEAR, FAR, NO_SCAN, NO_RESULT, OTHER_SCALE]
    for id in ids:
        folder.images(id).mkdir(parents=True)
        if id != NO_SCAN:
            scan = sheet(0)
            write_ply(folder.scan(id), scan.with_vertices(scan.vertices / MM_PER_UNIT))
    write_splits(folder.splits, {"eval": ids, "train": []})
    write_scales(folder.scales, dict.fromkeys(ids, Alignment(MM_PER_UNIT, np.eye(3), np.zeros(3))))
    runs = place / "runs"
    views = make_capture().views
    for id, offset in OFFSETS.items():
        capture = Capture(views, folder.images(id), "facescape", mm_per_unit=1.0)
        write_run(runs / f"images-{id.key}", capture, offset, 41.0 if id == OTHER_SCALE else MM_PER_UNIT)
    failed = {"capture": str(folder.images(NO_RESULT)), "status": "failed", "reason": "no face was found"}
    (runs / "batch.json").write_text(json.dumps({"captures": [failed]}))
    return folder.root, runs


def run_evaluation(split: tuple[Path, Path], out: Path) -> IncompleteError:
    with pytest.raises(IncompleteError) as caught:
        evaluate_split(*split, out, samples=4000)
    return caught.value


@pytest.fixture
def split(tmp_path: Path, make_capture) -> tuple[Path, Path]:
    """:func:`make_split`, to be changed."""
    return make_split(tmp_path, make_capture)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, make_capture) -> tuple[Path, IncompleteError]:
    """:func:`make_split` evaluated once: what that wrote, and how it ended."""
    place = tmp_path_factory.mktemp("evaluated")
    return place / "out", run_evaluation(make_split(place, make_capture), place / "out")


def test_the_tables_have_what_was_measured_and_what_was_not(evaluated):
    out, error = evaluated
    assert error.exit_code == 3
    assert "2 of 5 captures are not measured: 003_01: no face was found" in error.message
    table = json.loads((out / "table.json").read_text())
    assert list(table["captures"]) == ["001_01", "002_01"]
    for id in (NEAR, FAR):
        figures = table["captures"][id.key]
        assert figures["chamfer"] == pytest.approx(OFFSETS[id], rel=0.06)
        assert figures["normals"] < 0.5
        assert figures["complete"] == pytest.approx(float(OFFSETS[id] <= 0.5), abs=0.1)
    assert table["overall"]["mean"] == pytest.approx(0.35, rel=0.06)
    assert table["expressions"]["1_neutral"]["captures"] == 2
    assert table["not_measured"]["003_01"] == "no face was found"
    assert "there is no scan" in table["not_measured"]["002_02"]
    assert "was made with 41.0 mm per unit, the capture has 40.0" in table["not_measured"]["003_02"]

    with (out / "table.csv").open(newline="") as file:
        rows = {row["capture"]: row for row in csv.DictReader(file)}
    assert float(rows["002_01"]["chamfer"]) == pytest.approx(0.6, rel=0.06)
    assert rows["003_01"]["status"] == "not measured"
    assert rows["003_01"]["why"] == "no face was found"
    markdown = (out / "table.md").read_text()
    assert "| 1 neutral | 2 |" in markdown
    assert "| all | 2 |" in markdown
    assert markdown.index("| 002_01 |") < markdown.index("| 001_01 |")  # the worst first


def test_the_page_shows_the_worst_first_with_pictures(evaluated):
    page = (evaluated[0] / "report.html").read_text()
    assert page.count("data:image/png") == 2
    assert page.index("<figcaption>002_01") < page.index("<figcaption>001_01")
    assert_sealed(page)


def test_only_what_changed_is_measured_again(split, tmp_path: Path):
    out = tmp_path / "out"
    run_evaluation(split, out)
    files = {id: out / "captures" / f"{id.key}.json" for id in (NEAR, FAR)}
    before = {id: file.stat().st_mtime_ns for id, file in files.items()}
    run = split[1] / f"images-{FAR.key}"
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"seconds": 3}))
    write_ply(run / "fine.ply", sheet(0.3))
    run_evaluation(split, out)
    assert files[NEAR].stat().st_mtime_ns == before[NEAR]
    table = json.loads((out / "table.json").read_text())
    assert table["captures"][FAR.key]["chamfer"] == pytest.approx(0.3, rel=0.06)


def test_a_split_that_is_not_there_names_those_that_are(split, tmp_path: Path):
    with pytest.raises(MesofaceError, match=r"no split 'test' — there are: eval"):
        evaluate_split(*split, tmp_path / "out", split="test")


def test_results_of_other_captures_are_none(split, tmp_path: Path, make_capture):
    prepared, _ = split
    (tmp_path / "empty").mkdir()
    capture = Capture(make_capture().views, tmp_path / "elsewhere" / "001" / "01", mm_per_unit=1.0)
    write_run(tmp_path / "other" / "01", capture, 0.1, MM_PER_UNIT)
    for runs in ("empty", "other"):
        with pytest.raises(MesofaceError, match="holds no result of these 5 captures"):
            evaluate_split(prepared, tmp_path / runs, tmp_path / "out")
    with pytest.raises(MesofaceError, match="no such folder"):
        evaluate_split(prepared, tmp_path / "none", tmp_path / "out")


def test_two_results_of_one_capture_are_an_error(split, tmp_path: Path, make_capture):
    prepared, runs = split
    capture = Capture(make_capture().views, PreparedFolder(prepared).images(NEAR), mm_per_unit=1.0)
    write_run(runs / "again", capture, 0.1, MM_PER_UNIT)
    with pytest.raises(MesofaceError, match="two results of capture 001_01: again and images-001_01"):
        evaluate_split(prepared, runs, tmp_path / "out")
