"""Files from anywhere: every reader makes a capture of them or says in one line what is wrong.

In a process of its own (``fuzz_child.py``), with mutated real files: nothing else is raised, nothing takes
5 s or 1 GB, nothing outside of the capture's folder is opened. In this process, by hypothesis: any value in
JSON, any bytes in any file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesoface.captures.formats import FORMATS, WRITERS, CaptureFormat
from mesoface.errors import MesofaceError

CHILD = Path(__file__).with_name("fuzz_child.py")
TABLE = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"


@pytest.fixture(scope="session")
def captures(drawn_rig, place, tmp_path_factory) -> Path:
    """A small good capture in every format, in some in two ways; each a folder of this one."""
    root = tmp_path_factory.mktemp("captures")
    rig = drawn_rig(3, size=(48, 64), lens=(-0.08, 0.05, 0.0005, -0.0004, 0.01))
    for name, writer in WRITERS.items():
        writer.write(root / name, place(rig, root / name, name, suffix=".jpg"), 1.0)
    _add_other_ways(root, rig)
    return root


def _add_other_ways(root: Path, rig) -> None:
    """COLMAP's text, OpenCV's JSON and XML, and RealityCapture's CSV."""
    text = shutil.copytree(root / "colmap", root / "colmap-text")
    model = pycolmap.Reconstruction(str(text / "sparse/0"))
    shutil.rmtree(text / "sparse/0")
    (text / "sparse/0").mkdir()
    model.write_text(str(text / "sparse/0"))
    as_json = shutil.copytree(root / "opencv", root / "opencv-json")
    shutil.rmtree(as_json / "calibration")
    for i, camera in enumerate(rig.cameras):
        content = {"K": camera.K.tolist(), "dist": [*camera.lens.coefficients], "R": camera.R.tolist()}
        (as_json / f"cam{i}.json").write_text(json.dumps({**content, "t": camera.t.tolist()}))
    as_xml = shutil.copytree(root / "opencv_rig", root / "opencv_rig-xml")
    (as_xml / "calib_camera.yml").unlink()
    storage = cv2.FileStorage(str(as_xml / "rig.xml"), cv2.FILE_STORAGE_WRITE)
    for i, camera in enumerate(rig.cameras):
        storage.write(f"intrinsic-{i}", camera.K)
        storage.write(f"extrinsic-{i}", np.column_stack([camera.R, camera.t]))
    storage.release()
    csv = shutil.copytree(root / "realitycapture", root / "realitycapture-csv")
    for sidecar in csv.glob("*.xmp"):
        sidecar.unlink()
    rows = [f"cam{i}.jpg,{i},{i * i},1.5,{20 * i},80,{i},30,0.01,-0.02,0.1,0,0,0,0.001,0" for i in range(3)]
    (csv / "registration.csv").write_text("\n".join([TABLE, *rows]))


def run_child(captures: Path, seed: int, count: int) -> list[dict]:
    """The outcomes of ``count`` mutations a capture."""
    command = [sys.executable, str(CHILD), str(captures), str(seed), str(count)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, f"died at {lines[-1:]}: {child.stderr[-3000:]}"
    return [line for line in lines if "case" in line]


def check_outcomes(outcomes: list[dict], cases: int) -> None:
    assert len(outcomes) == cases
    assert [one for one in outcomes if "bad" in one] == []
    assert [one for one in outcomes if one["outside"]] == []
    assert sum("error" in one for one in outcomes) > cases / 5  # the mutations do hurt
    assert sum("capture" in one for one in outcomes) > cases / 20


@pytest.mark.parametrize(("seed", "count"), [(0, 20), pytest.param(1, 100, marks=pytest.mark.slow)])
def test_mutated_files(captures, tmp_path, seed, count):
    folder = shutil.copytree(captures, tmp_path / "captures")
    check_outcomes(run_child(folder, seed, count), cases=count * (len(WRITERS) + 4))


@pytest.mark.slow
def test_mutated_files_of_real_captures(shared, sample_capture, tmp_path):
    """The phone's COLMAP model with its points and the shipped sample, with four photos each."""
    phone = shared("captures/phone")
    (tmp_path / "captures").mkdir()
    folder = shutil.copytree(phone / "sparse", tmp_path / "captures/phone/sparse").parent
    (folder / "images").mkdir()
    for photo in sorted((phone / "images").iterdir())[::6]:
        shutil.copy(photo, folder / "images")
    sample = tmp_path / "captures/sample"
    sample.mkdir()
    for file in [sample_capture / "params.json", *(sample_capture / f"{i}.jpg" for i in (1, 3, 4, 6))]:
        shutil.copy(file, sample)
    params = json.loads((sample / "params.json").read_text())
    params |= {key: False for key in params if key.endswith("_valid") and key[0] not in "1346"}
    (sample / "params.json").write_text(json.dumps(params))
    check_outcomes(run_child(tmp_path / "captures", seed=2, count=200), cases=400)


MISBEHAVING = """
import sys; sys.path.insert(0, {tests!r})
import fuzz_child, pathlib
good, seen = fuzz_child.load_capture, set()
def load(folder):
    if folder not in seen:
        return seen.add(folder) or good(folder)
    if folder.name == "hang":
        while True: pass
    if folder.name == "memory":
        b"x" * (2 << 30)
    if folder.name == "outside":
        open("/etc/hostname").close()
    if folder.name == "traceback":
        raise KeyError("K")
    return good(folder)
fuzz_child.load_capture, fuzz_child.SECONDS = load, 0.3
fuzz_child.main(pathlib.Path({captures!r}), 0, 1)
"""


def test_the_child_notices(captures, tmp_path):
    """A fuzz test that sees nothing proves nothing: a reader that misbehaves in each way is caught."""
    for way in ("hang", "memory", "outside", "traceback"):
        shutil.copytree(captures / "plain", tmp_path / "captures" / way)
    script = MISBEHAVING.format(tests=str(CHILD.parent), captures=str(tmp_path / "captures"))
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    cases = [json.loads(line) for line in child.stdout.splitlines() if '"case"' in line]
    hang, memory, outside, raised = cases
    assert "Hang" in hang["bad"]
    assert "memory" in memory["bad"]
    assert outside["outside"] == ["open /etc/hostname"]
    assert "KeyError" in raised["bad"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
FILES = {
    "plain": "capture.json",
    "facescape": "params.json",
    "nerfstudio": "transforms.json",
    "openmvg": "sfm_data.json",
    "meshroom": "cameras.sfm",
    "opencv-json": "cam1.json",
    "opencv": "calibration/cam1.yml",
    "opencv_rig": "calib_camera.yml",
    "opencv_rig-xml": "rig.xml",
    "metashape": "cameras.xml",
    "realitycapture": "cam1.xmp",
    "realitycapture-csv": "registration.csv",
    "colmap": "sparse/0/images.bin",
    "colmap-text": "sparse/0/images.txt",
}
quickly = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def reader_of(name: str) -> CaptureFormat:
    """The reader of a capture in the folder ``name``."""
    return FORMATS[name.partition("-")[0]]


def read_or_refuse(folder: Path, name: str) -> None:
    """Read the capture; the only exception that may leave the reader is ours, in one line."""
    refused = None
    try:
        reader_of(name).read(folder)
    except MesofaceError as error:
        refused = error
    if refused is not None:
        assert refused.path is not None
        assert refused.remedy
        assert "\n" not in str(refused)


def leaves(content: object, path: tuple = ()) -> list[tuple]:
    """The paths of everything in a JSON value, itself included."""
    lists = enumerate(content) if isinstance(content, list) else ()
    inner = content.items() if isinstance(content, dict) else lists
    return [path, *(leaf for key, value in inner for leaf in leaves(value, (*path, key)))]


def replaced(content: object, path: tuple, value: object) -> object:
    """``content`` with another value at ``path``."""
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.endswith((".json", ".sfm"))])
def test_any_value_anywhere_in_json(captures, tmp_path, name):
    folder = shutil.copytree(captures / name, tmp_path / name)
    good = json.loads((folder / FILES[name]).read_text())
    paths = leaves(good)

    @quickly
    @given(st.sampled_from(paths), JSON)
    def check(path, value):
        (folder / FILES[name]).write_text(json.dumps(replaced(good, path, value)))
        read_or_refuse(folder, name)

    check()


@pytest.mark.parametrize("name", FILES)
def test_any_bytes_anywhere(captures, tmp_path, name):
    folder = shutil.copytree(captures / name, tmp_path / name)
    good = (folder / FILES[name]).read_bytes()

    @quickly
    @given(st.integers(0, len(good)), st.integers(0, 40), st.binary(max_size=40))
    def check(at, length, inserted):
        (folder / FILES[name]).write_bytes(good[:at] + inserted + good[at + length :])
        read_or_refuse(folder, name)

    check()


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_all_garbage_or_too_large(captures, tmp_path, name):
    folder = shutil.copytree(captures / name, tmp_path / name)
    for content in (b"", b"\0" * 100, b"{" * 100_000, b"[[]," * 1000, b"\xff" * 1000, b"#" * (33 << 20)):
        (folder / FILES[name]).write_bytes(content)
        read_or_refuse(folder, name)


def test_good_captures_are_good(captures):
    for folder in captures.iterdir():
        source = reader_of(folder.name).read(folder)
        assert len(source.views) == 3
        assert all(np.isfinite(view.camera.P).all() for view in source.views)
