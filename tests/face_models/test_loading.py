import numpy as np
import pytest

from mesoface.errors import FaceModelError
from mesoface.face_models import load_face_model
from mesoface.files.npz import read_npz


def test_the_model_that_comes_with_mesoface_loads_by_name():
    model = load_face_model("generic")
    assert model.name == "generic"
    assert model.topology.facial.any()


def test_ict_is_found_where_the_environment_says(shared, monkeypatch):
    path = shared("ict/ict_facekit_mm.npz")
    monkeypatch.setenv("MESOFACE_ICT", str(path))
    assert load_face_model("ict").n_identity == 100


def test_ict_that_is_not_there_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("MESOFACE_ICT", raising=False)
    monkeypatch.setenv("MESOFACE_SHARED", str(tmp_path))
    with pytest.raises(FaceModelError, match=r"ict_facekit_mm\.npz.*set MESOFACE_ICT"):
        load_face_model("ict")


@pytest.mark.parametrize("spec", ["nothing/here.npz", "flame"])
def test_a_path_that_does_not_exist_is_refused(spec):
    with pytest.raises(FaceModelError, match=r"no such face model.*'generic', 'ict' or the path"):
        load_face_model(spec)


def test_an_empty_folder_and_a_strange_file_are_refused(tmp_path):
    with pytest.raises(FaceModelError, match="no face model is recognised here"):
        load_face_model(str(tmp_path))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "model.txt").write_text("a face")
    for name in ("other.npz", "model.txt"):
        with pytest.raises(FaceModelError, match="no face model is recognised here"):
            load_face_model(str(tmp_path / name))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FaceModelError, match="is not a readable"):
        load_face_model(str(tmp_path / "broken.npz"))


def test_arrays_of_python_objects_are_never_read(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, plain=np.arange(3), things=np.array([{"a": 1}], dtype=object))
    assert list(read_npz(path)) == ["plain"]
    with pytest.raises(FaceModelError, match="'things' holds Python objects, which are never unpickled"):
        read_npz(path, ["things"])
