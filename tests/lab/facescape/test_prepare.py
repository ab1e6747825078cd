"""From the published layout to the prepared folder: what is in it, who failed and why, going on."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mesoface.captures.formats import facescape
from mesoface.captures.lists import read_capture_list
from mesoface.captures.load import load_capture
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.meshes import read_mesh
from mesoface.lab.facescape.layout import CaptureId, Scales, Selection, read_splits
from mesoface.lab.facescape.prepare import prepare
from mesoface.lab.facescape.settings import PrepareSettings
from tests.lab.facescape.conftest import GOOD, SETTINGS
from tests.rendering.test_page import assert_sealed

MM_PER_UNIT = 37.5


def rows(folder) -> dict[str, dict[str, str]]:
    with folder.table.open(encoding="utf-8", newline="") as file:
        return {row["capture"]: row for row in csv.DictReader(file)}


def test_photos_are_straight_of_one_size_and_know_their_scale(prepared, published: Path):
    images = prepared.folder.images(GOOD)
    source = facescape.read(images)
    assert source.mm_per_unit == MM_PER_UNIT
    assert len(source.views) == SETTINGS.views
    assert {max(view.camera.width, view.camera.height) for view in source.views} == {480}
    assert all(view.camera.lens is None for view in source.views)
    shapes = {view.name: view.camera.width < view.camera.height for view in source.views}
    assert not shapes.pop("2", False)  # taken with the camera on its side
    assert any(shapes.values())
    raw = {view.name: view.camera for view in facescape.read(published / "1" / "1_neutral").views}
    for view in source.views:
        np.testing.assert_allclose(view.camera.center, raw[view.name].center, atol=1e-9)
    load_capture(images)


def test_the_scan_is_beside_the_photos_and_the_base_near_it(prepared, published: Path):
    scan = read_mesh(prepared.folder.scan(GOOD))
    assert prepared.folder.scan(GOOD).is_symlink()
    base = read_mesh(prepared.folder.fit_mesh(GOOD))
    distance = cKDTree(base.vertices).query(scan.vertices[::50])[0] * MM_PER_UNIT
    assert np.median(distance) < 4


def test_maps_lead_to_the_scan(prepared):
    kinds = ("pos_map", "norm_map", "mv_map")
    position, normal, displacement = (np.load(prepared.folder.map(kind, "eval", GOOD)) for kind in kinds)
    known = displacement != 0
    assert known.mean() > 0.4
    there = (position + normal * displacement[..., None])[known][::40]
    scan = read_mesh(prepared.folder.scan(GOOD))
    # the scan's vertices are 1.6 mm apart
    assert np.percentile(cKDTree(scan.vertices).query(there)[0] * MM_PER_UNIT, 95) < 1.6


def test_metadata_and_lists_name_what_was_prepared(prepared):
    folder = prepared.folder
    assert {split: ids for split, ids in read_splits(folder.splits).items() if ids} == {"eval": [GOOD]}
    names = [view.name for view in facescape.read(folder.images(GOOD)).views]
    assert [str(view) for view in Selection(folder.selection).of(GOOD)] == names
    assert Scales(folder.scales).of(GOOD).mm_per_unit == MM_PER_UNIT
    listed = [path.resolve() for path in read_capture_list(folder.list_of("eval"))]
    assert listed == [folder.images(GOOD).resolve()]


def test_every_failure_has_its_reason_and_stopped_no_other(prepared):
    assert prepared.error.exit_code == 3
    assert "3 of 4 captures failed" in prepared.error.message
    table = rows(prepared.folder)
    status = {key: row["status"] for key, row in table.items()}
    assert status == {"001_01": "prepared", **dict.fromkeys(("002_01", "002_02", "003_01"), "failed")}
    assert "is not JSON" in table["002_01"]["notes"]
    assert "no scale for person 2, expression 2" in table["002_02"]["notes"]
    assert "usable views" in table["003_01"]["notes"]
    assert "the image is missing" in table["003_01"]["notes"]
    assert "marked invalid in params.json: 8" in table["001_01"]["notes"]
    page = prepared.folder.report.read_text(encoding="utf-8")
    assert_sealed(page)
    assert "no scale for person 2, expression 2" in page
    assert "1_neutral" in page


def test_failures_leave_nothing_behind(prepared):
    below = {path.relative_to(prepared.folder.root).as_posix() for path in prepared.folder.root.rglob("*")}
    assert not [path for path in below if "/." in path or path.startswith(".")]
    assert not [path for path in below if path.startswith(("images/002/", "images/003/"))]


def test_what_is_complete_is_kept_and_the_rest_tried_again(prepared, published: Path):
    record = prepared.folder.record(GOOD)
    before = record.stat().st_mtime_ns
    with pytest.raises(IncompleteError, match="3 of 4 captures failed"):
        prepare(published, prepared.folder.root, SETTINGS)
    assert record.stat().st_mtime_ns == before
    assert rows(prepared.folder)["001_01"]["status"] == "prepared"


def test_other_settings_are_refused(prepared, published: Path):
    with pytest.raises(MesofaceError, match="was made with other settings: views was 5, now 6"):
        prepare(published, prepared.folder.root, PrepareSettings(views=6, longest_side=480))


def test_a_record_that_cannot_be_read_is_named(prepared, published: Path):
    bad = prepared.folder.record(CaptureId(9, 9))
    bad.write_text(json.dumps({"id": "009_09"}))
    try:
        with pytest.raises(MesofaceError, match="is no record of a prepared capture"):
            prepare(published, prepared.folder.root, SETTINGS)
    finally:
        bad.unlink()


def test_without_scales_nothing_is_prepared(published: Path, tmp_path: Path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "1").symlink_to(published / "1")
    with pytest.raises(MesofaceError, match=r"Rt_scale_dict\.json: no such file"):
        prepare(tmp_path / "raw", tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()
