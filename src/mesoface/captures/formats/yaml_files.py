"""YAML of a bounded size and depth, without aliases, all scalars as text: the files come from anywhere.

OpenCV's ``FileStorage`` writes ``%YAML:1.0`` where YAML itself has ``%YAML 1.0``, and tags matrices with
``!!opencv-matrix``. No tag is acted upon here, so nothing is ever constructed but dicts, lists and strings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mesoface.captures.formats.files import read_limited
from mesoface.errors import CaptureError

MAX_YAML_BYTES = 512 * 2**10  # one camera's calibration takes two; with every board's corners, a hundred
MAX_DEPTH = 16
# libyaml's parser where it is there, which is in every wheel of PyYAML: it is twenty times as fast.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_FILE_STORAGE = re.compile(r"\A%YAML:[\d.]+[^\n]*\n")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; numbers are still text.

    Raises:
        CaptureError: it cannot be opened, is larger than 512 kB, is not YAML, uses an alias, is deeply
            nested, or holds something else than a mapping.
    """
    data = read_limited(path, MAX_YAML_BYTES)
    try:
        text = _FILE_STORAGE.sub("", data.decode("utf-8-sig"))
        _check_events(text)
        content = yaml.load(text, Loader=_Loader)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CaptureError(
            f"is not YAML that can be read ({reason})",
            path=path,
            remedy="write it again with OpenCV's FileStorage, or as plain YAML",
        ) from error
    if not isinstance(content, dict):
        raise CaptureError(
            "a YAML mapping of names to values was expected",
            path=path,
            remedy="see docs/formats.md for the names",
        )
    return content


def _check_events(text: str) -> None:
    """See, before anything is built, that the document is shallow and refers to no part of itself.

    Raises:
        ValueError: it does not keep to that.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it uses an alias")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
