"""The drawn cap of a ball, to be exported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesoface.export import ExportSource
from mesoface.results.face import Face
from tests.faces import cap


@pytest.fixture(scope="session")
def world_cap() -> Face:
    """:func:`tests.faces.cap`, in the capture's world frame."""
    return cap()


@pytest.fixture(scope="session")
def upright_cap(world_cap: Face) -> ExportSource:
    """The same, to be exported in its own axes."""
    return ExportSource(world_cap)


@pytest.fixture(scope="session")
def base_only(world_cap: Face) -> ExportSource:
    """A face of which only the base mesh is known, upright."""
    return ExportSource(replace(world_cap, fine=None, texture=None))
