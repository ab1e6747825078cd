"""``--preset paper``: photos and weights in, a measured surface out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mesoface
from mesoface.config import Settings
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.evaluation import evaluate
from mesoface.files.weights import WeightsError
from mesoface.geometry.camera import look_at
from mesoface.matching.paper import ImplicitFunction, Regularizer, matcher
from mesoface.matching.paper.matcher import (
    PaperNetworks,
    expected_seconds,
    load_paper_networks,
    match_paper,
    paper_space,
)
from mesoface.uvd.visibility import SEEN

STEPS = range(-16, 17)
OPTIONS = {"longest_side": 240, "steps": STEPS, "threads": 1}
OFFSET = 1.5  # mm that the base is too far out


@pytest.fixture(scope="module")
def views(scenes):
    return scenes.views()


@pytest.fixture(scope="module")
def space(scenes):
    mesh = scenes.cap(bumps=0.0, offset=OFFSET).mesh()
    return paper_space(mesh, np.ones(len(mesh.faces), bool), 24)


@pytest.fixture(scope="module")
def matched(space, views, agreeing):
    told = []
    return match_paper(space, views, agreeing, **OPTIONS, progress=lambda *state: told.append(state)), told


def test_the_surface_is_found_where_the_photos_agree(scenes, space, matched):
    found, _ = matched
    both = (scenes.cap().distance(maps.position) for maps in (space, found.space))
    before, after = (np.abs(distance[found.measured]) for distance in both)
    assert np.median(before) > OFFSET - 0.3
    assert np.median(after) < 0.4 * np.median(before)


def test_confidence_tells_good_from_bad(scenes, matched):
    found, _ = matched
    error = np.abs(scenes.cap().distance(found.space.position))[found.measured]
    confidence = found.confidence[found.measured]
    sure = confidence > np.median(confidence)
    assert error[sure].mean() < error[~sure].mean()
    assert confidence.min() > 0
    assert confidence.max() <= 1
    assert not found.confidence[~found.measured].any()


def test_all_views_are_used_as_they_are(views, matched):
    found, _ = matched
    assert found.views == tuple(views)
    assert found.used == (0, 1, 2, 3, 4)
    assert found.visibility.shape == (5, 24, 24)
    assert not (found.measured & ((found.visibility > SEEN).sum(0) < 2)).any()
    assert not (found.measured & ~found.space.valid).any()


def test_the_expected_time_is_said_before_the_work(space, matched):
    _, told = matched
    labels = {label for label, _, _ in told}
    assert len(labels) == 1
    assert labels.pop().startswith("Matching, about ")
    done, totals = [state[1] for state in told], {state[2] for state in told}
    assert done == sorted(done)
    assert done[0] == 0
    assert totals == {done[-1]}
    queries = len(STEPS) * int(space.valid.sum())
    assert done[-1] == 5 + -(-queries // 8192) + 1


def test_memory_bounds_the_points_at_a_time(space, views, agreeing, monkeypatch):
    seen = []
    forward = ImplicitFunction.forward

    def spy(self, features, projections, points, displacements):
        seen.append(len(points))
        return forward(self, features, projections, points, displacements)

    monkeypatch.setattr(ImplicitFunction, "forward", spy)
    monkeypatch.setattr(matcher, "expected_seconds", lambda *_: 0.0)
    few = match_paper(space, views[:2], agreeing, memory_mb=16, **OPTIONS)
    assert max(seen) == (16 << 20) // (9 << 10)
    seen.clear()
    many = match_paper(space, views[:2], agreeing, memory_mb=1024, **OPTIONS)
    assert max(seen) == 8192
    np.testing.assert_allclose(few.space.position, many.space.position, atol=1e-4)


def test_expected_time_is_that_of_a_piece_times_the_pieces(monkeypatch):
    monkeypatch.setattr(matcher, "_seconds", lambda work: float(torch.isfinite(work()).all()))  # 1 s
    images = [torch.rand(3, 512, 256) * 255, torch.rand(3, 256, 256) * 255]
    function = ImplicitFunction().eval()
    with torch.inference_mode():
        assert expected_seconds(function, images, 5 * 4096) == 3 + 5


def test_torch_has_its_threads_back(space, views, agreeing):
    before = torch.get_num_threads()
    with pytest.raises(ReconstructionError):
        match_paper(space, [nowhere(views[0])] * 2, agreeing, threads=before + 1)
    assert torch.get_num_threads() == before


def nowhere(view):
    R, t = look_at((0, 0, 600), (0, 0, 1200))  # with the back to the face
    return replace(view, name="away", camera=replace(view.camera, R=R, t=t))


def test_cameras_that_see_nothing_are_refused(space, views, agreeing):
    with pytest.raises(ReconstructionError, match="seen by two photos"):
        match_paper(space, [nowhere(view) for view in views], agreeing, threads=1)


def test_weights_that_learned_nothing_are_refused(scenes, views):
    """A flat volume's expectation is zero everywhere: the base would be taken for the measured surface."""
    torch.manual_seed(0)
    networks = PaperNetworks(ImplicitFunction().eval(), Regularizer().eval())
    with torch.no_grad():
        networks.regularizer.last_conv.weight.zero_()
    mesh = scenes.cap(bumps=0.0).mesh()
    space = paper_space(mesh, np.ones(len(mesh.faces), bool), 8)
    with pytest.raises(ReconstructionError, match=r"prefer no displacement .*trained"):
        match_paper(space, views[:2], networks, longest_side=60, threads=1)


def test_weights_are_loaded_from_a_folder(agreeing_weights, agreeing):
    loaded = load_paper_networks(agreeing_weights)
    assert not loaded.function.training
    assert not loaded.regularizer.training
    torch.testing.assert_close(loaded.regularizer.state_dict(), agreeing.regularizer.state_dict())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda file: file.unlink(),
            "regularizer.safetensors: no such file.*weights import checkpoint_if.pkl checkpoint_reg.pkl",
        ),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-20]),
            "regularizer.safetensors: is not a whole safetensors file",
        ),
        (
            lambda file: torch.save(Regularizer().state_dict(), file),
            "regularizer.safetensors: is not a whole safetensors file",
        ),
        (
            lambda file: save_file({**load_file(file), "last_conv.bias": torch.zeros(2)}, file),
            r"does not match the regularizer: of another shape: last_conv.bias \(2,\) where \(1,\)",
        ),
        (
            lambda file: file.write_bytes(file.with_name("implicit_function.safetensors").read_bytes()),
            "is of the implicit_function, the regularizer was expected",
        ),
    ],
    ids=["missing", "cut off", "pickled", "another shape", "another network"],
)
def test_bad_weights_are_refused_by_name(agreeing_weights, spoil, message):
    spoil(agreeing_weights / "regularizer.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_paper_networks(agreeing_weights)


def test_missing_weights_are_told_before_any_work(agreeing_weights, make_capture):
    capture = make_capture()
    for weights, message in (
        (None, "--preset paper needs the published weights.*weights import"),
        (agreeing_weights / "none", "none: no such folder"),
        (agreeing_weights / "regularizer.safetensors", "is a file; a folder"),
    ):
        told = []
        with pytest.raises(MesofaceError, match=message):
            mesoface.reconstruct(
                capture,
                Settings(preset="paper", weights=weights),
                progress=lambda *state, told=told: told.append(state),
            )
        assert not told


@pytest.mark.slow
def test_from_photos_to_a_face(sample_capture, sample_face, agreeing_weights, monkeypatch):
    """Everything around the networks, on a coarser map and a narrower range: 13 million points take minutes.

    Real skin is too much for random features, so nothing is asked of the accuracy.
    """
    steps = range(-10, 11)
    monkeypatch.setattr(matcher, "match_paper", partial(match_paper, longest_side=480, steps=steps))
    monkeypatch.setattr("mesoface.matching.paper.matcher.paper_space", partial(paper_space, size=64))
    names = ["3", "4", "5"]
    keep = [sample_face.capture.names.index(name) for name in names]
    landmarks = sample_face.landmarks2d
    given = replace(landmarks, points=landmarks.points[keep], weights=landmarks.weights[keep])
    settings = Settings(scale=1.0, preset="paper", weights=agreeing_weights, threads=1)
    face = mesoface.reconstruct(mesoface.load_capture(sample_capture, names=names), settings, landmarks=given)
    fine = face.fine
    assert fine is not None
    assert fine.kept.shape == (64, 64)
    assert fine.left_out < 0.3
    assert fine.visibility.shape == (3, 64, 64)
    assert fine.confidence[fine.kept & ~fine.filled].min() > 0
    fitted = face.fit.mesh.select_faces(face.fit.model.topology.facial)
    moved = evaluate(fine.mesh, fitted, samples=2000).accuracy
    assert 0.01 < moved.mean < 2.0, "measured, and not beyond what was searched"
