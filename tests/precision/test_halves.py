"""Two halves of a capture: which views, what is compared, what the difference says, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import mesoface
from mesoface.errors import LandmarkError, MesofaceError, ReconstructionError
from mesoface.face_models.scale import ScaleEstimate
from mesoface.files.maps import write_exr
from mesoface.geometry.alignment import Similarity
from mesoface.landmarks.types import Landmarks2D
from mesoface.precision import halves as module
from mesoface.precision.display import halves_picture, print_halves
from mesoface.precision.halves import ONE_OF_TWO, compare_halves, measure_halves, measured_share, split_views
from mesoface.precision.write import write_halves
from mesoface.results.comparison import measured_mesh
from mesoface.results.face import load_face
from mesoface.uvd.maps import blur_masked
from tests.conftest import RADIUS
from tests.faces import dome, made_fine, written

SCALE = ScaleEstimate(1.0, "given", 0.0)


@pytest.mark.parametrize("count", [4, 7])
@pytest.mark.parametrize("split", ["interleaved", "consecutive"])
def test_halves_are_disjoint_and_nothing_is_left_over(split, count):
    views = [3, 5, 6, 9, 12, 20, 21][:count]
    first, second = split_views(views, split)
    assert sorted(first + second) == views
    assert len(first) - len(second) == count % 2


def test_interleaved_halves_both_go_all_around():
    assert split_views([0, 1, 2, 3, 4], "interleaved") == ([0, 2, 4], [1, 3])
    assert split_views([0, 1, 2, 3, 4], "consecutive") == ([0, 1, 2], [3, 4])
    with pytest.raises(ValueError, match="split must be"):
        split_views([0, 1, 2, 3], "random")


def raised(face, height):
    """The face with its surface moved by ``height`` (H, H) mm along the normals."""
    fine = face.fine
    return replace(face, fine=made_fine(fine.space, fine.displacement + height, fine.kept, fine.confidence))


def test_the_difference_is_that_of_the_surfaces():
    face = dome(96)
    compared = compare_halves(face, raised(face, 0.1), "interleaved", SCALE, align="none", samples=20_000)
    accuracy = compared.evaluation.accuracy
    assert accuracy.median == pytest.approx(0.1, abs=0.01)
    assert accuracy.bias == pytest.approx(-0.1, abs=0.01)
    assert compared.noise["median"] == pytest.approx(accuracy.median / np.sqrt(2))
    assert pytest.approx(0.7071, abs=1e-4) == ONE_OF_TWO
    assert compared.uncertainty is None


def test_independent_noise_is_found_from_the_difference():
    """Of two surfaces with 0.05 mm of noise each, whatever the true surface is."""
    rng, face = np.random.default_rng(0), dome(96)

    def noisy():
        noise = blur_masked(rng.normal(size=face.fine.kept.shape), np.ones_like(face.fine.kept), 4.0)
        return raised(face, 0.05 * noise / noise[face.fine.kept].std())

    compared = compare_halves(noisy(), noisy(), "interleaved", SCALE, align="none", samples=20_000)
    assert compared.noise["median"] == pytest.approx(0.6745 * 0.05, rel=0.1)


def test_filled_holes_do_not_count():
    face, broken = dome(96), dome(96)
    fine = broken.fine
    spoilt = raised(broken, np.where(fine.filled, 2.0, 0))
    compared = compare_halves(face, spoilt, "interleaved", SCALE, align="none", samples=20_000)
    assert compared.evaluation.accuracy.p90 < 0.01
    assert measured_share(face) == pytest.approx((fine.kept & ~fine.filled).sum() / fine.space.valid.sum())
    assert len(measured_mesh(face).vertices) < len(face.surface.vertices)


def test_worlds_that_differ_are_aligned():
    face = dome(96)
    motion = Similarity(np.eye(3), np.array([3.0, -2, 1]), 1.02)
    space = replace(face.fine.space, position=motion.apply(face.fine.space.position).astype(np.float32))
    fine = made_fine(space, 1.02 * face.fine.displacement, face.fine.kept, face.fine.confidence)
    moved = replace(face, fine=fine)
    for align, largest in (("none", np.inf), ("similarity", 0.02)):
        compared = compare_halves(face, moved, "interleaved", SCALE, align=align, samples=20_000)
        assert compared.evaluation.accuracy.mean < largest
        assert (compared.evaluation.accuracy.mean > 0.5) == (align == "none")


def test_uncertainties_add_up_in_quadrature(tmp_path):
    """Both state 0.1 mm and one is 0.12 mm from the other: within one σ of the difference, 0.141 mm."""
    face = dome(96)
    sigma = np.where(face.fine.kept, 0.1, 0).astype(np.float32)
    results = []
    for name, one in (("a", face), ("b", raised(face, 0.12))):
        write_exr(written(tmp_path / name, one) / "uncertainty.exr", sigma)
        results.append(load_face(tmp_path / name))
    compared = compare_halves(*results, "interleaved", SCALE, align="none", samples=20_000)
    assert compared.uncertainty.sigma == pytest.approx(0.1 * np.sqrt(2), rel=1e-3)
    assert compared.uncertainty.within_1 > 0.95
    assert compared.uncertainty.error == pytest.approx(0.12, rel=0.1)
    (tmp_path / "b" / "uncertainty.exr").unlink()
    results[1] = load_face(tmp_path / "b")
    assert compare_halves(*results, "interleaved", SCALE, align="none").uncertainty is None


class Seen:
    """A detector that knows where points of the ball are; ``blind`` views show no face."""

    scheme = "mediapipe478"

    def __init__(self, blind=()):
        self.blind, self.calls = set(blind), 0

    def detect(self, capture):
        self.calls += 1
        rng = np.random.default_rng(0)
        points = rng.normal(size=(478, 3)) * (1, 1, 0.3) + (0, 0, 2)
        points *= RADIUS / np.linalg.norm(points, axis=1, keepdims=True)
        pixels = np.stack([camera.project(points)[0] for camera in capture.cameras])
        weights = np.ones(pixels.shape[:2])
        for view, name in enumerate(capture.names):
            if name in self.blind:
                weights[view], pixels[view] = 0, np.nan
        return Landmarks2D(pixels, weights)


@pytest.fixture
def calls(monkeypatch):
    """What the reconstructions were asked for, without doing them."""
    made = []

    def reconstruct(capture, settings, *, detector, **others):
        made.append((capture.names, settings, detector.detect(capture).points.shape[0]))
        return replace(dome(64), capture=capture)

    monkeypatch.setattr(module, "reconstruct", reconstruct)
    return made


def test_each_half_gets_its_own_usable_views_and_one_scale(calls, make_capture):
    detector = Seen(blind=["2"])
    settings = mesoface.Settings(scale=2.0, views=7, texture_size=512, until="base")
    made = measure_halves(make_capture(6), settings, detector=detector)
    assert [names for names, _, _ in calls] == [("0", "3", "5"), ("1", "4")]
    assert detector.calls == 1
    for names, used, landmarks in calls:
        assert (used.scale, used.views, used.texture_size, used.until) == (2.0, 7, 0, "fine")
        assert (used.meso, landmarks) == ("off", len(names))
    assert made.evaluation.align == "none"


def test_chosen_views_and_the_consecutive_split(calls, make_capture):
    settings = mesoface.Settings(view_ids=("5", "1", "0", "4"))
    measure_halves(make_capture(6), settings, detector=Seen(), split="consecutive")
    assert [names for names, _, _ in calls] == [("5", "1"), ("0", "4")]
    assert all(used.view_ids is None for _, used, _ in calls)


def test_where_the_unit_is_not_known_a_similarity_is_allowed(calls, make_capture, monkeypatch):
    eyes = ScaleEstimate(1.5, "iris", 0.04)
    monkeypatch.setattr(module, "estimate_scale", lambda *_, **__: eyes)
    capture = replace(make_capture(4), mm_per_unit=None)
    assert measure_halves(capture, detector=Seen()).evaluation.align == "similarity"
    assert measure_halves(capture, detector=Seen(), align="rigid").evaluation.align == "rigid"
    assert {(used.scale, used.views) for _, used, _ in calls} == {(1.5, "auto")}


@pytest.mark.parametrize(("count", "blind"), [(3, []), (5, ["0", "4"])])
def test_fewer_than_four_usable_views_are_refused(calls, make_capture, count, blind):
    with pytest.raises(ReconstructionError, match=r"3 usable views, at least 4 .*mesoface inspect"):
        measure_halves(make_capture(count), detector=Seen(blind))
    assert not calls


def test_a_half_that_fails_is_named(make_capture, monkeypatch):
    def fail(capture, *_, **__):
        if "1" in capture.names:
            raise LandmarkError("nothing agrees", remedy="add views")
        return dome(64)

    monkeypatch.setattr(module, "reconstruct", fail)
    words = r"the second half \(1, 3\): nothing agrees — add views"
    with pytest.raises(LandmarkError, match=words):
        measure_halves(make_capture(4), detector=Seen())


@pytest.fixture(scope="module")
def sample_halves(sample_capture):
    """The sample's eight views in two halves, and the stages that were reported."""
    labels = []
    settings = mesoface.Settings(scale=1.0, preset="fast", matcher="ncc", threads=1)
    capture = mesoface.load_capture(sample_capture)
    made = mesoface.measure_halves(
        capture, settings, samples=20_000, progress=lambda label, *_: labels.append(label)
    )
    return made, list(dict.fromkeys(labels))


def test_the_sample_s_halves_agree(sample_halves):
    made, labels = sample_halves
    assert made.first.capture.names == ("0", "2", "4", "6")
    assert made.second.capture.names == ("1", "3", "5", "7")
    assert 0.01 < made.evaluation.accuracy.median < 0.06  # neither the same photos nor another face
    assert made.evaluation.complete > 0.9
    assert min(measured_share(made.first), measured_share(made.second)) > 0.8
    assert {"first half: matching", "second half: matching", "Comparison"} <= set(labels)
    wide = made.bands[-1]
    assert 0.5 < wide.shared <= 1
    assert wide.difference < wide.roughness


def test_halves_are_written_shown_and_read_again(sample_halves, tmp_path):
    made, _ = sample_halves
    write_halves(tmp_path / "out", made)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("first", "second", "halves.json", "halves.png")
    }
    figures = json.loads((tmp_path / "out/halves.json").read_text())
    assert figures == json.loads(json.dumps(made.to_dict()))
    assert figures["difference"]["accuracy"]["median"] == made.evaluation.accuracy.median
    assert len(figures["cheeks"]) == 4
    assert load_face(tmp_path / "out/first").surface.faces.shape == made.first.surface.faces.shape
    with pytest.raises(MesofaceError, match="exists already"):
        write_halves(tmp_path / "out", made)
    console = Console(width=110)
    with console.capture() as capture:
        print_halves(made, console)
    said = capture.get()
    assert "first half, 4 views: 0, 2, 4, 6; " in said
    assert "first → second" in said
    assert "variance in common" in said
    assert "Not in these figures" in said


def test_the_picture_has_both_surfaces_and_their_difference(sample_halves):
    picture = halves_picture(sample_halves[0])
    height, width, _ = picture.shape
    assert width == 3 * 520
    assert height > 3 * 680
    top, middle, bottom = (picture[i * 680 : (i + 1) * 680] for i in range(3))
    assert 0.001 < np.abs(top - middle).mean() < 0.2  # alike, but not the same
    colourful = [np.ptp(row, axis=-1).mean() for row in (top, middle, bottom)]
    assert colourful[2] > 3 * max(colourful[:2])
