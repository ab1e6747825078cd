from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pytest

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.geometry.camera import look_at
from mesoface.geometry.closest_point import MeshSurface
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.matching import cascade
from mesoface.matching.cascade import match
from mesoface.matching.classical import COARSE, PRESETS, ClassicalLevel, ClassicalMatcher
from mesoface.matching.matcher import Level, Measurement, levels_for, well_seen
from mesoface.matching.rig import Rig
from mesoface.uvd.space import build_uvd_space
from mesoface.uvd.visibility import cast_visibility
from tests.cap import RADIUS
from tests.matching.conftest import Cap


@pytest.fixture(scope="module")
def views(scenes):
    return scenes.views()


@pytest.fixture(scope="module")
def base(scenes):
    """``base(offset)`` → how :func:`match` gets the space of a smooth cap that far off, from a mesh."""

    def make(offset=3.0):
        mesh = scenes.cap(bumps=0.0, offset=offset).mesh()
        return lambda size: build_uvd_space(mesh, np.ones(len(mesh.faces), bool), size)

    return make


@pytest.fixture
def two_coarse_levels(monkeypatch):
    """Stands in for the preset ``fast`` where the surface itself is not asked for."""
    level = ClassicalLevel(64, 4.0, 1.0, window=1.5, stiffness=0.3, base_mm=4.0, normal_mm=9.0)
    monkeypatch.setitem(PRESETS, "fast", (level, level))


def fast(space, views, threads=1, **options):
    return match(space, views, ClassicalMatcher(threads=threads), preset="fast", **options)


def errors(scenes, matched):
    return np.abs(scenes.cap().distance(matched.space.position))[matched.measured]


@pytest.fixture(scope="module")
def matched(base, views):
    return fast(base(3.0), views)


def test_the_surface_is_found_from_three_millimetres_off(scenes, base, views, matched):
    error = errors(scenes, matched)
    assert np.median(error) < 0.04  # a tenth of a pixel's footprint
    assert np.percentile(error, 90) < 0.12
    assert matched.measured.sum() > 0.98 * matched.space.valid.sum()
    assert not (matched.measured & ~matched.space.valid).any()
    assert matched.used == (0, 1, 2, 3, 4)
    assert matched.notes == ()


@dataclass(frozen=True, eq=False)
class Nose(Cap):
    """The cap with a hill of 12 mm in its middle that the base lacks: flat within 8 mm, gone beyond 16 mm."""

    def radius(self, direction):
        across = RADIUS * np.linalg.norm(direction[..., :2], axis=-1)
        rise = np.clip((16 - across) / 8, 0, 1)
        return super().radius(direction) + 12 * rise**2 * (3 - 2 * rise)


def test_a_steep_hill_that_the_base_lacks_is_not_lost(scenes, base):
    hill = Nose().mesh(241)
    views = []
    for yaw, pitch in scenes.arc:
        camera = scenes.camera(yaw, pitch)
        hits = RayCaster(hill).render(camera)
        brightness = scenes.texture(hits.interpolate(hill.vertices, hill.faces), seed=3)
        grey = np.where(hits.hit, np.clip(brightness, 0, 1), 0.1).reshape(camera.height, camera.width)
        views.append(View(f"{yaw:+.0f}", np.repeat(grey[..., None], 3, 2).astype(np.float32), camera))
    found = fast(base(0.0), views, levels=COARSE)
    near = found.space.valid & (np.linalg.norm(found.space.position[..., :2], axis=-1) < 20)
    assert found.measured[near].mean() > 0.95
    points = found.space.position[near & found.measured].astype(np.float64)
    assert (MeshSurface(hill).closest(points).distance > 1).mean() < 0.012


def test_confidence_is_where_something_was_measured(matched):
    assert matched.confidence.dtype == np.float32
    assert (matched.confidence[matched.measured] > 0).all()
    assert not matched.confidence[~matched.measured].any()
    assert matched.confidence.max() <= 1
    assert np.median(matched.confidence[matched.measured]) > 0.5
    assert matched.visibility.shape == (5, *matched.space.valid.shape)


@dataclass(frozen=True)
class FixedWeights:
    """A matcher that finds the base itself: one weight on the left (u < ⅜), another on the right."""

    right: float
    left: float
    presets = MappingProxyType({"fast": COARSE[:1]})

    def measure(self, start):
        weight = np.where(np.arange(start.space.size) >= 3 * start.space.size // 8, self.right, self.left)
        return Measurement(np.zeros_like(start.confidence), (weight * well_seen(start)).astype(np.float32))


@pytest.mark.parametrize(
    ("right", "left", "measured"), [(0.9, 0.05, False), (0.9, 0.2, True), (0.05, 0.05, True)]
)
def test_what_is_far_less_certain_than_the_rest_is_not_measured(base, views, right, left, measured):
    found = match(base(0.0), views, FixedWeights(right, left), preset="fast", check_rig=False)
    middle = found.measured[24:40]
    assert middle[:, 40:48].all()
    assert (middle[:, 8:20] == measured).all()
    assert (found.confidence[24:40, 8:20] > 0).all() == measured


def test_normals_are_those_of_the_measured_surface(scenes, matched):
    cap, space = scenes.cap(), matched.space
    line = np.arange(40, 216, 8)
    points = space.position[line][:, line].astype(np.float64)
    gradient = np.stack([cap.distance(points + d) - cap.distance(points - d) for d in 0.01 * np.eye(3)], -1)
    truth = gradient / np.linalg.norm(gradient, axis=-1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((truth * space.normal[line][:, line]).sum(-1), -1, 1)))
    assert np.median(angle) < 4  # smoothed over 2 mm


def test_two_views_suffice_from_the_other_side(scenes, base, views):
    two = fast(base(-3.0), [views[1], views[3]])
    assert np.median(errors(scenes, two)) < 0.04
    assert two.measured.sum() > 0.95 * two.space.valid.sum()


def test_the_same_photos_give_the_same_surface_on_any_number_of_threads(base, views, two_coarse_levels):
    one, other = (fast(base(), views, threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.space.position, other.space.position)
    np.testing.assert_array_equal(one.confidence, other.confidence)


def test_a_stranger_s_photo_is_left_out_and_does_no_harm(scenes, base, views):
    stranger = scenes.photograph(*scenes.arc[4], seed=11, name="stranger")
    rest = fast(base(), [*views[:4], stranger])
    assert rest.used == (0, 1, 2, 3)
    assert [v.name for v in rest.views] == [v.name for v in views[:4]]
    assert len(rest.visibility) == 4
    assert any("stranger" in note for note in rest.notes)
    assert np.median(errors(scenes, rest)) < 0.04


def test_a_view_left_out_after_the_last_level_leaves_the_visibility_too(
    base, views, monkeypatch, two_coarse_levels
):
    calls = []

    def drop_the_second_view_at_the_last_check(rig, space, visibility):
        calls.append(len(visibility))
        return rig if len(calls) < 2 else Rig((rig.views[0], *rig.views[2:]), (0, 2, 3, 4), rig.given)

    before = fast(base(), views).visibility
    monkeypatch.setattr(Rig, "checked", drop_the_second_view_at_the_last_check)
    result = fast(base(), views)
    assert calls == [5, 5]
    assert result.used == (0, 2, 3, 4)
    assert len(result.views) == len(result.visibility) == 4
    np.testing.assert_allclose(result.visibility[1], before[2], atol=0.1)


def test_texels_that_one_view_alone_sees_are_not_measured(base, views, two_coarse_levels):
    """A plate hides the cap's right half (x > 0) from all views but the rightmost one."""
    plates = []
    for view in views[:4]:
        ahead = view.camera.center + 300 * view.camera.forward
        right, up = view.camera.R[0], -view.camera.R[1]
        plates.append([ahead + right * x + up * y for x, y in ((0, -80), (90, -80), (90, 80), (0, 80))])
    corners = np.array(plates).reshape(-1, 3)
    faces = np.concatenate([[[4 * k, 4 * k + 1, 4 * k + 2], [4 * k, 4 * k + 2, 4 * k + 3]] for k in range(4)])
    half = fast(base(), views, occluder=Mesh(corners, faces))
    x = half.space.position[..., 0]
    assert half.measured[half.space.valid & (x < -25)].mean() > 0.95
    assert half.measured[x > 25].mean() < 0.05


def test_what_is_seen_at_a_slant_is_less_certain(base, views, monkeypatch, two_coarse_levels):
    sure = fast(base(), views)
    monkeypatch.setattr(cascade, "cast_visibility", lambda *given: 0.2 * cast_visibility(*given))
    unsure = fast(base(), views)
    inner = (slice(16, -16),) * 2
    assert np.median(unsure.confidence[inner] / sure.confidence[inner]) < 0.8
    assert unsure.confidence[inner].min() > 0


def test_levels_finer_than_the_photos_are_dropped(scenes, base):
    def sizes(pixels):
        view = View("blank", np.zeros((pixels, pixels, 3), np.float32), scenes.camera(0.0, 0.0, pixels))
        return [level.size for level in levels_for(PRESETS, "best", [view], base()(64))]

    assert max(sizes(80)) == 64
    assert max(sizes(240)) == 256
    assert max(sizes(480)) == 512
    assert sizes(1100) == [level.size for level in PRESETS["best"]]


def test_levels_do_not_depend_on_the_space_s_own_resolution(base, views):
    coarse, fine = (levels_for(PRESETS, "default", views, base()(size)) for size in (64, 256))
    assert coarse == fine


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_go_from_coarse_to_fine(preset):
    levels = PRESETS[preset]
    for before, after in pairwise(levels):
        assert after.size >= before.size
        assert after.reach_mm <= before.reach_mm
        assert after.step_mm <= before.step_mm
        assert after.reach_mm >= before.step_mm  # what one level leaves open the next one reaches


def test_steps_are_symmetric_and_hold_zero():
    level = Level(64, 2.1, 0.3, base_mm=1, normal_mm=1)
    np.testing.assert_allclose(level.steps, np.arange(-7, 8) * 0.3)


def test_progress_ends_at_its_total(base, views, two_coarse_levels):
    seen = []
    fast(base(), views[1:3], progress=lambda *report: seen.append(report))
    total = seen[-1][2]
    assert [report[1] for report in seen] == list(range(total + 1))
    assert {report[::2] for report in seen} == {("Matching", total)}


def turned_away(view, number):
    R, t = look_at(view.camera.center, 2 * view.camera.center)
    return replace(view, camera=replace(view.camera, R=R, t=t))


def masked_but_the_first(view, number):
    return replace(view, mask=np.full(view.image.shape[:2], number == 0))


def blank(view, number):
    return replace(view, image=np.full_like(view.image, 0.5))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (turned_away, r"seen by two photos.*mesoface inspect"),
        (masked_but_the_first, "seen by two photos"),
        (blank, "agree nowhere"),
    ],
)
def test_photos_that_show_no_face_are_refused(base, views, two_coarse_levels, spoil, message):
    with pytest.raises(ReconstructionError, match=message):
        fast(base(), [spoil(view, number) for number, view in enumerate(views)])


def test_tiny_photos_are_refused(scenes, base):
    with pytest.raises(ReconstructionError, match=r"pixel spans 7\.6 mm.*face is larger"):
        fast(base(), scenes.views(size=14))
