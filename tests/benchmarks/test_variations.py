"""Ablations change what they say they change, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from variations import GROUPS, VARIATIONS, Given, learned, plain_views, up_to, without_regularizer

from mesoface.geometry.mesh import unit
from mesoface.matching.learned import SurfaceMatcher
from mesoface.matching.learned.matcher import NetworkLevel
from mesoface.matching.matcher import LevelInput
from mesoface.uvd.space import UVDSpace

# What stands in for a prepared capture hands back the matcher that it was asked to match with.
PREPARED = SimpleNamespace(match=lambda matcher: matcher)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Given:
    torch.manual_seed(0)
    path = Path(tmp_path_factory.mktemp("weights")) / "matcher.safetensors"
    save_file(SurfaceMatcher().state_dict(), path)
    return Given(path, None, 1)


@pytest.fixture(scope="module")
def start(make_capture) -> LevelInput:
    """A level on the front of the drawn ball, of 80 mm; the last view is told not to see it."""
    x, y = np.meshgrid(np.linspace(-20, 20, 24), np.linspace(20, -20, 24))
    position = np.stack([x, y, np.sqrt(80**2 - x**2 - y**2)], -1)
    space = UVDSpace(position.astype(np.float32), unit(position).astype(np.float32), np.ones((24, 24), bool))
    views = make_capture(views=4, arc=40.0).views
    visibility = np.ones((4, 24, 24), np.float32)
    visibility[-1] = 0
    level = NetworkLevel(24, 2.0, 0.5, 1.0, 2.0, window=1.5, stiffness=0.25)
    return LevelInput(level, space, views, visibility, np.ones(space.valid.shape, np.float32))


def measured(run, given, start):
    return run(PREPARED, given).measure(start)


def test_plain_views_counts_those_that_see_nothing(given, start):
    weighted, plain = measured(learned, given, start), measured(plain_views, given, start)
    assert not np.allclose(weighted.displacement, plain.displacement)
    seen = replace(start, visibility=np.ones_like(start.visibility))
    np.testing.assert_array_equal(
        measured(learned, given, seen).displacement, measured(plain_views, given, seen).displacement
    )


def test_nothing_is_measured_that_two_views_do_not_see(given, start):
    alone = np.zeros_like(start.visibility)
    alone[0] = 1
    assert not measured(plain_views, given, replace(start, visibility=alone)).weight.any()


def test_without_regularizer_the_regularizer_has_no_say(given, start, monkeypatch):
    before = measured(learned, given, start)
    found = measured(without_regularizer, given, start)
    assert not np.allclose(before.displacement, found.displacement)
    monkeypatch.setattr("mesoface.matching.learned.network.Regularizer.settle", None)
    np.testing.assert_array_equal(
        found.displacement, measured(without_regularizer, given, start).displacement
    )
    monkeypatch.undo()
    np.testing.assert_array_equal(before.displacement, measured(learned, given, start).displacement)


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_a_cascade_ends_at_its_size(given, size):
    (levels,) = up_to(size)(PREPARED, given).presets.values()
    assert max(level.size for level in levels) == levels[-1].size == size


def test_every_variation_has_a_name_of_its_own():
    assert len({(variation.group, variation.about) for variation in VARIATIONS}) == len(VARIATIONS)
    assert [variation.about for variation in VARIATIONS if variation.paper] == [
        "the paper's networks, same data"
    ]
    assert "parts" in GROUPS
