"""What the paper's networks promise whatever their weights, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mesoface.matching.paper import FeatureNetwork, ImplicitFunction, Regularizer
from mesoface.matching.paper.network import expected_step, project, sample_features, view_variance
from mesoface.relief.network import MesoGenerator


@pytest.fixture
def rays():
    """Three cameras' features (differing in size) and projections, and 50 points that all see."""
    torch.manual_seed(3)
    features = [torch.randn(128, h, w) for h, w in ((20, 24), (20, 24), (16, 30))]
    K = torch.tensor([[20.0, 0, 11], [0, 20, 9], [0, 0, 1]])
    shifts = torch.tensor([[0.0, 0, 4], [0.3, 0, 4], [-0.3, 0.1, 4]])
    projections = [K @ torch.cat([torch.eye(3), t[:, None]], 1) for t in shifts]
    return features, projections, torch.rand(50, 3) - 0.5


def test_feature_of_a_pixel_twice_as_far(rays):
    """A feature at (x, y) has its window's centre at the pixel (2x, 2y)."""
    network = FeatureNetwork()
    torch.nn.init.zeros_(network.conv0.weight)
    network.conv0.weight.data[:, :, 2, 2] = 1
    images = torch.zeros(1, 3, 20, 31)
    images[0, :, 8, 14] = 1
    response = (network.conv0(images) - network.conv0.bias[:, None, None])[0, 0]
    assert response.shape == (10, 16)
    assert torch.nonzero(response.abs() > 1e-6).tolist() == [[4, 7]]


@torch.inference_mode()
def test_order_of_the_views_does_not_matter(rays):
    features, projections, points = rays
    network, d = ImplicitFunction().eval(), torch.linspace(-1, 1, 50)
    costs = network(features, projections, points, d)
    order = [2, 0, 1]
    again = network([features[i] for i in order], [projections[i] for i in order], points, d)
    torch.testing.assert_close(costs, again, atol=1e-6, rtol=0)


def test_variance_is_that_of_the_samples(rays):
    features, projections, points = rays
    pairs = zip(features, projections, strict=True)
    expected = torch.stack([sample_features(f, project(P, points)) for f, P in pairs]).var(0, correction=0)
    torch.testing.assert_close(view_variance(features, projections, points), expected, atol=1e-5, rtol=0)


def test_views_that_agree_have_no_variance(rays):
    _, projections, points = rays
    same = [torch.full((128, 20, 24), 3.0)] * 3
    assert view_variance(same, projections, points).abs().max() < 1e-5


def test_lookup_is_off_by_the_half_feature_that_was_trained():
    ramp = torch.arange(9.0).expand(1, 5, 9)
    x = torch.tensor([1.0, 4.0, 7.0])
    found = sample_features(ramp, torch.stack([x, torch.full_like(x, 2)], 1))
    torch.testing.assert_close(found[0], x * 9 / 8 - 0.5)


def test_behind_the_camera_and_outside_count_as_zero():
    feature = torch.ones(4, 6, 8)
    P = torch.tensor([[5.0, 0, 3, 0], [0, 5, 2, 0], [0, 0, 1, 0]])
    points = torch.tensor([[0, 0, -2.0], [0, 0, 0.0], [1e6, 0, 1], [0, 0, 1]])
    assert sample_features(feature, project(P, points))[0].tolist() == [0, 0, 0, 1]


def test_gradients_reach_the_feature_network(rays):
    _, projections, points = rays
    network = ImplicitFunction()
    features = network.image_filter(torch.rand(3, 3, 40, 48) * 255)
    network(features, projections, points, torch.zeros(50)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.image_filter.conv0.weight.grad.abs().max() > 0


def test_expected_step_of_a_sharp_peak():
    scores = torch.zeros(1, 5, 2, 2)
    scores[:, 3] = 50
    probability = torch.softmax(scores, 1)
    torch.testing.assert_close(expected_step(probability, torch.arange(-2.0, 3)[None]), torch.ones(1, 2, 2))


@torch.inference_mode()
def test_regularizer_keeps_the_shape_of_the_full_volume():
    network = Regularizer().eval()
    found = network(torch.rand(1, 1, 201, 8, 12), torch.arange(-100.0, 101)[None], torch.ones(1, 8, 12))
    assert found.shape == (1, 8, 12)
    assert found.abs().max() <= 100


@torch.inference_mode()
def test_regularizer_does_not_see_beyond_the_mask():
    network, steps = Regularizer().eval(), torch.arange(-4.0, 5)[None]
    volume, mask = torch.rand(1, 1, 9, 8, 8), torch.zeros(1, 8, 8)
    mask[:, 2:6, 2:6] = 1
    other = torch.where(mask[:, None, None] > 0, volume, torch.rand_like(volume))
    torch.testing.assert_close(network(volume, steps, mask), network(other, steps, mask))
    assert network(volume, steps, mask)[mask == 0].abs().max() == 0


@torch.inference_mode()
def test_generator_is_fully_convolutional_and_bounded():
    network = MesoGenerator(2).eval()
    found = network(torch.rand(2, 3, 32, 64) * 2 - 1)
    assert found.shape == (2, 1, 32, 64)
    assert found.abs().max() <= 1


def test_generator_of_the_published_width_has_the_published_size():
    with torch.device("meta"):
        parameters = sum(p.numel() for p in MesoGenerator().parameters())
    assert parameters == 182_436_993


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8)])
def test_feature_network_refuses(shape):
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        FeatureNetwork()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, P, x, d: (f, P, x, d[:49]), r"displacements must be \(N,\) for 50 points"),
        (lambda f, P, x, d: (f, P, x[:, :2], d), r"points must be \(N, 3\)"),
        (lambda f, P, x, d: (f[:1], P[:1], x, d), "two views at least"),
        (lambda f, P, x, d: (f, P[:2], x, d), "3 features, 2 projections"),
        (lambda f, P, x, d: (f, [each[:, :3] for each in P], x, d), r"a projection must be \(3, 4\)"),
        (lambda f, P, x, d: ([f[0], f[1][0], f[2]], P, x, d), "features of view 1"),
    ],
)
def test_implicit_function_refuses(rays, spoil, message):
    with pytest.raises(ValueError, match=message):
        ImplicitFunction()(*spoil(*rays, torch.zeros(50)))


@pytest.mark.parametrize(
    ("volume", "steps", "mask", "message"),
    [
        ((1, 9, 8, 8), (1, 9), (1, 8, 8), r"volume must be \(B, 1, D, H, W\)"),
        ((1, 1, 10, 8, 8), (1, 10), (1, 8, 8), "4k \\+ 1 steps"),
        ((1, 1, 9, 8, 6), (1, 9), (1, 8, 6), "divisible by 4"),
        ((1, 1, 9, 8, 8), (9,), (1, 8, 8), "steps must be"),
        ((1, 1, 9, 8, 8), (1, 9), (1, 1, 8, 8), "mask must be"),
    ],
)
def test_regularizer_refuses(volume, steps, mask, message):
    with pytest.raises(ValueError, match=message):
        Regularizer()(torch.zeros(volume), torch.zeros(steps), torch.ones(mask))


@pytest.mark.parametrize("shape", [(1, 3, 40, 32), (1, 3, 16, 32), (1, 1, 32, 32), (3, 32, 32)])
def test_generator_refuses(shape):
    with pytest.raises(ValueError, match="texture"):
        MesoGenerator(2)(torch.zeros(shape))


SCRIPT = Path(__file__).parents[3] / "scripts" / "paper_numbers.py"
PINNED = json.loads(Path(__file__).with_name("numbers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def numbers() -> dict[str, list[float]]:
    spec = importlib.util.spec_from_file_location("paper_numbers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.numbers()


@pytest.mark.parametrize("name", ["features", "costs", "displacement", "detail"])
def test_pinned(numbers, name):
    assert np.std(PINNED[name]) > 0.05  # else nothing would be told apart
    np.testing.assert_allclose(numbers[name], PINNED[name], atol=1e-4)
