"""Our own numbers, made while the contract held: they hold without the original implementation's files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

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
