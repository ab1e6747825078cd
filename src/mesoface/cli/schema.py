"""``mesoface schema``."""

from __future__ import annotations

import json

import typer


def command() -> None:
    """Print the JSON schema of capture.json, mesoface's own capture format.

    For editors and validators, and for programs that write captures: docs/formats.md has an example.

    Example: `mesoface schema > capture.schema.json`
    """
    from mesoface.captures.formats.plain import capture_schema

    typer.echo(json.dumps(capture_schema(), indent=1, ensure_ascii=False))
