"""One small synthetic capture that the tests of this folder share."""

from __future__ import annotations

import pytest

from mesoface.lab.synthesis.capture import SyntheticCapture, photograph
from mesoface.lab.synthesis.settings import SynthesisSettings

SMALL = SynthesisSettings(views=4, width=400, height=600, detail_mm=1.5)


@pytest.fixture(scope="session")
def synthetic() -> SyntheticCapture:
    return photograph(seed=3, model="generic", settings=SMALL)
