"""OpenMVG's sfm_data.json: classes by number, lenses, what is left out and refused."""

import json

import numpy as np
import pytest

from mesoface.captures.formats import read_source
from mesoface.captures.formats.lenses import ColmapLens
from mesoface.geometry.camera import OpenCVLens
from tests.captures.conftest import edit

NEW = 1 << 31
UNDEFINED = 4294967295


def by_hand(rig) -> dict:
    """As the library cereal writes it: the first intrinsic names its class, the others refer to it."""
    views, intrinsics, extrinsics = [], [], []
    for i, camera in enumerate(rig.cameras):
        k1, k2, p1, p2, k3 = camera.lens.coefficients
        data = {"local_path": "", "filename": f"cam{i}.png", "width": 96, "height": 128}
        data |= {"id_view": i, "id_intrinsic": i, "id_pose": 10 + i}
        wrapper = {"polymorphic_id": 1 << 30, "ptr_wrapper": {"id": NEW + i, "data": data}}
        views.append({"key": i, "value": wrapper})
        lens = {
            "width": camera.width,
            "height": camera.height,
            "focal_length": camera.K[0, 0],
            "principal_point": camera.K[:2, 2].tolist(),
            "disto_t2": [k1, k2, k3, p1, p2],
        }
        name = {"polymorphic_id": 1 if i else NEW + 1} | (
            {} if i else {"polymorphic_name": "pinhole_brown_t2"}
        )
        intrinsics.append({"key": i, "value": {**name, "ptr_wrapper": {"id": NEW + 9 + i, "data": lens}}})
        pose = {"rotation": camera.R.tolist(), "center": camera.center.tolist()}
        extrinsics.append({"key": 10 + i, "value": pose})
    content = {"sfm_data_version": "0.3", "root_path": "/home/me/shoot/photos"}
    return {**content, "views": views, "intrinsics": intrinsics, "extrinsics": extrinsics, "structure": []}


def write(folder, content):
    (folder / "sfm_data.json").write_text(json.dumps(content))
    return folder


def lens_of(content, i=0) -> dict:
    return content["intrinsics"][i]["value"]["ptr_wrapper"]["data"]


def test_convention_world_to_camera_and_integer_pixels(folder, rig, assert_cameras):
    assert_cameras(read_source(write(folder, by_hand(rig))), rig.cameras, "openmvg")


@pytest.mark.parametrize(
    ("name", "key", "k", "lens"),
    [
        ("pinhole", None, None, None),
        ("pinhole_radial_k1", "disto_k1", [0.1], OpenCVLens((0.1, 0.0, 0.0, 0.0, 0.0))),
        ("pinhole_radial_k3", "disto_k3", [0.1, 0.2, 0.3], OpenCVLens((0.1, 0.2, 0.0, 0.0, 0.3))),
        ("pinhole_radial_k3", "disto_k3", [0, 0, 0], None),
        ("fisheye", "fisheye", [0.1, 0.2, 0.3, 0.4], ColmapLens("OPENCV_FISHEYE", (0.1, 0.2, 0.3, 0.4))),
    ],
)
def test_lenses(folder, rig, name, key, k, lens):
    content = by_hand(rig)
    content["intrinsics"][0]["value"]["polymorphic_name"] = name
    for i in range(3):
        data = lens_of(content, i)
        data.pop("disto_t2")
        data |= {} if key is None else {key: k}
    assert read_source(write(folder, content)).views[2].camera.lens == lens


def test_base_classes_are_looked_into(folder, rig, assert_cameras):
    """Newer files write what a base class holds as value0."""
    content = by_hand(rig)
    for i in range(3):
        wrapper = content["intrinsics"][i]["value"]["ptr_wrapper"]
        disto = wrapper["data"].pop("disto_t2")
        wrapper["data"] = {"value0": {"value0": wrapper["data"]}, "disto_t2": disto}
    assert_cameras(read_source(write(folder, content)), rig.cameras)


def test_views_without_a_pose_or_a_photo_are_left_out(folder, rig):
    content = by_hand(rig)
    content["views"][1]["value"]["ptr_wrapper"]["data"]["id_pose"] = UNDEFINED
    (folder / "photos/cam2.png").unlink()
    source = read_source(write(folder, content))
    assert [view.name for view in source.views] == ["cam0"]
    assert source.notes == (
        "without a pose in sfm_data.json, left out: cam1.png",
        "calibrated but not on disk, left out: cam2.png",
        "photos without a camera: photos/cam1.png",
    )


def test_photos_of_one_name_are_told_apart_by_their_folders(folder, rig):
    content = by_hand(rig)
    for i in range(3):
        (folder / f"photos/{i}").mkdir()
        (folder / f"photos/cam{i}.png").rename(folder / f"photos/{i}/a.png")
        content["views"][i]["value"]["ptr_wrapper"]["data"] |= {"local_path": f"{i}", "filename": "a.png"}
    names = [view.name for view in read_source(write(folder, content)).views]
    assert names == ["photos/0/a.png", "photos/1/a.png", "photos/2/a.png"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("views"), "views: Field required"),
        (lambda c: lens_of(c).update(focal_length=0), "focal_length: Input should be greater than 0"),
        (lambda c: lens_of(c).update(width=-1), "width"),
        (lambda c: lens_of(c).pop("disto_t2"), "intrinsic 0 has no disto_t2"),
        (lambda c: lens_of(c).update(disto_t2=[0.1]), "disto_t2: List should have at least 5 items"),
        (
            lambda c: c["intrinsics"][0]["value"].update(polymorphic_name="spherical"),
            "intrinsic 0: the camera model spherical is not supported",
        ),
        (lambda c: c["intrinsics"][0]["value"].pop("polymorphic_name"), "the camera model None"),
        (lambda c: c["extrinsics"][0]["value"].update(center=[0, 1]), "extrinsics.0.value.center"),
        (
            lambda c: c["extrinsics"][0]["value"].update(rotation=[[1, 0, 0]] * 3),
            "view cam0: R is not a rotation",
        ),
    ],
)
def test_damaged_files_are_refused_in_words(folder, rig, change, words, assert_refused):
    assert_refused(folder, words, edit(write(folder, by_hand(rig)) / "sfm_data.json", change))


def test_photos_that_cannot_be_told_apart_are_an_error(folder, rig, assert_refused):
    (folder / "copy").mkdir()
    (folder / "copy/cam0.png").write_bytes((folder / "photos/cam0.png").read_bytes())
    content = {**by_hand(rig), "root_path": ""}
    assert_refused(write(folder, content), "may be copy/cam0.png or photos/cam0.png")


def test_centres_are_where_they_are_said(folder, rig):
    views = read_source(write(folder, by_hand(rig))).views
    np.testing.assert_allclose(views[1].camera.center, rig.cameras[1].center, atol=1e-9)
