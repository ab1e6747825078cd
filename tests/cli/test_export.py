"""``mesoface export`` as people call it."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from mesoface.geometry.mesh import Mesh
from mesoface.uvd.maps import grid_faces, texel_centers
from tests.faces import made_face, written


@pytest.fixture
def base_run(tmp_path):
    """A result that stopped at the base mesh: a sheet of 160 mm."""
    uv = texel_centers(12).reshape(-1, 2)
    sheet = Mesh(np.column_stack([160 * uv, np.zeros(len(uv))]), grid_faces(np.ones((12, 12), bool)), uv)
    return written(tmp_path / "run", made_face(sheet, name="sheet"))


def test_a_base_run_is_exported_without_colour_and_that_is_said(command, base_run, place):
    outcome = command("export", base_run, "--to", "glb,base", "--out", place / "out")
    assert outcome.code == 0, outcome.err
    assert "face.glb" in outcome.out
    assert "without colour" in outcome.out
    assert {p.name for p in (place / "out").iterdir()} == {
        *("face.glb", "base.obj", "base_fit.json", "export.json")
    }
    scene = trimesh.load(place / "out" / "face.glb", process=False)
    assert scene.extents[:2].max() == pytest.approx(0.16 * 11 / 12, rel=1e-5)


def test_glb_is_the_default_and_detail_edge_makes_it_finer(command, base_run, place):
    sizes = []
    for number, options in enumerate(([], ["--detail-edge", "6"])):
        outcome = command("export", base_run, "--out", place / str(number), *options)
        assert outcome.code == 0, outcome.err
        sizes.append((place / str(number) / "face.glb").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


def test_what_cannot_be_done_is_told_in_one_line(refused, base_run, place, tmp_path):
    out = ("--out", place / "out")
    assert "no run.json" in refused(place, "export", place, *out)
    assert "--to takes glb" in refused("fbx", "export", base_run, "--to", "fbx", *out)
    assert "base mesh" in refused("exr", "export", base_run, "--to", "exr", *out)
    refused("--detail-edge", "export", base_run, "--detail-edge", "-1", *out)
    refused("million triangles", "export", base_run, "--detail-edge", "0.01", *out)
    refused("replace the result", "export", base_run, "--out", base_run)
    refused("replace the result", "export", base_run, "--out", tmp_path, "--overwrite")
    (base_run / "base_fit.npz").unlink()
    assert "base_fit.npz" in refused(base_run, "export", base_run, *out)


def test_a_target_that_cannot_be_written(refused, base_run, place):
    (place / "file").write_text("in the way")
    refused(place / "file", "export", base_run, "--out", place / "file" / "out")
