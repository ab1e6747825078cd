from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from mesoface.errors import MesofaceError
from mesoface.files.weights import WeightsError
from mesoface.matching.cascade import choose_matcher
from mesoface.matching.classical import ClassicalLevel, ClassicalMatcher
from mesoface.matching.learned import SurfaceMatcher
from mesoface.matching.learned.matcher import LearnedMatcher, NetworkLevel, load_matcher, match_in_strips
from mesoface.matching.learned.network import Opinion, Regularizer, closeness, halvings, soft_argmin
from mesoface.matching.matcher import LevelInput
from mesoface.uvd.visibility import cast_visibility


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SurfaceMatcher()


@pytest.fixture(scope="module")
def start(scenes):
    """What a level starts from whose base lies 0.6 mm inside of the cap."""
    space = scenes.cap(offset=-0.6).space(96)
    views = scenes.views()
    level = NetworkLevel(96, 1.2, 0.3, base_mm=1.0, normal_mm=2.0, window=2.0, stiffness=0.5)
    confidence = np.ones((96, 96), np.float32)
    return LevelInput(level, space, tuple(views), cast_visibility(space, views), confidence)


def test_the_answer_has_the_shapes_it_promises(network, start):
    measured = LearnedMatcher(network, threads=1).measure(start)
    assert measured.displacement.shape == measured.weight.shape == (96, 96)
    assert np.isfinite(measured.displacement).all()
    assert measured.weight.min() >= 0
    assert measured.weight.max() <= 1
    assert (measured.weight[~start.space.valid] == 0).all()
    assert np.abs(measured.displacement).max() <= 1.2 + 1e-6


@pytest.mark.parametrize("size", [96, 320])
def test_memory_does_not_change_the_answer(scenes, start, size):
    space = scenes.cap(offset=-0.3).space(size)
    level = replace(start.level, size=size, reach_mm=0.6, step_mm=0.2)
    visibility = cast_visibility(space, start.views)
    start = replace(start, level=level, space=space, visibility=visibility, confidence=np.ones((size, size)))
    whole, *strips = (load_matcher(threads=1, memory_mb=mb).measure(start) for mb in (2048, 100, 1))
    for measured in strips:
        assert np.abs(whole.displacement - measured.displacement).max() < 1e-5
        assert np.abs(whole.weight - measured.weight).max() < 1e-4


@pytest.mark.parametrize(("rows", "texel_mm"), [(40, 0.4), (7, 0.2), (16, 1.0)])
def test_strips_of_any_height_make_the_same_maps(network, start, rows, texel_mm):
    torch.manual_seed(2)
    height, width = 53, 21
    maps = [torch.randn(height, width) for _ in range(4)]
    images = [torch.rand(3, 30, 40) for _ in range(3)]
    maps = {
        "projections": torch.eye(3, 4).expand(3, -1, -1).clone(),
        "position": torch.rand(height, width, 3) * 20 + 1,
        "normal": torch.nn.functional.normalize(torch.rand(height, width, 3), dim=-1),
        "visibility": torch.rand(3, height, width),
        "opinion": Opinion(torch.rand(5, height, width), *maps),
        "steps": torch.arange(-2, 3) * 0.2,
        "texel_mm": texel_mm,
    }
    with torch.inference_mode():
        features = [network.features(image) for image in images]
        whole, strips = network(images, **maps), match_in_strips(network, features, **maps, rows=rows)
    for name in ("logits", "displacement", "confidence", "cost"):
        torch.testing.assert_close(getattr(whole, name), getattr(strips, name), atol=2e-5, rtol=1e-4)


def test_the_order_of_the_views_does_not_matter(network, start):
    matcher = LearnedMatcher(network, threads=1)
    turned = replace(start, views=start.views[::-1], visibility=start.visibility[::-1].copy())
    first, second = matcher.measure(start), matcher.measure(turned)
    np.testing.assert_allclose(first.weight, second.weight, atol=1e-3)


@pytest.mark.parametrize("views", [2, 3, 5])
def test_any_number_of_views(network, start, views):
    some = replace(start, views=start.views[:views], visibility=start.visibility[:views])
    assert np.isfinite(LearnedMatcher(network, threads=1).measure(some).displacement).all()


def test_a_view_that_sees_nothing_changes_nothing(network, start):
    matcher = LearnedMatcher(network, threads=1)
    blind = np.concatenate([start.visibility, np.zeros_like(start.visibility[:1])])
    more = replace(start, views=(*start.views, start.views[0]), visibility=blind)
    np.testing.assert_array_equal(matcher.measure(start).weight, matcher.measure(more).weight)


def test_the_user_s_number_of_torch_threads_is_left_alone(network, start):
    before = torch.get_num_threads()
    LearnedMatcher(network, threads=before + 1).measure(start)
    assert torch.get_num_threads() == before


def test_training_starts_from_the_classical_answer(network, start):
    network.start_from_classical()
    found = LearnedMatcher(network, threads=1).measure(start)
    classical = ClassicalMatcher(threads=1).measure(start)
    sure = start.space.valid & (classical.weight > 0.3)
    assert sure.mean() > 0.2
    difference = np.abs(found.displacement - classical.displacement)[sure] / start.level.step_mm
    assert np.median(difference) < 0.1
    assert np.percentile(difference, 95) < 0.5


def test_the_opinion_is_laid_along_the_steps(start):
    opinion = Opinion.of(ClassicalMatcher(threads=1).answer(start), "cpu")
    steps = torch.from_numpy(start.level.steps).float()
    distance = opinion.distance(steps)
    assert distance.shape == (96, 96, len(steps))
    nearest = steps[distance.abs().argmin(-1)]
    assert (nearest - opinion.displacement).abs().max() <= start.level.step_mm / 2 + 1e-5
    bell = closeness(distance)
    assert bell.max() <= 0
    assert bell.min() == pytest.approx(-4.5), "however far off, it is no worse than this"
    corner = opinion.part(slice(3, 7), slice(10, 20))
    assert [tuple(value.shape) for value in corner] == [(len(steps), 4, 10), *[(4, 10)] * 4]


@pytest.mark.parametrize(
    ("size", "last", "networks"), [(512, True, True), (512, False, False), (256, True, False)]
)
def test_where_photos_are_too_coarse_for_its_levels_it_measures_the_last(
    network, start, size, last, networks
):
    level = ClassicalLevel(size, 1.2, 0.3, base_mm=1.0, normal_mm=2.0, window=2.0, stiffness=0.5)
    start = replace(start, level=level, last=last)
    found = LearnedMatcher(network, threads=1).measure(start)
    classical = ClassicalMatcher(threads=1).measure(start)
    assert np.array_equal(found.displacement, classical.displacement) is not networks


def test_soft_argmin_is_the_mean_around_the_best_step():
    steps = torch.arange(-3, 4) * 0.5
    logits = torch.full((7, 1, 2), -20.0)
    logits[4:6, 0, 0] = 3.0  # between 0.5 and 1
    logits[1, 0, 1], logits[6, 0, 1] = 5.0, 4.9  # two surfaces: the better one alone
    found = soft_argmin(logits, steps)
    assert found[0].tolist() == pytest.approx([0.75, -1.0], abs=1e-3)


def test_the_regulariser_looks_equally_far_at_every_level():
    reach = {texel: texel * 2 ** halvings(texel) for texel in (0.3, 0.6, 1.2)}
    assert max(reach.values()) <= 2 * min(reach.values())
    assert halvings(5.0) == 1


@pytest.mark.parametrize("shape", [(16, 16), (19, 33), (5, 40)])
def test_the_regulariser_takes_maps_of_any_size(shape):
    torch.manual_seed(0)
    regularizer = Regularizer()
    logits, surface = regularizer(torch.randn(16, *shape, 7), torch.zeros(*shape, 7), 0.3)
    assert logits.shape == (*shape, 7)
    assert surface.shape == (18, *shape)


def test_weights_are_read_as_they_were_written(network, start, tmp_path):
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    loaded = load_matcher(tmp_path / "w.safetensors", threads=1)
    expected = LearnedMatcher(network, threads=1).measure(start)
    np.testing.assert_array_equal(loaded.measure(start).displacement, expected.displacement)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file, state: None, "no such file"),
        (
            lambda file, state: file.write_bytes(safetensors.torch.save(state)[:5000]),
            "not a whole safetensors",
        ),
        (lambda file, state: torch.save(state, file), "not a whole safetensors"),
        (
            lambda file, state: safetensors.torch.save_file(
                state | {"regularizer.logit.weight": torch.zeros(2, 16)}, file
            ),
            r"regularizer\.logit\.weight",
        ),
    ],
    ids=["missing", "cut off", "pickled", "of another network"],
)
def test_bad_weights_are_refused_by_name(network, tmp_path, spoil, message):
    spoil(tmp_path / "w.safetensors", network.state_dict())
    with pytest.raises(WeightsError, match=message) as caught:
        load_matcher(tmp_path / "w.safetensors")
    assert caught.value.path == tmp_path / "w.safetensors"


def test_names_stand_for_matchers(tmp_path):
    assert isinstance(choose_matcher("ncc"), ClassicalMatcher)
    with pytest.raises(MesofaceError, match="no weights"):
        choose_matcher("ncc", tmp_path / "w.safetensors")
