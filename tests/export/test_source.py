"""A result folder read again, and what is wrong with broken ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.export import ExportOptions, export_face, read_source
from mesoface.files.maps import read_exr, write_exr, write_png
from mesoface.results.folder import FORMAT


def test_what_was_written_is_read(reread, world_cap):
    np.testing.assert_allclose(reread.base.vertices, world_cap.base.vertices, atol=1e-4)
    np.testing.assert_array_equal(reread.fine.measured, world_cap.fine.measured)
    np.testing.assert_allclose(reread.fine.position, world_cap.fine.position, atol=1e-3)
    np.testing.assert_array_equal(reread.fine.displacement, world_cap.fine.displacement)
    np.testing.assert_array_equal(reread.color, world_cap.color)
    np.testing.assert_array_equal(reread.fit.facial, world_cap.fit.facial)
    np.testing.assert_array_equal(reread.fit.expression, world_cap.fit.expression)
    assert reread.model == "cap"


def test_convention_an_upright_face_looks_along_z_with_y_up(world_cap, upright_cap):
    middle = np.linalg.norm(upright_cap.base.uv - 0.5, axis=1).argmin()
    np.testing.assert_allclose(upright_cap.base.vertices[middle], (0, 0, 80), atol=1e-9)
    top = upright_cap.base.vertices[upright_cap.base.uv[:, 1] > 0.9]
    assert top[:, 1].min() > 30
    left = upright_cap.base.vertices[upright_cap.base.uv[:, 0] > 0.9]  # the subject's
    assert left[:, 0].min() > 30
    rotation, translation = upright_cap.world
    back = upright_cap.base.vertices @ rotation.T + translation
    np.testing.assert_allclose(back, world_cap.base.vertices, atol=1e-9)
    fine = upright_cap.fine
    np.testing.assert_allclose(
        np.linalg.norm(fine.position[fine.measured], axis=1), 80 + fine.displacement[fine.measured], atol=1e-3
    )


def test_a_run_that_stopped_at_the_base_needs_no_maps(make_run):
    source = read_source(make_run(fine=False, color=False))
    assert source.fine is None
    assert source.detail is None
    assert source.color is None


@pytest.mark.parametrize("name", ["base.obj", "base_fit.npz", "fine.ply", "displacement.exr", "texture.png"])
def test_an_incomplete_result_names_what_is_missing(make_run, name):
    run = make_run()
    (run / name).unlink()
    with pytest.raises(MesofaceError, match=f"incomplete: {name}") as error:
        read_source(run)
    assert error.value.path == run
    assert "again" in error.value.remedy


def test_a_folder_without_run_json_is_no_result(tmp_path):
    with pytest.raises(MesofaceError, match=r"no run\.json"):
        read_source(tmp_path)


def test_a_result_of_another_version_is_refused(make_run):
    run = make_run()
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "format": FORMAT - 1, "mesoface": "0.0.9"}))
    with pytest.raises(MesofaceError, match=rf"layout {FORMAT - 1}, of mesoface 0\.0\.9.*layout {FORMAT}"):
        read_source(run)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}'])
def test_a_broken_record_is_refused(make_run, text):
    run = make_run()
    (run / "run.json").write_text(text)
    with pytest.raises(MesofaceError, match=r"run\.json"):
        read_source(run)


def break_base_fit(run):
    with np.load(run / "base_fit.npz") as data:
        arrays = dict(data)
    np.savez(run / "base_fit.npz", **{**arrays, "facial": arrays["facial"][:-1]})


def break_rotation(run):
    with np.load(run / "base_fit.npz") as data:
        arrays = dict(data)
    np.savez(run / "base_fit.npz", **{**arrays, "rotation": 2 * arrays["rotation"]})


def pickle_in_base_fit(run):
    np.savez(run / "base_fit.npz", facial=np.array([{}], dtype=object))


def other_map_size(run):
    write_exr(run / "displacement.exr", np.zeros((96, 96)))


def oblong_map(run):
    write_exr(run / "displacement.exr", np.zeros((128, 64)))


def oblong_texture(run):
    write_png(run / "texture.png", np.zeros((8, 16, 3), np.uint8))


def deep_texture(run):
    write_png(run / "texture.png", np.zeros((8, 8, 3), np.uint16))


@pytest.mark.parametrize(
    ("damage", "file", "what"),
    [
        (break_base_fit, "base_fit.npz", "faces"),
        (break_rotation, "base_fit.npz", "no rotation"),
        (pickle_in_base_fit, "base_fit.npz", "never unpickled"),
        (other_map_size, "fine.ply", "texels"),
        (oblong_map, "displacement.exr", "square"),
        (oblong_texture, "texture.png", "square"),
        (deep_texture, "texture.png", "16 bits"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(make_run, damage, file, what):
    run = make_run()
    damage(run)
    with pytest.raises(MesofaceError, match=what) as error:
        read_source(run)
    assert error.value.path == run / file


def add_relief(run, height):
    """Predicted relief to a result, as ``mesoface reconstruct`` would write it."""
    record = json.loads((run / "run.json").read_text())
    record["meso"] = {"source": "learned", "size": len(height)}
    (run / "run.json").write_text(json.dumps(record))
    write_exr(run / "meso.exr", height)


def test_predicted_relief_is_read_and_may_be_left_out(make_run, tmp_path):
    run = make_run()
    height = np.full((64, 64), 0.05, np.float32)
    height[:5] = np.nan
    add_relief(run, height)
    source = read_source(run)
    np.testing.assert_array_equal(source.relief, np.nan_to_num(height))
    written = {}
    for detail in ("all", "measured"):
        export_face(source, tmp_path / detail, ["exr"], ExportOptions(detail=detail))
        written[detail] = read_exr(tmp_path / detail / "displacement.exr")
        said = json.loads((tmp_path / detail / "export.json").read_text())["detail"]
        assert said == ("measured and predicted" if detail == "all" else "measured")
    difference = written["all"] - written["measured"]
    assert np.median(difference) == pytest.approx(0.05, abs=1e-4)


def test_a_result_whose_relief_is_missing_or_damaged_is_refused(make_run):
    run = make_run()
    add_relief(run, np.zeros((32, 32), np.float32))
    (run / "meso.exr").unlink()
    with pytest.raises(MesofaceError, match=r"meso\.exr is missing"):
        read_source(run)
    write_exr(run / "meso.exr", np.zeros((32, 16), np.float32))
    with pytest.raises(MesofaceError, match="square") as error:
        read_source(run)
    assert error.value.path == run / "meso.exr"
