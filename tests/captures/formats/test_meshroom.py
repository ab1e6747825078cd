"""Meshroom's cameras.sfm: every version's focal length and principal point, columns first, lenses."""

import json

import pytest

from mesoface.captures.formats import read_source
from mesoface.captures.formats.lenses import ColmapLens
from mesoface.geometry.camera import OpenCVLens
from tests.captures.conftest import edit

SENSOR = 23.5  # mm
FISHEYE = ColmapLens("OPENCV_FISHEYE", (0, 2, 3, 4))


def by_hand(rig, version=(1, 2, 8), ratio=1.0) -> dict:
    """As AliceVision writes it: numbers as text, R column by column. ``ratio`` is fy / fx."""
    views, intrinsics, poses = [], [], []
    for i, camera in enumerate(rig.cameras):
        ids = dict.fromkeys(("viewId", "poseId", "intrinsicId"), f"{i}")
        views.append({**ids, "path": f"/data/photos/cam{i}.png"})
        k1, k2, p1, p2, k3 = camera.lens.coefficients
        fx, (cx, cy) = camera.K[0, 0], camera.K[:2, 2]
        one = {"intrinsicId": f"{i}", "width": f"{camera.width}", "height": f"{camera.height}"}
        one |= {"sensorWidth": f"{SENSOR}", "sensorHeight": "15", "serialNumber": ""}
        one["distortionParams"] = [repr(k) for k in (k1, k2, k3, p1, p2)]
        if version >= (1, 2, 1):
            cx, cy = cx - camera.width / 2, cy - camera.height / 2
        one["principalPoint"] = [repr(float(cx)), repr(float(cy))]
        if version < (1, 2, 0):
            one["pxFocalLength"] = repr(float(fx))
        elif version < (1, 2, 2):
            one["pxFocalLength"] = [repr(float(fx)), repr(float(fx * ratio))]
        else:
            one["focalLength"] = repr(float(fx / camera.width * SENSOR))
            one["pixelRatio"] = repr(ratio if version >= (1, 2, 5) else 1 / ratio)
        if version >= (1, 2, 7):
            one |= {"type": "pinhole", "distortionType": "brown", "undistortionType": "none"}
        else:
            one["type"] = "brown"
        intrinsics.append(one)
        rotation = [repr(float(value)) for value in camera.R.T.ravel()]
        transform = {"rotation": rotation, "center": [repr(float(value)) for value in camera.center]}
        poses.append({"poseId": f"{i}", "pose": {"transform": transform, "locked": "0"}})
    return {"version": [str(v) for v in version], "views": views, "intrinsics": intrinsics, "poses": poses}


def first(content) -> dict:
    return content["intrinsics"][0]


def write(folder, content, name="cameras.sfm"):
    (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("version", [(1, 0, 0), *((1, 2, minor) for minor in (0, 1, 2, 4, 5, 8))])
def test_convention_of_every_version(folder, rig, version, assert_cameras):
    assert_cameras(read_source(write(folder, by_hand(rig, version))), rig.cameras, "meshroom")


@pytest.mark.parametrize("version", [(1, 2, 1), (1, 2, 4), (1, 2, 6), (1, 2, 8)])
def test_convention_pixels_that_are_not_square(folder, rig, version):
    K = read_source(write(folder, by_hand(rig, version, ratio=1.1))).views[0].camera.K
    assert K[1, 1] / K[0, 0] == pytest.approx(1.1)


def test_the_old_name_of_the_file(folder, rig, assert_cameras):
    assert_cameras(read_source(write(folder, by_hand(rig), "sfm.json")), rig.cameras)


@pytest.mark.parametrize(
    ("changes", "lens"),
    [
        ({"distortionType": "none", "distortionParams": ""}, None),
        ({"distortionType": "radialk1", "distortionParams": ["0.1"]}, OpenCVLens((0.1, 0.0, 0.0, 0.0, 0.0))),
        ({"distortionType": "radialk3", "distortionParams": ["1", "2", "3"]}, OpenCVLens((1, 2, 0, 0, 3))),
        ({"distortionType": None, "type": "radial3", "distortionParams": ["0", "0", "0"]}, None),
        ({"distortionType": "fisheye", "distortionParams": ["0", "2", "3", "4"]}, FISHEYE),
        ({"distortionType": "fisheye1", "distortionParams": ["0.5"]}, ColmapLens("FOV", (0.5,))),
    ],
)
def test_lenses(folder, rig, changes, lens):
    content = by_hand(rig)
    first(content).update(changes)
    assert read_source(write(folder, content)).views[0].camera.lens == lens


def test_what_has_no_pose_or_photo_is_left_out(folder, rig):
    content = by_hand(rig)
    content["views"].append({**content["views"][0], "poseId": "77", "path": "/data/blind.png"})
    content["views"][1] |= {"rigId": "5", "subPoseId": "0"}
    (folder / "photos/cam2.png").unlink()
    source = read_source(write(folder, content))
    assert [view.name for view in source.views] == ["cam0"]
    assert source.notes[:3] == (
        "left out, views without a pose: blind.png",
        "left out, views with the pose of a rig: cam1.png",
        "calibrated but not on disk, left out: cam2.png",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(version=["1"]), "version.1: Field required"),
        (lambda c: first(c).pop("focalLength"), "intrinsic 0: has no focalLength"),
        (lambda c: first(c).update(sensorWidth="0"), "intrinsics.0.sensorWidth"),
        (lambda c: first(c).update(type="equidistant"), "the camera type equidistant is not supported"),
        (lambda c: first(c).update(distortionType="3deanamorphic4"), "3deanamorphic4 is not supported"),
        (lambda c: first(c).update(undistortionType="radialk3"), "undistortion radialk3 is not supported"),
        (lambda c: first(c).update(distortionParams=["1"]), "brown does not take 1 coefficients"),
        (lambda c: first(c).update(focalLength="nan"), "intrinsics.0.focalLength"),
        (lambda c: c["poses"][0]["pose"]["transform"]["rotation"].pop(), "poses.0.pose.transform.rotation"),
        (lambda c: c["poses"][0]["pose"]["transform"].update(rotation=["1"] * 9), "R is not a rotation"),
    ],
)
def test_damaged_files_are_refused_in_words(folder, rig, change, words, assert_refused):
    assert_refused(folder, words, edit(write(folder, by_hand(rig)) / "cameras.sfm", change))


def test_two_files_are_one_too_many(folder, rig, assert_refused):
    write(write(folder, by_hand(rig)), by_hand(rig), "old.sfm")
    assert_refused(folder, "found cameras.sfm, old.sfm")
