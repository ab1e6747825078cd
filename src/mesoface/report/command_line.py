"""Settings as the command that reproduces a result."""

from __future__ import annotations

import shlex
from pathlib import Path

from mesoface.config import COMPUTING, Settings


def command_line(capture: Path, settings: Settings) -> str:
    """``mesoface reconstruct`` with every setting that is not the default, ready for a shell.

    Args:
        capture: the capture's folder.
        settings: of the result.
    """
    words = ["mesoface", "reconstruct", str(capture), "--out", "face"]
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name in COMPUTING or value == Settings.model_fields[name].default:
            continue
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)
