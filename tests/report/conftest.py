"""A browser for the pages."""

from __future__ import annotations

import pytest


@pytest.fixture
def browser_page(open_browser):
    """A headless Chromium's page."""
    return open_browser(900, 1000)
