"""The command on the report makes the same result."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from mesoface.cli.app import app
from mesoface.config import Settings
from mesoface.report.command_line import command_line


def options() -> dict[str, str]:
    """{option: parameter} of `mesoface reconstruct`."""
    command = typer.main.get_command(app).commands["reconstruct"]
    return {name: parameter.name for parameter in command.params for name in parameter.opts}


def test_defaults_need_no_words():
    assert command_line(Path("shoot"), Settings()) == "mesoface reconstruct shoot --out face"


def test_what_was_set_can_be_pasted_into_a_shell():
    settings = Settings(scale=2.5, preset="best", view_ids=("0", "a b"), until="base", threads=7)
    words = shlex.split(command_line(Path("my shoot"), settings))
    assert words[:3] == ["mesoface", "reconstruct", "my shoot"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given == {
        "--out": "face",
        "--scale": "2.5",
        "--preset": "best",
        "--view-ids": "0,a b",
        "--until": "base",
    }


def test_every_setting_that_may_be_told_has_an_option():
    """A new setting without an option of its name would be told wrongly."""
    known = options()
    for name in set(Settings.model_fields) - {"device", "threads", "memory_mb"}:
        assert f"--{name.replace('_', '-')}" in known
