"""face.glb, as other readers and a browser see it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from mesoface.export import ExportOptions, ExportSource
from mesoface.export.glb import export_glb
from mesoface.texture import Texture


@pytest.fixture(scope="module")
def glb(upright_cap, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("glb")
    export_glb(upright_cap, folder)
    return folder / "face.glb"


def read(path: Path):
    """The only mesh of a file, by trimesh."""
    scene = trimesh.load(path, process=False)
    assert scene.units == "meters"
    (mesh,) = scene.geometry.values()
    return mesh


def document(path: Path) -> dict:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def accessor(path: Path, name: str) -> np.ndarray:
    """A float attribute of the only primitive."""
    content, data = document(path), path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    at = content["accessors"][content["meshes"][0]["primitives"][0]["attributes"][name]]
    view = content["bufferViews"][at["bufferView"]]
    width = {"VEC2": 2, "VEC3": 3, "VEC4": 4}[at["type"]]
    offset = 20 + length + 8 + view["byteOffset"]
    return np.frombuffer(data, "<f4", at["count"] * width, offset).reshape(-1, width)


def test_convention_metres_and_y_up(glb):
    mesh = read(glb)
    x, y, _ = mesh.extents
    side = 2 * 0.08 * np.sin(np.radians(40))
    assert x == pytest.approx(side, rel=0.01)
    assert y == pytest.approx(side, rel=0.01)
    assert mesh.bounds[1, 2] == pytest.approx(0.0802, abs=0.0002), "the tip of the face looks along +z"
    assert (mesh.face_normals[:, 2] > 0).all(), "wound counter-clockwise seen from outside"


def test_uvs_point_at_the_texture_the_way_gltf_has_it(glb, upright_cap):
    mesh = read(glb)
    material = mesh.visual.material
    picture = np.asarray(material.baseColorTexture.convert("RGB")).astype(int)
    size = len(picture)
    # trimesh turns v up when it reads glTF; the texture's red is u, its green v
    uv = mesh.visual.uv
    column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
    row = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
    np.testing.assert_allclose(picture[row, column, :2] / 255, uv, atol=0.03)
    direction = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(np.degrees(np.arcsin(direction[:, :2])), 80 * (uv - 0.5), atol=0.2)


def test_the_material_is_matt_skin_with_a_normal_map(glb):
    material = read(glb).visual.material
    assert material.metallicFactor == 0
    assert 0.3 < material.roughnessFactor < 0.9
    normals = np.asarray(material.normalTexture.convert("RGB")).astype(float) / 255 * 2 - 1
    assert normals.shape == (128, 128, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=0.02)
    assert np.abs(normals[..., :2]).max() > 0.02


def test_tangents_are_in_the_file(glb):
    tangent, normal = accessor(glb, "TANGENT"), accessor(glb, "NORMAL")
    np.testing.assert_allclose(np.linalg.norm(tangent[:, :3], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.einsum("nk,nk->n", tangent[:, :3], normal), 0, atol=1e-6)
    assert (tangent[:, 3] == 1).all(), "UVs are not mirrored"
    assert (tangent[:, 0] > 0.5).all(), "u grows to the subject's left"


def test_the_world_can_be_found_again(glb, world_cap):
    where = document(glb)["asset"]["extras"]["world_mm"]
    world = 1000 * read(glb).vertices @ np.transpose(where["rotation"]) + where["translation"]
    np.testing.assert_allclose(world[: len(world_cap.base.vertices)].mean(0), world.mean(0), atol=30)
    radius = np.linalg.norm(world - world_cap.fit.translation, axis=1)
    assert np.abs(radius - 80).max() < 0.5


def test_a_base_mesh_alone_is_clay(base_only, tmp_path):
    (line,) = export_glb(base_only, tmp_path)
    assert "without colour" in line
    material = document(tmp_path / "face.glb")["materials"][0]
    assert "normalTexture" not in material
    assert "TANGENT" not in document(tmp_path / "face.glb")["meshes"][0]["primitives"][0]["attributes"]
    assert material["pbrMetallicRoughness"]["baseColorFactor"][3] == 1
    assert len(read(tmp_path / "face.glb").faces) > 1000


@pytest.mark.parametrize(("side", "written"), [(2100, 2048), (768, 1024), (64, 64)])
def test_textures_have_powers_of_two_that_engines_take(world_cap, tmp_path, side, written):
    color = np.zeros((side, side, 3), np.float32)
    face = replace(world_cap, texture=Texture(color, np.ones((side, side), bool)))
    export_glb(ExportSource(face, ExportOptions(edge_mm=20)), tmp_path)
    assert read(tmp_path / "face.glb").visual.material.baseColorTexture.size == (written, written)


def validator() -> Path | None:
    """npm's gltf-validator, installed globally or where NODE_PATH says."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
    folders = [root, *os.environ.get("NODE_PATH", "").split(os.pathsep)]
    return next(
        (Path(f) / "gltf-validator" for f in folders if f and (Path(f) / "gltf-validator").is_dir()), None
    )


CHECK = """
const validator = require(process.argv[1]);
const data = new Uint8Array(require("fs").readFileSync(process.argv[2]));
validator.validateBytes(data).then(report => console.log(JSON.stringify(report)));
"""


@pytest.mark.parametrize("topology", ["model", "grid"])
def test_khronos_validator_has_nothing_to_say(upright_cap, tmp_path, topology):
    module = validator()
    if module is None:
        pytest.skip("needs node and `npm install -g gltf-validator` (or NODE_PATH)")
    export_glb(replace(upright_cap, options=ExportOptions(topology=topology)), tmp_path)
    done = subprocess.run(
        ["node", "-e", CHECK, str(module), str(tmp_path / "face.glb")],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["issues"]["messages"] == []
    assert report["info"]["drawCallCount"] == 1
    assert report["info"]["totalTriangleCount"] > 1000


READER = Path(__file__).parent / "draw_glb.js"


@pytest.fixture
def page(open_browser):
    """A headless Chromium's page."""
    return open_browser(400, 400)


def test_a_browser_draws_it_in_its_size(upright_cap, tmp_path, page):
    export_glb(replace(upright_cap, options=ExportOptions(edge_mm=6)), tmp_path)
    text = base64.b64encode((tmp_path / "face.glb").read_bytes()).decode()
    (tmp_path / "empty.html").write_text("<!doctype html>")
    page.open((tmp_path / "empty.html").as_uri())
    seen = page.evaluate(f"({READER.read_text()})('{text}')")
    side = 2 * 0.08 * np.sin(np.radians(40))  # metres
    assert seen["size"][:2] == pytest.approx([side, side], rel=0.01)
    assert seen["images"] == [[128, 128], [128, 128]]
    assert seen["error"] == 0
    pixels = np.array(seen["pixels"]).reshape(200, 200, 4)  # from the bottom up
    assert pixels[0, 0, 3] == 0, "nothing beside the face"
    # red is u and grows to the subject's left, green is v and grows upwards; one pixel is a millimetre
    x = np.degrees(np.arcsin(np.array([-40, 0, 40]) / 80)) / 80 + 0.5
    np.testing.assert_allclose(pixels[100, [60, 100, 140], 0] / 255, x, atol=0.03)
    np.testing.assert_allclose(pixels[[60, 100, 140], 100, 1] / 255, x, atol=0.03)
    assert not page.errors
    assert [url for url in page.requests if not url.startswith("file:")] == []
