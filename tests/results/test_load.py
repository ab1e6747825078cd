"""A result folder and its cameras.json read again, and what is wrong with broken ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

import mesoface
from mesoface.errors import MesofaceError
from mesoface.files.maps import write_exr, write_png
from mesoface.relief.predict import MesoRelief
from mesoface.results.face import Face, load_face
from mesoface.results.files import FORMAT, read_cameras, write_cameras
from tests.faces import cap, made_face, written

FILES = (
    *("base.obj", "base_fit.npz", "landmarks.npz", "cameras.json", "region.ply", "fine.ply", "space.npz"),
    *("displacement.exr", "confidence.png", "texture.png", "texture_seen.png", "meso.exr"),
)


def whole_cap():
    """The cap with predicted relief."""
    height = np.full((64, 64), 0.05, np.float32)
    height[:5] = 0
    return replace(cap(), relief=MesoRelief(height, height > 0, "learned", 1.25))


@pytest.fixture
def make_run(tmp_path):
    """``make_run()`` → a result folder with every file that is read."""
    return lambda: written(tmp_path / "run", whole_cap())


def complete(run):
    """A result with all of its members read."""
    face = load_face(run)
    for name in (*(field.name for field in fields(Face) if field.name != "capture"), "region"):
        getattr(face, name)
    return face


def test_a_saved_face_is_the_face(make_run):
    given, face = whole_cap(), load_face(make_run())
    assert isinstance(face, Face)
    for name in ("scale", "settings", "stages", "warnings", "checks"):
        assert getattr(face, name) == getattr(given, name)
    for mesh, true in ((face.base, given.base), (face.surface, given.fine.mesh), (face.region, given.region)):
        np.testing.assert_allclose(mesh.vertices, true.vertices, atol=1e-4)
        np.testing.assert_array_equal(mesh.faces, true.faces)
    np.testing.assert_allclose(face.detailed.vertices, given.detailed.vertices, atol=1e-4)
    for name in ("kept", "filled", "displacement"):
        np.testing.assert_array_equal(getattr(face.fine, name), getattr(given.fine, name))
    np.testing.assert_allclose(face.fine.confidence, given.fine.confidence, atol=0.51 / 255)
    np.testing.assert_allclose(face.fine.visibility, given.fine.visibility, atol=0.51 / 255)
    assert face.fine.left_out == given.fine.left_out
    space, true = face.fine.space, given.fine.space
    np.testing.assert_array_equal(space.valid, true.valid)
    np.testing.assert_allclose(space.position, true.position, atol=1e-3)
    np.testing.assert_allclose(space.normal, true.normal, atol=1e-3)
    np.testing.assert_allclose(face.texture.color, given.texture.color, atol=1e-6)
    np.testing.assert_array_equal(face.texture.seen, given.texture.seen)
    for name in ("height", "valid"):
        np.testing.assert_array_equal(getattr(face.relief, name), getattr(given.relief, name))
    assert (face.relief.source, face.relief.texel_mm) == ("learned", 1.25)


def test_a_result_of_before_views_were_recorded_has_no_checks(make_run):
    run = make_run()
    record = json.loads((run / "run.json").read_text())
    del record["checks"]
    (run / "run.json").write_text(json.dumps(record))
    assert load_face(run).checks == ()


def test_checks_that_are_not_figures_are_an_error_that_names_them(make_run):
    run = make_run()
    record = json.loads((run / "run.json").read_text())
    record["checks"][0]["estimated_px"] = "far"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(MesofaceError, match="'checks' cannot be used"):
        _ = load_face(run).checks


def test_fit_and_landmarks_are_kept_to_the_last_bit(make_run):
    given, face = whole_cap(), load_face(make_run())
    for name in ("identity", "expression", "rotation", "translation", "residuals"):
        np.testing.assert_array_equal(getattr(face.fit, name), getattr(given.fit, name))
    np.testing.assert_allclose(face.fit.vertices, given.fit.vertices, atol=1e-4)
    assert (face.fit.scale, face.fit.iterations, face.fit.model.name) == (1.0, 7, "cap")
    np.testing.assert_array_equal(face.fit.model.topology.facial, given.fit.model.topology.facial)
    for name in ("points", "weights"):
        np.testing.assert_array_equal(getattr(face.landmarks2d, name), getattr(given.landmarks2d, name))
    for name in ("points", "weights", "residuals", "distrusted"):
        np.testing.assert_array_equal(getattr(face.landmarks3d, name), getattr(given.landmarks3d, name))
    assert face.landmarks2d.notes == given.landmarks2d.notes
    assert face.landmarks3d.scheme == given.landmarks3d.scheme
    with pytest.raises(MesofaceError, match="does not hold the basis of the face model 'cap'"):
        face.fit.model.shape(face.fit.identity, face.fit.expression)


def test_a_surface_larger_than_its_space_lies_where_the_mesh_says(tmp_path, monkeypatch):
    monkeypatch.setattr("mesoface.results.files.SPACE_SIZE", 48)
    given, face = cap(), load_face(written(tmp_path / "run", cap()))
    kept = face.fine.kept
    surface = face.fine.space.displaced(face.fine.displacement)
    np.testing.assert_allclose(
        surface[kept], given.fine.space.displaced(given.fine.displacement)[kept], atol=1e-3
    )
    inside = np.s_[8:-8, 8:-8]  # the outermost texels are continued, not interpolated
    np.testing.assert_allclose(face.fine.space.position[inside], given.fine.space.position[inside], atol=0.1)
    assert face.fine.visibility.shape == given.fine.visibility.shape


def test_a_run_that_stopped_at_the_base_needs_no_maps(tmp_path):
    face = complete(written(tmp_path / "run", cap(fine=False, color=False)))
    assert face.fine is face.texture is face.relief is face.detailed is None
    np.testing.assert_array_equal(face.surface.vertices, face.base.vertices)


def test_photos_are_read_when_they_are_wanted(capture_folder, tmp_path):
    capture = mesoface.load_capture(capture_folder(lens=None))
    run = written(tmp_path / "run", made_face(cap().base, capture=capture))
    for view, true in zip(load_face(run).capture.views, capture.views, strict=True):
        np.testing.assert_array_equal(view.image, true.image)
        np.testing.assert_array_equal(view.camera.K, true.camera.K)
    capture.path.rename(tmp_path / "moved")
    with pytest.raises(MesofaceError):
        _ = load_face(run).capture
    assert load_face(run, photos=tmp_path / "moved").capture.names == capture.names


def test_photos_made_in_memory_are_not_in_a_result(make_run):
    with pytest.raises(MesofaceError, match="made in memory"):
        _ = load_face(make_run()).capture


def test_members_can_be_replaced(make_run, tmp_path, capture_folder):
    capture = mesoface.load_capture(capture_folder(lens=None))
    run = written(tmp_path / "other", made_face(cap().base, capture=capture))
    face = replace(load_face(run), warnings=("changed",))
    assert type(face) is Face
    assert face.warnings == ("changed",)
    assert face.scale.source == "iris"


def test_only_what_is_used_is_read(make_run):
    run = make_run()
    for name in set(FILES) - {"fine.ply", "region.ply"}:
        (run / name).unlink()
    face = load_face(run)
    assert len(face.surface.faces) > 1000
    assert len(face.region.faces) > 1000
    assert face.settings.until == "fine"


@pytest.mark.parametrize("name", FILES)
def test_an_incomplete_result_names_what_is_missing(make_run, name):
    run = make_run()
    (run / name).unlink()
    with pytest.raises(MesofaceError, match=f"incomplete: {name}") as error:
        complete(run)
    assert error.value.path == run
    assert "again" in error.value.remedy


def test_a_folder_without_run_json_is_no_result(tmp_path):
    with pytest.raises(MesofaceError, match=r"no run\.json"):
        load_face(tmp_path)


def test_a_result_of_another_version_is_refused(make_run):
    run = make_run()
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "format": FORMAT - 1, "mesoface": "0.0.9"}))
    with pytest.raises(MesofaceError, match=rf"layout {FORMAT - 1}, of mesoface 0\.0\.9.*layout {FORMAT}"):
        complete(run)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}'])
def test_a_broken_record_is_refused(make_run, text):
    run = make_run()
    (run / "run.json").write_text(text)
    with pytest.raises(MesofaceError, match=r"run\.json"):
        complete(run)


def change_arrays(path, changes):
    """Other arrays in an ``.npz`` file."""
    with np.load(path) as data:
        arrays = dict(data)
    np.savez(path, **{**arrays, **{name: change(arrays[name]) for name, change in changes.items()}})


@pytest.mark.parametrize(
    ("file", "damage", "named", "what"),
    [
        ("base_fit.npz", {"facial": lambda a: a[:-1]}, "base_fit.npz", "faces"),
        ("base_fit.npz", {"rotation": lambda a: 2 * a}, "base_fit.npz", "no rotation"),
        ("base_fit.npz", {"rotation": lambda a: np.nan * a}, "base_fit.npz", "not finite"),
        ("base_fit.npz", {"facial": lambda a: np.array([{}], object)}, "base_fit.npz", "never unpickled"),
        ("base_fit.npz", {"vertices": lambda a: a[:-1]}, "base_fit.npz", "vertices"),
        ("landmarks.npz", {"points2d": lambda a: a[1:]}, "landmarks.npz", "points2d"),
        ("landmarks.npz", {"points3d": lambda a: a[1:]}, "landmarks.npz", "different numbers of landmarks"),
        ("landmarks.npz", {"weights2d": lambda a: a + np.inf}, "landmarks.npz", "not finite"),
        ("space.npz", {"position": lambda a: a[:-1]}, "space.npz", "position"),
        ("space.npz", {"valid": lambda a: a[:-1]}, "space.npz", "valid"),
        ("displacement.exr", np.zeros((96, 96)), "fine.ply", "texels"),
        ("displacement.exr", np.zeros((128, 64)), "displacement.exr", "square"),
        ("confidence.png", np.zeros((96, 96, 3), np.uint8), "confidence.png", "96²"),
        ("texture.png", np.zeros((8, 16, 3), np.uint8), "texture.png", "square"),
        ("texture.png", np.zeros((8, 8, 3), np.uint16), "texture.png", "16 bits"),
        ("texture_seen.png", np.zeros((8, 8), np.uint8), "texture_seen.png", "another size"),
        ("meso.exr", np.zeros((32, 16), np.float32), "meso.exr", "square"),
        ("run.json", {"scale": {"source": 3}}, "run.json", "'scale'"),
        ("run.json", {"settings": {"preset": "none"}}, "run.json", "'settings'"),
        ("run.json", {"landmarks": None}, "run.json", "landmarks.scheme"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(make_run, file, damage, named, what):
    run = make_run()
    if file.endswith("npz"):
        change_arrays(run / file, damage)
    elif file == "run.json":
        (run / file).write_text(json.dumps(json.loads((run / file).read_text()) | damage))
    else:
        (write_exr if file.endswith("exr") else write_png)(run / file, damage)
    with pytest.raises(MesofaceError, match=what) as error:
        complete(run)
    assert error.value.path == run / named


def test_maps_that_would_take_all_memory_are_refused(make_run, monkeypatch):
    run = make_run()
    monkeypatch.setattr("mesoface.results.files._MOST_TEXELS", 4 * 127**2)
    with pytest.raises(MesofaceError, match="4 views of maps of 128² take too much memory"):
        _ = load_face(run).fine
    monkeypatch.setattr("mesoface.results.face.MAX_TEXTURE", 64)
    with pytest.raises(MesofaceError, match="at most 64"):
        _ = load_face(run).texture


@pytest.fixture
def beside(capture_folder, tmp_path):
    """A capture, and the cameras.json of a result beside it."""
    capture = mesoface.load_capture(capture_folder())
    run = tmp_path / "run"
    run.mkdir()
    write_cameras(run / "cameras.json", capture)
    return capture, run / "cameras.json"


def photos(path):
    return [view["photo"] for view in json.loads(path.read_text())["views"]]


def test_cameras_are_read_back_to_the_last_bit(beside):
    capture, path = beside
    cameras = read_cameras(path)
    assert list(cameras.views) == list(capture.names)
    assert cameras.format == "facescape"
    for camera, original in zip(cameras.views.values(), capture.cameras, strict=True):
        for name in ("K", "R", "t", "width", "height"):
            np.testing.assert_array_equal(getattr(camera, name), getattr(original, name))


def test_the_capture_is_found_again_when_both_were_moved(beside, tmp_path):
    _, path = beside
    there = tmp_path / "elsewhere"
    for name in ("capture", "run"):
        shutil.copytree(tmp_path / name, there / name)
        shutil.rmtree(tmp_path / name)
    cameras = read_cameras(there / "run" / path.name)
    assert cameras.capture.resolve() == (there / "capture").resolve()
    assert all((there / "run" / photo).is_file() for photo in photos(there / "run" / path.name))


def test_photos_made_in_memory_have_no_place(make_capture, tmp_path):
    write_cameras(tmp_path / "cameras.json", make_capture())
    cameras = read_cameras(tmp_path / "cameras.json")
    assert cameras.capture is None
    assert photos(tmp_path / "cameras.json") == [None] * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 9}, "format"),
        ({"unit": "inch"}, "unit"),
        ({"surprise": 1}, "surprise"),
        ({"views": [1]}, r"views\.0"),
    ],
)
def test_other_files_are_refused(beside, change, words):
    _, path = beside
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MesofaceError, match=words):
        read_cameras(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t": [0, 0, 1e999]}, "finite|JSON|number"),
        ({"R": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "rotation"),
        ({"K": [[1, 0], [0, 1]]}, "K"),
        ({"width": 0}, "width"),
        ({"name": "1"}, "same name"),
    ],
)
def test_impossible_cameras_are_refused(beside, change, words):
    _, path = beside
    file = json.loads(path.read_text())
    file["views"][0] |= change
    path.write_text(json.dumps(file))
    with pytest.raises(MesofaceError, match=words):
        read_cameras(path)


def test_a_missing_or_cut_file_is_named(beside):
    _, path = beside
    path.write_text(path.read_text()[:100])
    with pytest.raises(MesofaceError, match=r"cameras\.json"):
        read_cameras(path)
    path.unlink()
    with pytest.raises(MesofaceError, match=r"cameras\.json: cannot be read"):
        read_cameras(path)
