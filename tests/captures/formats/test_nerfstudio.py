"""nerfstudio's transforms.json: conventions, where intrinsics may stand, what is refused."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from mesoface.captures.formats import read_source
from mesoface.captures.formats.lenses import ColmapLens
from tests.captures.conftest import edit

LENS = {"k1": -0.08, "k2": 0.05, "k3": 0.01, "p1": 0.0005, "p2": -0.0004}


def transforms_of(rig) -> dict:
    """The file's content, written from its definition: camera → world, OpenGL axes, pixel centres at 0.5."""
    camera = rig.cameras[0]
    frames = []
    for i, c in enumerate(rig.cameras):
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = c.R[0], -c.R[1], -c.R[2], c.center
        frames.append({"file_path": f"images/{i}.png", "transform_matrix": pose.tolist()})
    return {
        "camera_model": "OPENCV",
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.K[0, 0],
        "fl_y": camera.K[1, 1],
        "cx": camera.K[0, 2] + 0.5,
        "cy": camera.K[1, 2] + 0.5,
        **LENS,
        "frames": frames,
    }


def write(folder, rig, content=None):
    (folder / "images").mkdir(exist_ok=True)
    for i, photo in enumerate(rig.photos):
        Image.fromarray(photo).save(folder / f"images/{i}.png")
    (folder / "transforms.json").write_text(json.dumps(content or transforms_of(rig)))
    return folder


def test_convention_opengl_poses_and_half_pixels(rig, tmp_path, assert_cameras):
    assert_cameras(read_source(write(tmp_path, rig)), rig.cameras, "nerfstudio", names="{}")


def test_a_frames_intrinsics_win(rig, tmp_path):
    content = transforms_of(rig)
    content["frames"][1] |= {"fl_x": 500.0, "k1": 0.0}
    views = read_source(write(tmp_path, rig, content)).views
    assert [view.camera.K[0, 0] == 500.0 for view in views] == [False, True, False]
    assert views[1].camera.lens.coefficients[0] == 0.0
    assert views[0].camera.lens.coefficients[0] == LENS["k1"]


def test_all_intrinsics_in_the_frames(rig, tmp_path, assert_cameras):
    content = transforms_of(rig)
    moved = {key: content.pop(key) for key in list(content) if key != "frames"}
    content["frames"] = [{**moved, **frame} for frame in content["frames"]]
    assert_cameras(read_source(write(tmp_path, rig, content)), rig.cameras, names="{}")


def test_field_of_view_and_names_without_suffix(rig, tmp_path):
    """The NeRF synthetic data: camera_angle_x alone, size from the photo, ``./images/0`` for ``0.png``."""
    content = transforms_of(rig)
    angle = 2 * math.atan(48 / 400)  # 96 px wide at a focal length of 400 px
    frames = [{**frame, "file_path": f"./images/{i}"} for i, frame in enumerate(content["frames"])]
    views = read_source(write(tmp_path, rig, {"camera_angle_x": angle, "frames": frames})).views
    np.testing.assert_allclose(views[0].camera.K, [[400, 0, 47.5], [0, 400, 63.5], [0, 0, 1]])
    assert (views[0].camera.width, views[0].camera.height) == (96, 128)
    assert views[0].camera.lens is None
    assert [view.image_path.name for view in views] == ["0.png", "1.png", "2.png"]


def test_fisheye(rig, tmp_path):
    content = {**transforms_of(rig), "camera_model": "OPENCV_FISHEYE", "k4": 0.002}
    lens = read_source(write(tmp_path, rig, content)).views[0].camera.lens
    assert lens == ColmapLens("OPENCV_FISHEYE", (LENS["k1"], LENS["k2"], LENS["k3"], 0.002))
    # OpenCV's own fisheye formula: θ_d = θ (1 + k1 θ² + …)
    theta = math.atan(0.3)
    powers = sum(k * theta ** (2 * n) for n, k in enumerate(lens.parameters, 1))
    np.testing.assert_allclose(lens.distort(np.array([[0.3, 0.0]])), [[theta * (1 + powers), 0]], atol=1e-12)


def test_masks(rig, tmp_path):
    content = transforms_of(rig)
    for i in range(2):
        content["frames"][i]["mask_path"] = f"masks/{i}.png"
    (tmp_path / "masks").mkdir()
    Image.fromarray(rig.masks[0]).save(tmp_path / "masks/0.png")
    source = read_source(write(tmp_path, rig, content))
    assert [view.mask_path is not None for view in source.views] == [True, False, False]
    assert source.notes == ("masks named in transforms.json but not on disk: masks/1.png",)


def test_applied_transform_is_noted(rig, tmp_path):
    content = {**transforms_of(rig), "applied_transform": np.eye(4)[:3].tolist(), "applied_scale": 0.5}
    assert "applied_transform" in read_source(write(tmp_path, rig, content)).notes[0]


def drop(content, *keys):
    for key in keys:
        content.pop(key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: drop(c, "frames"), "frames: Field required"),
        (lambda c: c.update(frames=[]), "frames: List should have at least 1"),
        (lambda c: c.update(fl_x=-3), "fl_x: Input should be greater than 0"),
        (lambda c: c.update(fl_x="wide"), "fl_x: Input should be a valid number"),
        (lambda c: c.update(cx=float("nan")), "cx: Input should be a finite number"),
        (lambda c: drop(c, "fl_x", "fl_y"), "frame images/0.png has no focal length"),
        (lambda c: c.update(camera_model="EQUIRECTANGULAR"), "the camera model EQUIRECTANGULAR is not known"),
        (lambda c: c.update(k4=0.1), "k4 belongs to camera_model OPENCV_FISHEYE only"),
        (lambda c: drop(c["frames"][1], "transform_matrix"), "frames.1.transform_matrix: Field required"),
        (lambda c: c["frames"][1].update(transform_matrix=[[1, 2], [3, 4]]), "frames.1.transform_matrix"),
        (
            lambda c: c["frames"][1].update(transform_matrix=(2 * np.eye(4)).tolist()),
            "view 1: R is not a rotation",
        ),
        (lambda c: c["frames"][1].update(file_path="../1.png"), "'../1.png' leads out of"),
        (lambda c: c["frames"][1].update(mask_path="/etc/passwd"), "leads out of"),
    ],
)
def test_wrong_files_are_refused_in_words(rig, tmp_path, change, words, assert_refused):
    assert_refused(tmp_path, words, edit(write(tmp_path, rig) / "transforms.json", change))


def test_not_json_is_refused(tmp_path, assert_refused):
    (tmp_path / "transforms.json").write_text("frames: []")
    assert_refused(tmp_path, "is not JSON")
