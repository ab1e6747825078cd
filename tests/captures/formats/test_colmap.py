"""COLMAP: models written by pycolmap read back as the same cameras; damage is named."""

import re
import shutil
import struct

import numpy as np
import pycolmap
import pytest
from PIL import Image

from mesoface.captures.formats import colmap, read_source
from mesoface.captures.formats.colmap import intrinsics
from mesoface.captures.formats.lenses import ColmapLens
from mesoface.geometry.camera import OpenCVLens
from tests.captures.conftest import edit

MODELS = {
    "SIMPLE_PINHOLE": (500, 49, 62),
    "PINHOLE": (500, 510, 49, 62),
    "SIMPLE_RADIAL": (500, 49, 62, -0.1),
    "RADIAL": (500, 49, 62, -0.1, 0.05),
    "OPENCV": (500, 510, 49, 62, 0.16, -0.12, 0.06, 0.026),
    "FULL_OPENCV": (500, 510, 49, 62, 0.1, -0.05, 0.001, 0.002, 0.01, 0.12, -0.03, 0.002),
    "SIMPLE_RADIAL_FISHEYE": (500, 49, 62, 0.05),
    "RADIAL_FISHEYE": (500, 49, 62, 0.05, -0.01),
    "OPENCV_FISHEYE": (500, 510, 49, 62, 0.05, 0.01, -0.004, 0.001),
    "THIN_PRISM_FISHEYE": (500, 510, 49, 62, 0.05, 0.01, 0.001, 0.002, 0.0, 0.0, 0.003, -0.001),
    "RAD_TAN_THIN_PRISM_FISHEYE": (500, 510, 49, 62, 0.05, 0.01, *[0] * 4, 0.001, 0.002, 0.003, 0.001, 0, 0),
    "FOV": (500, 510, 49, 62, 0.4),
    "SIMPLE_DIVISION": (500, 49, 62, -0.1),
    "DIVISION": (500, 510, 49, 62, -0.1),
    "SIMPLE_FISHEYE": (500, 49, 62),
    "FISHEYE": (500, 510, 49, 62),
    "EUCM": (500, 510, 49, 62, 0.5, 1.1),
}


def model_of(cameras, model="OPENCV", params=None, names=None) -> pycolmap.Reconstruction:
    """A reconstruction with the drawn rig's poses and two points seen by all."""
    reconstruction, size = pycolmap.Reconstruction(), {"width": cameras[0].width, "height": cameras[0].height}
    camera = pycolmap.Camera(model=model, params=params or MODELS[model], camera_id=1, **size)
    reconstruction.add_camera_with_trivial_rig(camera)
    for i, c in enumerate(cameras):
        name = names[i] if names else f"{i}.png"
        image = pycolmap.Image(name=name, keypoints=np.full((2, 2), 5.0), camera_id=1, image_id=i + 1)
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(c.R), c.t)
        reconstruction.add_image_with_trivial_frame(image, pose)
    for k, views in enumerate((range(len(cameras)), range(2))):
        track = pycolmap.Track()
        for i in views:
            track.add_element(i + 1, k)
        reconstruction.add_point3D(np.array([k, 2.0, 3.0]), track)
    return reconstruction


def write(folder, rig, *, text=False, where="sparse/0", masks=False, **kwargs):
    """A whole capture on disk."""
    reconstruction = model_of(rig.cameras, **kwargs)
    (folder / where).mkdir(parents=True, exist_ok=True)
    (reconstruction.write_text if text else reconstruction.write_binary)(str(folder / where))
    for i, (photo, mask) in enumerate(zip(rig.photos, rig.masks, strict=True)):
        name = reconstruction.images[i + 1].name
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / "images" / name)
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
    return folder


@pytest.fixture
def rig(drawn_rig):
    return drawn_rig(3)


@pytest.mark.parametrize("where", ["sparse/0", "sparse", "."])
@pytest.mark.parametrize("text", [False, True])
def test_written_models_read_back(rig, tmp_path, where, text):
    source = read_source(write(tmp_path, rig, where=where, text=text))
    assert source.format == "colmap"
    assert source.notes == ()
    assert [view.name for view in source.views] == ["0", "1", "2"]
    for view, camera in zip(source.views, rig.cameras, strict=True):
        np.testing.assert_allclose(view.camera.R, camera.R, atol=1e-12)
        np.testing.assert_allclose(view.camera.t, camera.t, atol=1e-9)
        assert view.image_path.is_file()


def test_every_model_of_colmap_is_tried_here():
    assert set(pycolmap.CameraModelId.__members__) - {"INVALID", "EQUIRECTANGULAR"} == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_convention_pixels_are_colmaps_less_a_half(rig, tmp_path, model, points):
    """Every camera model projects where COLMAP's own code does, pixel centres moved from 0.5 to 0."""
    write(tmp_path, rig, model=model)
    written = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    for view in read_source(tmp_path).views:
        image = next(image for image in written.images.values() if image.name == f"{view.name}.png")
        expected = [image.project_point(point) - 0.5 for point in points]
        np.testing.assert_allclose(view.camera.project(points)[0], expected, atol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_every_lens_has_its_way_back(model):
    camera = pycolmap.Camera(model=model, width=100, height=120, params=MODELS[model])
    _, lens = intrinsics(camera)
    if lens is not None:
        xy = np.random.default_rng(1).uniform(-0.4, 0.4, (100, 2))
        np.testing.assert_allclose(lens.undistort(lens.distort(xy)), xy, atol=1e-8)
        assert lens.undistort(np.zeros((0, 2))).shape == (0, 2)


def test_opencvs_models_take_the_fast_lens():
    for model in ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"):
        camera = pycolmap.Camera(model=model, width=100, height=120, params=MODELS[model])
        assert isinstance(intrinsics(camera)[1], OpenCVLens)


def test_a_lens_with_wrong_coefficients_is_refused():
    with pytest.raises(ValueError, match="3 lens coefficients do not fit the model OPENCV_FISHEYE"):
        ColmapLens("OPENCV_FISHEYE", (0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="not finite"):
        ColmapLens("OPENCV_FISHEYE", (0.1, 0.1, 0.1, np.nan))


def test_masks_are_found_by_colmaps_naming(rig, tmp_path):
    write(tmp_path, rig, masks=True)
    (tmp_path / "masks/1.png.png").unlink()
    source = read_source(tmp_path)
    names = [view.mask_path and view.mask_path.name for view in source.views]
    assert names == ["0.png.png", None, "2.png.png"]
    assert source.notes == ("without a mask in masks/<photo's name>.png: 1",)


def test_photos_in_subfolders(rig, tmp_path):
    write(tmp_path, rig, names=["left/0.png", "right/0.png", "top/0.png"])
    assert [view.name for view in read_source(tmp_path).views] == ["left/0.png", "right/0.png", "top/0.png"]


def test_a_photo_outside_of_the_capture_is_refused(rig, tmp_path, assert_refused):
    write(tmp_path / "capture", rig, names=["0.png", "1.png", "../../2.png"])
    assert_refused(tmp_path / "capture", "leads out of the capture")


def test_the_largest_of_several_models_is_taken(drawn_rig, tmp_path):
    write(tmp_path, drawn_rig(2), where="sparse/0")
    write(tmp_path, drawn_rig(4), where="sparse/1")
    source = read_source(tmp_path)
    assert len(source.views) == 4
    assert source.notes == ("2 COLMAP models: 0 (2 photos), 1 (4 photos); the largest, 1, was taken",)


def test_points_by_track_and_error(rig, tmp_path):
    write(tmp_path, rig)
    assert colmap.read_points(tmp_path).shape == (2, 3)
    np.testing.assert_allclose(colmap.read_points(tmp_path, min_track=3), [[0, 2, 3]])
    assert colmap.read_points(tmp_path, max_error=-2).shape == (0, 3)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin", "rigs.bin", "frames.bin"])
@pytest.mark.parametrize(
    "how",
    [
        lambda data: data[:-3],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: struct.pack("<Q", 2**40) + data[8:],
    ],
)
def test_damaged_binary_files_are_named(rig, tmp_path, name, how, assert_refused):
    path = write(tmp_path, rig) / "sparse/0" / name
    path.write_bytes(how(path.read_bytes()))
    assert_refused(tmp_path, "is truncated or corrupt", path)


def test_a_count_that_leads_far_beyond_the_file_is_refused(rig, tmp_path, assert_refused):
    path = write(tmp_path, rig) / "sparse/0/images.bin"
    data = bytearray(path.read_bytes())
    name_end = data.index(b"\0", 8 + 64) + 1
    data[name_end : name_end + 8] = b"\xff" * 8  # the count of 2D points of the first photo
    path.write_bytes(data)
    assert_refused(tmp_path, "is truncated or corrupt")


def test_models_of_older_versions_without_rigs_are_read(rig, tmp_path):
    folder = write(tmp_path, rig) / "sparse/0"
    (folder / "rigs.bin").unlink()
    (folder / "frames.bin").unlink()
    for view, camera in zip(read_source(tmp_path).views, rig.cameras, strict=True):
        np.testing.assert_allclose(view.camera.center, camera.center, atol=1e-9)


def test_a_rig_of_several_cameras_is_read(rig, tmp_path):
    """Photos of one frame share its pose; each camera's own place in the rig comes on top."""
    reconstruction, (first, second, _) = pycolmap.Reconstruction(), rig.cameras
    colmap_rig = pycolmap.Rig(rig_id=1)
    pinhole = {"model": "PINHOLE", "width": 96, "height": 128, "params": MODELS["PINHOLE"]}
    for i in (1, 2):
        reconstruction.add_camera(pycolmap.Camera(**pinhole, camera_id=i))
    relative = second.R @ first.R.T
    pose = pycolmap.Rigid3d(pycolmap.Rotation3d(relative), second.t - relative @ first.t)
    colmap_rig.add_ref_sensor(pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=1))
    colmap_rig.add_sensor(pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=2), pose)
    reconstruction.add_rig(colmap_rig)
    frame = pycolmap.Frame(frame_id=1, rig_id=1)
    frame.rig_from_world = pycolmap.Rigid3d(pycolmap.Rotation3d(first.R), first.t)
    for i in (1, 2):
        sensor = pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=i)
        frame.add_data_id(pycolmap.data_t(sensor_id=sensor, id=i))
    reconstruction.add_frame(frame)
    for i in (1, 2):
        reconstruction.add_image(pycolmap.Image(name=f"{i - 1}.png", camera_id=i, image_id=i, frame_id=1))
    reconstruction.register_frame(1)
    write(tmp_path, rig)
    reconstruction.write_binary(str(tmp_path / "sparse/0"))
    views = read_source(tmp_path).views
    for view, camera in zip(views, (first, second), strict=True):
        np.testing.assert_allclose(view.camera.R, camera.R, atol=1e-9)
        np.testing.assert_allclose(view.camera.t, camera.t, atol=1e-6)


@pytest.mark.parametrize("name", ["images.bin", "points3D.bin"])
def test_missing_binary_files_are_named(rig, tmp_path, name, assert_refused):
    path = write(tmp_path, rig) / "sparse/0" / name
    path.unlink()
    assert_refused(tmp_path, "is missing from the COLMAP model", path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cameras.txt", "1 OPENCV 96"),
        ("cameras.txt", "1 BELLOWS 96 128 500 49 62"),
        ("cameras.txt", "words"),
        ("images.txt", "1 one two three"),
        ("cameras.txt", ""),
        ("images.txt", ""),
    ],
)
def test_damaged_text_models_are_named(rig, tmp_path, name, content, assert_refused):
    folder = write(tmp_path, rig, text=True) / "sparse/0"
    (folder / name).write_text(content)
    assert len(assert_refused(tmp_path, re.compile(r"COLMAP model|no photos"), folder)) < 400


def test_numbers_that_are_not_finite_are_refused(rig, tmp_path, assert_refused):
    folder = write(tmp_path, rig, text=True) / "sparse/0"
    edit(folder / "cameras.txt", lambda t: t.replace("500", "nan"))
    assert_refused(tmp_path, str(folder))


def test_a_model_without_images_folder_is_refused(rig, tmp_path, assert_refused):
    shutil.rmtree(write(tmp_path, rig) / "images")
    assert_refused(tmp_path, "no folder images")


def test_a_panorama_is_refused(rig, tmp_path, assert_refused):
    write(tmp_path, rig, model="EQUIRECTANGULAR", params=(96, 128))
    assert_refused(tmp_path, "panorama")


def test_real_observations_are_where_the_model_projects(shared):
    """On a real model: its own points and observations, with COLMAP's own mean error of 0.77 px."""
    folder = shared("captures/phone")
    model = pycolmap.Reconstruction(str(folder / "sparse/0"))
    views = {view.image_path.name: view for view in read_source(folder).views}
    assert len(views) == 24
    errors = []
    for image in model.images.values():
        seen = [point for point in image.points2D if point.has_point3D()]
        points = np.array([model.points3D[point.point3D_id].xyz for point in seen])
        observed = np.array([point.xy for point in seen]) - 0.5
        errors.append(np.linalg.norm(views[image.name].camera.project(points)[0] - observed, axis=1))
    assert np.concatenate(errors).mean() == pytest.approx(0.767, abs=0.05)
    assert colmap.read_points(folder).shape == (len(model.points3D), 3)
