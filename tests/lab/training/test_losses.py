"""Losses: least at the truth, blind to what is not known, in the units they claim."""

from __future__ import annotations

import math

import pytest
import torch

from mesoface.lab.training.losses import (
    confidence_loss,
    displacement_loss,
    distribution_loss,
    make_target,
    relative_loss,
    slope_loss,
)

STEPS = torch.arange(-4, 5) * 0.25
SIZE = 12


@pytest.fixture
def truth() -> torch.Tensor:
    u = torch.linspace(-1, 1, SIZE)
    return (0.6 * u[None] + 0.2 * u[:, None] ** 2).contiguous()


@pytest.fixture
def target(truth):
    return make_target(truth, torch.ones(3, SIZE, SIZE), STEPS, 0.5)


def test_known_needs_a_truth_and_two_views(truth):
    visibility = torch.ones(3, SIZE, SIZE)
    visibility[:2, 0] = 0
    visibility[1:, 1] = 0.04  # below what counts as seen
    truth[2, 2], truth[3, 3], truth[4, 4] = torch.nan, 1.01, -1.0
    target = make_target(truth, visibility, STEPS, 0.5)
    assert not target.known[:2].any()
    assert target.known[2:].sum() == (SIZE - 2) * SIZE - 1
    assert target.known[3, 3]
    assert not target.inside[3, 3], "outside of what is searched"
    assert target.inside[4, 4]
    assert torch.isfinite(target.truth).all()


def test_distribution_is_best_where_it_is_the_gaussian(target):
    off = (STEPS[:, None, None] - target.truth) / 0.25
    perfect = -0.5 * (off / 0.7) ** 2
    best = distribution_loss(perfect, target, 0.7)
    for other in (perfect * 2, perfect * 0.5, perfect.roll(1, 0), torch.zeros_like(perfect)):
        assert distribution_loss(other, target, 0.7) > best + 1e-3
    assert distribution_loss(torch.zeros_like(perfect), target, 0.7) == pytest.approx(math.log(9), rel=1e-5)
    entropy = -(torch.softmax(perfect, 0) * torch.log_softmax(perfect, 0)).sum(0).mean()
    assert best == pytest.approx(float(entropy), rel=1e-5)


def test_displacement_counts_in_steps(target):
    assert displacement_loss(target.truth, target) == 0
    half = displacement_loss(target.truth + 0.125, target)
    double = displacement_loss(target.truth + 0.5, target)
    assert half == pytest.approx(math.log(3), abs=1e-5), "half a step: log(1 + 0.5 / 0.25)"
    assert double == pytest.approx(math.log(9), abs=1e-5)


def test_slope_counts_in_mm_per_mm_and_not_offsets(target):
    assert slope_loss(target.truth + 3, target) == pytest.approx(0, abs=1e-5)
    tilted = target.truth + 0.5 * torch.arange(SIZE) * 0.1  # 0.1 mm per mm along u
    assert slope_loss(tilted, target) == pytest.approx(0.05, abs=1e-5), "mean over u and v"


def test_confidence_learns_what_is_within_a_step(target, truth):
    answer = truth.clone()
    answer[:6] += 0.3  # more than a step off
    right = torch.full_like(truth, 6.0)
    right[:6] = -6.0
    assert confidence_loss(right, answer, target) < 0.01
    assert confidence_loss(-right, answer, target) > 5
    outside = make_target(truth + 10, torch.ones(3, SIZE, SIZE), STEPS, 0.5)
    assert confidence_loss(-torch.ones_like(truth) * 6, truth + 10, outside) < 0.01, "cannot know"


@pytest.mark.parametrize("what", ["everything", "nothing"])
def test_unknown_texels_have_no_part_and_gradients_stay_finite(truth, what):
    """NaN in the truth touches neither loss nor gradient; a tile without truth costs nothing."""
    reference = truth.clone()
    if what == "nothing":
        truth[:] = torch.nan
    else:
        truth[:4] = torch.nan
    target = make_target(truth, torch.ones(2, SIZE, SIZE), STEPS, 0.5)
    logits = torch.randn(9, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    displacement = (reference + 0.1).requires_grad_()
    confidence = torch.zeros(SIZE, SIZE).requires_grad_()
    loss = (
        distribution_loss(logits, target, 0.6)
        + displacement_loss(displacement, target)
        + slope_loss(displacement, target)
        + confidence_loss(confidence, displacement, target)
    )
    loss.backward()
    assert torch.isfinite(loss)
    for tensor in (logits, displacement, confidence):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad[..., :4, :] == 0).all()
        assert bool(tensor.grad.any()) is (what == "everything")


def test_gradients_are_those_of_the_losses():
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(4, 4, dtype=torch.float64, generator=generator).clamp(-1, 1) * 0.9
    target = make_target(truth, torch.ones(2, 4, 4), STEPS.double(), 0.5)
    displacement = torch.randn(4, 4, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: displacement_loss(d, target), displacement)
    assert torch.autograd.gradcheck(lambda d: slope_loss(d, target), displacement)


def test_a_relative_loss_is_below_one_where_the_network_is_better():
    assert float(relative_loss(torch.tensor(0.2), torch.tensor(0.4), 0.0)) == pytest.approx(0.5)
    assert float(relative_loss(torch.tensor(0.2), torch.tensor(0.0), 0.1)) == pytest.approx(2.0)


def test_nothing_is_gained_by_a_worse_classical_answer():
    own, classical = torch.tensor(0.2, requires_grad=True), torch.tensor(0.4, requires_grad=True)
    relative_loss(own, classical, 0.1).backward()
    assert own.grad is not None
    assert classical.grad is None
