"""The ``mesoface`` command."""

from mesoface.cli.app import main

__all__ = ["main"]
