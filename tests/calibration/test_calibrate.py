"""From photos to a capture on disk: the sample's photos without their cameras, and what must be refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mesoface
from mesoface.calibration import Calibration, CalibrationSettings
from mesoface.calibration.calibrate import calibrate_folder
from mesoface.captures.formats import read_source
from mesoface.errors import LandmarkError, MesofaceError
from mesoface.evaluation import evaluate
from mesoface.files.meshes import read_mesh
from mesoface.geometry.alignment import align_points
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks import MediapipeDetector
from mesoface.landmarks.triangulation import closest_points_to_rays
from mesoface.report.calibrate_page import calibrate_page
from tests.rendering.test_page import assert_sealed

ONE_THREAD = CalibrationSettings(threads=1)


def copy_photos(capture: Path, folder: Path) -> Path:
    """The photos of a capture, and nothing else."""
    folder.mkdir()
    for view in read_source(capture).views:
        shutil.copyfile(view.image_path, folder / view.image_path.name)
    return folder


def shape_error(capture: Path, calibrated: Path, points: np.ndarray) -> float:
    """Mean distance, in the units of ``points`` (N, 3), that the calibration puts between them and the truth.

    The points are projected by the true cameras, exactly, triangulated by those that were found, and aligned
    by a similarity: what is left is what the cameras do to a shape.
    """
    true = {view.image_path.name: view.camera for view in read_source(capture).views}
    found = {view.image_path.name: view.camera for view in read_source(calibrated).views}
    pixels = np.stack([true[name].project(points)[0] for name in found])
    there = closest_points_to_rays(list(found.values()), pixels)
    motion = align_points(there, points)
    return float(np.linalg.norm(motion.apply(there) - points, axis=1).mean())


def face_points(capture: Path) -> np.ndarray:
    """(N, 3) points of the true surface near the middle of what all cameras look at."""
    vertices = read_mesh(capture / "gt.ply").vertices
    cameras: list[Camera] = [view.camera for view in read_source(capture).views]
    toward = np.mean([camera.center for camera in cameras], 0) - vertices.mean(0)
    return vertices[(vertices - vertices.mean(0)) @ toward > 0][::50]


@pytest.fixture
def photos(sample_capture: Path, tmp_path: Path) -> Path:
    """A folder of the sample's photos, with nothing beside it."""
    return copy_photos(sample_capture, tmp_path / "photos")


@pytest.fixture(scope="module")
def calibrated(sample_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Calibration, Path]:
    """The sample's eight photos calibrated by features."""
    folder = tmp_path_factory.mktemp("calibrate")
    photos = copy_photos(sample_capture, folder / "photos")
    return calibrate_folder(photos, folder / "shoot", ONE_THREAD, page=calibrate_page), folder / "shoot"


def test_the_samples_cameras_are_found(calibrated: tuple[Calibration, Path], sample_capture: Path) -> None:
    calibration, folder = calibrated
    assert calibration.verdict.level == "good"
    assert calibration.solution.method == "features"
    assert calibration.solution.placed == list(range(8))
    assert shape_error(sample_capture, folder, face_points(sample_capture)) < 0.15


def test_the_capture_is_read_like_any_other(calibrated: tuple[Calibration, Path]) -> None:
    _, folder = calibrated
    capture = mesoface.load_capture(folder)
    assert (capture.format, capture.mm_per_unit, len(capture)) == ("plain", 1.0, 8)
    # x to the subject's left, z out of the face: the sample's photos go from its right to its left
    assert (np.diff([camera.center[0] for camera in capture.cameras]) > 0).all()
    distance = [np.linalg.norm(camera.center) for camera in capture.cameras]
    assert min(distance) > 500
    assert max(distance) < 2000


def test_the_record_and_the_page_say_what_was_done(calibrated: tuple[Calibration, Path]) -> None:
    _, folder = calibrated
    record = json.loads((folder / "calibration.json").read_text())
    assert (record["method"], record["verdict"], record["tried"]) == ("features", "good", {})
    assert record["scale"]["source"] in ("iris", "pupils", "iris and pupils")
    assert [view["placed"] for view in record["views"]] == [True] * 8
    page = (folder / "calibration.html").read_text()
    assert page.count("<figure>") == 8
    assert_sealed(page)
    files = ["calibration.html", "calibration.json", "capture.json", "images"]
    assert sorted(path.name for path in folder.iterdir()) == files


def test_nothing_is_left_behind_when_no_face_is_found(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (60 + 40 * number, 90, 120)).save(photos / f"{number}.png")
    with pytest.raises(LandmarkError, match="photos: a face was found in no photo of 3"):
        calibrate_folder(photos, tmp_path / "shoot", ONE_THREAD)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_one_photo_is_not_enough(sample_capture: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(sample_capture / "3.jpg", tmp_path / "photos")
    with pytest.raises(LandmarkError, match="1 photo, at least 3 are needed"):
        calibrate_folder(tmp_path / "photos", tmp_path / "shoot", ONE_THREAD)


def test_the_photos_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for out in (tmp_path / "photos", tmp_path / "photos" / "shoot", tmp_path):
        with pytest.raises(MesofaceError, match="into the photos' folder"):
            calibrate_folder(tmp_path / "photos", out, ONE_THREAD, overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep me")
    with pytest.raises(MesofaceError, match="replaces calibrations only"):
        calibrate_folder(tmp_path / "photos", tmp_path / "other", ONE_THREAD, overwrite=True)


def test_reconstruct_points_photos_without_cameras_here(tmp_path: Path) -> None:
    Image.new("RGB", (30, 40)).save(tmp_path / "a.jpg")
    with pytest.raises(MesofaceError, match=r"only photos without cameras.*mesoface calibrate"):
        mesoface.load_capture(tmp_path)


@pytest.mark.slow
def test_landmarks_alone_find_the_samples_cameras(photos: Path, sample_capture: Path, tmp_path: Path) -> None:
    settings = CalibrationSettings(method="landmarks", threads=1)
    calibration = calibrate_folder(photos, tmp_path / "shoot", settings)
    assert calibration.solution.method == "landmarks"
    assert len(calibration.solution.placed) == 8
    assert shape_error(sample_capture, tmp_path / "shoot", face_points(sample_capture)) < 0.3


@pytest.mark.slow
def test_a_background_that_stands_still_while_the_head_turns_does_not_win(
    photos: Path, sample_capture: Path, tmp_path: Path
) -> None:
    """As before a camera on a tripod: what is behind the head is the same in all photos, in detail."""
    files = sorted(photos.iterdir())
    pictures = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    landmarks = MediapipeDetector().detect_uncalibrated(pictures, [file.name for file in files])
    noise = np.random.default_rng(0).integers(0, 255, (240, 160, 3), np.uint8)
    backdrop = cv2.resize(noise, (640, 960), interpolation=cv2.INTER_CUBIC)
    for file, picture, points in zip(files, pictures, landmarks.points, strict=True):
        hull = cv2.convexHull(points.astype(np.float32))
        face = cv2.fillConvexPoly(np.zeros((960, 640), np.uint8), np.rint(hull).astype(np.int32), 1)
        face = cv2.dilate(face, np.ones((25, 25), np.uint8)).astype(bool)
        Image.fromarray(np.where(face[..., None], picture, backdrop)).save(file, quality=95)
    calibration = calibrate_folder(photos, tmp_path / "shoot", ONE_THREAD)
    assert calibration.solution.method == "features"
    assert len(calibration.solution.placed) >= 7  # of one the backdrop hides the face from the detector
    assert shape_error(sample_capture, tmp_path / "shoot", face_points(sample_capture)) < 0.3


@pytest.mark.slow
def test_of_two_people_one_is_left_out_and_named(
    photos: Path, shared: Callable[[str], Path], tmp_path: Path
) -> None:
    for number in range(4):
        (photos / f"{2 * number}.jpg").unlink()
        other = shared("captures/lps") / f"{2 * number}.jpg"
        resized = cv2.resize(cv2.imread(str(other)), (640, 960))
        cv2.imwrite(str(photos / f"other{number}.jpg"), resized)
    calibration = calibrate_folder(photos, tmp_path / "shoot", ONE_THREAD)
    placed = {calibration.photos[v].name.startswith("other") for v in calibration.solution.placed}
    assert len(placed) == 1
    assert calibration.verdict.level == "doubtful"
    assert "could not be placed" in calibration.verdict.problems[0].what


@pytest.mark.slow
def test_the_scan_without_its_cameras(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """A long lens: focal length and distance are hard to tell apart."""
    scan = shared("captures/lps")
    calibrate_folder(copy_photos(scan, tmp_path / "photos"), tmp_path / "shoot", ONE_THREAD)
    capture = mesoface.load_capture(tmp_path / "shoot")
    settings = mesoface.Settings(preset="fast", matcher="ncc", texture_size=0, threads=1)
    face = mesoface.reconstruct(capture, settings)
    assert face.fine is not None
    result = evaluate(face.fine.mesh, read_mesh(scan / "gt.ply"), align="similarity", samples=20_000)
    assert result.accuracy.mean <= 0.6


@pytest.mark.slow
def test_the_phone_without_its_cameras(shared: Callable[[str], Path], tmp_path: Path) -> None:
    phone = shared("captures/phone")
    calibrate_folder(copy_photos(phone, tmp_path / "photos"), tmp_path / "shoot", ONE_THREAD)
    settings = mesoface.Settings(preset="fast", matcher="ncc", texture_size=0, threads=1)
    captures = map(mesoface.load_capture, (tmp_path / "shoot", phone))
    ours, theirs = (mesoface.reconstruct(capture, settings) for capture in captures)
    assert ours.fine is not None
    assert theirs.fine is not None
    # The worlds are turned against each other: the base meshes, vertex by vertex, say how.
    motion = align_points(ours.base.vertices, theirs.base.vertices)
    moved = Mesh(motion.apply(ours.fine.mesh.vertices), ours.fine.mesh.faces)
    result = evaluate(moved, theirs.fine.mesh, align="similarity", samples=20_000)
    assert result.accuracy.mean <= 1.0
