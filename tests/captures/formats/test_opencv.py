"""OpenCV calibrations: FileStorage, ROS, plain YAML and JSON are the same cameras; YAML is read safely."""

import json
import re

import cv2
import numpy as np
import pytest

from mesoface.captures.formats import read_source
from mesoface.captures.formats.files import read_yaml
from mesoface.captures.formats.lenses import ColmapLens
from tests.captures.conftest import edit


def values_of(camera) -> dict[str, np.ndarray]:
    return {
        "camera_matrix": camera.K,
        "distortion_coefficients": np.array([camera.lens.coefficients]),
        "R": camera.R,
        "T": camera.t.reshape(3, 1),
    }


def file_storage(camera, suffix: str) -> str:
    """What cv2.FileStorage itself writes."""
    storage = cv2.FileStorage(suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    storage.write("image_width", camera.width)
    storage.write("image_height", camera.height)
    for name, value in values_of(camera).items():
        storage.write(name, value)
    return storage.releaseAndGetString()


def ros(camera) -> str:
    """As ROS's camera_calibration writes it, with the extrinsics added."""
    lines = [f"image_width: {camera.width}", f"image_height: {camera.height}", "camera_name: left"]
    for name, value in values_of(camera).items():
        rows, cols = value.shape
        lines += [f"{name}:", f"  rows: {rows}", f"  cols: {cols}", f"  data: {np.ravel(value).tolist()}"]
    return "\n".join([*lines, "distortion_model: plumb_bob"])


def plain_json(camera) -> str:
    content = {
        "image_size": [camera.width, camera.height],
        "K": camera.K.tolist(),
        "dist": list(camera.lens.coefficients),
        "rvec": cv2.Rodrigues(camera.R)[0].ravel().tolist(),
        "tvec": camera.t.tolist(),
    }
    return json.dumps(content)


def one_matrix(camera) -> str:
    Rt = np.vstack([np.column_stack([camera.R, camera.t]), [0, 0, 0, 1]])
    content = {"K": camera.K.tolist(), "D": list(camera.lens.coefficients), "Rt": Rt.tolist()}
    return json.dumps(content)


WAYS = {
    "storage.yml": lambda camera: file_storage(camera, ".yml"),
    "storage.json": lambda camera: file_storage(camera, ".json"),
    "ros.yaml": ros,
    "plain.json": plain_json,
    "matrix.json": one_matrix,
}


def write(folder, rig, way="storage.yml", below="calibration"):
    (folder / below).mkdir(exist_ok=True)
    for i, camera in enumerate(rig.cameras):
        (folder / below / f"cam{i}.{way.split('.')[1]}").write_text(WAYS[way](camera))
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_convention_is_opencvs_own(folder, rig, way, assert_cameras):
    assert_cameras(read_source(write(folder, rig, way)), rig.cameras, "opencv")


def test_matrices_further_inside_are_not_a_camera(folder, rig, assert_refused):
    """A result's cameras.json has K of many views."""
    (folder / "cameras.json").write_text(json.dumps({"views": [json.loads(plain_json(rig.cameras[0]))]}))
    assert_refused(folder, "holds no capture in a known format")


@pytest.mark.parametrize("below", ["", "cameras"])
def test_files_may_lie_elsewhere(folder, rig, below, assert_cameras):
    assert_cameras(read_source(write(folder, rig, below=below)), rig.cameras)


def test_fisheye(folder, rig):
    write(folder, rig, "ros.yaml")
    for file in (folder / "calibration").iterdir():
        text = file.read_text().replace("plumb_bob", "equidistant").replace("cols: 5", "cols: 4")
        file.write_text(re.sub(r"data: \[-0\.08,.*", "data: [0.1, 0.02, 0.003, 0.0004]", text))
    assert read_source(folder).views[0].camera.lens == ColmapLens(
        "OPENCV_FISHEYE", (0.1, 0.02, 0.003, 0.0004)
    )


def test_a_mask_beside(folder, rig):
    write(folder, rig)
    (folder / "masks").mkdir()
    (folder / "masks/cam1.png").write_bytes((folder / "photos/cam1.png").read_bytes())
    assert [view.mask_path is not None for view in read_source(folder).views] == [False, True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("\nR:", "\nQ:"), "has no rotation: looked for R, rotation_matrix"),
        (lambda t: t.replace("\nT:", "\nQ:"), "has no translation"),
        (lambda t: t.replace("rows: 3", "rows: 2", 1), "a matrix of 2×3 has 9 numbers"),
        (lambda t: t.replace("rows: 3", "rows: -1", 1), "a matrix of -1×3 has 9 numbers"),
        (lambda t: t.replace("rows: 3", "rows: three", 1), "invalid literal"),
        (lambda t: t.replace("cols: 3", "columns: 3", 1), "a matrix needs rows, cols and data"),
        (lambda t: t.replace("data: [", "data: [ wide, ", 1), "a regular grid of numbers was expected"),
        (lambda t: t.replace("image_width: 96", "image_width: -96"), "image size must be positive"),
        (lambda t: t + "distortion_model: mirror\n", "the distortion model 'mirror' is not known"),
        (lambda t: t.replace("---", "--- [", 1), "is not readable YAML"),
        (lambda t: t + "a: &x 1\nb: *x\n", "it uses an alias"),
        (lambda t: t + "a: " + "[" * 40 + "]" * 40 + "\n", "it is nested more than 16 deep"),
    ],
)
def test_damaged_files_are_refused_in_words(folder, rig, change, words, assert_refused):
    assert_refused(folder, words, edit(write(folder, rig) / "calibration/cam1.yml", change))


def test_nothing_is_constructed_from_tags(tmp_path):
    (tmp_path / "a.yml").write_text("K: !!python/object/apply:os.getcwd []\nwhen: 2020-13-45\nn: !!int ''\n")
    assert read_yaml(tmp_path / "a.yml") == {"K": [], "when": "2020-13-45", "n": ""}


@pytest.mark.parametrize("text", ["[" * 200_000, "{" * 200_000, "- " * 200_000, "? " * 200_000, "a: &a [*a]"])
def test_yaml_that_is_meant_to_hurt_is_refused_at_once(tmp_path, text, assert_refused):
    (tmp_path / "a.yml").write_text(text)
    assert_refused(tmp_path / "a.yml", "is not readable YAML", read=read_yaml)


def test_a_file_that_is_too_large_is_refused(tmp_path, assert_refused):
    (tmp_path / "a.yml").write_bytes(b"#" * (600 * 1024))
    assert_refused(tmp_path / "a.yml", "is larger than 0.5 MB", read=read_yaml)
