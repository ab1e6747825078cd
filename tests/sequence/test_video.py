"""A drawn video, the whole way: frames are followed, a jump does no harm, errors stay."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mesoface.config import Settings
from mesoface.files.meshes import read_mesh
from mesoface.lab.synthesis.capture import photograph_sequence, write_capture
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.results.face import load_face
from mesoface.results.files import read_record
from mesoface.sequence.run import run_sequence

pytestmark = pytest.mark.slow
NUMBERS = (0, 1, 2, 40)  # the last is more than a second later: turned and with another expression
SMALL = SynthesisSettings(views=6, width=360, height=540, detail_mm=1.2, truth_mm=2.0, spread_deg=90)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Folders of the frames, and what became of them."""
    root = tmp_path_factory.mktemp("video")
    folders = []
    for number, made in zip(NUMBERS, photograph_sequence(NUMBERS, seed=7, settings=SMALL), strict=True):
        folders.append(root / f"{number:03d}")
        folders[-1].mkdir()
        write_capture(folders[-1], made, "generic")
    settings = Settings(preset="fast", matcher="ncc", texture_size=0, meso="off", scale=1.0, threads=1)
    run_sequence(folders, root / "out", settings=settings, truth="gt.ply")
    return root / "out"


def test_frames_are_followed(video):
    done = json.loads((video / "sequence.json").read_text())["done"]
    assert [frame["follows"] for frame in done[:3]] == [None, "000", "001"]
    assert min(frame["agreement"] for frame in done[1:3]) > 0.9


def test_a_followed_frame_is_no_worse_than_the_first(video):
    first, *others = (read_record(video / name)["evaluation"]["accuracy"] for name in ("000", "001", "002"))
    for other in others:
        assert other["mean"] < 1.1 * first["mean"]
        assert other["normal_angle"] < 1.1 * first["normal_angle"]


def test_every_frame_is_a_face(video):
    for number in NUMBERS:
        accuracy = read_record(video / f"{number:03d}")["evaluation"]["accuracy"]
        assert accuracy["mean"] < 0.2


def test_frames_share_identity_and_topology(video):
    fits = [load_face(video / f"{number:03d}").fit for number in NUMBERS]
    meshes = [read_mesh(video / f"{number:03d}" / "base.obj") for number in NUMBERS]
    for fit, mesh in zip(fits[1:], meshes[1:], strict=True):
        np.testing.assert_array_equal(fit.identity, fits[0].identity)
        np.testing.assert_array_equal(mesh.faces, meshes[0].faces)


def test_vertices_stay_on_their_skin(video):
    """The truth's triangles are of the same skin in every frame, and so are the base mesh's."""
    from mesoface.geometry.closest_point import MeshSurface

    truths = [read_mesh(video.parent / name / "gt.ply") for name in ("000", "002")]
    facial = load_face(video / "000").fit.model.topology.facial
    first, later = (read_mesh(video / name / "base.obj") for name in ("000", "002"))
    vertices = np.unique(first.faces[facial])
    on = MeshSurface(truths[0]).closest(first.vertices[vertices])
    skin = np.einsum("nk,nkc->nc", on.bary, truths[1].face_corners()[on.face])
    normal = truths[1].face_normals()[on.face]
    offset = later.vertices[vertices] - skin
    along = offset - (offset * normal).sum(1, keepdims=True) * normal
    assert np.median(np.linalg.norm(along, axis=1)) < 0.25


def test_what_is_deep_is_found_in_every_frame(shared, tmp_path):
    """A real head that does not move: no frame loses the wings of the nose, the corners of the eyes."""
    for frame in "abc":
        (tmp_path / "in" / frame).mkdir(parents=True)
        for file in shared("captures/lps").glob("*.*"):
            (tmp_path / "in" / frame / file.name).symlink_to(file)
    settings = Settings(matcher="ncc", texture_size=0, meso="off", scale=1.0, threads=1, holes="keep")
    run_sequence([tmp_path / "in"], tmp_path / "out", settings=settings, truth="gt.ply")
    first, *others = (read_record(tmp_path / "out" / frame)["evaluation"] for frame in "abc")
    for other in others:
        assert other["accuracy"]["mean"] < 1.1 * first["accuracy"]["mean"]
        assert other["complete"] > first["complete"] - 0.005
