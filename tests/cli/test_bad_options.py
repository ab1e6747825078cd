"""Options with values that make no sense, and files named by options that are no good."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

OPTIONS = {
    "--views 1": ("views", "auto, or a number from 2 to 120, got '1'"),
    "--views 121": ("views", "auto, or a number from 2 to 120"),
    "--views none": ("views", "auto, or a number from 2 to 120, got 'none'"),
    "--views 2.5": ("views", "auto, or a number from 2 to 120"),
    "--preset foo": ("preset", "'fast', 'default', 'best' or 'paper'"),
    "--preset paper": ("--weights", "weights import checkpoint_if.pkl checkpoint_reg.pkl"),
    "--preset paper --weights nowhere": ("nowhere", "weights import checkpoint_if.pkl checkpoint_reg.pkl"),
    "--matcher ncc --weights nowhere": ("nowhere", "ncc matcher"),
    "--memory 3": ("--memory", "16"),
    "--until x": ("until", "'base' or 'fine'"),
    "--matcher y": ("matcher", "'learned' or 'ncc'"),
    "--holes patch": ("holes", "'fill' or 'keep'"),
    "--device tpu": ("device", "'auto', 'cpu' or 'cuda'"),
    "--scale 0": ("scale", "greater than 0"),
    "--scale -2": ("scale", "greater than 0"),
    "--scale nan": ("scale", "nan"),
    "--scale inf": ("scale", "finite"),
    "--texture-size 10": ("texture_size", "from 64 to 8192"),
    "--texture-size 100000": ("texture_size", "from 64 to 8192"),
    "--texture-size -1": ("--texture-size", "0"),
    "--threads 0": ("--threads", "1"),
    "--view-ids 3,99": ("capture", "no view named 99 — there are: 1, 3, 4, 6"),
    "--view-ids 3": ("capture", "only 1 usable view"),
    "--view-ids ,": ("capture", "only 0 usable views"),
    "--format exr": ("capture", "facescape, colmap, nerfstudio"),
    "--format colmap": ("capture", "no COLMAP model"),
    "--truth nowhere.ply": ("nowhere.ply", "No such file"),
    "--truth truth.txt": ("truth.txt", ".obj, .ply or .stl"),
    "--landmarks nowhere.json": ("nowhere.json", "no such file"),
    "--nonsense": ("--nonsense", "No such option"),
}


@pytest.mark.parametrize("given", OPTIONS)
def test_a_bad_option_is_refused_by_name(given, copy_sample, place, refused):
    name, words = OPTIONS[given]
    line = refused(name, "reconstruct", copy_sample(), "--out", place / "face", *given.split())
    assert words in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none_is_refused(copy_sample, place, refused):
    refused("--device cpu", "reconstruct", copy_sample(), "--out", place / "face", "--device", "cuda")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reconstruct"], "Missing argument 'capture'"),
        (["reconstruct", "capture"], "Missing option '--out'"),
        (["rebuild"], "No such command 'rebuild'"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_is_one_line_that_points_to_help(arguments, words, refused):
    assert "--help" in refused(words, *arguments)


@pytest.mark.parametrize("content", [None, b"PK\x03\x04 but no more"])
def test_a_face_model_that_is_missing_or_none_is_refused(content, copy_sample, place, tmp_path, refused):
    model = tmp_path / "model.npz"
    if content is not None:
        model.write_bytes(content)
    options = ["--until", "base", "--face-model", model]
    refused(model, "reconstruct", copy_sample(["3", "4"]), "--out", place / "face", *options)


def two_points(copy):
    return {"scheme": "ibug68", "views": {view: [[300, 400], [320, 410]] for view in copy.views}}


LANDMARKS = {
    "no JSON": (lambda copy: "{", "JSON"),
    "no views": (lambda copy: json.dumps({"scheme": "ibug68"}), '"views"'),
    "unknown scheme": (lambda copy: json.dumps({"scheme": "dlib5", "views": {}}), "dlib5"),
    "another capture's view": (
        lambda copy: json.dumps({"scheme": "ibug68", "views": {"cam9": [[1, 2]] * 68}}),
        "cam9",
    ),
    "too few points": (lambda copy: json.dumps(two_points(copy)), "68"),
    "no landmarks": (lambda copy: json.dumps({"scheme": "ibug68", "views": {}}), "0 view"),
}


@pytest.mark.parametrize("what", LANDMARKS)
def test_a_broken_landmark_file_is_refused(what, copy_sample, place, tmp_path, refused):
    write, words = LANDMARKS[what]
    copy, file = copy_sample(), tmp_path / "landmarks.json"
    file.write_text(write(copy))
    assert words in refused(file, "reconstruct", copy, "--out", place / "face", "--landmarks", file)


@pytest.mark.slow
def test_landmarks_of_noise_are_refused(copy_sample, place, tmp_path, refused):
    """Numbers in the right places that no face fits."""
    copy, file = copy_sample(), tmp_path / "landmarks.json"
    rng = np.random.default_rng(2)
    points = {view: (rng.random((478, 2)) * (640, 960)).tolist() for view in copy.views}
    file.write_text(json.dumps({"scheme": "mediapipe478", "views": points}))
    options = ["--landmarks", file, "--scale", 1, "--preset", "fast"]
    assert "landmarks" in refused(copy, "reconstruct", copy, "--out", place / "face", *options)


GARBAGE = {
    "cut.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n\0",
    "empty.obj": b"",
    "faces.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "noise.stl": bytes(range(200)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_garbage_truth_is_refused_before_any_work(name, copy_sample, place, tmp_path, refused):
    truth = tmp_path / name
    truth.write_bytes(GARBAGE[name])
    refused(truth, "reconstruct", copy_sample(), "--out", place / "face", "--truth", truth)
    refused(truth, "evaluate", truth, truth)
