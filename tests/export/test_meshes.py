"""OBJ, PLY, USD and the base mesh, read again."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh

from mesoface.errors import MesofaceError
from mesoface.export import ExportOptions, ExportSource
from mesoface.export.meshes import export_base, export_obj, export_ply
from mesoface.export.usd import export_usd
from mesoface.files.meshes import read_mesh


def height(points):
    """Distance of the cap's points from its ball, mm."""
    return np.linalg.norm(points, axis=-1) - 80


def test_obj_lies_on_the_measured_surface_and_has_its_material(upright_cap, tmp_path):
    export_obj(replace(upright_cap, options=ExportOptions(edge_mm=1.5)), tmp_path)
    mesh = read_mesh(tmp_path / "face.obj")
    inner = np.linalg.norm(mesh.vertices[:, :2], axis=1) < 15
    # 0.2 mm high ripples of 13 mm, seen on edges of 1.5 mm
    assert 0.19 < np.abs(height(mesh.vertices[inner])).max() < 0.21
    loaded = trimesh.load(tmp_path / "face.obj", process=False)
    picture = np.asarray(loaded.visual.material.image)
    np.testing.assert_array_equal(picture[..., :3], upright_cap.color)
    material = (tmp_path / "face.mtl").read_text()
    for name in ("face_color.png", "face_normal.png"):
        assert name in material
        assert (tmp_path / name).is_file()


def test_obj_round_trip_keeps_positions_uvs_and_normals(upright_cap, tmp_path):
    export_obj(upright_cap, tmp_path)
    mesh = read_mesh(tmp_path / "face.obj")
    # UVs say where on the ball a vertex must be
    direction = np.degrees(np.arcsin(mesh.vertices[:, :2] / np.linalg.norm(mesh.vertices, axis=1)[:, None]))
    np.testing.assert_allclose(direction, 80 * (mesh.uv - 0.5), atol=0.1)
    np.testing.assert_allclose(mesh.normals, replace(mesh, normals=None).vertex_normals(), atol=1e-4)


def test_obj_without_colour_says_so(base_only, tmp_path):
    (line,) = export_obj(base_only, tmp_path)
    assert "without colour" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.mtl", "face.obj"]
    assert "map_Kd" not in (tmp_path / "face.mtl").read_text()


def test_ply_is_the_grid_with_colours(upright_cap, tmp_path):
    export_ply(upright_cap, tmp_path)
    mesh = read_mesh(tmp_path / "face.ply")
    detail = upright_cap.detail
    assert len(mesh.vertices) == detail.measured.sum()
    np.testing.assert_allclose(mesh.vertices, detail.surface[detail.measured], atol=1e-4)
    # red is u, green is v
    np.testing.assert_allclose(mesh.colors[:, :2] / 255, mesh.uv, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)


def test_ply_of_a_base_mesh_is_in_its_topology(base_only, tmp_path):
    export_ply(base_only, tmp_path)
    mesh = read_mesh(tmp_path / "face.ply")
    assert mesh.colors is None
    np.testing.assert_allclose(
        mesh.vertices[: len(base_only.base.vertices)], base_only.base.vertices, atol=1e-4
    )


def test_a_grid_of_a_base_mesh_is_refused(base_only, tmp_path):
    with pytest.raises(MesofaceError, match="--topology model"):
        export_ply(replace(base_only, options=ExportOptions(topology="grid")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_usd_states_its_units_and_axes(upright_cap, tmp_path):
    pytest.importorskip("pxr", reason="needs mesoface[usd]")
    from pxr import Usd, UsdGeom, UsdShade

    export_usd(replace(upright_cap, options=ExportOptions(edge_mm=3.0)), tmp_path)
    stage = Usd.Stage.Open(str(tmp_path / "face.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    metres = UsdGeom.GetStageMetersPerUnit(stage)
    mesh = UsdGeom.Mesh(stage.GetDefaultPrim().GetChild("skin"))
    points = np.array(mesh.GetPointsAttr().Get()) * metres
    assert np.ptp(points[:, 0]) == pytest.approx(2 * 0.08 * np.sin(np.radians(40)), rel=0.01)
    assert points[:, 2].max() == pytest.approx(0.0802, abs=0.0002)
    assert mesh.GetSubdivisionSchemeAttr().Get() == "none"
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    files = {
        str(UsdShade.Shader(prim).GetInput("file").Get().resolvedPath).rsplit("[", 1)[-1].rstrip("]")
        for prim in material.GetPrim().GetChildren()
        if UsdShade.Shader(prim).GetIdAttr().Get() == "UsdUVTexture"
    }
    assert {name.rsplit("/", 1)[-1] for name in files} == {"color.png", "normal.png"}


def test_usd_that_is_not_installed_names_the_extra(upright_cap, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(MesofaceError, match=r"pip install 'mesoface\[usd\]'"):
        export_usd(upright_cap, tmp_path)


def test_base_and_weights(world_cap, upright_cap, tmp_path):
    export_base(upright_cap, tmp_path)
    mesh = read_mesh(tmp_path / "base.obj")
    np.testing.assert_allclose(mesh.vertices, upright_cap.base.vertices, atol=1e-4)
    np.testing.assert_array_equal(mesh.faces, upright_cap.base.faces)
    fit = json.loads((tmp_path / "base_fit.json").read_text())
    assert fit["face_model"] == "cap"
    assert fit["identity"] == [-1, -0.5, 0, 0.5, 1]
    assert fit["expression"] == [0.5, 0.25]
    np.testing.assert_allclose(fit["rotation"], np.eye(3), atol=1e-12)  # upright: the model's own axes
    (tmp_path / "world").mkdir()
    world = ExportSource(world_cap, ExportOptions(frame="world"))
    export_base(world, tmp_path / "world")
    fit = json.loads((tmp_path / "world" / "base_fit.json").read_text())
    np.testing.assert_allclose(fit["rotation"], world_cap.fit.rotation, atol=1e-12)
    np.testing.assert_allclose(fit["translation"], world_cap.fit.translation, atol=1e-12)


def test_texture_images_keep_their_orientation(upright_cap, tmp_path):
    export_obj(replace(upright_cap, options=ExportOptions(edge_mm=20)), tmp_path)
    picture = cv2.imread(str(tmp_path / "face_color.png"))[..., ::-1]
    assert picture[0, 0, 1] > 250, "v = 1 is the top row"
    assert picture[0, -1, 0] > 250, "u = 1 is the last column"
