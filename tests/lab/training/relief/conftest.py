"""The configuration of relief is the one that tests of relief mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def values(square_values) -> Callable[..., dict[str, Any]]:
    """``values(steps=…)`` → a configuration as plain values."""
    return square_values
