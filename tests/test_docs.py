"""The docs around the code: messages that they quote are said, every page has its place on the site."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
# Those of the installation are other programs'.
OURS = "## Reading a capture" + TROUBLES.split("## Reading a capture")[1]
FIRST_COLUMN = re.findall(r"^\| (.*?) \|", OURS, re.MULTILINE)
QUOTED = [text for cell in FIRST_COLUMN for text in re.findall(r"`([^`]+)`", cell) if " " in text]


@cache
def said() -> tuple[str, ...]:
    """Every string in the sources; what an f-string puts in is "…"."""
    return tuple(
        text for file in (ROOT / "src").rglob("*.py") for text in _strings(file.read_text(encoding="utf-8"))
    )


def _strings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_there_are_messages_to_look_for():
    assert len(QUOTED) > 50


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_in_troubleshooting_is_one_that_is_said(message):
    assert any(message in text for text in said()), message


def navigation() -> list[str]:
    """The pages that mkdocs.yml names."""
    return re.findall(
        r"^\s+- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_every_page_has_its_place_on_the_site(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "site"))
    import hooks

    try:
        pages = [page.name for page in (ROOT / "docs").glob("*.md")] + list(hooks.OUTSIDE.values())
    finally:
        del sys.modules["hooks"]
    assert sorted(navigation()) == sorted(pages)


def test_diagrams_are_drawn_as_they_are(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "site"))
    import diagrams

    sources = [
        source
        for page in (ROOT / "docs").glob("*.md")
        for source in diagrams.BLOCK.findall(page.read_text(encoding="utf-8"))
    ]
    assert sources
    for source in sources:
        drawing = diagrams.drawing_of(source)
        assert drawing.is_file(), "run scripts/site/diagrams.py"
        assert ElementTree.fromstring(drawing.read_bytes()).tag.endswith("svg"), "browsers show no other"


def test_links_become_those_of_the_site(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "site"))
    import hooks

    def moved(text: str, source: str, target: str) -> str:
        return hooks._outside_code(
            text, lambda t: hooks._LINK.sub(lambda match: hooks._moved(match, source, target), t)
        )

    assert moved("[a](../README.md#x)", "docs/index.md", "index.md") == "[a](readme.md#x)"
    assert moved("![p](docs/images/viewer.jpg)", "README.md", "readme.md") == "![p](images/viewer.jpg)"
    assert moved("[`a.b`](../src/mesoface/geometry/mesh.py)", "docs/index.md", "index.md") == "`a.b`"
    assert moved("[a](https://b.org) `[c](d.md)`", "docs/index.md", "index.md") == (
        "[a](https://b.org) `[c](d.md)`"
    )
    with pytest.raises(hooks.PluginError, match=r"docs/index\.md: \.\./none\.md leads nowhere"):
        moved("[a](../none.md)", "docs/index.md", "index.md")
